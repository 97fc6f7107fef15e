/** Where the client runs: on a server, in a frame, with a blocked storage, with options that are wrong; and other tabs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';

import { FakeBroker } from './testing/broker.mjs';
import { APP, brief, comeBack, open, openSignedIn, until } from './testing/open.mjs';
import { FakeChannel, FakeStorage, openPage } from './testing/page.mjs';
import { createBrokerClient, isBrokerError } from './token-broker.js';

const settled = async () => { for (let turns = 0; turns < 12; turns += 1) await turn(); };

test('on a server the state stays `loading`, and nothing throws or is left open', async () => {
  assert.ok(!('history' in globalThis));
  for (const brokerUrl of ['https://broker.example', undefined]) {
    const client = createBrokerClient({ brokerUrl, clientId: 'web', restore: 'silent' });
    assert.deepEqual(await client.ready(), { status: 'loading', error: null });
    assert.deepEqual(await client.requireLogin(), { status: 'loading', error: null });
    assert.equal(await client.getToken(), null);
    assert.deepEqual(await client.authHeaders('/api/orders'), {});
    await assert.rejects(client.login(), { name: 'ConfigError', code: 'not_in_browser' });
    let heard = 0;
    client.subscribe(() => { heard += 1; })();
    assert.equal(heard, 1);
    client.dispose();
  }
  assert.equal(FakeChannel.open.size, 0);
});

test('an address that is none is a ConfigError that names the option, where the client is made', () => {
  for (const options of [{ brokerUrl: '' }, { brokerUrl: '/auth' }, { brokerUrl: 'auth.example.com' },
    { brokerUrl: 'https://' }, { resourceOrigins: ['api.example.com'] }, { resourceOrigins: ['https://a.example', ''] }]) {
    assert.throws(() => createBrokerClient(options), (error) =>
      isBrokerError(error) && error.code === 'invalid_option'
      && error.message.includes(Object.keys(options)[0]) && error.message.includes('https://auth.example.com'), JSON.stringify(options));
  }
  createBrokerClient({ brokerUrl: undefined, resourceOrigins: [] });
  createBrokerClient({ brokerUrl: 'http://localhost:8080/auth/', resourceOrigins: ['https://api.example/v1'] });
});

test('a blocked storage is a ConfigError at login, and no login comes back from it', async (t) => {
  const page = openPage(t, APP);
  for (const storage of ['sessionStorage', 'localStorage']) {
    Object.defineProperty(globalThis, storage, { configurable: true, get() { throw new DOMException('denied', 'SecurityError'); } });
  }
  for (const storage of ['session', 'local', 'memory']) {
    const { client, visited } = open(t, { page, storage, restore: 'silent' });
    assert.deepEqual(brief(await client.ready()), ['signed-out', null, undefined, undefined]);
    await assert.rejects(client.login(), (error) => isBrokerError(error) && error.code === 'storage_blocked' && /site data/.test(error.message));
    assert.equal(await client.logout(), true);
    assert.deepEqual(visited, []);
  }
  page.href = `${APP}?one_time_key=tbo_x&state=y`;
  const { client } = open(t, { page });
  assert.deepEqual(brief(await client.ready()), ['signed-out', null, 'LoginError', 'unknown_login']);
  assert.equal(page.href, APP);
});

test('a page in a frame, or without an origin, cannot sign in and says so', async (t) => {
  const page = openPage(t, APP);
  globalThis.top = {};
  globalThis.self = globalThis;
  t.after(() => { delete globalThis.top; delete globalThis.self; });
  const framed = open(t, { page, navigate: undefined, restore: 'silent' });
  assert.equal((await framed.client.ready()).status, 'signed-out', 'and does not try to in silence');
  await assert.rejects(framed.client.login(), { name: 'ConfigError', code: 'in_frame' });
  const own = open(t, { page }); // an app with its own `navigate` knows what it does
  await own.client.login();
  assert.equal(own.visited.length, 1);
  Object.defineProperty(globalThis.location, 'origin', { value: 'null' });
  await assert.rejects(open(t, { page }).client.login(), { name: 'ConfigError', code: 'insecure_context' });
});

test('a sign-in reaches the tabs that are signed out, and the token is not in what is announced', async (t) => {
  const broker = new FakeBroker();
  const page = openPage(t, APP);
  const tab = (options) => open(t, { broker, page, storage: new FakeStorage(), shareAcrossTabs: true, ...options }).client;
  const [one, two, alone] = [tab(), tab(), tab({ shareAcrossTabs: false })];
  for (const client of [one, two, alone]) assert.equal((await client.ready()).status, 'signed-out');
  FakeChannel.sent.length = 0;
  const { client } = await comeBack(t, { broker, page, storage: new FakeStorage(), shareAcrossTabs: true });
  await client.ready();
  await settled();
  assert.deepEqual(FakeChannel.sent.find((message) => message.signedIn), { signedIn: true });
  const token = await client.getToken();
  for (const other of [one, two]) {
    await until(() => other.getState().status === 'signed-in');
    assert.equal(await other.getToken(), token);
  }
  assert.equal(alone.getState().status, 'signed-out');
  assert.equal(broker.count('api/get_token'), 1);
});

test('a second client of the page is signed in by the first', async (t) => {
  const { client, broker, page } = await comeBack(t, { shareAcrossTabs: true });
  const second = open(t, { broker, page, shareAcrossTabs: true, storage: 'memory' }).client;
  await Promise.all([client.ready(), second.ready()]);
  await settled();
  assert.deepEqual([client, second].map((each) => each.getState().status), ['signed-in', 'signed-in']);
});

test('a tab with a session of its own is left alone by a sign-in elsewhere', async (t) => {
  const broker = new FakeBroker();
  const bob = await openSignedIn(t, { broker, user: 'bob', shareAcrossTabs: true, storage: new FakeStorage() });
  const { client } = await comeBack(t, { broker, page: bob.page, shareAcrossTabs: true, storage: new FakeStorage() });
  await client.ready();
  await settled();
  assert.equal(bob.client.getState().user.username, 'bob');
});

test('requireLogin: the state of who is signed in; else a login that comes back to the page', async (t) => {
  const { client } = await openSignedIn(t);
  assert.equal((await client.requireLogin()).user.username, 'alice');

  const guest = open(t, { page: openPage(t, `${APP}orders/7?x=1`) });
  let settledEarly = false;
  guest.client.requireLogin().finally(() => { settledEarly = true; });
  await until(() => guest.visited.length === 1);
  assert.equal(settledEarly, false);
  guest.page.href = guest.broker.signIn(guest.visited[0]);
  const back = open(t, { broker: guest.broker, page: guest.page });
  const ready = back.client.requireLogin();
  assert.equal(guest.page.href, `${APP}orders/7?x=1`, 'before a router that starts now reads it');
  assert.equal((await ready).status, 'signed-in');
});

test('requireLogin: a given returnTo, and no circle after a login that failed', async (t) => {
  const { client, visited, page } = open(t);
  client.requireLogin({ returnTo: '/orders/8', provider: 'dev' });
  await until(() => visited.length === 1);
  assert.equal(new URL(visited[0]).searchParams.get('provider'), 'dev');
  assert.match([...page.session.items.values()].join(), /"returnTo":"https:\/\/app\.example\/orders\/8"/);
  page.href = `${APP}?error=access_denied&state=${new URL(visited[0]).searchParams.get('state')}`;
  const back = open(t, { page });
  await assert.rejects(back.client.requireLogin(), { code: 'access_denied' });
  assert.deepEqual(back.visited, []);

  const over = await openSignedIn(t, { page: openPage(t, APP) });
  over.broker.end(over.grant.session.id);
  await assert.rejects(over.client.rotate());
  over.client.requireLogin();
  await until(() => over.visited.length === 1); // a session that is over needs a new one
});

test('onReturnTo gets the address instead of the history, once; the address cannot change what was asked for', async (t) => {
  const shown = [];
  const { client, page } = await comeBack(t, { login: { returnTo: '/orders/7#pay' }, onReturnTo: (url) => shown.push(url) });
  page.href += '&returnTo=https://evil.example/&tries=9&verifier=x&silent=1';
  assert.equal((await client.ready()).status, 'signed-in');
  assert.equal(page.href, `${APP}?returnTo=https://evil.example/&tries=9&verifier=x&silent=1`);
  await client.ready();
  assert.deepEqual(shown, [`${APP}orders/7#pay`]);
});

test('an onReturnTo that throws harms no one', async (t) => {
  const uncaught = [];
  process.setUncaughtExceptionCaptureCallback((error) => uncaught.push(error.message));
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const { client } = await comeBack(t, { login: { returnTo: '/orders/7' }, onReturnTo: () => { throw new Error('no such route'); } });
  assert.equal((await client.ready()).status, 'signed-in');
  await turn();
  assert.deepEqual(uncaught, ['no such route']);
});

test('a local file gets the token nowhere by accident, and its calls do not fail', async (t) => {
  const page = openPage(t, 'file:///app.html');
  Object.defineProperty(globalThis.location, 'origin', { value: 'null' });
  const client = createBrokerClient({ brokerUrl: 'https://broker.example', storage: 'memory', shareAcrossTabs: false, fetch: () => {} });
  t.after(() => client.dispose());
  assert.deepEqual(await client.authHeaders('other.html'), {});
  assert.equal(page.href, 'file:///app.html');
});

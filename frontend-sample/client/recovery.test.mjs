/** A connection that breaks while a login is under way, and a browser that is signed in at the broker already. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';

import { FakeBroker, refused } from './testing/broker.mjs';
import { APP, brief, comeBack, down, NAME, open, openSignedIn, until } from './testing/open.mjs';
import { FakeStorage, openPage } from './testing/page.mjs';

/** Runs what is due after this many milliseconds, and what follows from it. */
const pass = async (t, milliseconds) => {
  t.mock.timers.tick(milliseconds);
  for (let turns = 0; turns < 12; turns += 1) await turn();
};
const redeems = (fault) => ({ path }) => (path === 'api/get_token' ? fault() : undefined);
const promptOf = (url) => new URL(url).searchParams.get('prompt');

test('a redemption that got no answer is tried again by itself, with the same key', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  for (const fault of [down, () => refused(503, 'temporarily_unavailable')]) {
    const { client, broker, page } = await comeBack(t, { page: openPage(t, APP) });
    broker.fault = redeems(fault);
    const first = await client.ready();
    assert.equal(first.status, 'signed-out');
    assert.equal(first.error.retryable, true);
    await pass(t, 1000);
    assert.equal(broker.count('api/get_token'), 2);
    broker.fault = null;
    await pass(t, 2000);
    await until(() => client.getState().status === 'signed-in');
    assert.deepEqual(brief(client.getState()), ['signed-in', undefined, undefined, undefined]);
    assert.equal(broker.count('api/get_token'), 3);
    assert.deepEqual([...page.session.items.keys()], [NAME], 'key and verifier are gone');
  }
});

test('a second try comes before the ten seconds are over in which the broker forgives one', async (t) => {
  const { client, broker } = await comeBack(t);
  broker.fault = redeems(down);
  const limits = [];
  t.mock.method(AbortSignal, 'timeout', (limit) => {
    limits.push(limit);
    return new AbortController().signal;
  });
  const delays = [];
  const { setTimeout: set } = globalThis;
  t.mock.method(globalThis, 'setTimeout', (act, delay) => {
    delays.push(delay);
    return set(act, delay);
  });
  await client.ready();
  assert.ok(limits[0] + delays[0] < 9500, `${limits} ${delays}`);
});

test('the tries end with the key’s life; going online is another', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const events = new EventTarget();
  globalThis.addEventListener = events.addEventListener.bind(events);
  t.after(() => { delete globalThis.addEventListener; });
  const { client, broker, page } = await comeBack(t);
  broker.fault = redeems(down);
  await client.ready();
  for (let second = 0; second < 200; second += 1) await pass(t, 1000);
  const tries = broker.count('api/get_token');
  assert.ok(tries > 5 && tries < 15, `${tries}`);
  assert.equal(page.timers.size, 0);
  events.dispatchEvent(new Event('online'));
  await pass(t, 0);
  assert.equal(broker.count('api/get_token'), tries + 1);
  broker.fault = null;
  events.dispatchEvent(new Event('online'));
  await pass(t, 0);
  await until(() => client.getState().status === 'signed-in');
  const all = broker.requests.length;
  events.dispatchEvent(new Event('online'));
  await pass(t, 0);
  assert.equal(broker.requests.length, all, 'nothing is asked while all is well');
});

test('going online repeats any request of the state that failed', async (t) => {
  const events = new EventTarget();
  globalThis.addEventListener = events.addEventListener.bind(events);
  globalThis.removeEventListener = events.removeEventListener.bind(events);
  t.after(() => { delete globalThis.addEventListener; delete globalThis.removeEventListener; });
  const { client, broker } = await openSignedIn(t);
  broker.fault = down;
  await assert.rejects(client.rotate());
  assert.equal(client.getState().error.code, 'network_error');
  broker.fault = null;
  events.dispatchEvent(new Event('online'));
  await client.ready();
  assert.deepEqual(brief(client.getState()), ['signed-in', undefined, undefined, undefined]);
  client.dispose();
  const all = broker.requests.length;
  broker.fault = down;
  await client.ready();
  events.dispatchEvent(new Event('online'));
  await turn();
  assert.equal(broker.requests.length, all);
});

test('a reload while a key is being redeemed completes the login', async (t) => {
  const { client, broker, page } = await comeBack(t, { shareAcrossTabs: false });
  const { reloaded: left } = await loadAgain(t, { broker, page });
  broker.fault = redeems(() => new Promise(() => {})); // the page is gone before the answer
  left.client.ready();
  await turn();
  assert.equal(page.href, APP);
  left.client.dispose();
  broker.fault = null;
  assert.equal((await client.ready()).status, 'signed-in');
  assert.equal(broker.count('api/get_token'), 2);
  assert.deepEqual([...page.session.items.keys()], [NAME]);
});

/** The page after a reload: another module, so that nothing in memory is left. */
async function loadAgain(t, { broker, page, ...options }) {
  const { createBrokerClient } = await import(`./token-broker.js?load=${Math.random()}`);
  const visited = [];
  const client = createBrokerClient({
    brokerUrl: broker.origin, clientId: 'web', shareAcrossTabs: false, fetch: broker.fetch, navigate: (url) => visited.push(url), ...options });
  t.after(() => client.dispose());
  return { reloaded: { client, visited } };
}

test('when the answer was lost, the browser’s session at the broker gives another key, without a page', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const { client, broker, page, visited } = await comeBack(t, { login: { returnTo: '/orders/7' } });
  let answered = false;
  broker.fault = async (request) => {
    if (request.path !== 'api/get_token' || answered) return undefined;
    answered = true;
    broker.fault = null;
    await broker.fetch(request.url, { method: 'POST', body: JSON.stringify(request.body) });
    throw new TypeError('the answer was lost');
  };
  await client.ready();
  assert.equal(client.getState().error.code, 'network_error');
  await pass(t, 1000);
  await until(() => visited.length === 2);
  assert.equal(promptOf(visited[1]), 'none');
  page.href = broker.signIn(visited[1]);
  const { reloaded } = await loadAgain(t, { broker, page });
  assert.equal((await reloaded.client.ready()).status, 'signed-in');
  assert.equal(page.href, `${APP}orders/7`);
});

test('a silent sign-in that the broker refuses ends signed out, and nothing loops', async (t) => {
  const page = openPage(t, APP);
  const broker = new FakeBroker();
  page.session.setItem(`${NAME}:login`, JSON.stringify({ state: 's', verifier: 'v', key: 'tbo_old', since: 0, tries: 4 }));
  const late = open(t, { broker, page });
  late.client.ready();
  await until(() => late.visited.length === 1);
  const state = new URL(late.visited[0]).searchParams.get('state');
  page.href = `${APP}?error=login_required&error_description=no&state=${state}`;
  const { reloaded } = await loadAgain(t, { broker, page });
  assert.deepEqual(brief(await reloaded.client.ready()), ['signed-out', null, undefined, undefined]);
  assert.deepEqual(reloaded.visited, []);
  assert.equal(page.href, APP);
});

test('a logout while a redemption waits for its next try ends the login', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const { client, broker, page } = await comeBack(t);
  broker.fault = redeems(down);
  await client.ready();
  await client.logout();
  broker.fault = null;
  await pass(t, 60_000);
  assert.equal(client.getState().status, 'signed-out');
  assert.equal(broker.count('api/get_token'), 1);
  assert.deepEqual([...page.session.items.keys()], []);
});

test('restore: silent asks the broker once in a tab, and keeps the address', async (t) => {
  const { client, broker, page, visited } = open(t, { restore: 'silent', href: `${APP}orders/7?x=1#top` });
  client.ready();
  await until(() => visited.length === 1);
  assert.equal(promptOf(visited[0]), 'none');
  assert.equal(client.getState().status, 'loading');
  page.href = broker.signIn(visited[0]);
  const { reloaded } = await loadAgain(t, { broker, page, restore: 'silent' });
  assert.equal((await reloaded.client.ready()).status, 'signed-in');
  assert.equal(page.href, `${APP}orders/7?x=1#top`);
});

test('restore: silent, and no one is signed in: no error, and no second visit', async (t) => {
  const { client, page, broker, visited } = open(t, { restore: 'silent' });
  client.ready();
  await until(() => visited.length === 1);
  page.href = `${APP}?error=login_required&state=${new URL(visited[0]).searchParams.get('state')}`;
  for (let loads = 0; loads < 2; loads += 1) {
    const { reloaded } = await loadAgain(t, { broker, page, restore: 'silent' });
    assert.deepEqual(brief(await reloaded.client.ready()), ['signed-out', null, undefined, undefined]);
    assert.deepEqual(reloaded.visited, []);
  }
});

test('restore: silent does not leave the page for a broker that is down, nor after a sign-out', async (t) => {
  const lost = open(t, { restore: 'silent' });
  lost.broker.fault = down;
  assert.equal((await lost.client.ready()).status, 'signed-out');
  assert.deepEqual(lost.visited, []);

  const { client, page, broker } = await openSignedIn(t, { restore: 'silent' });
  await client.logout();
  const { reloaded } = await loadAgain(t, { broker, page, restore: 'silent' });
  assert.equal((await reloaded.client.ready()).status, 'signed-out');
  assert.deepEqual(reloaded.visited, []);
});

test('restore: silent uses what is there first: the storage, then another tab', async (t) => {
  const stored = await openSignedIn(t, { restore: 'silent', shareAcrossTabs: true });
  const second = open(t, { ...stored, storage: new FakeStorage(), shareAcrossTabs: true, restore: 'silent' });
  assert.equal((await second.client.ready()).status, 'signed-in');
  assert.deepEqual([...stored.visited, ...second.visited], []);
});

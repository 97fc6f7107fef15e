/** The fourteen behaviours of the client, each by its number in the guide, at the seams `fetch`, `navigate`, `now`. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';

import { FakeBroker, refused } from './testing/broker.mjs';
import { APP, brief, comeBack, down, NAME, open, openSignedIn } from './testing/open.mjs';
import { FakeChannel, FakeStorage, openPage } from './testing/page.mjs';
import { isBrokerError } from './token-broker.js';

const DAY = 86_400_000;

test('login: the address carries an S256 challenge and the pending login stays in this tab', async (t) => {
  const { client, visited, page } = open(t, { redirectUri: APP });
  await client.login({ provider: 'dev', prompt: 'login', loginHint: 'alice' });
  const url = new URL(visited[0]);
  const { state, code_challenge, ...rest } = Object.fromEntries(url.searchParams);
  assert.equal(url.origin + url.pathname, 'https://broker.example/login');
  assert.deepEqual(rest, {
    client_id: 'web', redirect_uri: APP, code_challenge_method: 'S256',
    provider: 'dev', prompt: 'login', login_hint: 'alice',
  });
  const pending = JSON.parse(page.session.getItem(`${NAME}:login`));
  assert.match(pending.verifier, /^[A-Za-z0-9_-]{43}$/);
  assert.equal(code_challenge, createHash('sha256').update(pending.verifier).digest('base64url'));
  assert.equal(state, pending.state);
  assert.match(state, /^[A-Za-z0-9_-]{43}$/);
});

test('login: every login has its own state and verifier', async (t) => {
  const { client, visited } = open(t);
  await client.login();
  await client.login();
  const [one, two] = visited.map((url) => new URL(url).searchParams);
  assert.notEqual(one.get('state'), two.get('state'));
  assert.notEqual(one.get('code_challenge'), two.get('code_challenge'));
});

test('the answer leaves the address before anything waits, and only the answer', async (t) => {
  const { client, page, broker } = await comeBack(t, { redirectUri: `${APP}signed-in?tenant=a%20b` , answer: { delivery: '&' } });
  page.href += '#section-2';
  const seenAtRequest = [];
  broker.fault = () => void seenAtRequest.push(page.href);
  const ready = client.ready();
  assert.equal(page.href, `${APP}signed-in?tenant=a%20b#section-2`, 'clean while ready() has not yet waited');
  assert.deepEqual(page.replaced, [{ state: { router: 'state' }, href: page.href }]);
  assert.equal((await ready).status, 'signed-in');
  assert.deepEqual(new Set(seenAtRequest), new Set([page.href]));
});

test('a key in the fragment leaves it too', async (t) => {
  const { client, page } = await comeBack(t, { answer: { delivery: '?keep=1#' } });
  const ready = client.ready();
  assert.equal(page.href, `${APP}?keep=1`);
  assert.equal((await ready).status, 'signed-in');
});

test('hash routers keep their route, and no lone # is left behind', async (t) => {
  const { client, page } = await comeBack(t);
  page.href += '#';
  client.ready();
  assert.equal(page.href, APP);
  const routed = await comeBack(t);
  routed.page.href += '#/settings?tab=2';
  routed.client.ready();
  assert.equal(routed.page.href, `${APP}#/settings?tab=2`);
});

test('login: redirectUri is this page’s origin where the broker is elsewhere, else left to the broker', async (t) => {
  const page = openPage(t, `${APP}orders/7?x=1#top`);
  const redirectUri = async (options) => {
    const { client, visited } = open(t, { page, ...options });
    await client.login();
    return new URL(visited[0]).searchParams.get('redirect_uri');
  };
  assert.equal(await redirectUri({}), APP);
  for (const [given, sent] of [[`${APP}callback`, `${APP}callback`], ['http://localhost:3000', 'http://localhost:3000/'],
    ['https://app.example?a=b/c', 'https://app.example/?a=b/c'], [`${APP}?a`, `${APP}?a`], ['capacitor://localhost', 'capacitor://localhost']]) {
    assert.equal(await redirectUri({ redirectUri: given }), sent);
  }
  assert.equal(await redirectUri({ brokerUrl: undefined }), null);
  assert.equal(await redirectUri({ brokerUrl: `${APP}auth` }), null);
});

test('an error leaves the address', async (t) => {
  const { client, page, visited } = open(t);
  await client.login();
  const { state } = Object.fromEntries(new URL(visited[0]).searchParams);
  page.href = `${APP}?error=access_denied&error_description=You%20said%20no.&state=${state}&x=1`;
  const ready = client.ready();
  assert.equal(page.href, `${APP}?x=1`);
  const { error } = await ready;
  assert.deepEqual([error.name, error.code, error.message], ['LoginError', 'access_denied', 'You said no.']);
});

test('the request id at the end of the broker’s description is the error’s', async (t) => {
  const description = 'The sign-in (of this app) was cancelled. (access_denied, request 4f-0A)';
  const cases = [[description, 'The sign-in (of this app) was cancelled.', '4f-0A'], ['You said no (twice).', 'You said no (twice).', null],
    [null, '', null]];
  for (const [sent, message, requestId] of cases) {
    const { client, page, visited } = open(t, { page: openPage(t, APP) });
    await client.login();
    const { searchParams } = new URL(visited[0]);
    const answer = new URLSearchParams({ error: 'access_denied', state: searchParams.get('state') });
    if (sent) answer.set('error_description', sent);
    page.href = `${APP}?${answer}`;
    const { error } = await client.ready();
    assert.deepEqual([error.message, error.requestId], [message, requestId]);
  }
});

test('returnTo is shown afterwards, and never another origin', async (t) => {
  const { client, page } = await comeBack(t, { login: { returnTo: '/orders?open=1#top' } });
  client.ready();
  assert.equal(page.href, `${APP}orders?open=1#top`);
  for (const returnTo of ['https://evil.example/', '//evil.example', 'javascript:alert(1)']) {
    await assert.rejects(client.login({ returnTo }), { name: 'ConfigError', code: 'foreign_return_to' });
  }
});

test('a key is redeemed once however often ready() is called', async (t) => {
  const { client, broker } = await comeBack(t);
  const states = await Promise.all([client.ready(), client.ready(), client.ready()]);
  states.push(await client.ready());
  assert.equal(broker.count('api/get_token'), 1);
  assert.equal(new Set(states).size, 1);
  assert.equal(states[0].user.username, 'alice');
});

test('a second client on the same page does not redeem it again', async (t) => {
  const { client, broker, page } = await comeBack(t);
  const second = open(t, { broker, page }).client;
  await Promise.all([client.ready(), second.ready()]);
  assert.equal(broker.count('api/get_token'), 1);
});

test('an address that comes back, as by the back button, is not redeemed again', async (t) => {
  const { client, broker, page } = await comeBack(t);
  const answer = page.href;
  await client.ready();
  assert.deepEqual([...page.session.items.keys()], [NAME], 'nothing of the login is left');
  page.href = answer;
  assert.equal((await open(t, { broker, page }).client.ready()).status, 'signed-in');
  assert.equal(broker.count('api/get_token'), 1);
});

test('a key that no login of this tab waits for leaves the address and is not redeemed', async (t) => {
  for (const query of ['one_time_key=tbo_x&state=theirs', 'one_time_key=tbo_x']) {
    const { client, broker, page } = open(t, { href: `${APP}?${query}&x=1` });
    const ready = client.ready();
    assert.equal(page.href, `${APP}?x=1`);
    assert.deepEqual(brief(await ready), ['signed-out', null, 'LoginError', 'unknown_login']);
    assert.equal(broker.requests.length, 0);
  }
  const { client, broker, page, answer } = await comeBack(t);
  page.href = answer.replace(/state=.*/, 'state=another');
  assert.equal((await client.ready()).error.code, 'unknown_login');
  assert.equal(page.href, APP);
  assert.equal(broker.requests.length, 0);
  page.href = answer;
  assert.equal((await open(t, { broker, page }).client.ready()).status, 'signed-in', 'the login still waits');
});

test('what another program or another client of the page waits for is left alone', async (t) => {
  for (const query of ['error=access_denied&state=theirs', 'one_time_key=other&state=theirs', 'state=theirs']) {
    const { client, broker, page } = open(t, { href: `${APP}?${query}` });
    assert.deepEqual(brief(await client.ready()), ['signed-out', null, undefined, undefined]);
    assert.equal(page.href, `${APP}?${query}`);
    assert.equal(broker.requests.length, 0);
  }
  const { client, broker, page, answer } = await comeBack(t);
  const other = open(t, { broker, page, clientId: 'other' }).client;
  assert.deepEqual(brief(await other.ready()), ['signed-out', null, undefined, undefined]);
  assert.equal(page.href, answer);
  assert.equal((await client.ready()).status, 'signed-in');
});

test('a used or expired key ends signed out with a HandoffError, and nothing loops', async (t) => {
  const { client, broker, page, visited } = await comeBack(t);
  page.href = page.href.replace('tbo_key', 'tbo_used');
  const state = await client.ready();
  assert.deepEqual(brief(state), ['signed-out', null, 'HandoffError', 'invalid_grant']);
  assert.deepEqual([state.error.status, state.error.requestId, state.error.retryable], [400, 'r-grant', false]);
  assert.ok(isBrokerError(state.error));
  await client.ready();
  await client.getToken();
  assert.equal(broker.count('api/get_token'), 1);
  assert.equal(visited.length, 1, 'only the login that the test began');
});

test('an existing session survives a failed login attempt', async (t) => {
  const failures = [
    (href) => href.replace(/one_time_key=[^&]*/, 'error=access_denied'),
    (href) => href.replace('tbo_key', 'tbo_used'),
  ];
  for (const [index, fail] of failures.entries()) {
    const { client, page, broker, grant, visited } = await openSignedIn(t);
    await client.login();
    page.href = fail(broker.signIn(visited[0]));
    const back = open(t, { page, broker }).client;
    const state = await back.ready();
    assert.deepEqual(brief(state), ['signed-in', undefined, ['LoginError', 'HandoffError'][index],
      ['access_denied', 'invalid_grant'][index]]);
    assert.equal(await back.getToken(), grant.bearer);
  }
});

test('a login as another user replaces the session', async (t) => {
  const { client, page, broker, grant, visited } = await openSignedIn(t);
  await client.login();
  page.href = broker.signIn(visited[0], { user: 'bob' });
  const back = open(t, { page, broker }).client;
  assert.equal((await back.ready()).user.username, 'bob');
  assert.notEqual(await back.getToken(), grant.bearer);
});

test('the profile of a new login is never the old one', async (t) => {
  const { client, page, broker, visited } = await openSignedIn(t);
  await client.login();
  page.href = broker.signIn(visited[0], { user: 'bob' });
  broker.fault = ({ path }) => path === 'api/me' && down();
  const back = open(t, { page, broker }).client;
  assert.deepEqual(brief(await back.ready()), ['signed-out', null, 'NetworkError', 'network_error']);
  broker.fault = null;
  assert.equal((await back.ready()).user.username, 'bob', 'ready() tries again after a retryable error');
  assert.equal(broker.count('api/get_token'), 1);
});

test('an outage, a 5xx, a 403 or a foreign 401 never signs out', async (t) => {
  const faults = {
    network_error: down,
    temporarily_unavailable: () => refused(503, 'temporarily_unavailable'),
    server_error: () => refused(500, 'server_error'),
    insufficient_scope: () => refused(403, 'insufficient_scope'),
    http_401: () => new Response('<h1>Proxy login</h1>', { status: 401 }),
    http_200: () => new Response('<h1>Single-page app</h1>'),
  };
  for (const [code, fault] of Object.entries(faults)) {
    const { client, broker, page, grant } = await openSignedIn(t);
    broker.fault = fault;
    const reloaded = open(t, { page, broker }).client;
    assert.deepEqual(brief(await reloaded.ready()).slice(0, 1), ['signed-in'], code);
    assert.equal(reloaded.getState().error.code, code);
    assert.equal(reloaded.getState().user.username, 'alice');
    await assert.rejects(client.rotate(), { code });
    assert.equal(client.getState().status, 'signed-in', code);
    assert.equal(await reloaded.getToken(), grant.bearer);
    broker.fault = null;
    if (reloaded.getState().error.retryable) {
      assert.deepEqual(brief(await reloaded.ready()), ['signed-in', undefined, undefined, undefined]);
    }
  }
});

test('ready() tries again after any retryable error, once for all who ask', async (t) => {
  const { client, broker } = await openSignedIn(t);
  broker.fault = down;
  await assert.rejects(client.rotate());
  broker.fault = null;
  const asked = broker.count('api/me');
  const [state] = await Promise.all([client.ready(), client.ready()]);
  assert.deepEqual(brief(state), ['signed-in', undefined, undefined, undefined]);
  assert.equal(broker.count('api/me'), asked + 1);
});

test('memory storage: a retry after an outage keeps the session', async (t) => {
  const { client, broker } = await comeBack(t, { storage: 'memory' });
  broker.fault = ({ path }) => path === 'api/me' && down();
  await client.ready();
  broker.fault = null;
  assert.equal((await client.ready()).status, 'signed-in');
});

test('a 401 invalid_token for the token that was sent signs out: revoked before its time, expired after', async (t) => {
  let clock = Date.now();
  for (const [pass, reason] of [[0, 'revoked'], [8 * DAY, 'expired']]) {
    const { client, broker, grant, page } = await openSignedIn(t, { now: () => clock });
    broker.end(grant.session.id);
    clock += pass;
    await assert.rejects(client.sessions.list(), { code: 'invalid_token', status: 401 });
    const state = client.getState();
    assert.deepEqual(brief(state), ['signed-out', reason, 'SessionError', reason]);
    assert.equal(state.error.requestId, 'r-invalid_token');
    assert.equal(page.session.getItem(NAME), null);
    assert.equal(await client.getToken(), null);
    assert.equal(page.timers.size, 0);
  }
});

test('a 401 for a token that was replaced meanwhile says nothing about the new one', async (t) => {
  const { client, broker, grant } = await openSignedIn(t);
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  broker.fault = async ({ path, bearer }) => {
    if (path !== 'api/sessions' || bearer !== grant.bearer) return undefined;
    await held;
    return refused(401, 'invalid_token');
  };
  const listing = client.sessions.list();
  await client.rotate();
  release();
  await assert.rejects(listing, { code: 'invalid_token' });
  assert.equal(client.getState().status, 'signed-in');
});

test('a 401 of an API asks the broker, whose word counts', async (t) => {
  const { client, broker, grant } = await openSignedIn(t);
  const unsure = ({ path }) => (path === 'orders' ? new Response('no', { status: 401 }) : undefined);
  broker.fault = unsure;
  assert.equal((await client.fetch(`${broker.origin}/orders`)).status, 401);
  assert.equal(client.getState().status, 'signed-in', 'the broker says the token lives');
  broker.end(grant.session.id);
  assert.equal((await client.fetch(`${broker.origin}/orders`)).status, 401);
  assert.deepEqual(brief(client.getState()), ['signed-out', 'revoked', 'SessionError', 'revoked']);

  const other = await openSignedIn(t, { on401: 'ignore' });
  other.broker.fault = unsure;
  other.broker.end(other.grant.session.id);
  await other.client.fetch(`${broker.origin}/orders`);
  assert.equal(other.client.getState().status, 'signed-in');
});

test('the token goes to the page’s own origin, the broker and resourceOrigins only', async (t) => {
  const warned = t.mock.method(console, 'warn', () => {});
  const { client, broker, grant } = await openSignedIn(t, { resourceOrigins: ['https://api.example/v1'] });
  const authorization = `Bearer ${grant.bearer}`;
  for (const url of ['https://broker.example/api/me', 'https://api.example/x', new URL('https://api.example:443/y'),
    '/relative', 'relative', `${APP}api/orders`]) {
    assert.deepEqual(await client.authHeaders(url), { Authorization: authorization }, String(url));
  }
  broker.fault = () => new Response('ok');
  const foreign = ['https://api.example.evil.test/', 'http://api.example/', 'https://api.example:8443/',
    'https://broker.example@evil.test/', 'https://evil.test/?https://api.example', '//evil.test/', 'data:,x'];
  for (const url of foreign) {
    assert.deepEqual(await client.authHeaders(url), {}, url);
    const absolute = new URL(url, APP).href;
    if (absolute.includes('@')) continue; // fetch itself refuses credentials in an address
    await client.fetch(absolute);
    assert.equal(broker.requests.at(-1).bearer, null, url);
  }
  assert.equal(warned.mock.callCount(), 1, 'once');
  assert.match(warned.mock.calls[0].arguments[0], /no token was sent to https:\/\/api\.example\.evil\.test.*resourceOrigins/);
  assert.ok(!warned.mock.calls[0].arguments[0].includes(grant.bearer));
  await client.fetch(new Request('https://api.example/x', { method: 'POST', body: '{"a":1}', headers: { 'x-own': '1' } }));
  const { bearer, method, body, redirect } = broker.requests.at(-1);
  assert.deepEqual([bearer, method, body, redirect], [grant.bearer, 'POST', { a: 1 }, 'error']);
});

test('logout clears here, tells the other tabs, then the broker', async (t) => {
  const order = [];
  const storage = new FakeStorage();
  const { client, broker, grant } = await openSignedIn(t, { shareAcrossTabs: true, storage });
  client.on('signed-out', () => order.push(['state', storage.items.size, FakeChannel.sent.length]));
  broker.fault = ({ path, keepalive, body }) => void order.push([path, keepalive, body, FakeChannel.sent.length]);
  const done = client.logout();
  assert.deepEqual(brief(client.getState()), ['signed-out', 'manual', undefined, undefined], 'at once');
  assert.equal(await done, true);
  assert.deepEqual(order, [['state', 0, 0], ['api/logout', true, { everywhere: false }, 1]]);
  assert.equal(broker.isLive(grant.bearer), false);
});

test('a logout that the broker did not confirm is reported', async (t) => {
  for (const fault of [down, () => refused(503, 'temporarily_unavailable')]) {
    const { client, broker, page } = await openSignedIn(t);
    broker.fault = fault;
    assert.equal(await client.logout(), false);
    assert.deepEqual(brief(await client.ready()), ['signed-out', 'manual', 'SessionError', 'revocation_not_confirmed']);
    assert.equal(client.getState().error.retryable, false);
    assert.equal(page.session.getItem(NAME), null);
  }
  const { client, broker, grant } = await openSignedIn(t);
  broker.end(grant.session.id);
  assert.equal(await client.logout(), true, 'a token that is dead already is a confirmation');
});

test('scopes: this session, the others, all', async (t) => {
  const broker = new FakeBroker();
  const [phone, bobs] = [broker.grant('alice'), broker.grant('bob')];
  const { client, grant } = await openSignedIn(t, { broker });
  await client.logout({ scope: 'others' });
  assert.deepEqual([grant, phone, bobs].map(({ bearer }) => broker.isLive(bearer)), [true, false, true]);
  assert.equal(client.getState().status, 'signed-in');
  const tablet = broker.grant('alice');
  await client.logout({ scope: 'all' });
  assert.deepEqual([grant, tablet, bobs].map(({ bearer }) => broker.isLive(bearer)), [false, false, true]);
});

test('logout goes on to the provider only when asked', async (t) => {
  for (const provider of [true, false]) {
    const { client, broker, visited } = await openSignedIn(t);
    broker.fault = ({ path }) => (path === 'api/logout'
      ? Response.json({ provider_logout_url: 'https://idp.example/end' }) : undefined);
    await client.logout({ provider });
    assert.deepEqual(visited, provider ? ['https://idp.example/end'] : []);
  }
});

test('revoking the own session signs out here', async (t) => {
  const { client, broker, grant } = await openSignedIn(t);
  const phone = broker.grant('alice');
  await client.sessions.revoke(phone.session.id);
  assert.equal(client.getState().status, 'signed-in');
  assert.deepEqual((await client.sessions.list()).map(({ id, current }) => [id, current]), [[grant.session.id, true]]);
  await client.sessions.revoke(grant.session.id);
  assert.deepEqual(brief(client.getState()), ['signed-out', 'manual', undefined, undefined]);
});

test('an answer that arrives after logout never brings the session back', async (t) => {
  const begin = {
    'api/token/rotate': (client) => client.rotate(),
    'api/sessions': (client) => client.sessions.list(),
    'api/me': (client, broker) => client.fetch(`${broker.origin}/orders`),
  };
  for (const [path, act] of Object.entries(begin)) {
    const { client, broker, page } = await openSignedIn(t);
    let release;
    const held = new Promise((resolve) => { release = resolve; });
    broker.fault = async (request) => {
      if (request.path === 'orders') return new Response('no', { status: 401 });
      if (request.path === path) await held; // the broker answers as it would have before the logout
      return request.path === path ? Response.json({ access_token: 'tbk_late', expires_in: 60, sessions: [], user: {}, session: {} }) : undefined;
    };
    const late = act(client, broker);
    await turn();
    await client.logout();
    release();
    await late;
    assert.deepEqual(brief(client.getState()), ['signed-out', 'manual', undefined, undefined], path);
    assert.equal(await client.getToken(), null);
    assert.equal(page.session.getItem(NAME), null);
    assert.equal(page.timers.size, 0, path);
  }
});

test('a login that completes after logout is given back to the broker', async (t) => {
  const { client, broker, page } = await comeBack(t);
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  broker.fault = async ({ path }) => { if (path === 'api/get_token') await held; };
  const ready = client.ready();
  await turn();
  await client.logout();
  release();
  assert.deepEqual(brief(await ready), ['signed-out', 'manual', undefined, undefined]);
  assert.equal(page.session.getItem(NAME), null);
  const { path, bearer } = broker.requests.at(-1);
  assert.equal(path, 'api/logout');
  assert.equal(broker.isLive(bearer), false);
});

test('a hand-over that arrives after logout is not taken', async (t) => {
  const broker = new FakeBroker();
  const first = await openSignedIn(t, { broker, shareAcrossTabs: true });
  const second = open(t, { broker, page: first.page, storage: new FakeStorage(), shareAcrossTabs: true });
  const ready = second.client.ready();
  await second.client.logout();
  assert.equal((await ready).status, 'signed-out');
  assert.equal(await second.client.getToken(), null);
});

test('a hand-over that arrives together with a logout is not taken', async (t) => {
  const broker = new FakeBroker();
  const first = await openSignedIn(t, { broker, shareAcrossTabs: true });
  const second = open(t, { broker, page: first.page, storage: new FakeStorage(), shareAcrossTabs: true }).client;
  const ready = second.ready();
  const channel = [...FakeChannel.open].at(-1);
  const { onmessage } = channel;
  channel.onmessage = (event) => {
    onmessage(event);
    if (event.data.found) second.logout();
  };
  assert.deepEqual(brief(await ready), ['signed-out', 'manual', undefined, undefined]);
  assert.equal(await second.getToken(), null);
});

test('expiry is counted from expires_in at receipt, whatever the clocks say', async (t) => {
  const clock = Date.parse('2001-01-01T00:00:00Z'); // this machine is decades behind the broker
  const { client } = await comeBack(t, { now: () => clock });
  const { token } = await client.ready();
  assert.equal(token.expiresAt, clock + 7 * DAY);
  assert.equal(token.rotatesAt, clock + 6 * DAY);
});

test('a timer longer than a browser can count is armed again, and does not fire early', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const broker = new FakeBroker();
  broker.lifetime = 90 * 86_400;
  const { client, page } = await comeBack(t, { broker });
  const { token } = await client.ready();
  for (let day = 0; day < 88; day += 8) {
    assert.ok(Math.max(...page.timers.values()) < 2 ** 31);
    t.mock.timers.tick(8 * DAY);
    await turn();
    assert.equal(broker.count('api/token/rotate'), 0, `after ${day + 8} days`);
  }
  assert.ok(Date.now() < token.rotatesAt);
  t.mock.timers.tick(2 * DAY);
  await turn();
  assert.equal(broker.count('api/token/rotate'), 1);
});

test('the token is rotated before it expires, and asked about when it has expired', async (t) => {
  let clock = Date.now();
  const { client, broker, grant } = await openSignedIn(t, { now: () => clock });
  clock = grant.token.rotatesAt - 1;
  assert.equal(await client.getToken(), grant.bearer);
  clock = grant.token.expiresAt - 1;
  const next = await client.getToken();
  assert.notEqual(next, grant.bearer);
  assert.equal(client.getState().token.expiresAt, clock + 7 * DAY);
  clock += 8 * DAY;
  broker.end(grant.session.id);
  assert.equal(await client.getToken(), null);
  assert.deepEqual(brief(client.getState()), ['signed-out', 'expired', 'SessionError', 'expired']);
});

test('rotateBeforeSeconds counts, but no token is rotated in the first half of its life', async (t) => {
  const { client } = await comeBack(t, { rotateBeforeSeconds: 3600, now: () => 0 });
  assert.deepEqual((await client.ready()).token, {
    receivedAt: 0, rotatesAt: 7 * DAY - 3_600_000, expiresAt: 7 * DAY,
  });
  const broker = new FakeBroker();
  broker.lifetime = 600;
  const short = await comeBack(t, { broker, now: () => 0 });
  assert.deepEqual((await short.client.ready()).token, {
    receivedAt: 0, rotatesAt: 300_000, expiresAt: 600_000,
  });
  broker.lifetime = 60; // the last of a session: nothing would be gained
  const last = await comeBack(t, { broker, now: () => 0 });
  assert.equal((await last.client.ready()).token.rotatesAt, 60_000);
});

test('rotation is one request however many ask, and every caller gets the new token', async (t) => {
  const { client, broker, grant, page } = await openSignedIn(t);
  await Promise.all([client.rotate(), client.rotate(), client.rotate()]);
  assert.equal(broker.count('api/token/rotate'), 1);
  const now = await client.getToken();
  assert.notEqual(now, grant.bearer);
  assert.equal(JSON.parse(page.session.getItem(NAME)).bearer, now);
  await client.rotate();
  assert.equal(broker.count('api/token/rotate'), 2, 'the next one is a new request');
});

test('two tabs that rotate at once both stay signed in, and no lock is taken', async (t) => {
  const locks = { get locks() { throw new Error('a lock was asked for'); } };
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: locks });
  t.after(() => delete globalThis.navigator);
  const broker = new FakeBroker();
  const first = await openSignedIn(t, { broker, shareAcrossTabs: true, storage: new FakeStorage() });
  const second = open(t, { broker, page: first.page, storage: new FakeStorage(), shareAcrossTabs: true });
  assert.equal((await second.client.ready()).status, 'signed-in');
  await Promise.all([first.client.rotate(), second.client.rotate()]);
  await turn();
  for (const { client } of [first, second]) {
    assert.equal(client.getState().status, 'signed-in');
    assert.ok(broker.isLive(await client.getToken()));
  }
});

test('a tab that rotates gives the new token to the others', async (t) => {
  let clock = Date.now();
  const broker = new FakeBroker();
  const shared = { broker, shareAcrossTabs: true, now: () => clock };
  const first = await openSignedIn(t, { ...shared, storage: new FakeStorage() });
  const second = open(t, { ...shared, page: first.page, storage: new FakeStorage() });
  await second.client.ready();
  const bob = await openSignedIn(t, { ...shared, page: first.page, user: 'bob', storage: new FakeStorage() });
  let told = 0;
  second.client.on('rotated', () => { told += 1; });
  clock += DAY;
  await first.client.rotate();
  await turn();
  assert.equal(told, 1);
  const token = await first.client.getToken();
  assert.equal(await second.client.getToken(), token);
  assert.notEqual(await bob.client.getToken(), token);
  new FakeChannel(NAME).postMessage({ rotated: { ...first.grant, bearer: 'tbk_older' } });
  await turn();
  assert.equal(await second.client.getToken(), token);
  assert.equal(broker.count('api/token/rotate'), 1);
});

test('a rotation that failed is tried again in a minute, and the old token goes on', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const { client, broker, grant } = await openSignedIn(t);
  broker.fault = down;
  t.mock.timers.tick(7 * DAY - 1);
  await turn();
  assert.equal(broker.count('api/token/rotate'), 1);
  assert.deepEqual(brief(client.getState()), ['signed-in', undefined, 'NetworkError', 'network_error']);
  assert.equal(await client.getToken(), grant.bearer, 'without another request');
  assert.equal(broker.count('api/token/rotate'), 1);
  broker.fault = null;
  t.mock.timers.tick(60_000);
  await turn();
  await turn();
  assert.equal(broker.count('api/token/rotate'), 2);
  assert.deepEqual(brief(client.getState()), ['signed-in', undefined, undefined, undefined]);
});

test('a second tab signs in by hand-over, and logout reaches all tabs of the session', async (t) => {
  const broker = new FakeBroker();
  const tab = (page) => open(t, { broker, page, storage: new FakeStorage(), shareAcrossTabs: true }).client;
  const first = await openSignedIn(t, { broker, shareAcrossTabs: true, storage: new FakeStorage() });
  const [second, third] = [tab(first.page), tab(first.page)];
  assert.equal((await second.ready()).user.username, 'alice');
  assert.equal((await third.ready()).status, 'signed-in');
  assert.equal(broker.count('api/get_token'), 0);
  await second.logout();
  await turn();
  assert.deepEqual(brief(first.client.getState()), ['signed-out', 'other-tab', undefined, undefined]);
  assert.deepEqual(brief(third.getState()), ['signed-out', 'other-tab', undefined, undefined]);
  assert.deepEqual(brief(second.getState()), ['signed-out', 'manual', undefined, undefined]);
  assert.equal(first.storage.items.size, 0);
});

test('logout everywhere reaches tabs with another session of the user, and no other user', async (t) => {
  const broker = new FakeBroker();
  const page = openPage(t, APP);
  const tab = (user) => openSignedIn(t, { broker, page, user, storage: new FakeStorage(), shareAcrossTabs: true });
  const [one, two, bob] = [await tab('alice'), await tab('alice'), await tab('bob')];
  const status = () => [one, two, bob].map(({ client }) => client.getState().status);
  await one.client.logout();
  await turn();
  assert.deepEqual(status(), ['signed-out', 'signed-in', 'signed-in']);
  const again = await tab('alice');
  await again.client.logout({ scope: 'all' });
  await turn();
  assert.deepEqual(status(), ['signed-out', 'signed-out', 'signed-in']);
});

test('a session that is revoked by its id is over in all its tabs', async (t) => {
  const broker = new FakeBroker();
  const page = openPage(t, APP);
  const tab = () => openSignedIn(t, { broker, page, storage: new FakeStorage(), shareAcrossTabs: true });
  const [one, two] = [await tab(), await tab()];
  await one.client.sessions.revoke(two.grant.session.id);
  await turn();
  assert.deepEqual(brief(two.client.getState()), ['signed-out', 'other-tab', undefined, undefined]);
  assert.equal(one.client.getState().status, 'signed-in');
});

test('without another tab, or with sharing off, a new tab is signed out', async (t) => {
  const broker = new FakeBroker();
  const { page } = await openSignedIn(t, { broker, shareAcrossTabs: false });
  const lonely = open(t, { broker, page, storage: new FakeStorage(), shareAcrossTabs: true });
  assert.deepEqual(brief(await lonely.client.ready()), ['signed-out', null, undefined, undefined]);
  delete globalThis.BroadcastChannel;
  const old = open(t, { broker, page, storage: new FakeStorage(), shareAcrossTabs: true });
  assert.equal((await old.client.ready()).status, 'signed-out');
});

test('listeners hear real changes only, and the state keeps its identity', async (t) => {
  const { client, broker } = await openSignedIn(t);
  const heard = [];
  for (const event of ['change', 'signed-in', 'signed-out', 'rotated', 'error']) client.on(event, () => heard.push(event));
  const before = client.getState();
  await client.ready();
  broker.fault = ({ path }) => (path === 'orders' ? new Response('no', { status: 401 }) : undefined);
  await client.fetch(`${broker.origin}/orders`); // asks api/me: nothing new there
  assert.deepEqual(heard, []);
  assert.equal(client.getState(), before);
  broker.fault = down;
  await assert.rejects(client.rotate());
  await assert.rejects(client.rotate());
  assert.deepEqual(heard.splice(0), ['change', 'error'], 'the same failure again is no news');
  broker.fault = null;
  await client.rotate();
  assert.deepEqual(heard.splice(0), ['change', 'rotated']);
  await client.logout();
  assert.deepEqual(heard.splice(0), ['change', 'signed-out']);
});

test('nothing listens to focus, visibility or storage', async (t) => {
  const asked = [];
  globalThis.addEventListener = (event) => asked.push(event);
  globalThis.document = { addEventListener: globalThis.addEventListener };
  t.after(() => { delete globalThis.addEventListener; delete globalThis.document; });
  const { client } = await openSignedIn(t, { shareAcrossTabs: true });
  await client.rotate();
  await client.logout();
  assert.deepEqual(asked, ['online']);
});

test('subscribe tells at once and until it is ended', async (t) => {
  const { client } = await openSignedIn(t);
  const heard = [];
  const end = client.subscribe((state) => heard.push(state.status));
  const endTwin = client.subscribe((state) => heard.push(state.status));
  assert.deepEqual(heard.splice(0), ['signed-in', 'signed-in']);
  end();
  await client.logout();
  assert.deepEqual(heard, ['signed-out']);
  endTwin();
});

test('a throwing listener harms no other, and its error is not swallowed', async (t) => {
  const uncaught = [];
  process.setUncaughtExceptionCaptureCallback((error) => uncaught.push(error.message));
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const { client, broker, grant } = await openSignedIn(t);
  const heard = [];
  client.on('change', () => { throw new Error('listener failed'); });
  client.on('change', (state) => heard.push(state.status));
  assert.equal(await client.logout(), true);
  await turn();
  assert.deepEqual(heard, ['signed-out']);
  assert.deepEqual(uncaught, ['listener failed']);
  assert.equal(broker.isLive(grant.bearer), false);
});

test('a listener may call the client, and the later listeners see the newest state', async (t) => {
  const { client } = await openSignedIn(t);
  const heard = [];
  client.on('rotated', () => client.logout());
  client.on('rotated', (state) => heard.push(state.status));
  await client.rotate();
  assert.deepEqual(heard, ['signed-out']);
});

test('plain http on a name that is not localhost is a ConfigError that names the fix', async (t) => {
  const { client, visited } = open(t, { href: 'http://app.internal/' });
  const { subtle } = globalThis.crypto;
  Object.defineProperty(globalThis.crypto, 'subtle', { configurable: true, value: undefined });
  t.after(() => Object.defineProperty(globalThis.crypto, 'subtle', { configurable: true, value: subtle }));
  await assert.rejects(client.login(), (error) =>
    isBrokerError(error) && error.name === 'ConfigError' && error.code === 'insecure_context'
    && /https:/.test(error.message) && /localhost/.test(error.message));
  assert.deepEqual(visited, []);
});

test('nothing is logged, and neither state nor errors hold a secret', async (t) => {
  const logged = [];
  for (const method of ['log', 'info', 'warn', 'error', 'debug', 'trace']) {
    t.mock.method(console, method, (...words) => logged.push(words));
  }
  const { client, broker, page } = await comeBack(t);
  const answer = page.href;
  const pending = page.session.getItem(`${NAME}:login`);
  const shown = [];
  client.subscribe((state) => shown.push(JSON.stringify(state), String(state.error?.stack)));
  await client.ready();
  const token = await client.getToken();
  broker.fault = () => refused(503, 'temporarily_unavailable');
  await client.rotate().catch((error) => shown.push(JSON.stringify(error), error.stack, String(error.cause)));
  broker.fault = down;
  await client.rotate().catch((error) => shown.push(JSON.stringify(error), error.stack, String(error.cause)));
  const lost = await comeBack(t, { broker, page });
  lost.client.subscribe((state) => shown.push(JSON.stringify(state)));
  await lost.client.ready(); // the redemption fails, with key and verifier in its body
  broker.fault = null;
  broker.end(client.getState().session.id);
  await client.sessions.list().catch((error) => shown.push(JSON.stringify(error), error.stack));
  shown.push(JSON.stringify(client), String(client));
  assert.deepEqual(logged, []);
  const keys = [answer, lost.answer].map((url) => new URL(url).searchParams.get('one_time_key'));
  const secrets = [token, ...keys, JSON.parse(pending).verifier];
  for (const secret of secrets) assert.ok(secret.length > 7 && !shown.join('\n').includes(secret));
});

test('dispose leaves no timer, listener or channel, and signs no one out', async (t) => {
  const { client, page, broker, grant, storage } = await openSignedIn(t, { shareAcrossTabs: true });
  let heard = 0;
  client.subscribe(() => { heard += 1; });
  assert.equal(page.timers.size, 1);
  assert.equal(FakeChannel.open.size, 1);
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  broker.fault = () => held;
  const late = client.rotate();
  client.dispose();
  release(undefined);
  await late;
  assert.deepEqual([page.timers.size, FakeChannel.open.size, heard], [0, 0, 1]);
  assert.equal(broker.isLive(grant.bearer), true);
  assert.ok(storage.getItem(NAME));
  broker.fault = null;
  await client.logout();
  assert.equal(heard, 1, 'no one listens any more');
});

test('dispose while a new tab waits for the others ends the wait', async (t) => {
  const { client, page } = open(t, { shareAcrossTabs: true });
  const ready = client.ready();
  await turn();
  assert.equal(page.timers.size, 1);
  client.dispose();
  await ready;
  assert.deepEqual([page.timers.size, FakeChannel.open.size], [0, 0]);
});

test('storage: session by default, memory leaves nothing, local and own ones on request', async (t) => {
  const own = new FakeStorage();
  for (const storage of [undefined, 'memory', 'local', own]) {
    const { client, page } = await comeBack(t, { storage });
    await client.ready();
    const held = [page.session, page.local, own].map((each) => each.items.has(NAME));
    assert.deepEqual(held, [storage === undefined, storage === 'local', storage === own]);
    assert.ok(await client.getToken());
    own.items.clear();
  }
});

test('storage: a full or forbidden one costs the reload only', async (t) => {
  const { client, page } = await comeBack(t);
  page.session.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };
  assert.equal((await client.ready()).status, 'signed-in');
  page.session.getItem = () => 'not JSON';
  const broken = open(t, { page, href: APP });
  assert.equal((await broken.client.ready()).status, 'signed-out');
});

test('requests: a broker below a path, own origin by default, a wrong server is named', async (t) => {
  const { client, broker } = await comeBack(t, { brokerUrl: 'https://broker.example/auth' });
  broker.fault = ({ url }) => {
    assert.ok(url.startsWith('https://broker.example/auth/api/'), url);
    return new Response('<!doctype html>');
  };
  const { error } = await client.ready();
  assert.deepEqual([error.name, error.code], ['HandoffError', 'http_200']);
  assert.match(error.message, /brokerUrl/);

  const own = open(t, { brokerUrl: undefined });
  await own.client.login();
  assert.ok(own.visited[0].startsWith(`${APP}login?`));
});

test('requests: the client’s own carry no cookies, follow no redirect and end after ten seconds', async (t) => {
  const { client, broker } = await openSignedIn(t);
  await client.rotate();
  for (const { credentials, redirect } of broker.requests) assert.deepEqual([credentials, redirect], ['omit', 'error']);
  const limits = [];
  t.mock.method(AbortSignal, 'timeout', (limit) => {
    limits.push(limit);
    return AbortSignal.abort(new DOMException('too late', 'TimeoutError'));
  });
  await assert.rejects(client.rotate(), { name: 'NetworkError', code: 'network_error', retryable: true });
  assert.deepEqual(limits, [10_000]);
});

test('requests: what needs a session says so', async (t) => {
  const { client, broker } = open(t);
  await client.ready();
  for (const act of [client.rotate, client.sessions.list, () => client.sessions.revoke('x')]) {
    await assert.rejects(act(), { name: 'SessionError', code: 'not_signed_in' });
  }
  assert.equal(await client.logout(), true);
  assert.equal(broker.requests.length, 0);
});

/** The client's fourteen behaviours in a real browser against the real broker, each by its number in the guide. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { answerProvider, goToProvider, openClient, requestsTo, settled, signIn, startBoth, stopClock } from './support/browser.mjs';

let broker;
let browser;
before(async () => { [broker, browser] = await startBoth(); });
after(async () => { await browser?.close(); await broker?.end(); });

/** A browser profile of its own, closed with the test. */
async function profile(t, options) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  return context;
}

/** A tab with the client, and one that is signed in. */
const open = async (t, options) => openClient(await profile(t), broker, options);
async function openSignedIn(t, options, choice) {
  const page = await open(t, options);
  assert.equal((await signIn(page, choice)).status, 'signed-in');
  return page;
}

const state = (page) => page.evaluate(() => {
  const { status, reason, error, user } = broker.getState();
  return { status, reason, error: error && { name: error.name, code: error.code, requestId: error.requestId }, user: user?.username };
});
const token = (page) => page.evaluate(() => broker.getToken());
/** What the broker itself says to this token. */
const verdict = async (bearer) =>
  (await fetch(`${broker.origin}/api/me`, { headers: { authorization: `Bearer ${bearer}` } })).status;
/** The next key is redeemed with a verifier that is not its own, as a key that was used or has expired. */
const withWrongProof = (page) => page.route('**/api/get_token', (route) => {
  const body = { ...route.request().postDataJSON(), code_verifier: 'x'.repeat(43) };
  return route.continue({ postData: JSON.stringify(body) });
});
/** Ends the session as another device would. */
const endElsewhere = (bearer) =>
  fetch(`${broker.origin}/api/logout`, { method: 'POST', headers: { authorization: `Bearer ${bearer}` } });

/** Lets requests to `path` reach the broker and keeps the answers: `given` once there is one, until `release()`. */
async function holdAnswer(page, path) {
  let arrived, release;
  const given = new Promise((resolve) => { arrived = resolve; });
  const released = new Promise((resolve) => { release = resolve; });
  await page.route(path, async (route) => {
    const response = await route.fetch();
    arrived();
    await released;
    await route.fulfill({ response });
  });
  return { given, release };
}

test('the answer leaves the address before anything waits; history state stays', async (t) => {
  const page = await open(t, {
    script: 'window.before = location.href; window.done = broker.ready(); window.after = [location.href, history.state];',
  });
  await goToProvider(page);
  await answerProvider(page);
  assert.equal((await settled(page)).status, 'signed-in');
  const seen = await page.evaluate(() => ({ before: window.before, after: window.after }));
  assert.match(seen.before, /\?one_time_key=tbo_\w+&state=[\w-]+/);
  assert.deepEqual(seen.after, [`${broker.origin}/`, { router: 'state' }]);
  await page.goBack();
  assert.doesNotMatch(page.url(), /one_time_key/);
});

test('other parameters, the fragment and the route of a hash router stay', async (t) => {
  // What a registered address with a query of its own, or a router that was quicker, would look like.
  const page = await open(t, {
    script: "if (location.search) history.replaceState(null, '', `${location.search}&x=a%20b#/settings?tab=2`); broker.ready();",
  });
  await goToProvider(page);
  await answerProvider(page);
  assert.equal((await settled(page)).status, 'signed-in');
  assert.equal(page.url(), `${broker.origin}/?x=a%20b#/settings?tab=2`);
});

test('returnTo is where the person ends up', async (t) => {
  const page = await open(t);
  await goToProvider(page, { provider: 'dev', returnTo: '/?order=7#pay' });
  await answerProvider(page);
  assert.equal((await settled(page)).status, 'signed-in');
  assert.equal(page.url(), `${broker.origin}/?order=7#pay`);
});

test('a key is redeemed once however often ready() is called', async (t) => {
  const page = await open(t, { script: 'for (let i = 0; i < 5; i++) broker.ready();' });
  const redemptions = requestsTo(page, '/api/get_token');
  assert.equal((await signIn(page)).user.username, 'alice');
  await page.evaluate(() => broker.ready());
  assert.equal(redemptions.length, 1);
});

test('a key that no login of this tab waits for leaves the address and is not redeemed', async (t) => {
  const thief = await open(t, { script: '' });
  await goToProvider(thief);
  await answerProvider(thief);
  await thief.waitForURL(/one_time_key=/);
  const { pathname, search } = new URL(thief.url());
  const victim = await openClient(await profile(t), broker, { path: pathname + search, script: '' });
  const redemptions = requestsTo(victim, '/api/get_token');
  await victim.evaluate(() => broker.ready());
  assert.deepEqual(await state(victim), {
    status: 'signed-out', reason: null, user: undefined, error: { name: 'LoginError', code: 'unknown_login', requestId: null },
  });
  assert.equal(victim.url(), broker.origin + pathname);
  assert.equal(redemptions.length, 0);
});

test('a used key ends signed out with a HandoffError, without a loop', async (t) => {
  const page = await open(t);
  await goToProvider(page);
  await page.route('**/api/get_token', async (route) => {
    const first = await route.fetch(); // the key is used before the page gets to it
    assert.equal(first.status(), 200);
    await route.continue();
  });
  const navigations = [];
  page.on('framenavigated', (frame) => navigations.push(frame.url()));
  await answerProvider(page);
  await settled(page);
  const { error, ...rest } = await state(page);
  assert.deepEqual(rest, { status: 'signed-out', reason: null, user: undefined });
  assert.deepEqual([error.name, error.code], ['HandoffError', 'invalid_grant']);
  assert.ok(error.requestId);
  const visits = navigations.length;
  await page.waitForTimeout(500);
  assert.equal(navigations.length, visits);
});

test('an existing session survives a login that was denied, and one whose key was refused', async (t) => {
  const page = await openSignedIn(t);
  const bearer = await token(page);
  await goToProvider(page, { provider: 'dev', prompt: 'login' });
  await answerProvider(page, { deny: '1' });
  await settled(page);
  const denied = await state(page);
  assert.match(denied.error.requestId, /^[\w-]{8,}$/);
  assert.deepEqual(denied, {
    status: 'signed-in', reason: undefined, user: 'alice', error: { ...denied.error, name: 'LoginError', code: 'access_denied' },
  });
  await withWrongProof(page);
  await page.evaluate(() => { broker.login({ provider: 'dev' }); }); // comes straight back: the browser is signed in
  await page.waitForFunction(() => window.broker?.getState().error?.name === 'HandoffError');
  const after = await state(page);
  assert.deepEqual([after.status, after.user, after.error.name], ['signed-in', 'alice', 'HandoffError']);
  assert.equal(await token(page), bearer);
});

test('a key that was refused after a new sign-in says so, and ends no session', async (t) => {
  const page = await openSignedIn(t);
  const bearer = await token(page);
  await goToProvider(page, { provider: 'dev', prompt: 'login' });
  await withWrongProof(page);
  await answerProvider(page, { user: 'bob' });
  await settled(page);
  const { status, user, error } = await state(page);
  assert.deepEqual([status, user, error.name, error.code], ['signed-in', 'alice', 'HandoffError', 'invalid_grant']);
  assert.equal(await token(page), bearer);
});

test('with the broker stopped one stays signed in, also over a reload', async (t) => {
  const page = await openSignedIn(t);
  const bearer = await token(page);
  await broker.stop();
  t.after(() => broker.start()); // for the tests that follow, should this one fail
  assert.equal(await page.evaluate(() => broker.rotate().catch((error) => error.code)), 'network_error');
  assert.equal((await state(page)).status, 'signed-in');
  await page.reload(); // the page is not the broker's here
  await settled(page);
  const { status, user, error } = await state(page);
  assert.deepEqual([status, user, error.code], ['signed-in', 'alice', 'network_error']);
  await broker.start();
  assert.equal((await page.evaluate(() => broker.ready())).error, null);
  assert.equal(await token(page), bearer);
});

test('a redemption that gets no answer is repeated, also by a reload', async (t) => {
  const page = await open(t);
  const attempts = requestsTo(page, '/api/get_token');
  await page.route('**/api/get_token', (route) => route.abort(), { times: 1 });
  await goToProvider(page);
  await answerProvider(page);
  await settled(page);
  assert.equal((await state(page)).error.code, 'network_error');
  await page.waitForFunction(() => broker.getState().status === 'signed-in');
  assert.equal(attempts.length, 2);

  const second = await open(t);
  await second.route('**/api/get_token', () => {}, { times: 1 }); // no answer, until the reload
  await goToProvider(second);
  await answerProvider(second);
  await second.waitForURL(`${broker.origin}/`);
  await second.waitForRequest('**/api/get_token').catch(() => {});
  await second.reload();
  assert.equal((await settled(second)).user.username, 'alice');
  assert.deepEqual(await second.evaluate(() => Object.keys(sessionStorage)), ['token-broker::sample']);
});

test('an answer that was lost: the browser’s session at the broker signs in, without a page', async (t) => {
  const page = await open(t);
  await goToProvider(page);
  await page.route('**/api/get_token', async (route) => {
    await route.fetch(); // the key is used
    await route.abort();
  }, { times: 1 });
  const logins = [];
  page.on('request', (request) => { if (new URL(request.url()).pathname === '/login') logins.push(request.url()); });
  await answerProvider(page);
  await page.waitForFunction(() => window.broker?.getState().status === 'signed-in');
  assert.equal(logins.length, 1);
  assert.match(logins[0], /prompt=none/);
});

test('restore: silent signs a new tab in by the browser’s session, and a browser without one just once not', async (t) => {
  const context = await profile(t);
  const first = await openClient(context, broker);
  await signIn(first);
  await first.close(); // no tab is left to ask
  const later = await openClient(context, broker, { options: { restore: 'silent' }, path: '/?order=7#pay' });
  await later.waitForFunction(() => window.broker?.getState().status === 'signed-in');
  assert.equal(later.url(), `${broker.origin}/?order=7#pay`);

  const stranger = await open(t, { options: { restore: 'silent' } });
  await stranger.waitForFunction(() => window.broker?.getState().status === 'signed-out');
  assert.deepEqual((await state(stranger)).error, null);
  const logins = requestsTo(stranger, '/login');
  await stranger.reload();
  await settled(stranger);
  assert.deepEqual([logins.length, (await state(stranger)).status], [0, 'signed-out']);
});

test('a sign-in reaches the open tabs that are signed out', async (t) => {
  const context = await profile(t);
  const [waiting, page] = [await openClient(context, broker), await openClient(context, broker)];
  assert.equal((await settled(waiting)).status, 'signed-out');
  await signIn(page);
  await waiting.waitForFunction(() => broker.getState().status === 'signed-in');
  assert.equal(await token(waiting), await token(page));
});

test('in a frame the client says so and stays; requireLogin comes back to the page', async (t) => {
  const context = await profile(t);
  const page = await openClient(context, broker);
  const code = await page.evaluate(async () => {
    const frame = document.createElement('iframe');
    frame.src = '/';
    document.body.append(frame);
    await new Promise((resolve) => { frame.onload = resolve; });
    while (!frame.contentWindow.broker) await new Promise((resolve) => { setTimeout(resolve, 20); });
    return frame.contentWindow.broker.login().catch((error) => error.code);
  });
  assert.equal(code, 'in_frame');
  assert.equal(page.url(), `${broker.origin}/`);
  await page.evaluate(() => { broker.requireLogin({ provider: 'dev', returnTo: '/?order=8' }); });
  await answerProvider(page);
  await page.waitForFunction(() => window.broker?.getState().status === 'signed-in');
  assert.equal(page.url(), `${broker.origin}/?order=8`);
});

test('a 5xx, a 403 or a 401 of another server does not sign out', async (t) => {
  const page = await openSignedIn(t);
  for (const [status, body, code] of [[503, '{"code":"temporarily_unavailable"}', 'temporarily_unavailable'],
    [403, '{"code":"insufficient_scope"}', 'insufficient_scope'], [401, '<h1>Proxy</h1>', 'http_401']]) {
    await page.route('**/api/token/rotate', (route) => route.fulfill({ status, body }), { times: 1 });
    assert.equal(await page.evaluate(() => broker.rotate().catch((error) => error.code)), code);
    assert.equal((await state(page)).status, 'signed-in');
  }
});

test('a session that was ended elsewhere is noticed with the next call, with the request id', async (t) => {
  const page = await openSignedIn(t);
  assert.ok((await endElsewhere(await token(page))).ok);
  assert.equal(await page.evaluate(() => broker.fetch('/api/me').then(({ status }) => status)), 401);
  const { status, reason, error } = await state(page);
  assert.deepEqual([status, reason, error.name, error.code], ['signed-out', 'revoked', 'SessionError', 'revoked']);
  assert.ok(error.requestId);
  assert.equal(await page.evaluate(() => Object.keys(sessionStorage).length), 0);
});

test('the token goes to the broker and resourceOrigins only, and never along a redirect', async (t) => {
  const seen = [];
  const serve = async (answer) => {
    const server = createServer((request, response) => {
      response.setHeader('access-control-allow-origin', '*');
      response.setHeader('access-control-allow-headers', 'authorization');
      if (request.method === 'OPTIONS') response.writeHead(204).end();
      else answer(request, response);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    return `http://127.0.0.1:${server.address().port}`;
  };
  const note = (name) => (request, response) => {
    seen.push([name, request.headers.authorization?.slice(0, 11)]);
    response.end('ok');
  };
  const foreign = await serve(note('foreign'));
  const trusted = await serve((request, response) => (request.url === '/moved'
    ? response.writeHead(302, { location: `${foreign}/` }).end()
    : note('trusted')(request, response)));
  const page = await openSignedIn(t, { options: { resourceOrigins: [trusted] } });
  const call = (url) => page.evaluate((to) => broker.fetch(to).then(({ status }) => status, (error) => error.name), url);
  assert.equal(await call(`${trusted}/`), 200);
  assert.equal(await call(`${foreign}/`), 200);
  assert.equal(await call(`${trusted}/moved`), 'TypeError');
  assert.deepEqual(seen, [['trusted', 'Bearer tbk_'], ['foreign', undefined]]);
});

test('logout: cleared at once, ended at the broker', async (t) => {
  const page = await openSignedIn(t);
  const bearer = await token(page);
  assert.equal(await verdict(bearer), 200);
  const [atOnce, confirmed] = await page.evaluate(async () => {
    const done = broker.logout();
    return [[broker.getState().status, Object.keys(sessionStorage).length], await done];
  });
  assert.deepEqual(atOnce, ['signed-out', 0]);
  assert.equal(confirmed, true);
  assert.equal(await verdict(bearer), 401);
});

test('logout reaches the broker although the page is left at once', async (t) => {
  const page = await openSignedIn(t);
  const bearer = await token(page);
  await page.evaluate(() => { broker.logout(); location.assign('about:blank'); });
  await page.waitForURL('about:blank');
  for (const end = Date.now() + 30_000; await verdict(bearer) === 200 && Date.now() < end;) await page.waitForTimeout(100);
  assert.equal(await verdict(bearer), 401);
});

test('a logout that could not be confirmed is reported', async (t) => {
  const page = await openSignedIn(t);
  await page.route('**/api/logout', (route) => route.abort());
  assert.equal(await page.evaluate(() => broker.logout()), false);
  const { status, reason, error } = await state(page);
  assert.deepEqual([status, reason, error.code], ['signed-out', 'manual', 'revocation_not_confirmed']);
});

test('logout of all sessions reaches another browser of the same person', async (t) => {
  const [here, there, bob] = [await openSignedIn(t), await openSignedIn(t), await openSignedIn(t, {}, { user: 'bob' })];
  const bearers = await Promise.all([here, there, bob].map(token));
  assert.equal(await here.evaluate(() => broker.logout({ scope: 'all' })), true);
  assert.deepEqual(await Promise.all(bearers.map(verdict)), [401, 401, 200]);
});

test('an answer that arrives after logout never brings the session back', async (t) => {
  const page = await openSignedIn(t);
  const rotation = await holdAnswer(page, '**/api/token/rotate');
  await page.evaluate(() => { window.late = broker.rotate(); });
  await rotation.given;
  await page.evaluate(() => broker.logout());
  rotation.release();
  await page.evaluate(() => window.late);
  assert.equal((await state(page)).status, 'signed-out');
  assert.equal(await token(page), null);
  assert.equal(await page.evaluate(() => Object.keys(sessionStorage).length), 0);
});

test('a refusal that arrives after logout does not change why one is signed out', async (t) => {
  const page = await openSignedIn(t);
  await endElsewhere(await token(page));
  const rotation = await holdAnswer(page, '**/api/token/rotate');
  await page.evaluate(() => { window.late = broker.rotate().catch(({ code }) => code); });
  await rotation.given;
  await page.evaluate(() => broker.logout());
  rotation.release();
  assert.equal(await page.evaluate(() => window.late), 'invalid_token');
  const { status, reason, error } = await state(page);
  assert.deepEqual([status, reason, error], ['signed-out', 'manual', null]);
});

test('expiry counts from the arrival, and a timer of weeks does not fire early', async (t) => {
  const day = 86_400_000;
  const context = await profile(t);
  await context.clock.install({ time: new Date('2001-01-01T00:00:00Z') }); // decades behind the broker's clock
  const page = await openClient(context, broker);
  await page.route('**/api/get_token', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), expires_in: 60 * 86_400 } });
  });
  const rotations = requestsTo(page, '/api/token/rotate');
  const { token: times } = await signIn(page);
  assert.equal(Math.round((times.expiresAt - times.receivedAt) / day), 60);
  assert.equal(new Date(times.receivedAt).getUTCFullYear(), 2001);
  await context.clock.fastForward(58 * day);
  await page.waitForTimeout(200);
  assert.equal(rotations.length, 0);
  await context.clock.fastForward(1.75 * day); // a quarter of a day is left
  await page.waitForFunction((day) => broker.getState().token.expiresAt - Date.now() > 6 * day, day);
  assert.equal(rotations.length, 1);
});

test('rotation: one request for many calls, the new token works, the old one still does for a while', async (t) => {
  const page = await openSignedIn(t);
  const old = await token(page);
  const rotations = requestsTo(page, '/api/token/rotate');
  await page.evaluate(() => Promise.all([broker.rotate(), broker.rotate(), broker.rotate()]));
  assert.equal(rotations.length, 1);
  const next = await token(page);
  assert.notEqual(next, old);
  assert.deepEqual([await verdict(next), await verdict(old)], [200, 200]);
});

test('two tabs that rotate at once both stay signed in', async (t) => {
  const context = await profile(t);
  const first = await openClient(context, broker);
  await signIn(first);
  await stopClock(context);
  const second = await openClient(context, broker);
  assert.equal((await settled(second)).status, 'signed-in');
  await context.clock.resume();
  await Promise.all([first, second].map((page) => page.evaluate(() => broker.rotate())));
  for (const page of [first, second]) {
    assert.equal((await state(page)).status, 'signed-in');
    assert.equal(await verdict(await token(page)), 200);
    await page.reload();
    assert.equal((await settled(page)).status, 'signed-in');
  }
});

test('a second tab signs in without a redirect, and logout reaches it', async (t) => {
  const context = await profile(t);
  const first = await openClient(context, broker);
  await signIn(first);
  await stopClock(context);
  const second = await openClient(context, broker, { script: 'window.stored = Object.keys(sessionStorage).length; broker.ready();' });
  assert.equal((await settled(second)).user.username, 'alice');
  assert.equal(await second.evaluate(() => window.stored), 0, 'the storage of tabs is not shared');
  await first.evaluate(() => broker.logout());
  await second.waitForFunction(() => broker.getState().status === 'signed-out');
  assert.equal((await state(second)).reason, 'other-tab');
  assert.equal(await second.evaluate(() => Object.keys(sessionStorage).length), 0);
});

test('with sharing off a second tab is signed out', async (t) => {
  const context = await profile(t);
  const options = { shareAcrossTabs: false };
  await signIn(await openClient(context, broker, { options }));
  assert.equal((await settled(await openClient(context, broker, { options }))).status, 'signed-out');
});

test('nothing is announced on focus, visibility or connection alone, and a throwing listener harms no other', async (t) => {
  const page = await openSignedIn(t);
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  const heard = await page.evaluate(async () => {
    const seen = [];
    broker.on('change', () => { throw new Error('listener failed'); });
    for (const event of ['change', 'signed-in', 'signed-out', 'rotated', 'error']) broker.on(event, () => seen.push(event));
    for (const event of ['focus', 'blur', 'online', 'offline', 'pageshow', 'storage']) window.dispatchEvent(new Event(event));
    document.dispatchEvent(new Event('visibilitychange'));
    await broker.ready();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const quiet = seen.splice(0);
    await broker.rotate();
    return [quiet, seen];
  });
  assert.deepEqual(heard, [[], ['change', 'rotated']]);
  assert.deepEqual(errors, ['listener failed']);
});

test('plain http on a name that is not localhost is a ConfigError', async (t) => {
  const page = await (await profile(t)).newPage();
  await page.route('http://app.internal/**', (route) => {
    const { pathname } = new URL(route.request().url());
    return pathname === '/'
      ? route.fulfill({ contentType: 'text/html', body: '<!doctype html>' })
      : route.fulfill({ path: new URL(`..${pathname}`, import.meta.url).pathname, contentType: 'text/javascript' });
  });
  await page.goto('http://app.internal/');
  const error = await page.evaluate(async () => {
    const { createBrokerClient } = await import('/client/token-broker.js');
    return createBrokerClient().login().catch(({ name, code, message }) => ({ name, code, message }));
  });
  assert.deepEqual([error.name, error.code], ['ConfigError', 'insecure_context']);
  assert.match(error.message, /https:.*localhost/);
});

test('nothing is logged, and dispose ends timer and channel', async (t) => {
  const context = await profile(t);
  const page = await openClient(context, broker);
  const logged = [];
  page.on('console', (message) => logged.push(message.text()));
  await signIn(page);
  await page.evaluate(() => broker.rotate());
  assert.deepEqual(logged, []);
  await page.evaluate(() => broker.dispose());
  const second = await openClient(context, broker);
  assert.equal((await settled(second)).status, 'signed-out', 'a disposed client hands nothing over');
});

test('the plain OAuth 2 provider works the same way', async (t) => {
  const page = await open(t);
  await goToProvider(page, { provider: 'ops' });
  await answerProvider(page, { user: 'bob' });
  const { status, user } = await settled(page);
  assert.deepEqual([status, user.provider, user.username], ['signed-in', 'ops', 'bob']);
});

test('without a provider the broker asks which one', async (t) => {
  const page = await open(t);
  await page.evaluate(() => { broker.login(); });
  await page.getByRole('link', { name: /plain OAuth 2/ }).click();
  await answerProvider(page);
  assert.equal((await settled(page)).user.provider, 'ops');
});

test('a provider that is down is a LoginError that may be tried again', async (t) => {
  const page = await open(t);
  await goToProvider(page);
  await answerProvider(page, { user: 'alice', fault: 'token_500' });
  await settled(page);
  const { status, error } = await state(page);
  assert.deepEqual([status, error.name, error.code], ['signed-out', 'LoginError', 'temporarily_unavailable']);
});

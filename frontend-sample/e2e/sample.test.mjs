/** The sample as a person uses it, by mouse and by keyboard, in one tab and in two. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { answerProvider, openSample, stopClock } from './support/browser.mjs';
import { alert, broker, browser, cause, heading, open, openInsecurely, press, signIn } from './support/sample.mjs';

test('two clicks sign in: the address is clean, and everything about the session is there', async (t) => {
  const { page, trouble } = await open(t);
  await press(page, 'Continue with Development provider');
  await page.getByRole('link', { name: /Alice/ }).first().click();
  await heading(page, 'Hello, Alice Example');
  assert.equal(page.url(), `${broker.origin}/`);
  const profile = await page.locator('#profile').innerText();
  for (const fact of ['@alice', 'alice@example.com', 'verified', 'dev']) assert.ok(profile.includes(fact), fact);
  await page.locator('#permissions').getByText('report.write').waitFor();
  await page.locator('#permissions').getByText('admins').waitFor();
  const ticket = await page.locator('#token').innerText();
  assert.match(ticket, /(7 d|6 d 23 h)\s*left/);
  assert.match(ticket, /Next rotation .* in (6 d|5 d 23 h)/);
  assert.match(ticket, /tbk_•+\w{4}\b/);
  assert.ok(await page.getByText('This tab redeemed the one-time key itself.').isVisible());
  assert.match(await page.locator('#hops').innerText(), /GET \/login[^]*303 to the provider[^]*GET \/oauth2_callback[^]*200 with the profile/);
  assert.deepEqual(trouble, []);
});

test('both demo users have a button of their own', async (t) => {
  const { page } = await open(t);
  await press(page, 'Sign in as Bob may read reports');
  await page.getByRole('link', { name: /^Continue as/ }).first().click(); // Bob comes first: the hint arrived
  await heading(page, 'Hello, Bob 鲍勃'); // the name that was on the button
});

test('the plain OAuth 2 provider, and the choice of the broker', async (t) => {
  const { page } = await open(t);
  await press(page, 'Choose on the next page');
  await page.getByRole('link', { name: /plain OAuth 2/ }).click();
  await page.getByRole('link', { name: /Alice/ }).first().click();
  await heading(page, 'Hello, Alice Example');
  assert.match(await page.locator('#profile').innerText(), /ops/);
});

test('no credential is ever in the document, in localStorage or among the noted hops', async (t) => {
  const { page } = await open(t);
  const secrets = [];
  page.on('request', (request) => {
    const text = `${request.url()} ${request.postData()} ${request.headers().authorization}`;
    secrets.push(...text.match(/tb[ko]_\w{20,}/g) ?? []);
    const { code_verifier: verifier } = request.postDataJSON?.() ?? {};
    if (verifier) secrets.push(verifier);
  });
  await signIn(page);
  await press(page, 'Rotate now');
  await page.getByText('There is a new token.').waitFor();
  await press(page, 'Who am I');
  await page.getByText('"username"').waitFor();
  assert.ok(new Set(secrets).size >= 4, 'key, verifier and two tokens were seen');
  const shown = await page.evaluate(() => document.documentElement.outerHTML + sessionStorage.getItem('sample:hops'));
  assert.match(shown, /tbo_•+/);
  for (const secret of secrets) assert.ok(!shown.includes(secret), secret.slice(0, 4));
  assert.equal(await page.evaluate(() => localStorage.length), 0);
});

test('calls: what is shown is what the broker said and the code that asked', async (t) => {
  const { page, trouble } = await open(t);
  await signIn(page);
  const cases = [['Who am I', 200, 'broker.fetch', /"username": "alice"/], ['Forbidden', 403, "fetch('/login'", /not_a_navigation/],
    ['Public', 200, "fetch('/healthz')", /"ok"/], ['Without token', 401, "fetch('/api/me')", /missing_token/]];
  for (const [name, status, code, answer] of cases) {
    await press(page, name);
    await page.locator('#calls .badge', { hasText: String(status) }).waitFor();
    assert.ok((await page.locator('#calls pre').first().innerText()).includes(code), name);
    assert.match(await page.locator('#calls .answer pre').innerText(), answer);
  }
  await heading(page, /^Hello/);
  assert.deepEqual(trouble, []);
});

test('on a phone: the header is one row, and the sections are reached from wherever one is', async (t) => {
  const { page } = await open(t, { viewport: { width: 360, height: 740 } });
  await signIn(page);
  const [brand, account] = await page.locator('.brand, #account').evaluateAll((all) => all.map((each) => each.getBoundingClientRect()));
  assert.ok(brand.top < account.bottom && account.top < brand.bottom && brand.height < 48, 'one row');
  const sections = page.getByRole('navigation', { name: 'Sections' });
  const titles = await page.locator('.card h2').allInnerTexts();
  assert.deepEqual(await sections.getByRole('link').allInnerTexts(), titles);
  for (const title of ['Errors by hand', 'Sessions']) {
    await sections.getByRole('link', { name: title, exact: true }).click();
    await page.waitForFunction((text) => {
      const heading = [...document.querySelectorAll('h2')].find((each) => each.textContent === text);
      const { top, bottom } = heading.getBoundingClientRect();
      return top >= document.querySelector('.sections').getBoundingClientRect().bottom && bottom < innerHeight;
    }, title);
    assert.ok(await sections.isVisible());
  }
  assert.match(page.url(), /#sessions$/);
  await page.reload();
  await heading(page, 'Hello, Alice Example');
});

test('the token’s bar runs from its arrival to its expiry, with the rotation near the end', async (t) => {
  const { page } = await open(t);
  await signIn(page);
  const place = await page.locator('#token .bar').evaluate((bar) => {
    const { left, width } = bar.getBoundingClientRect();
    const end = (part) => (bar.querySelector(part).getBoundingClientRect().right - left) / width;
    return { passed: end('.fill'), rotation: end('.mark') };
  });
  assert.ok(place.passed < 0.05, `${place.passed} has passed`);
  assert.ok(place.rotation > 0.83 && place.rotation < 0.9, `the rotation is at ${place.rotation}`);
});

test('a session that has run out is routine, one that was ended is not', async (t) => {
  for (const [id, calm] of [['expired', true], ['revoked', false]]) {
    const { page } = await open(t);
    await signIn(page);
    await cause(page, id);
    await alert(page);
    assert.equal(await page.locator('.problem.calm').count() === 1, calm, id);
  }
});

test('copy as curl: the command works', async (t) => {
  const { page } = await open(t, { permissions: ['clipboard-read', 'clipboard-write'] });
  await signIn(page);
  await press(page, 'Copy as curl');
  await page.getByText('Copied.').waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  const [, header, url] = /^curl -H '([^']+)' (\S+)$/.exec(command);
  const [name, value] = header.split(': ');
  const answer = await fetch(url, { headers: { [name]: value } });
  assert.equal((await answer.json()).user.username, 'alice');
});

/** Another user's tab on the sample, signed in with the user agent of another machine. */
async function openElsewhere(t, userAgent, name) {
  const { page } = await open(t, { userAgent });
  await signIn(page, name);
  return page;
}
const phone = 'Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0';
const entries = (page) => page.locator('#sessions li');
/** Signs out by this button and waits until the broker has heard of it; the page does not wait. */
const leave = (page, name) => Promise.all([page.waitForResponse('**/api/logout'), press(page, name)]);

test('sessions: another device is listed, and ended from here; it notices with its next call', async (t) => {
  const there = await openElsewhere(t, phone);
  const { page: bob } = await open(t);
  await signIn(bob, 'Bob');
  const { page, trouble } = await open(t);
  await signIn(page);
  assert.match(await entries(page).first().innerText(), /^Chrom\w+ on Linux\s*this browser[^]*127\.0\.0\.0\/24 · via dev/);
  const other = entries(page).filter({ hasText: 'Firefox on Android' }).first();
  assert.match(await other.innerText(), /Since .* · used /);
  await other.getByRole('button', { name: 'End the session of Firefox on Android' }).click();
  await page.locator('#notice', { hasText: 'That session has ended.' }).waitFor();
  await entries(page).filter({ hasText: 'Firefox on Android' }).waitFor({ state: 'detached' });
  await press(there, 'Who am I');
  await heading(there, 'Your session has ended');
  assert.match(await alert(there), /revoked[^]*request \S{6,}/);
  await press(bob, 'Who am I');
  await bob.getByText('"username": "bob"').waitFor();
  assert.deepEqual(trouble, []);
});

test('sessions: the others end and this one stays; then everywhere, and here by its own button', async (t) => {
  const there = await openElsewhere(t, phone);
  const { page } = await open(t);
  await signIn(page);
  await entries(page).nth(1).waitFor();
  await press(page, 'Sign out other sessions');
  await page.locator('#notice', { hasText: 'All other sessions have ended.' }).waitFor();
  await entries(page).nth(1).waitFor({ state: 'detached' });
  await press(there, 'Rotate now');
  await heading(there, 'Your session has ended');
  await press(page, 'Who am I');
  await page.getByText('"username": "alice"').waitFor();

  await press(there, 'Sign in again');
  await there.getByRole('link', { name: /Development provider$/ }).click();
  await answerProvider(there);
  await heading(there, 'Hello, Alice Example');
  await leave(page, 'Sign out everywhere');
  await heading(page, 'You are signed out');
  await press(there, 'Who am I');
  await heading(there, 'Your session has ended');

  await signIn(page);
  await press(page, 'End this session');
  await heading(page, 'You are signed out');
});

test('sessions: with the broker away the list says so', async (t) => {
  const { page } = await open(t);
  await page.route('**/api/sessions', (route) => route.abort());
  await signIn(page);
  await page.locator('#sessions').getByText('The broker cannot be reached.').waitFor();
  await press(page, 'Sign out other sessions');
  await page.locator('#notice', { hasText: 'The broker cannot be reached.' }).waitFor();
  await heading(page, /^Hello/);
});

test('single sign-on: a new login in this browser needs no provider, until the session has ended', async (t) => {
  const { page, context, trouble } = await open(t);
  await signIn(page);
  await entries(page).first().waitFor(); // so that the answer that is waited for is the next one
  const listed = () => page.waitForResponse('**/api/sessions').then((response) => response.json());
  const [before] = await Promise.all([listed(), page.reload()]);
  await page.evaluate(() => sessionStorage.clear());
  await page.reload(); // signed out in this tab only: no other tab is there to ask
  await heading(page, 'Sign in');
  const [after] = await Promise.all([listed(), press(page, 'Continue with Development provider')]);
  await heading(page, 'Hello, Alice Example');
  assert.equal(page.url(), `${broker.origin}/`);
  const ids = ({ sessions }) => sessions.map(({ id, current }) => [id, current]);
  assert.deepEqual(ids(after), ids(before), 'it is the same session');
  const hops = await page.locator('#hops').innerText();
  assert.ok(hops.includes('no provider was asked') && !hops.includes('/oauth2_callback'), hops);
  await leave(page, 'Sign out');
  await heading(page, 'You are signed out');
  await press(page, 'Continue with Development provider');
  await page.waitForURL(/\/authorize/);
  assert.equal((await context.cookies(broker.origin)).filter(({ httpOnly }) => !httpOnly).length, 0);
  assert.deepEqual(trouble, []);
});

test('logout at the provider: there and back, and the provider asks again', async (t) => {
  const { page, trouble } = await open(t);
  await signIn(page);
  const visited = [];
  page.on('request', (request) => { if (request.isNavigationRequest()) visited.push(new URL(request.url()).pathname); });
  await press(page, 'Also sign out at the provider');
  await heading(page, 'Sign in');
  assert.equal(page.url().split('?')[0], `${broker.origin}/`);
  for (const path of ['/logout', '/end-session', '/logout/callback']) assert.ok(visited.includes(path), `${path} of ${visited}`);
  await press(page, 'Continue with Development provider');
  await page.getByRole('link', { name: /Bob/ }).first().waitFor();
  assert.deepEqual(trouble, []);
});

test('two tabs: the second is signed in by the first, and a logout reaches both', async (t) => {
  const { page, context, trouble } = await open(t);
  await signIn(page);
  const link = page.getByRole('link', { name: 'Open a second tab' });
  assert.deepEqual(await link.evaluate(({ target, rel, pathname }) => [target, rel, pathname]), ['_blank', 'noopener', '/']);
  await stopClock(context);
  const second = await openSample(context, broker);
  await heading(second, 'Hello, Alice Example');
  await second.getByText('This tab got its session from another tab').waitFor();
  await press(page, 'Sign out');
  await heading(page, 'You are signed out');
  await heading(second, 'You signed out in another tab');
  assert.deepEqual(trouble, []);
});

test('a reload keeps the session', async (t) => {
  const { page } = await open(t);
  await signIn(page);
  await page.reload();
  await heading(page, 'Hello, Alice Example');
  await page.getByText('kept its session over a reload').waitFor();
});

test('errors by hand: each shows its code, one sentence and one action, and the action works', async (t) => {
  const cases = {
    denied: ['LoginError', 'access_denied', (page) => answerProvider(page, { deny: '1' })],
    'key-used': ['HandoffError', 'invalid_grant'], // no trip to the provider: the browser is signed in
    'key-expired': ['HandoffError', 'invalid_grant'],
    'broker-down': ['NetworkError', 'network_error'],
    expired: ['SessionError', 'expired'],
    revoked: ['SessionError', 'revoked'],
    'provider-down': ['LoginError', 'temporarily_unavailable', (page) => answerProvider(page, { user: 'alice', fault: 'token_500' })],
  };
  const { page, trouble } = await open(t);
  await signIn(page);
  const offered = await page.locator('[data-lab]').evaluateAll((all) => all.map(({ dataset }) => dataset.lab));
  assert.deepEqual(offered.sort(), Object.keys(cases).sort());
  for (const [id, [name, code, answer]] of Object.entries(cases)) {
    await cause(page, id);
    await answer?.(page);
    const text = await alert(page);
    assert.ok(text.includes(name) && text.includes(code), `${id}: ${text}`);
    assert.equal(/request \S{6,}/.test(text), name !== 'NetworkError', `${id}: ${text}`);
    await page.getByRole('alert').locator('.primary').click();
    if (name === 'SessionError') { // else the browser is signed in, and comes straight back
      await page.getByRole('link', { name: /Development provider$/ }).click();
      await answerProvider(page);
    }
    await heading(page, 'Hello, Alice Example');
    await page.getByRole('alert').waitFor({ state: 'detached' });
  }
  assert.deepEqual(trouble, []);
});

test('broker stopped: a clear message, still signed in; back again: one press', async (t) => {
  const { page } = await open(t);
  await signIn(page);
  await broker.stop();
  try {
    await press(page, 'Rotate now');
    assert.match(await alert(page), /cannot be reached. You are still signed in/);
    await press(page, 'Who am I');
    await page.getByText('no answer', { exact: true }).waitFor();
    await heading(page, 'Hello, Alice Example');
  } finally {
    await broker.start();
  }
  await press(page, 'Try again');
  await page.getByRole('alert').waitFor({ state: 'detached' });
});

test('a login that is abandoned by the back button can be begun again', async (t) => {
  const { page } = await open(t);
  await press(page, 'Continue with Development provider');
  await page.waitForURL(/\/authorize/);
  await page.goBack();
  await heading(page, 'Sign in');
  await signIn(page);
});

/** Moves the focus with the tab key only, and looks whether one can see where it is. */
async function tabTo(page, name) {
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return { text: document.activeElement.textContent, visible: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
    });
    assert.ok(focused.visible, `the focus on "${focused.text}" cannot be seen`);
    if (focused.text.includes(name)) return;
  }
  assert.fail(`no way to "${name}" with the keyboard`);
}

test('keyboard only: skip link, sign in, call the API, sign out; the focus follows the screens', async (t) => {
  const { page } = await open(t);
  await heading(page, 'Sign in');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
  await page.keyboard.press('Enter');
  await page.locator('#main:focus').waitFor();
  await tabTo(page, 'Sign in as Alice');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/authorize/);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await heading(page, 'Hello, Alice Example');
  const focused = () => page.evaluate(() => `${document.activeElement.tagName} ${document.activeElement.textContent}`);
  assert.equal(await focused(), 'H1 Hello, Alice Example');
  await entries(page).first().waitFor(); // what comes later would take the focus away
  await tabTo(page, 'Who am I');
  await page.keyboard.press('Space');
  await page.getByText('"username": "alice"').waitFor();
  await page.keyboard.press('Home');
  await tabTo(page, 'Sign out everywhere');
  await page.keyboard.press('Enter');
  await heading(page, 'You are signed out');
  assert.equal(await focused(), 'H1 You are signed out');
});

test('a page that cannot sign in says what to change', async (t) => {
  const page = await browser.newPage();
  t.after(() => page.close());
  await openInsecurely(page);
  await press(page, 'Continue with Development provider');
  await page.locator('#notice', { hasText: /https:.*localhost.*insecure_context/ }).waitFor();
  assert.equal(await page.locator('[aria-busy]').count(), 0);
});

test('motion: the picture moves, and stands still for those who ask for it', async (t) => {
  const moving = async (reducedMotion) => {
    const { page } = await open(t, { reducedMotion });
    await heading(page, 'Sign in');
    return page.evaluate(() => document.getAnimations().filter(({ playState }) => playState === 'running').length);
  };
  assert.equal(await moving('no-preference'), 1);
  assert.equal(await moving('reduce'), 0);
});

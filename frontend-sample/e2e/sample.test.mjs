/** The sample as a person uses it: every screen and error in both colour schemes, by mouse and by keyboard. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startBroker } from './support/broker.mjs';
import { answerProvider, openBrowser, openSample } from './support/browser.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const pictures = process.env.SCREENS;

let broker;
let browser;
before(async () => { [broker, browser] = await Promise.all([startBroker(), openBrowser()]); });
after(async () => { await browser?.close(); await broker?.end(); });

/** A browser profile with one tab on the sample; whatever its pages must not do ends up in `trouble`. */
async function open(t, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const trouble = [];
  context.on('page', (page) => watch(page, trouble));
  const page = await openSample(context, broker);
  return { context, page, trouble };
}

function watch(page, trouble) {
  page.on('pageerror', (error) => trouble.push(`exception: ${error.message}`));
  page.on('console', (message) => {
    // A refused request is written into the console by the browser itself; causing some is what the sample is for.
    if (/error|warning/.test(message.type()) && !/^Failed to load resource/.test(message.text())) {
      trouble.push(`console: ${message.text()}`);
    }
  });
  page.on('request', (request) => {
    const from = request.frame().url();
    const leaving = request.isNavigationRequest();
    if (!leaving && from.startsWith(broker.origin) && new URL(request.url()).origin !== broker.origin) {
      trouble.push(`foreign request: ${request.url()}`);
    }
  });
}

const heading = (page, name) => page.getByRole('heading', { level: 1, name }).waitFor();
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
async function signIn(page, name = 'Alice') {
  await press(page, 'Continue with Development provider');
  await page.getByRole('link', { name: name === 'Alice' ? /Alice/ : /鲍勃/ }).first().click();
  await heading(page, /^Hello/);
}
const cause = (page, id) => page.locator(`[data-lab="${id}"]`).click();
const alert = async (page) => {
  await page.getByRole('alert').waitFor();
  return page.getByRole('alert').innerText();
};

/** Every screen: how to get there from the page of somebody who is signed out, and its heading. */
const screens = {
  'signed out': ['Sign in', async () => {}],
  'going to the provider': ['Sign in', async (page) => {
    await page.route('**/login?*', (route) => route.fulfill({ status: 204 })); // so that the page stays as it is
    await press(page, 'Continue with Development provider');
    await page.locator('[aria-busy]').waitFor();
  }],
  'signing in': ['Signing you in', async (page) => {
    await page.route('**/api/get_token', () => {});
    await press(page, 'Continue with Development provider');
    await answerProvider(page);
  }],
  'signed in': ['Hello, Alice Example', (page) => signIn(page)],
  'an answer of the API': ['Hello, Alice Example', async (page) => {
    await signIn(page);
    await press(page, 'Who am I');
    await page.getByText('"username": "alice"').waitFor();
  }],
  'a person without groups in other letters': ['Hello, 鲍勃', (page) => signIn(page, 'Bob')],
  denied: ['That sign-in did not work', async (page) => {
    await press(page, 'Continue with Development provider');
    await page.getByRole('link', { name: 'Deny' }).click();
  }],
  'key used twice': ['Hello, Alice Example', async (page) => {
    await signIn(page);
    await cause(page, 'key-used');
    await answerProvider(page);
    await alert(page);
  }],
  'broker down': ['Hello, Alice Example', async (page) => {
    await signIn(page);
    await cause(page, 'broker-down');
    await alert(page);
  }],
  'session expired': ['Your session has ended', async (page) => {
    await signIn(page);
    await cause(page, 'expired');
  }],
  'revoked elsewhere': ['Your session has ended', async (page) => {
    await signIn(page);
    await cause(page, 'revoked');
  }],
  'provider down': ['That sign-in did not work', async (page) => {
    await press(page, 'Continue with Development provider');
    await answerProvider(page, { user: 'alice', fault: 'token_500' });
  }],
  'signed out by hand': ['You are signed out', async (page) => {
    await signIn(page);
    await press(page, 'Sign out');
  }],
  'signed out, not confirmed': ['You are signed out', async (page) => {
    await signIn(page);
    await page.route('**/api/logout', (route) => route.abort());
    await press(page, 'Sign out');
    await alert(page);
  }],
};

/** Each screen at both widths in both schemes; `SCREENS=FOLDER` keeps pictures of them all. */
for (const [name, [title, go]] of Object.entries(screens)) {
  test(`screen: ${name}`, async (t) => {
    const { page, trouble } = await open(t, { reducedMotion: 'reduce' });
    await heading(page, 'Sign in');
    await go(page);
    await heading(page, title);
    assert.equal(await page.locator('h1').count(), 1);
    assert.match(await page.title(), / · token-broker sample$/);
    await page.evaluate(axe);
    for (const [colorScheme, width] of [['light', 1200], ['dark', 1200], ['light', 320], ['dark', 320]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 800 });
      const where = `${colorScheme}, ${width} px`;
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(wider <= 0, `${wider} px too wide: ${where}`);
      if (pictures) await page.screenshot({ path: join(pictures, `${name} ${where}.png`), fullPage: true });
      // Every rule once in each scheme, at one of the widths.
      if ((colorScheme === 'light') !== (width > 600)) continue;
      const { violations, passes } = await page.evaluate(() => window.axe.run());
      assert.ok(passes.length > 10);
      assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], where);
    }
    assert.deepEqual(trouble, []);
  });
}

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
  assert.deepEqual(trouble, []);
});

test('both demo users have a button of their own', async (t) => {
  const { page } = await open(t);
  await press(page, 'Sign in as Bob may read reports');
  await page.getByRole('link', { name: /^Continue as/ }).first().click(); // Bob comes first: the hint arrived
  await heading(page, 'Hello, 鲍勃');
});

test('the plain OAuth 2 provider, and the choice of the broker', async (t) => {
  const { page } = await open(t);
  await press(page, 'Let the broker ask which one');
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
  const cases = [['Who am I', 200, 'broker.fetch', /"username": "alice"/], ['Forbidden', 403, 'broker.fetch', /window/],
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

test('sessions: a broker without the list says so plainly', async (t) => {
  const { page } = await open(t);
  await page.route('**/api/sessions', (route) => route.fulfill({ status: 404, json: { code: 'not_found' } }));
  await signIn(page);
  await page.getByText('This broker does not offer a list of sessions.').waitFor();
  await press(page, 'Sign out the others');
  await page.locator('#notice', { hasText: 'does not offer' }).waitFor();
  await heading(page, /^Hello/);
});

test('two tabs: the second is signed in by the first, and a logout reaches both', async (t) => {
  const { page, context, trouble } = await open(t);
  await signIn(page);
  const link = page.getByRole('link', { name: 'Open a second tab' });
  assert.deepEqual(await link.evaluate(({ target, rel, pathname }) => [target, rel, pathname]), ['_blank', 'noopener', '/']);
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
    'key-used': ['HandoffError', 'invalid_grant', (page) => answerProvider(page)],
    'key-expired': ['HandoffError', 'invalid_grant', (page) => answerProvider(page)],
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
    assert.equal(/request \S{6,}/.test(text), ['HandoffError', 'SessionError'].includes(name), `${id}: ${text}`);
    assert.equal(await page.getByRole('alert').getByRole('button').count(), 1, id);
    await page.getByRole('alert').getByRole('button').click();
    if (id !== 'broker-down') {
      await page.waitForURL((url) => url.pathname !== '/' || url.origin !== broker.origin);
      if (page.url().includes('/login')) await page.getByRole('link', { name: /Development provider$/ }).click();
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
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await tabTo(page, 'Sign in as Alice');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/authorize/);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await heading(page, 'Hello, Alice Example');
  const focused = () => page.evaluate(() => `${document.activeElement.tagName} ${document.activeElement.textContent}`);
  assert.equal(await focused(), 'H1 Hello, Alice Example');
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
  await page.route('http://app.internal/**', (route) => {
    const { pathname } = new URL(route.request().url());
    return route.fulfill({ path: fileURLToPath(new URL(`..${pathname === '/' ? '/index.html' : pathname.replace(/^\/sample/, '')}`, import.meta.url)) });
  });
  await page.goto('http://app.internal/');
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

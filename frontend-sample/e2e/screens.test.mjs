/** Every screen and error of the sample, in both colour schemes, wide and narrow: axe, and nothing that it must not do. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';

import { answerProvider, openSample, stopClock } from './support/browser.mjs';
import { alert, broker, cause, heading, open, openInsecurely, press, signIn } from './support/sample.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const pictures = process.env.SCREENS;

/** A sign-in whose redemption goes wrong: `fault` as in `lab.js`. */
const signInBadly = async (page, fault) => {
  await page.evaluate((name) => sessionStorage.setItem('sample:lab', name), fault);
  await press(page, 'Continue with Development provider');
  await answerProvider(page);
  await alert(page);
};

/** Every screen: how to get there from the page of a user who is signed out, and its heading. */
const screens = {
  'signed out': ['Sign in', async () => {}],
  'going to the provider': ['Sign in', async (page) => {
    await page.route('**/login?*', (route) => route.fulfill({ status: 204 })); // so that the page stays as it is
    await press(page, 'Continue with Development provider');
    await page.locator('[aria-busy]').waitFor();
  }],
  'signing in': ['Signing you in', async (page) => {
    await page.addInitScript(() => { AbortSignal.timeout = () => new AbortController().signal; }); // waits for ever
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
  'a person without groups in other letters': ['Hello, Bob 鲍勃', (page) => signIn(page, 'Bob')],
  'one moment': ['One moment', async (page) => {
    await signIn(page);
    await page.addInitScript(() => { AbortSignal.timeout = () => new AbortController().signal; }); // waits for ever
    await page.route('**/api/me', () => {});
    await page.reload();
  }],
  'handed over': ['Hello, Alice Example', async (page) => {
    const first = await openSample(page.context(), broker);
    await signIn(first);
    await stopClock(page.context());
    await page.evaluate(() => sessionStorage.clear()); // the sign-in has also reached this tab
    await page.reload();
    await page.getByText('This tab got its session from another tab').waitFor();
    await page.context().clock.resume();
  }],
  'signed out in another tab': ['You signed out in another tab', async (page) => {
    await signIn(page);
    await stopClock(page.context());
    const other = await openSample(page.context(), broker);
    await heading(other, 'Hello, Alice Example');
    await page.context().clock.resume();
    await press(other, 'Sign out');
  }],
  'key used twice, no one signed in': ['That sign-in did not work', (page) => signInBadly(page, 'key-used')],
  'key expired, no one signed in': ['That sign-in did not work', (page) => signInBadly(page, 'key-expired')],
  'broker down, no one signed in': ['The broker cannot be reached', async (page) => {
    await page.route('**/api/get_token', (route) => route.abort());
    await press(page, 'Continue with Development provider');
    await answerProvider(page);
  }],
  'an insecure page': ['Sign in', async (page) => {
    await page.addInitScript(() => {
      const { setTimeout } = window;
      window.setTimeout = (act, delay) => (delay === 6000 ? 0 : setTimeout(act, delay)); // the notice stays
    });
    await openInsecurely(page);
    await press(page, 'Continue with Development provider');
    await page.getByText('insecure_context').waitFor();
  }],
  'sessions that cannot be listed': ['Hello, Alice Example', async (page) => {
    await page.route('**/api/sessions', (route) => route.abort());
    await signIn(page);
    await page.locator('#sessions').getByText('The broker cannot be reached.').waitFor();
  }],
  'a new personal token': ['Hello, Alice Example', async (page) => {
    await signIn(page);
    await page.getByLabel('Name').fill('Nightly export');
    await press(page, 'Make a token');
    await page.getByLabel('The token “Nightly export”.').waitFor();
  }],
  'a sign-in that is too old for a personal token': ['Hello, Alice Example', async (page) => {
    await signIn(page);
    await page.route('**/api/personal_tokens', (route) => route.fulfill({
      status: 401, contentType: 'application/problem+json', body: '{"code":"insufficient_user_authentication"}' }));
    await page.getByLabel('Name').fill('Nightly export');
    await press(page, 'Make a token');
    await page.getByText('your sign-in is too long ago').waitFor();
  }],
  'a login that failed': ['Hello, Alice Example', async (page) => {
    await signIn(page);
    await cause(page, 'denied');
    await answerProvider(page, { deny: '1' });
    await page.getByText('The last attempt, which failed').waitFor();
  }],
  denied: ['That sign-in did not work', async (page) => {
    await press(page, 'Continue with Development provider');
    await page.getByRole('link', { name: 'Deny' }).click();
  }],
  'key used twice': ['Hello, Alice Example', async (page) => {
    await signIn(page);
    await cause(page, 'key-used'); // no trip to the provider: the browser is signed in
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

/**
 * The broker's own pages, the development provider's and the viewer of the API, in both colour schemes, wide and
 * narrow: axe, nothing that is too wide, nothing that it must not do. `SCREENS=FOLDER` keeps pictures of them all.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';

import { broker, heading, open, press, signIn } from './support/sample.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const pictures = process.env.SCREENS;

/** What is known of Swagger UI's own markup and cannot be fixed by a style sheet: see `src/http/assets/docs.css`. */
const upstream = ['heading-order', 'nested-interactive'];

/** Every page: how to get there from the sample's page, its heading, and the rules of axe that are not ours. */
const pages = {
  chooser: ['Sign in to Sample app', async (page) => {
    await press(page, 'Choose on the next page');
    await page.getByRole('link', { name: 'Back to Sample app' }).waitFor();
  }],
  'sign-in failed, no way back': ['Sign-in failed', (page) => page.goto(`${broker.origin}/oauth2_callback/dev?code=x&state=y`)],
  'sign-in failed': ['Sign-in failed', (page) => page.goto(`${broker.origin}/login?client_id=sample`)],
  'an application with a wrong address': ['Sign-in failed', async (page) => {
    await page.goto(`${broker.origin}/login?client_id=vite-react&redirect_uri=${encodeURIComponent('http://localhost:4000/')}`);
    await page.getByText('For the developers of the application').waitFor();
    await page.getByText('http://localhost:5173/').waitFor(); // the registered one, open to the developer at once
  }],
  'page not found': ['Page not found', (page) => page.goto(`${broker.origin}/orders/7`)],
  'sign out?': ['Sign out of Sample app?', async (page) => {
    await signIn(page);
    await page.goto(`${broker.origin}/logout?client_id=sample`);
  }],
  'signed out': ['You are signed out', (page) => page.goto(`${broker.origin}/logout`)],
  'development provider': ['Sign in', async (page) => {
    await press(page, 'Continue with Development provider');
    await page.waitForURL(/\/authorize\?/);
    await page.getByText('Make something go wrong').click();
    await page.getByRole('link', { name: 'Token endpoint: status 500' }).waitFor();
  }],
  'switches of the development provider': ['What runs here', async (page) => {
    await press(page, 'Continue with Development provider');
    await page.waitForURL(/\/authorize\?/);
    await page.goto(`${new URL(page.url()).origin}/dev/faults`);
  }],
  docs: ['token-broker', async (page) => {
    await page.goto(`${broker.origin}/docs`);
    await page.getByRole('button', { name: /Start a login/ }).waitFor();
  }, upstream],
};

/** The same pages for a browser that prefers Chinese. */
const inChinese = {
  chooser: ['登录 Sample app', (page) => page.goto(`${broker.origin}/login?client_id=sample&state=x&code_challenge_method=S256`
    + `&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&redirect_uri=${encodeURIComponent(`${broker.origin}/`)}`)],
  'sign-in failed': ['登录失败', (page) => page.goto(`${broker.origin}/oauth2_callback/dev?code=x&state=y`)],
  'an application that is wrong': ['登录失败', (page) => page.goto(`${broker.origin}/login?client_id=sample`)],
  'sign out?': ['要登出 Sample app 吗？', async (page) => {
    await signIn(page);
    await page.goto(`${broker.origin}/logout?client_id=sample`);
  }],
  'signed out': ['你已登出', (page) => page.goto(`${broker.origin}/logout`)],
  'page not found': ['找不到页面', (page) => page.goto(`${broker.origin}/orders/7`)],
};

/** Waits until the page shows the colour scheme: the viewer hears of it by an event, and its colours fade. */
async function shown(page, colorScheme) {
  await page.waitForFunction((dark) => !document.querySelector('.swagger-ui')
    || document.documentElement.classList.contains('dark-mode') === dark, colorScheme === 'dark');
  await page.evaluate(async () => {
    await new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); });
    const ending = document.getAnimations().filter(({ effect }) => effect.getComputedTiming().endTime < Infinity);
    await Promise.allSettled(ending.map(({ finished }) => finished));
  });
}

const all = [
  ...Object.entries(pages).map(([name, page]) => [name, 'en-GB', ...page]),
  ...Object.entries(inChinese).map(([name, page]) => [`${name}, in Chinese`, 'zh-CN', ...page]),
];
for (const [name, locale, title, go, known = []] of all) {
  test(`page: ${name}`, async (t) => {
    const { page, trouble } = await open(t, { reducedMotion: 'reduce', bypassCSP: true, locale }); // for axe alone
    await heading(page, 'Sign in');
    await go(page);
    await heading(page, new RegExp(`^${title.replace('?', '\\?')}`));
    await page.evaluate(axe);
    for (const [colorScheme, width] of [['light', 1200], ['dark', 1200], ['light', 320], ['dark', 320]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 800 });
      await shown(page, colorScheme);
      const where = `${colorScheme}, ${width} px`;
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(wider <= 0, `${wider} px too wide: ${where}`);
      if (pictures) await page.screenshot({ path: join(pictures, `${name.replace('?', '')} ${where}.png`), fullPage: true });
      // Every rule once in each scheme, at one of the widths.
      if ((colorScheme === 'light') !== (width > 600)) continue;
      const { violations, passes } = await page.evaluate(() => window.axe.run());
      assert.ok(passes.length > 10);
      const ours = violations.filter(({ id }) => !known.includes(id));
      assert.deepEqual(ours.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], where);
    }
    assert.deepEqual(trouble, []);
  });
}

test('the viewer of the API follows the colour scheme', async (t) => {
  const { page } = await open(t, { colorScheme: 'dark' });
  await page.goto(`${broker.origin}/docs`);
  await page.getByRole('button', { name: /Start a login/ }).waitFor();
  const brightness = () => page.evaluate(() => {
    const colour = getComputedStyle(document.documentElement).backgroundColor.match(/[\d.]+/g).map(Number);
    return (colour[0] + colour[1] + colour[2]) / 3;
  });
  assert.ok(await brightness() < 60);
  await page.emulateMedia({ colorScheme: 'light' });
  await page.waitForFunction(() => !document.documentElement.classList.contains('dark-mode'));
  assert.ok(await page.evaluate(() => document.documentElement.classList.length === 0));
});

test('the faults of the development provider are folded into groups', async (t) => {
  const { page } = await open(t);
  await press(page, 'Continue with Development provider');
  await page.waitForURL(/\/authorize\?/);
  await page.getByText('Make something go wrong').click();
  const shown = await page.locator('a').evaluateAll((links) => links.filter((link) => link.checkVisibility()).length);
  const all = await page.locator('a').count();
  assert.ok(all > 90 && shown < 15, `${shown} of ${all} links are shown`);
  await page.getByText(/^The ID token/).click();
  await page.getByRole('link', { name: /alg_none|not signed/i }).first().waitFor();
});

test('a user who does not want to sign in goes back to the application, which says so', async (t) => {
  const { page } = await open(t);
  await press(page, 'Choose on the next page');
  await page.getByRole('link', { name: 'Back to Sample app' }).click();
  await heading(page, 'That sign-in did not work');
  assert.equal(new URL(page.url()).origin, broker.origin);
});

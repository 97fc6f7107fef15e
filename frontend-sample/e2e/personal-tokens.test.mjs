/** The card "Personal tokens": made, shown once, copied, used by a script and revoked; and signing in again for it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { answerProvider } from './support/browser.mjs';
import { broker, heading, open, press, signIn } from './support/sample.mjs';

const card = (page) => page.locator('#personal-tokens');
const entries = (page) => card(page).locator('li');
const script = (token) => fetch(`${broker.origin}/api/me`, { headers: { Authorization: `Bearer ${token}` } });

/** Makes a token by hand and returns its text, as the page shows it. */
const make = async (page, name) => {
  await page.getByLabel('Name').fill(name);
  await press(page, 'Make a token');
  await page.getByLabel(`The token “${name}”.`).waitFor();
  return page.getByLabel(`The token “${name}”.`).inputValue();
};

test('a personal token is made, copied, used, shown only once and revoked', async (t) => {
  const { page, trouble } = await open(t, { permissions: ['clipboard-read', 'clipboard-write'] });
  await signIn(page);
  await page.getByLabel('Expires').selectOption('in 30 days');
  assert.ok(await page.getByLabel('profile', { exact: true }).isChecked());
  const token = await make(page, 'Nightly export <b>');
  assert.match(token, /^tbp_\w{72}$/);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'personal-text');
  await press(page, 'Copy token');
  await page.getByText('Copied. Treat it like a password.').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), token);
  const me = await (await script(token)).json();
  assert.deepEqual([me.user.username, me.token.kind, me.token.scope], ['alice', 'personal', 'profile']);
  assert.match(await entries(page).first().innerText(), /^Nightly export <b>\s*profile[^]*Expires .* · never used/);

  await page.reload();
  await heading(page, 'Hello, Alice Example');
  await entries(page).first().waitFor();
  assert.ok(!(await page.content()).includes(token.slice(4)), 'shown once');
  await page.getByRole('button', { name: /^Revoke Nightly export/ }).focus();
  await page.keyboard.press('Enter');
  await page.getByText('That token no longer works.').waitFor();
  await card(page).getByText('You have made none.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'personal-tokens-title');
  assert.equal((await script(token)).status, 401);
  assert.deepEqual(trouble, []);
});

test('signing out leaves a personal token valid', async (t) => {
  const { page } = await open(t);
  await signIn(page, 'Bob');
  const token = await make(page, 'Script');
  await Promise.all([page.waitForResponse('**/api/logout'), press(page, 'Sign out')]);
  await heading(page, 'You are signed out');
  assert.equal((await script(token)).status, 200);
});

test('a sign-in that is too old leads to the provider, and then a token can be made', async (t) => {
  const { page, trouble } = await open(t);
  await signIn(page);
  // The broker's clock cannot be moved from here: its answer is given in its place, once.
  await page.route('**/api/personal_tokens', (route) => (route.request().method() === 'POST'
    ? route.fulfill({
      status: 401,
      contentType: 'application/problem+json',
      headers: { 'www-authenticate': 'Bearer error="insufficient_user_authentication", max_age="900"' },
      body: JSON.stringify({ code: 'insufficient_user_authentication', detail: 'Sign in again.' }),
    })
    : route.continue()));
  await page.getByLabel('Name').fill('Script');
  await page.keyboard.press('Enter');
  await card(page).getByText('your sign-in is too long ago').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Sign in again');
  await heading(page, 'Hello, Alice Example'); // still signed in
  await page.unroute('**/api/personal_tokens');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/authorize\/?\?.*prompt=login/);
  await answerProvider(page);
  await heading(page, 'Hello, Alice Example');
  const token = await make(page, 'Script');
  assert.equal((await script(token)).status, 200);
  assert.deepEqual(trouble, []);
});

test('a list that cannot be had says so, and a name that is refused stays in the field', async (t) => {
  const { page } = await open(t);
  await page.route('**/api/personal_tokens', (route) => route.abort());
  await signIn(page);
  await card(page).getByText('The broker cannot be reached.').waitFor();
  await page.unroute('**/api/personal_tokens');
  await page.reload();
  await page.getByLabel('Name').fill('a\u200bb');
  await press(page, 'Make a token');
  await page.locator('#notice', { hasText: '1 to 100 characters' }).waitFor();
  assert.equal(await page.getByLabel('Name').inputValue(), 'a\u200bb');
});

/** What people meet who use a keyboard, a magnifier or a screen reader, when something changes on the page. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { answerProvider } from './support/browser.mjs';
import { alert, browser, cause, heading, open, press, signIn } from './support/sample.mjs';

const phone = 'Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0';
const focused = (page) => page.evaluate(() => {
  const { tagName, ariaLabel, textContent } = document.activeElement;
  return `${tagName} ${ariaLabel ?? textContent}`;
});

/** How much of the focused element lies beneath the banner, and how much of the screen the banner takes. */
const overlap = (page) => page.evaluate(() => {
  const banner = document.querySelector('.banner');
  const [over, under] = [banner, document.activeElement].map((each) => each.getBoundingClientRect());
  const covered = banner.contains(document.activeElement) || document.activeElement === document.body
    ? 0
    : Math.min(over.bottom, under.bottom) - Math.max(over.top, under.top);
  const shown = Math.min(over.bottom, innerHeight) - Math.max(over.top, 0);
  return { covered: Math.max(0, Math.round(covered)), share: Math.max(0, shown) / innerHeight };
});

for (const [width, height] of [[1200, 800], [800, 600], [320, 640], [320, 256]]) {
  test(`a problem hides nothing that has the focus: ${width} x ${height}`, async (t) => {
    const { page } = await open(t, { viewport: { width, height } });
    await signIn(page);
    await page.locator('#sessions li').first().waitFor();
    await cause(page, 'broker-down');
    await alert(page);
    const { top, bottom } = await page.locator('.banner').evaluate((each) => each.getBoundingClientRect());
    assert.ok(top < height && bottom > 0, 'the problem is in sight');
    await page.locator('[data-lab="provider-down"]').focus();
    assert.ok((await overlap(page)).share < 0.4, 'the rest of the page can be read');
    const hidden = [];
    for (const key of ['Shift+Tab', 'Tab']) {
      for (let stops = 0; stops < 24; stops += 1) {
        await page.keyboard.press(key);
        const { covered } = await overlap(page);
        if (covered) hidden.push(`${key} ${await focused(page)}: ${covered} px`);
      }
    }
    assert.deepEqual(hidden, []);
  });
}

test('a problem beside a session can be dismissed, and the focus goes to the heading', async (t) => {
  const { page } = await open(t);
  await signIn(page);
  await cause(page, 'denied');
  await answerProvider(page, { deny: '1' });
  assert.match(await alert(page), /still signed in/);
  await press(page, 'Rotate now'); // a call that works also clears it
  await page.getByText('There is a new token.').waitFor();
  await cause(page, 'denied');
  await answerProvider(page, { deny: '1' });
  await alert(page);
  await press(page, 'Who am I');
  await page.getByText('"username": "alice"').waitFor();
  await page.getByRole('button', { name: 'Dismiss' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('alert').waitFor({ state: 'detached' });
  assert.equal(await focused(page), 'H1 Hello, Alice Example');
  await heading(page, 'Hello, Alice Example');
});

test('after “Try again” the focus is back at the button that failed', async (t) => {
  const { page } = await open(t);
  await signIn(page);
  await page.locator('[data-lab="broker-down"]').focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Try again' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('alert').waitFor({ state: 'detached' });
  assert.equal(await focused(page), 'BUTTON Cause it: Broker down');
});

test('after “End” the focus is at the next session, at last at the heading', async (t) => {
  for (let count = 0; count < 2; count += 1) {
    const elsewhere = await browser.newContext({ userAgent: phone });
    t.after(() => elsewhere.close());
    const { page } = await open(t, { userAgent: phone });
    await signIn(page);
  }
  const { page } = await open(t);
  await signIn(page);
  const others = page.locator('#sessions li button', { hasText: /^End$/ }).filter({ hasNot: page.locator('[aria-label="End this session"]') });
  await page.locator('#sessions li').nth(2).waitFor();
  const before = await others.count();
  await page.getByRole('button', { name: /^End the session of Firefox on Android, since \w+/ }).first().focus();
  await page.keyboard.press('Enter');
  await page.locator('#sessions li').nth(before - 1).waitFor({ state: 'detached' });
  assert.match(await focused(page), /^BUTTON End the session of/);
  await page.route('**/api/sessions', (route) => route.abort()); // the list cannot be had
  await page.keyboard.press('Enter');
  await page.locator('#sessions').getByText('The broker cannot be reached.').waitFor();
  assert.equal(await focused(page), 'H2 Sessions');
});

test('only what is short is announced, and buttons of one word are told apart', async (t) => {
  const { page } = await open(t);
  await signIn(page);
  await page.locator('#permissions').getByText('report.write').waitFor();
  await page.locator('#sessions li').first().waitFor();
  await press(page, 'Who am I');
  await page.getByText('"username": "alice"').waitFor();
  const live = await page.locator('[role=status], [role=alert], [aria-live]').allInnerTexts();
  assert.equal(live.length, 2, 'the notice and the outcome of a call');
  assert.ok(live.some((text) => /^200\s+\d+ ms$/.test(text)), live.join('|'));
  const names = await page.locator('#errors button, #sessions li button').evaluateAll((all) => all.map((each) => each.ariaLabel));
  assert.ok(names.length > 7 && names.every(Boolean));
  assert.equal(new Set(names.filter((name) => name.startsWith('Cause it: '))).size, 7);
});

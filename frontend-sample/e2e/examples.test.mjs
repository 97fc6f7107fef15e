/** The examples that need no build, against the real broker. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { startBroker } from './support/broker.mjs';
import { answerProvider, openBrowser, openExample } from './support/browser.mjs';

let broker;
let browser;
before(async () => { [broker, browser] = await Promise.all([startBroker(), openBrowser()]); });
after(async () => { await browser?.close(); await broker?.end(); });

test('your SPA in 12 lines signs in and out', async (t) => {
  const source = readFileSync(new URL('../examples/minimal/app.js', import.meta.url), 'utf8');
  assert.ok(source.trimEnd().split('\n').length <= 13, 'twelve lines and an empty one');
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await openExample(context, broker, 'minimal');
  await page.getByRole('heading', { name: 'Hello, stranger' }).waitFor();
  await page.getByRole('button', { name: 'Sign in' }).click();
  await answerProvider(page);
  await page.getByRole('heading', { name: 'Hello, Alice Example' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Hello, stranger' }).waitFor();
});

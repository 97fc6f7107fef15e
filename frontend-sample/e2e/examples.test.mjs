/** The examples that need no build, against the real broker. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { answerProvider, openExample, startBoth } from './support/browser.mjs';

let broker;
let browser;
before(async () => { [broker, browser] = await startBoth(); });
after(async () => { await browser?.close(); await broker?.end(); });

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');

/** In, and out again. */
async function useExample(t, options) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await openExample(context, broker, 'minimal', options);
  await page.getByRole('heading', { name: 'Hello, stranger' }).waitFor();
  await page.getByRole('button', { name: 'Sign in' }).click();
  await answerProvider(page);
  await page.getByRole('heading', { name: 'Hello, Alice Example' }).waitFor();
  assert.equal(page.url(), `${options?.origin ?? broker.origin}/`);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Hello, stranger' }).waitFor();
}

test('your SPA in 12 lines signs in and out', async (t) => {
  assert.ok(read('../examples/minimal/app.js').trimEnd().split('\n').length <= 13, 'twelve lines and an empty one');
  await useExample(t);
});

test('the same on an origin of its own, with what the README says to change', async (t) => {
  const readme = read('../../README.md');
  const change = "{ brokerUrl: 'https://auth.example.com', clientId: 'web' }";
  assert.ok(readme.includes(change));
  await useExample(t, {
    origin: 'http://localhost:5173', // the one that the demo has registered
    edit: (app) => app.replace("{ clientId: 'sample' }",
      change.replace('https://auth.example.com', broker.origin).replace('web', 'vite-react')),
  });
});

test('the client that the README registers has keys that the configuration knows', () => {
  const [, block] = /```toml\n\[\[clients\]\]\n([\s\S]*?)\n```/.exec(read('../../README.md')) ?? [];
  const known = read('../../token-broker.example.toml').split('[[clients]]')[1];
  for (const line of block.trim().split('\n')) {
    assert.match(known, new RegExp(`^#?${line.split(' = ')[0]} = `, 'm'));
  }
});

/**
 * The example in Vite's development server, on another origin than the broker: proof of CORS, and that
 * StrictMode, which mounts everything twice, redeems once. Run by `npm run e2e`.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { createServer } from 'vite';

import { answerProvider, requestsTo, startBoth } from '../../e2e/support/browser.mjs';

const root = fileURLToPath(new URL('.', import.meta.url));
const origin = 'http://localhost:5173'; // the one that the demo has registered

let broker;
let browser;
let vite;
before(async () => {
  [broker, browser] = await startBoth();
  process.env.VITE_BROKER_URL = broker.origin;
  vite = await createServer({ root, logLevel: 'error', server: { host: 'localhost', port: 5173, strictPort: true } });
  await vite.listen();
});
after(async () => { await vite?.close(); await browser?.close(); await broker?.end(); });

test('it builds', (t) => {
  const out = mkdtempSync(join(tmpdir(), 'vite-react-'));
  t.after(() => rmSync(out, { recursive: true }));
  const run = (script, ...args) =>
    execFileSync(process.execPath, [join(root, 'node_modules', script), ...args], { cwd: root, stdio: 'pipe' });
  run('typescript/bin/tsc');
  run('vite/bin/vite.js', 'build', '--outDir', out);
});

test('signs in, calls the API and signs out from another origin; StrictMode redeems once', async (t) => {
  const page = await browser.newPage();
  t.after(() => page.close());
  const trouble = [];
  page.on('pageerror', (error) => trouble.push(error.message));
  const redemptions = requestsTo(page, '/api/get_token');
  await page.goto(`${origin}/`);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL((url) => url.origin !== origin);
  if (page.url().startsWith(broker.origin)) await page.getByRole('link', { name: /Development provider$/ }).click();
  await answerProvider(page);
  await page.getByRole('heading', { name: 'Hello, Alice Example' }).waitFor();
  assert.equal(page.url(), `${origin}/`);
  assert.equal(redemptions.length, 1);
  assert.equal(await redemptions[0].headerValue('origin'), origin);
  await page.getByRole('button', { name: 'What may I do?' }).click();
  await page.getByText('report.write').waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Hello, Alice Example' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Welcome' }).waitFor();
  assert.deepEqual(trouble, []);
});

/**
 * Fresh apps in strict TypeScript with the packed client: they compile, build, sign in from another origin, come back to
 * the address that was open, and call their own API with the token. Run by `npm run e2e`.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { build, preview } from 'vite';

import { answerProvider, openBrowser } from '../../e2e/support/browser.mjs';
import { startBroker } from '../../e2e/support/broker.mjs';

const root = fileURLToPath(new URL('.', import.meta.url));
const client = fileURLToPath(new URL('../../client', import.meta.url));

/** Each with its port and the check of its types, as the scripts of `npm create vite` call it. */
const projects = {
  'react-ts': { port: 5181, check: ['typescript/bin/tsc', '-p', 'react-ts/tsconfig.json'] },
  'vue-ts': { port: 5182, check: ['vue-tsc/bin/vue-tsc.js', '-p', 'vue-ts/tsconfig.json'] },
  'svelte-ts': { port: 5183, check: ['svelte-check/bin/svelte-check', '--workspace', 'svelte-ts', '--tsconfig', 'tsconfig.json', '--fail-on-warnings'] },
};
const address = ({ port }) => `http://localhost:${port}`;

let broker;
let browser;
before(async () => {
  await import('./pack.mjs');
  [broker, browser] = await Promise.all([
    startBroker(...Object.values(projects).flatMap((project) => ['--app', address(project)])),
    openBrowser(),
  ]);
});
after(async () => { await browser?.close(); await broker?.end(); });

const read = (path) => readFileSync(join(root, path), 'utf8');
const appOf = (name) => readdirSync(join(root, name, 'src')).find((file) => file.startsWith('App.'));

for (const [name, project] of Object.entries(projects)) {
  test(`${name}: the app is in the README, has at most twelve lines, and passes the strict check`, () => {
    const app = read(`${name}/src/${appOf(name)}`);
    assert.ok(app.trimEnd().split('\n').length <= 12);
    const readme = readFileSync(join(client, 'README.md'), 'utf8');
    assert.ok(readme.includes(`\n${app}\`\`\``), 'the README shows this file');
    assert.ok(readme.includes(`\n${read(`${name}/src/broker.ts`)}\`\`\``));
    const { compilerOptions } = JSON.parse(read(`${name}/tsconfig.json`));
    assert.deepEqual([compilerOptions.strict, compilerOptions.allowJs], [true, undefined]);
    const [program, ...args] = project.check;
    execFileSync(process.execPath, [join(root, 'node_modules', program), ...args], { cwd: root, stdio: 'pipe' });
  });

  test(`${name}: signed in, back at the deep link, the own API called with the token`, async (t) => {
    const folder = join(root, name);
    const out = mkdtempSync(join(tmpdir(), `token-broker-${name}-`));
    t.after(() => rmSync(out, { recursive: true }));
    process.env.VITE_BROKER_URL = broker.origin;
    const config = { root: folder, logLevel: 'error', build: { outDir: out, emptyOutDir: true } };
    await build(config);
    const server = await preview({ ...config, preview: { host: 'localhost', port: project.port, strictPort: true } });
    t.after(() => server.close());

    const page = await browser.newPage();
    t.after(() => page.close());
    const trouble = [];
    page.on('pageerror', (error) => trouble.push(error.message));
    const shown = [];
    page.on('dialog', (dialog) => { shown.push(dialog.message()); dialog.accept(); });
    const sent = [];
    await page.route('**/api/orders', (route) => {
      sent.push(route.request().headers().authorization?.slice(0, 11));
      return route.fulfill({ body: 'two books' });
    });
    const deepLink = `${address(project)}/orders/7?open=1#pay`;
    await page.goto(deepLink);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: /Development provider$/ }).click();
    await answerProvider(page);
    await page.getByRole('heading', { name: /Hello, Alice Example/ }).waitFor();
    assert.equal(page.url(), deepLink);
    await page.getByRole('button', { name: 'My orders' }).click();
    await page.waitForFunction(() => true);
    for (let tries = 0; shown.length === 0 && tries < 50; tries += 1) await page.waitForTimeout(50);
    assert.deepEqual([sent, shown], [['Bearer tbk_'], ['two books']]);
    await page.reload();
    await page.getByRole('heading', { name: /Hello, Alice Example/ }).waitFor();
    assert.deepEqual(trouble, []);
  });
}

/** The blocks of the client's README run as they stand there; the commands of the sample's exist and are all there. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { FakeBroker } from './testing/broker.mjs';
import { openPage } from './testing/page.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const [sample, readme] = ['README.md', 'client/README.md'].map((file) => readFileSync(join(root, file), 'utf8'));
const { exports: subpaths } = JSON.parse(readFileSync(join(root, 'client/package.json'), 'utf8'));
const blocks = (language, page = readme) =>
  [...page.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, 'g'))].map(([, code]) => code);

/** Runs the blocks one after the other, as an app's module. */
async function run(t) {
  const folder = mkdtempSync(join(root, 'node_modules', '.readme-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const code = blocks('js').join('\n').replace(/'@token-broker\/client([^']*)'/g,
    (_, subpath) => `'${pathToFileURL(join(root, 'client', subpaths[`.${subpath}`].default)).href}'`);
  writeFileSync(join(folder, 'app.mjs'), `export const shown = []; const show = (text) => shown.push(text);\n${code}`);
  const app = await import(pathToFileURL(join(folder, 'app.mjs')).href);
  t.after(() => { for (const client of [app.broker, app.api, app.bound]) client.dispose(); });
  return app;
}

test('the code: greets who is signed in, and says why no one is', async (t) => {
  const broker = new FakeBroker();
  const page = openPage(t, 'https://app.example/');
  t.mock.method(globalThis, 'fetch', broker.fetch);
  page.session.setItem('token-broker:https://auth.example.com:web', JSON.stringify(broker.grant()));
  const app = await run(t);
  await app.broker.ready();
  assert.deepEqual(app.shown.splice(0), ['alice', ['two books'], 'Hello, alice']);
  broker.end(app.broker.getState().session.id);
  await assert.rejects(app.broker.rotate());
  assert.deepEqual(app.shown, ['Welcome', 'It said invalid_token. (revoked, request r-invalid_token)']);
  // This browser has no IndexedDB, so the client of bound tokens has no place for its key.
  await assert.rejects(app.bound.login(), ({ code, cause }) => code === 'storage_blocked' && /indexedDB/.test(cause.message));
  assert.ok(broker.requests.every(({ url }) => url.startsWith('https://auth.example.com/')));
});

test('the commands: each is a script of this package, and each script is there', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const [install, ...commands] = blocks('sh', sample).join('').trim().split('\n').map((line) => line.replace(/\s*#.*/, ''));
  assert.equal(install, 'npm ci');
  assert.deepEqual(commands.map((line) => /^npm (?:run )?(\w+)$/.exec(line)?.[1]).sort(), Object.keys(scripts).sort());
});

test('troubleshooting names every ConfigError, and only codes that exist', () => {
  const types = readFileSync(join(root, 'client/token-broker-types.d.ts'), 'utf8');
  const [, listed] = /type ConfigError = ([^;]*);/.exec(types);
  for (const [, code] of listed.matchAll(/\| '(\w+)'/g)) {
    if (['foreign_return_to', 'not_in_browser'].includes(code)) continue; // mistakes in the code, explained by their message
    assert.ok(readme.includes(`| \`${code}\` |`), code);
  }
  const rows = readme.split('## 9. Troubleshooting')[1].matchAll(/^\| `(\w+)`(?: or `(\w+)`)? \|/gm);
  for (const code of [...rows].flatMap(([, ...codes]) => codes.filter(Boolean))) {
    assert.ok(types.includes(`'${code}'`) || /^http_\d+$/.test(code), code);
  }
});

test('the headings and files that the client’s README links to are there', () => {
  for (const [, path] of readme.matchAll(/\]\(([^)#:]+)\)/g)) readFileSync(join(root, 'client', path));
  const anchors = [...readme.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title.toLowerCase().replace(/[^\w -]/g, '').replace(/ /g, '-'));
  const links = [...readme.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor);
  assert.ok(links.length > 8);
  for (const link of links) assert.ok(anchors.includes(link), link);
});

test('the Chinese quick start has the commands, the code and the settings of the English one', () => {
  const [english, chinese] = ['README.md', 'README.zh-CN.md'].map((file) => readFileSync(join(root, '..', file), 'utf8'));
  const fences = (page) => [...page.matchAll(/^```\w+\n[^]*?^```$/gm)].map(([fence]) => fence);
  assert.ok(fences(chinese).length >= 6);
  for (const fence of fences(chinese)) assert.ok(fences(english).includes(fence), fence);
  // Settings, endpoints and options in running text: each one is also named in English.
  const named = [...chinese.replace(/^```[^]*?^```$/gm, '').matchAll(/`([^`]+)`/g)].map(([, text]) => text);
  assert.ok(named.length > 20);
  for (const text of named) assert.ok(english.includes(text), text);
  for (const [, path] of chinese.matchAll(/\]\(([^)#]+)\)/g)) readFileSync(join(root, '..', path));
});

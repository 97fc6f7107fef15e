/** The blocks of `frontend-sample/README.md`: the code runs as it stands there, the commands exist and are all there. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { FakeBroker } from './testing/broker.mjs';
import { openPage } from './testing/page.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const blocks = (language) => [...readme.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, 'g'))].map(([, code]) => code);

/** Runs the blocks one after the other, as an app's module. */
async function run(t) {
  const folder = mkdtempSync(join(root, 'node_modules', '.readme-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const client = pathToFileURL(join(root, 'client/token-broker.js')).href;
  const code = blocks('js').join('\n').replace('./token-broker.js', client);
  writeFileSync(join(folder, 'app.mjs'), `export const shown = []; const show = (text) => shown.push(text);\n${code}`);
  const app = await import(pathToFileURL(join(folder, 'app.mjs')).href);
  t.after(() => app.broker.dispose());
  return app;
}

test('the code: greets who is signed in, and says why no one is', async (t) => {
  const broker = new FakeBroker();
  const page = openPage(t, 'https://app.example/');
  t.mock.method(globalThis, 'fetch', broker.fetch);
  page.session.setItem('token-broker:https://auth.example.com:web', JSON.stringify(broker.grant()));
  const app = await run(t);
  await app.broker.ready();
  assert.deepEqual(app.shown.splice(0), ['Hello, alice']);
  broker.end(app.broker.getState().session.id);
  await assert.rejects(app.broker.rotate());
  assert.deepEqual(app.shown, ['Welcome', 'It said invalid_token. (revoked, request r-invalid_token)']);
  assert.ok(broker.requests.every(({ url }) => url.startsWith('https://auth.example.com/')));
});

test('the commands: each is a script of this package, and each script is there', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const [install, ...commands] = blocks('sh').join('').trim().split('\n').map((line) => line.replace(/\s*#.*/, ''));
  assert.equal(install, 'npm ci');
  assert.deepEqual(commands.map((line) => /^npm (?:run )?(\w+)$/.exec(line)?.[1]).sort(), Object.keys(scripts).sort());
});

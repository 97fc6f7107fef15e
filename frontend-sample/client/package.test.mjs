/** What the file itself promises: its size, its types, and that importing it does nothing. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = readFileSync(join(root, 'client/token-broker.js'));
const tsc = (...args) =>
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...args], { cwd: root, encoding: 'utf8' });

// Other compressors make it up to 20 bytes larger; what the broker serves is measured by `e2e/served.test.mjs`.
test('size: under 5 kB gzipped, by whatever gzip', (t) => {
  const { length } = gzipSync(source, { level: 9 });
  t.diagnostic(`token-broker.js: ${source.length} bytes, ${length} gzipped`);
  assert.ok(length <= 5000, `${length} bytes gzipped`);
});

test('dependencies: it imports nothing', () => {
  assert.doesNotMatch(String(source), /^\s*(import\b|export .* from\b)|\brequire\(|\bimport\(['"][^.]/m);
});

test('import: no side effect, and no page is needed', () => {
  const script = `
    const touched = [];
    for (const name of ['window', 'document', 'location', 'history', 'sessionStorage', 'localStorage',
      'BroadcastChannel', 'fetch', 'setTimeout', 'addEventListener']) {
      Object.defineProperty(globalThis, name, { get() { touched.push(name); } });
    }
    const before = Object.getOwnPropertyNames(globalThis).length;
    const { createBrokerClient } = await import('./client/token-broker.js');
    createBrokerClient({ clientId: 'on-a-server' }).getState();
    console.log(JSON.stringify([touched, Object.getOwnPropertyNames(globalThis).length - before]));`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: root, encoding: 'utf8' });
  assert.deepEqual(JSON.parse(output), [[], 0]);
});

test('types: the source passes tsc --checkJs --strict', () => {
  const options = JSON.parse(tsc('--showConfig')).compilerOptions;
  assert.deepEqual([options.strict, options.checkJs], [true, true]);
  tsc('-p', 'tsconfig.json');
});

test('types: token-broker.d.ts is what tsc generates (npm run types)', (t) => {
  const fresh = mkdtempSync(join(tmpdir(), 'token-broker-types-'));
  t.after(() => rmSync(fresh, { recursive: true }));
  tsc('-p', 'tsconfig.types.json', '--outDir', fresh);
  assert.equal(
    readFileSync(join(root, 'client/token-broker.d.ts'), 'utf8'),
    readFileSync(join(fresh, 'token-broker.d.ts'), 'utf8'),
  );
});

test('types: they describe what an app may and may not do', () => {
  tsc('-p', 'client/testing/tsconfig.json');
});

/** What the file and the package promise: size, types, the contents, and that importing does nothing. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { minify } from 'terser';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = readFileSync(join(root, 'client/token-broker.js'));
const tsc = (...args) =>
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...args], { cwd: root, encoding: 'utf8' });

const manifest = JSON.parse(readFileSync(join(root, 'client/package.json'), 'utf8'));

// As the build of an app ships it, and as the other clients are measured. The file itself is made to be read.
test('size: at most 5 kB minified and gzipped', async (t) => {
  const { code } = await minify(String(source), { module: true });
  const { length } = gzipSync(code, { level: 9 });
  const readable = gzipSync(source, { level: 9 }).length;
  t.diagnostic(`token-broker.js: ${length} bytes minified and gzipped; as it is ${source.length}, ${readable} gzipped`);
  assert.ok(length <= 5000, `${length} bytes minified and gzipped`);
  assert.ok(readable <= 7500, `${readable} bytes gzipped`);
});

test('version: the file names that of the package, and the changelog has it', () => {
  assert.ok(String(source).includes(`@token-broker/client ${manifest.version}:`));
  assert.ok(readFileSync(join(root, 'client/CHANGELOG.md'), 'utf8').includes(`\n## ${manifest.version}\n`));
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

test('types: each committed .d.ts is what tsc generates (npm run types)', (t) => {
  const fresh = mkdtempSync(join(tmpdir(), 'token-broker-types-'));
  t.after(() => rmSync(fresh, { recursive: true }));
  tsc('-p', 'tsconfig.types.json', '--outDir', fresh);
  const made = readdirSync(fresh, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    .map((entry) => relative(fresh, join(entry.parentPath ?? entry.path, entry.name)));
  assert.ok(made.length > 8);
  for (const file of made) {
    assert.equal(readFileSync(join(root, 'client', file), 'utf8'), readFileSync(join(fresh, file), 'utf8'), file);
  }
});

test('types: they describe what an app may and may not do', () => {
  tsc('-p', 'client/testing/tsconfig.json');
});

/** The package as `npm pack` makes it. */
const pack = (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'token-broker-pack-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const output = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: join(root, 'client'), encoding: 'utf8', stdio: 'pipe' });
  const [{ filename, files }] = JSON.parse(output.slice(output.indexOf('[\n')));
  return { tarball: join(folder, filename), files: files.map(({ path }) => path) };
};

test('the package: what its exports name is in it, with types; tests are not; publint and attw agree', async (t) => {
  const { tarball, files } = pack(t);
  const targets = Object.values(manifest.exports).flatMap((each) => (typeof each === 'string' ? [each] : Object.values(each)));
  for (const target of [...targets, './token-broker-types.d.ts', './README.md', './CHANGELOG.md', './LICENSE-MIT', './LICENSE-APACHE']) {
    assert.ok(files.includes(target.slice(2)), `${target} is not in the package`);
  }
  for (const file of files) assert.doesNotMatch(file, /test\.|page\.mjs|open\.mjs|tsconfig|use\.ts/);
  const run = (program, ...args) =>
    execFileSync(process.execPath, [join(root, 'node_modules', program), ...args], { cwd: root, encoding: 'utf8', stdio: 'pipe' });
  run('publint/src/cli.js', 'run', tarball, '--strict');
  run('@arethetypeswrong/cli/dist/index.js', tarball, '--profile', 'esm-only', '--format', 'ascii');
});

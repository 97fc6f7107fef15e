/** Bound tokens: the key, the proofs, and nonces. That the real broker agrees is what `e2e/dpop.test.mjs` shows. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { minify } from 'terser';

import { withDpop } from './dpop.js';
import { FakeBroker } from './testing/broker.mjs';
import { openPage } from './testing/page.mjs';
import { createBrokerClient, isBrokerError } from './token-broker.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const sha256 = (text) => createHash('sha256').update(text).digest('base64url');
const thumbprint = ({ crv, kty, x, y }) => sha256(JSON.stringify({ crv, kty, x, y }));

/** IndexedDB as far as the client uses it: transactions of one database run one after the other. */
class FakeDatabases {
  stores = new Map();
  #busy = Promise.resolve();

  open() {
    const { stores } = this;
    const database = {
      createObjectStore: (name) => void stores.set(name, new Map()),
      transaction: (name) => this.#transaction(stores.get(name)),
      close() {},
    };
    const opening = { result: database };
    setTimeout(() => {
      if (!stores.size) opening.onupgradeneeded();
      opening.onsuccess();
    });
    return opening;
  }

  #transaction(values) {
    const steps = [];
    const transaction = {
      objectStore: () => ({
        get(key) {
          const reading = {};
          steps.push(() => {
            reading.result = values.get(key);
            reading.onsuccess();
          });
          return reading;
        },
        put: (value, key) => void values.set(key, value),
      }),
    };
    this.#busy = this.#busy.then(() => new Promise((resolve) => setTimeout(() => {
      for (const step of steps) step();
      transaction.oncomplete();
      resolve();
    })));
    return transaction;
  }
}

/** Verifies a proof as the broker does and returns its claims and the thumbprint of its key. */
async function verify(jwt) {
  const [header, claims, signature] = jwt.split('.');
  const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());
  const { typ, alg, jwk } = decode(header);
  assert.deepEqual([typ, alg, Object.keys(jwk).sort()], ['dpop+jwt', 'ES256', ['crv', 'kty', 'x', 'y']]);
  const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify']);
  const good = await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key,
    Buffer.from(signature, 'base64url'), Buffer.from(`${header}.${claims}`));
  assert.ok(good, 'the signature is right');
  return { ...decode(claims), jkt: thumbprint(jwk) };
}

/** A page with a client of bound tokens, in front of a broker that records schemes and proofs. */
function open(t, { page = openPage(t, 'https://app.example/'), databases = new FakeDatabases(), ...options } = {}) {
  const broker = new FakeBroker();
  const visited = [];
  const seen = [];
  Object.defineProperty(globalThis, 'indexedDB', { value: databases, configurable: true });
  t.after(() => delete globalThis.indexedDB);
  const answers = [];
  const fetch = async (input, init) => {
    const request = new Request(input, init);
    const authorization = request.headers.get('Authorization');
    const proof = request.headers.get('DPoP');
    seen.push({ path: new URL(request.url).pathname, authorization, proof: proof && await verify(proof) });
    const answer = answers.shift();
    if (answer) return answer;
    if (authorization) request.headers.set('Authorization', authorization.replace('DPoP ', 'Bearer '));
    return broker.fetch(request);
  };
  const client = createBrokerClient(withDpop({
    brokerUrl: broker.origin, clientId: 'web', shareAcrossTabs: false, fetch,
    navigate: (url) => visited.push(url), ...options,
  }));
  t.after(() => client.dispose());
  return { client, broker, page, visited, seen, databases, answers };
}

async function signIn(opened) {
  await opened.client.login();
  opened.page.href = opened.broker.signIn(opened.visited.pop());
  assert.equal((await opened.client.ready()).status, 'signed-in');
}

const needsNonce = (nonce, status = 401) => new Response('{"error":"use_dpop_nonce"}', {
  status, headers: { 'DPoP-Nonce': nonce, 'WWW-Authenticate': 'DPoP error="use_dpop_nonce"' },
});

test('the login names the key of the proofs, and every call with the token has a proof', async (t) => {
  const opened = open(t);
  await opened.client.login();
  const jkt = new URL(opened.visited[0]).searchParams.get('dpop_jkt');
  opened.page.href = opened.broker.signIn(opened.visited[0]);
  await opened.client.ready();
  await opened.client.fetch(`${opened.broker.origin}/api/sessions?limit=1#top`);
  await opened.client.rotate();
  const [redeemed, me, sessions, rotated] = opened.seen;
  assert.deepEqual(opened.seen.map(({ path }) => path),
    ['/api/get_token', '/api/me', '/api/sessions', '/api/token/rotate']);
  for (const { proof } of opened.seen) assert.equal(proof.jkt, jkt);
  assert.equal(new Set(opened.seen.map(({ proof }) => proof.jti)).size, 4);
  assert.deepEqual([redeemed.authorization, redeemed.proof.ath], [null, undefined]);
  assert.deepEqual([redeemed.proof.htm, redeemed.proof.htu], ['POST', 'https://broker.example/api/get_token']);
  for (const { authorization, proof } of [me, sessions, rotated]) {
    assert.equal(proof.ath, sha256(authorization.replace('DPoP ', '')));
  }
  assert.deepEqual([sessions.proof.htm, sessions.proof.htu], ['GET', 'https://broker.example/api/sessions']);
  assert.ok(Math.abs(me.proof.iat - Date.now() / 1000) < 5);
});

test('no script can read the private key', async (t) => {
  const opened = open(t);
  await signIn(opened);
  const [pair] = opened.databases.stores.get('keys').values();
  for (const format of ['jwk', 'pkcs8', 'raw']) {
    await assert.rejects(crypto.subtle.exportKey(format, pair.privateKey));
  }
});

test('all tabs and reloads use one key, also if two of them make it at once', async (t) => {
  const databases = new FakeDatabases();
  const page = openPage(t, 'https://app.example/');
  const tabs = [0, 1].map(() => open(t, { page, databases }));
  await Promise.all(tabs.map(({ client }) => client.login()));
  const [one, other] = tabs.map(({ visited }) => new URL(visited[0]).searchParams.get('dpop_jkt'));
  assert.equal(one, other);
  assert.equal(databases.stores.get('keys').size, 1);
});

test('a nonce is followed once, remembered, and replaced by a newer one', async (t) => {
  const opened = open(t);
  opened.answers.push(needsNonce('first', 400));
  await signIn(opened);
  assert.deepEqual(opened.seen.map(({ path, proof }) => [path, proof.nonce]), [
    ['/api/get_token', undefined], ['/api/get_token', 'first'], ['/api/me', 'first'],
  ]);
  opened.seen.length = 0;
  opened.answers.push(needsNonce('second'));
  const body = JSON.stringify({ text: 'sent twice' });
  const init = { method: 'POST', body, headers: { 'content-type': 'application/json' } };
  await opened.client.fetch(`${opened.broker.origin}/api/token/rotate`, init);
  assert.deepEqual(opened.seen.map(({ proof }) => proof.nonce), ['first', 'second']);
  assert.deepEqual(opened.broker.requests.at(-1).body, { text: 'sent twice' });

  opened.seen.length = 0;
  opened.answers.push(needsNonce('third'), needsNonce('fourth'), needsNonce('fifth'));
  const response = await opened.client.fetch(`${opened.broker.origin}/api/sessions`);
  assert.equal(response.status, 401, 'a server that never accepts a nonce is not asked for ever');
  assert.equal(opened.seen.filter(({ path }) => path === '/api/sessions').length, 2);
});

test('requests without a token of the broker are left as they are', async (t) => {
  const opened = open(t);
  opened.answers.push(new Response('ok'), new Response('ok'));
  await opened.client.fetch('https://other.example/', { headers: { Authorization: 'Bearer other' } });
  await opened.client.fetch(`${opened.broker.origin}/healthz`);
  assert.deepEqual(opened.seen.map(({ authorization, proof }) => [authorization, proof]), [['Bearer other', null], [null, null]]);
});

test('with a blocked IndexedDB the login is refused as with any blocked storage, and works once it is there', async (t) => {
  const opened = open(t, { restore: 'silent' });
  const { open: openDatabases } = opened.databases;
  const blocked = new DOMException('blocked', 'SecurityError');
  const fails = () => {
    const opening = { error: blocked };
    setTimeout(() => opening.onerror());
    return opening;
  };
  for (const refuse of [fails, () => { throw blocked; }]) {
    opened.databases.open = refuse;
    assert.deepEqual(await opened.client.ready(), { status: 'signed-out', reason: null, error: null });
    for (const call of [() => opened.client.login(), () => opened.client.requireLogin()]) {
      await assert.rejects(call, (error) => isBrokerError(error) && error.code === 'storage_blocked' && error.cause === blocked);
    }
  }
  assert.deepEqual([opened.visited, [...opened.page.session.items]], [[], []], 'no login is begun');
  opened.databases.open = openDatabases;
  await opened.client.login();
  assert.match(opened.visited[0], /[?&]dpop_jkt=[\w-]{43}(&|$)/);
});

test('a page in a frame is refused as without bound tokens', async (t) => {
  globalThis.top = {};
  globalThis.self = globalThis;
  t.after(() => { delete globalThis.top; delete globalThis.self; });
  await assert.rejects(open(t, { navigate: undefined }).client.login(), { name: 'ConfigError', code: 'in_frame' });
});

test('importing it does nothing, it imports nothing, and it is small', async (t) => {
  const source = readFileSync(join(root, 'client/dpop.js'));
  assert.doesNotMatch(String(source), /^\s*(import\b|export .* from\b)|\brequire\(/m);
  const { code } = await minify(String(source), { module: true });
  const { length } = gzipSync(code, { level: 9 });
  t.diagnostic(`dpop.js: ${length} bytes minified and gzipped`);
  assert.ok(length <= 1500, `${length} bytes minified and gzipped`);
  const script = "await import('./client/dpop.js'); console.log(typeof indexedDB, Object.keys(globalThis).includes('withDpop'))";
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: root, encoding: 'utf8' });
  assert.equal(output.trim(), 'undefined false');
});

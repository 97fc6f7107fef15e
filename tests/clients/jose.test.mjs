/** jose: what the broker signs verifies with a library of another author, and nothing of it passes for anything else. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createLocalJWKSet, createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import * as oauth from 'oauth4webapi';

import { APP, Browser, changeKeys, me, registerApi, start } from './support.mjs';

const insecure = { [oauth.allowInsecureRequests]: true };
const client = { client_id: 'app' };
const ASSERTION = 'token-broker-assertion+jwt';
const INTROSPECTION = 'token-introspection+jwt';
let broker;
let server;
let secret;

before(async () => {
  broker = await start();
  const issuer = new URL(broker.issuer);
  const response = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' });
  server = await oauth.processDiscoveryResponse(issuer, response);
  secret = registerApi(broker, 'orders');
});
after(() => broker?.end());

/** The tokens of a sign-in. */
async function signIn() {
  const verifier = oauth.generateRandomCodeVerifier();
  const url = new URL(server.authorization_endpoint);
  const parameters = {
    client_id: 'app',
    redirect_uri: APP,
    response_type: 'code',
    scope: 'openid profile email',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  const callback = oauth.validateAuthResponse(server, client, await new Browser().signIn(url), oauth.expectNoState);
  const response = await oauth.authorizationCodeGrantRequest(
    server, client, oauth.None(), callback, APP, verifier, insecure);
  return oauth.processAuthorizationCodeResponse(server, client, response);
}

/** The assertion that a gateway gets. */
async function assertionOf(token) {
  const response = await fetch(`${broker.issuer}/authz/nginx`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(response.status, 200);
  return response.headers.get('x-auth-assertion');
}

/** What the API `orders` is told of a token, as a response. */
function introspect(token, accept = 'application/json') {
  const authorization = `Basic ${btoa(`orders:${secret}`)}`;
  const body = new URLSearchParams({ token });
  return fetch(server.introspection_endpoint, { method: 'POST', headers: { authorization, accept }, body });
}

const published = () => fetch(server.jwks_uri).then((response) => response.json());

/** The code of the page docs/forward-auth.md, which imports `jose` from here. */
async function examplePage() {
  const page = readFileSync(fileURLToPath(new URL('../../docs/forward-auth.md', import.meta.url)), 'utf8');
  const code = page.split('```js\n')[1].split('\n```')[0];
  const folder = mkdtempSync(fileURLToPath(new URL('example-', import.meta.url)));
  try {
    writeFileSync(join(folder, 'example.mjs'), code);
    return await import(pathToFileURL(join(folder, 'example.mjs')).href);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a backend verifies the assertion as the page shows', async () => {
  Object.assign(process.env, { BROKER_URL: broker.issuer, AUDIENCE: broker.issuer });
  const { visitor } = await examplePage();
  const { access_token: token } = await signIn();
  const claims = await visitor({ 'x-auth-assertion': await assertionOf(token) });
  const { body } = await me(broker.issuer, token);
  assert.deepEqual(
    [claims.sub, claims.preferred_username, claims.name, claims.email, claims.client_id, claims.scope],
    [body.user.id, 'alice', 'Alice Example', 'alice@example.com', 'app', 'email openid profile']);
  assert.equal(claims.exp - claims.iat, 60);
  const tampered = (await assertionOf(token)).replace(/.{4}$/, 'AAAA');
  for (const bad of [undefined, '', token, tampered]) {
    await assert.rejects(visitor({ 'x-auth-assertion': bad }));
  }
});

test('RFC 9701: the signed introspection answer verifies and says what the JSON says', async () => {
  const { access_token: token } = await signIn();
  assert.deepEqual(server.introspection_signing_alg_values_supported, ['ES256']);
  const api = { client_id: 'orders', introspection_signed_response_alg: 'ES256' };
  for (const asked of [token, 'tbk_unknown']) {
    const plain = await introspect(asked).then((response) => response.json());
    assert.equal(plain.active, asked === token);
    const response = await introspect(asked, `application/${INTROSPECTION}`);
    assert.equal(response.headers.get('content-type'), `application/${INTROSPECTION}`);
    const { payload, protectedHeader } = await jwtVerify(
      await response.text(), createRemoteJWKSet(new URL(server.jwks_uri)),
      { issuer: broker.issuer, audience: 'orders', typ: INTROSPECTION, algorithms: ['ES256'] });
    assert.deepEqual(payload.token_introspection, plain);
    assert.deepEqual(Object.keys(payload).sort(), ['aud', 'iat', 'iss', 'token_introspection']);
    assert.equal(protectedHeader.typ, INTROSPECTION);
    // The same by a library that knows the standard.
    const auth = oauth.ClientSecretBasic(secret);
    const told = await oauth.introspectionRequest(server, api, auth, asked, { ...insecure, requestJwtResponse: true })
      .then(async (answer) => {
        const read = await oauth.processIntrospectionResponse(server, api, answer);
        await oauth.validateApplicationLevelSignature(server, answer, insecure);
        return read;
      });
    assert.deepEqual(told, plain);
  }
});

test('no JWT of the broker passes for another', async () => {
  const { access_token: token, id_token: idToken } = await signIn();
  const keys = createRemoteJWKSet(new URL(server.jwks_uri));
  const jwts = {
    [ASSERTION]: await assertionOf(token),
    [INTROSPECTION]: await introspect(token, `application/${INTROSPECTION}`).then((response) => response.text()),
    'an ID token': idToken,
  };
  for (const [is, jwt] of Object.entries(jwts)) {
    for (const typ of [ASSERTION, INTROSPECTION, 'at+jwt', 'logout+jwt']) {
      const verified = jwtVerify(jwt, keys, { issuer: broker.issuer, typ });
      if (is === typ) await verified;
      else await assert.rejects(verified, { code: 'ERR_JWT_CLAIM_VALIDATION_FAILED' }, `${is} as ${typ}`);
    }
    // 400 if it is longer than any bearer token.
    assert.ok([400, 401].includes((await me(broker.issuer, jwt)).status), is);
  }
  await assert.rejects(jwtVerify(jwts[ASSERTION], keys, { audience: 'https://other.example.com' }));
  await assert.rejects(jwtVerify(jwts[ASSERTION], keys, { currentDate: new Date(Date.now() + 61_000) }));
});

test('a rotation of the server keys overlaps', async () => {
  const { access_token: token } = await signIn();
  const old = await assertionOf(token);
  const before = await published();
  const until = async (done) => {
    for (let tries = 0; !(await done()); tries += 1) {
      assert.ok(tries < 100, 'the broker reads its keys file again');
      await sleep(100);
    }
  };
  changeKeys(broker, 'add');
  await until(async () => (await published()).keys.length === before.keys.length + 1);
  assert.equal(decodeProtectedHeader(await assertionOf(token)).kid, decodeProtectedHeader(old).kid, 'only published');
  // A backend that has read the keys already knows the next one.
  const known = createLocalJWKSet(await published());
  changeKeys(broker, 'issue', 'newest');
  await until(async () => decodeProtectedHeader(await assertionOf(token)).kid !== decodeProtectedHeader(old).kid);
  for (const jwt of [old, await assertionOf(token)]) {
    const { payload } = await jwtVerify(jwt, known, { issuer: broker.issuer, audience: broker.issuer, typ: ASSERTION });
    assert.equal(payload.client_id, 'app');
  }
});

/** oauth4webapi: every check that the library knows, none of them relaxed but https. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as oauth from 'oauth4webapi';

import { APP, Browser, me, start } from './support.mjs';

const insecure = { [oauth.allowInsecureRequests]: true };
const client = { client_id: 'app' };
const auth = oauth.None();
let broker;
let server;

before(async () => {
  broker = await start();
  const issuer = new URL(broker.issuer);
  const response = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oidc' });
  server = await oauth.processDiscoveryResponse(issuer, response);
});
after(() => broker?.end());

/** Sends the browser to the authorization endpoint and validates what comes back. */
async function authorize(browser, parameters) {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(server.authorization_endpoint);
  const all = {
    client_id: client.client_id,
    redirect_uri: APP,
    response_type: 'code',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    ...parameters,
  };
  for (const [name, value] of Object.entries(all)) url.searchParams.set(name, value);
  const back = await browser.signIn(url);
  return { verifier, callback: () => oauth.validateAuthResponse(server, client, back, state) };
}

async function exchange({ verifier, callback }, checks = {}) {
  const response = await oauth.authorizationCodeGrantRequest(
    server, client, auth, callback(), APP, verifier, insecure);
  return oauth.processAuthorizationCodeResponse(server, client, response, checks);
}

test('RFC 8414 and OpenID Connect discovery describe the same server', async () => {
  const issuer = new URL(broker.issuer);
  const response = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' });
  assert.deepEqual(await oauth.processDiscoveryResponse(issuer, response), server);
  assert.equal(server.authorization_response_iss_parameter_supported, true);
});

test('OpenID Connect: ID token with nonce, at_hash and max_age, userinfo of the same person, /api/me', async () => {
  const nonce = oauth.generateRandomNonce();
  const authorized = await authorize(new Browser(), { scope: 'openid profile email', nonce, max_age: '600' });
  const tokens = await exchange(authorized, { expectedNonce: nonce, maxAge: 600, requireIdToken: true });
  assert.equal(tokens.token_type, 'bearer');
  const claims = oauth.getValidatedIdTokenClaims(tokens);
  assert.ok(claims.auth_time <= claims.iat);

  const response = await oauth.userInfoRequest(server, client, tokens.access_token, insecure);
  const info = await oauth.processUserInfoResponse(server, client, claims.sub, response);
  assert.deepEqual(
    [info.preferred_username, info.email, info.email_verified],
    ['alice', 'alice@example.com', true]);

  const { status, body } = await me(broker.issuer, tokens.access_token);
  assert.deepEqual([status, body.user.id, body.user.username], [200, claims.sub, 'alice']);
  assert.equal((await me(broker.issuer, tokens.id_token)).status, 401);
  assert.equal((await me(broker.issuer, tokens.refresh_token)).status, 401);
});

test('the signature of the ID token verifies against the published keys', async () => {
  const { verifier, callback } = await authorize(new Browser(), { scope: 'openid' });
  const response = await oauth.authorizationCodeGrantRequest(server, client, auth, callback(), APP, verifier, insecure);
  await oauth.processAuthorizationCodeResponse(server, client, response, { requireIdToken: true });
  await oauth.validateApplicationLevelSignature(server, response, insecure);
});

test('plain OAuth 2 without openid: no ID token, and the refresh token rotates', async () => {
  const tokens = await exchange(await authorize(new Browser(), {}), { expectedNonce: oauth.expectNoNonce });
  assert.equal(tokens.id_token, undefined);
  const response = await oauth.refreshTokenGrantRequest(server, client, auth, tokens.refresh_token, insecure);
  const renewed = await oauth.processRefreshTokenResponse(server, client, response);
  assert.notEqual(renewed.access_token, tokens.access_token);
  assert.notEqual(renewed.refresh_token, tokens.refresh_token);
  assert.equal((await me(broker.issuer, renewed.access_token)).status, 200);
});

test('prompt=none: login_required for a stranger, and a code for a browser that is signed in', async () => {
  const browser = new Browser();
  const { callback } = await authorize(browser, { prompt: 'none', provider: 'ops' });
  assert.throws(callback, (error) => error.error === 'login_required');
  await exchange(await authorize(browser, {}));
  const renewed = await exchange(await authorize(browser, { prompt: 'none' }));
  assert.equal((await me(broker.issuer, renewed.access_token)).status, 200);
});

test('a code works once', async () => {
  const authorized = await authorize(new Browser(), {});
  await exchange(authorized);
  await assert.rejects(exchange(authorized), (error) => error.error === 'invalid_grant');
});

test('DPoP: the tokens are bound to a key, the nonce is followed, and refresh and userinfo need a proof', async () => {
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256', { extractable: false }));
  const bound = { ...insecure, DPoP };
  /** The request, and once more if the server demands a nonce. */
  const following = async (send) => {
    try {
      return await send();
    } catch (error) {
      assert.ok(oauth.isDPoPNonceError(error), error);
      return send();
    }
  };
  const { verifier, callback } = await authorize(new Browser(), { scope: 'openid profile' });
  const parameters = callback();
  const tokens = await following(async () => oauth.processAuthorizationCodeResponse(server, client,
    await oauth.authorizationCodeGrantRequest(server, client, auth, parameters, APP, verifier, bound)));
  assert.equal(tokens.token_type, 'dpop');
  assert.equal((await me(broker.issuer, tokens.access_token)).status, 401, 'a copy of the token is useless');

  const renewed = await following(async () => oauth.processRefreshTokenResponse(server, client,
    await oauth.refreshTokenGrantRequest(server, client, auth, tokens.refresh_token, bound)));
  assert.equal(renewed.token_type, 'dpop');
  const { sub } = oauth.getValidatedIdTokenClaims(renewed);
  const info = await following(async () => oauth.processUserInfoResponse(server, client, sub,
    await oauth.userInfoRequest(server, client, renewed.access_token, bound)));
  assert.equal(info.preferred_username, 'alice');
  const url = new URL(`${broker.issuer}/api/me`);
  const response = await following(() =>
    oauth.protectedResourceRequest(renewed.access_token, 'GET', url, undefined, undefined, bound));
  assert.equal((await response.json()).user.id, sub);
  assert.deepEqual(server.dpop_signing_alg_values_supported, ['ES256', 'ES384', 'Ed25519', 'EdDSA', 'RS256', 'PS256']);
});

test('DPoP: every algorithm of the metadata that the library has is accepted', async () => {
  for (const algorithm of ['ES256', 'Ed25519', 'RS256', 'PS256']) {
    const keys = await oauth.generateKeyPair(algorithm);
    const bound = { ...insecure, DPoP: oauth.DPoP(client, keys) };
    const { verifier, callback } = await authorize(new Browser(), {});
    const parameters = callback();
    const exchange = async () => oauth.processAuthorizationCodeResponse(server, client,
      await oauth.authorizationCodeGrantRequest(server, client, auth, parameters, APP, verifier, bound));
    await assert.rejects(exchange(), oauth.isDPoPNonceError, algorithm);
    assert.equal((await exchange()).token_type, 'dpop', algorithm);
  }
});

test('RFC 8628: a device waits, is connected once, and its code does not work again', async () => {
  assert.ok(server.grant_types_supported.includes('urn:ietf:params:oauth:grant-type:device_code'));
  const asked = await oauth.deviceAuthorizationRequest(server, client, auth, { scope: 'openid profile' }, insecure);
  const device = await oauth.processDeviceAuthorizationResponse(server, client, asked);
  const poll = async () => {
    const response = await oauth.deviceCodeGrantRequest(server, client, auth, device.device_code, insecure);
    return oauth.processDeviceCodeResponse(server, client, response);
  };
  const interval = () => new Promise((resolve) => setTimeout(resolve, device.interval * 1000));
  await assert.rejects(poll(), (error) => error.error === 'authorization_pending');
  await assert.rejects(poll(), (error) => error.error === 'slow_down');
  await new Browser().connectDevice(device.verification_uri_complete, device.user_code);
  await interval();
  await interval();
  const tokens = await poll();
  assert.ok(oauth.getValidatedIdTokenClaims(tokens).sub);
  assert.equal((await me(broker.issuer, tokens.access_token)).body.user.username, 'alice');
  await interval();
  await interval();
  await assert.rejects(poll(), (error) => error.error === 'invalid_grant');
});

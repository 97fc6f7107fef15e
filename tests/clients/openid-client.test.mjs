/** openid-client: the certified relying party library, as its README uses it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as client from 'openid-client';

import { APP, Browser, me, start } from './support.mjs';

let broker;
let config;

before(async () => {
  broker = await start();
  config = await client.discovery(new URL(broker.issuer), 'app', undefined, client.None(), {
    execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks],
  });
});
after(() => broker?.end());

test('signs in, reads userinfo, refreshes, and calls /api/me', async () => {
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const expectedState = client.randomState();
  const expectedNonce = client.randomNonce();
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: APP,
    scope: 'openid profile email offline_access',
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    nonce: expectedNonce,
  });
  const back = await new Browser().signIn(url, 'bob');
  const tokens = await client.authorizationCodeGrant(config, back, { pkceCodeVerifier, expectedState, expectedNonce });
  const { sub } = tokens.claims();
  const info = await client.fetchUserInfo(config, tokens.access_token, sub);
  assert.equal(info.preferred_username, 'bob');

  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token);
  assert.equal(renewed.claims().sub, sub);
  const { status, body } = await me(broker.issuer, renewed.access_token);
  assert.deepEqual([status, body.user.id], [200, sub]);
});

test('a mistake of the app is an error of the library, with the code of the standard', async () => {
  const url = client.buildAuthorizationUrl(config, { redirect_uri: APP, scope: 'openid', state: 'a b&c=d' });
  const back = await new Browser().signIn(url);
  await assert.rejects(
    client.authorizationCodeGrant(config, back, { expectedState: 'a b&c=d' }),
    (error) => error.error === 'invalid_request' && /code_challenge/.test(error.error_description));
});

test('DPoP: signs in, refreshes and calls with bound tokens, and follows nonces by itself', async () => {
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'));
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const expectedState = client.randomState();
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: APP,
    scope: 'openid profile',
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    dpop_jkt: await DPoP.calculateThumbprint(),
  });
  const back = await new Browser().signIn(url, 'bob');
  const tokens = await client.authorizationCodeGrant(config, back, { pkceCodeVerifier, expectedState }, undefined, { DPoP });
  assert.equal(tokens.token_type, 'dpop');
  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
  const info = await client.fetchUserInfo(config, renewed.access_token, renewed.claims().sub, { DPoP });
  assert.equal(info.preferred_username, 'bob');
  const address = new URL(`${broker.issuer}/api/me`);
  const response = await client.fetchProtectedResource(config, renewed.access_token, address, 'GET', undefined, undefined, { DPoP });
  assert.equal(response.status, 200);
  assert.equal((await me(broker.issuer, renewed.access_token)).status, 401, 'a copy of the token is useless');
});

test('a device is connected: the library polls while the user signs in elsewhere', async () => {
  const waiting = await client.initiateDeviceAuthorization(config, { scope: 'openid profile' });
  const polling = client.pollDeviceAuthorizationGrant(config, waiting);
  await new Browser().connectDevice(waiting.verification_uri_complete, waiting.user_code, 'bob');
  const tokens = await polling;
  const { status, body } = await me(broker.issuer, tokens.access_token);
  assert.deepEqual([status, body.user.username, body.user.id], [200, 'bob', tokens.claims().sub]);
  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token);
  assert.equal((await me(broker.issuer, renewed.access_token)).status, 200);
});

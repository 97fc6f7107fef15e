/** oidc-client-ts: what SPAs use. Its `OidcClient` is everything but the window, which the test's browser replaces. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { InMemoryWebStorage, OidcClient, WebStorageStateStore } from 'oidc-client-ts';

import { APP, Browser, me, start } from './support.mjs';

let broker;
before(async () => { broker = await start(); });
after(() => broker?.end());

/** A client with a store of its own, as every browser window has. */
function oidcClient(scope) {
  const store = new InMemoryWebStorage();
  const stateStore = new WebStorageStateStore({ store });
  return new OidcClient({ authority: broker.issuer, client_id: 'app', redirect_uri: APP, scope, stateStore, loadUserInfo: true });
}

test('signs in with userinfo, renews with the refresh token, and calls /api/me', async () => {
  const client = oidcClient('openid profile email');
  const { url } = await client.createSigninRequest({ state: { page: '/orders?id=7' }, nonce: 'a nonce' });
  const back = await new Browser().signIn(url);
  const response = await client.processSigninResponse(back.href);
  assert.deepEqual(response.userState, { page: '/orders?id=7' });
  assert.equal(response.profile.preferred_username, 'alice');
  assert.equal((await me(broker.issuer, response.access_token)).status, 200);

  const renewed = await client.useRefreshToken({
    state: {
      refresh_token: response.refresh_token,
      id_token: response.id_token,
      session_state: null,
      scope: response.scope,
      profile: response.profile,
    },
  });
  assert.notEqual(renewed.access_token, response.access_token);
  const { status, body } = await me(broker.issuer, renewed.access_token);
  assert.deepEqual([status, body.user.id], [200, response.profile.sub]);
});

test('prompt=none in a browser that is not signed in is login_required', async () => {
  const client = oidcClient('openid');
  const { url } = await client.createSigninRequest({ prompt: 'none', extraQueryParams: { provider: 'ops' } });
  const back = await new Browser().signIn(url);
  await assert.rejects(client.processSigninResponse(back.href), (error) => error.error === 'login_required');
});

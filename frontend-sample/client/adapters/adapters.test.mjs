/** The adapters with the libraries they adapt to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import '@angular/compiler';
import { createEnvironmentInjector, Injector, runInInjectionContext } from '@angular/core';
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import { createRoot } from 'solid-js';
import { get } from 'svelte/store';
import { createSSRApp, effectScope, h, watch } from 'vue';
import { renderToString as renderVueToString } from 'vue/server-renderer';

import { FakeBroker } from '../testing/broker.mjs';
import { openPage } from '../testing/page.mjs';
import { createBrokerClient } from '../token-broker.js';
import { injectBroker } from './angular.js';
import { axiosWith } from './axios.js';
import { openapiWith } from './openapi-fetch.js';
import { useBroker as useBrokerInReact } from './react.js';
import { useBroker as useBrokerInSolid } from './solid.js';
import { useBroker as useBrokerInSvelte } from './svelte.js';
import { useBroker as useBrokerInVue } from './vue.js';

function open(t) {
  const broker = new FakeBroker();
  const page = openPage(t, 'https://app.example/');
  const grant = broker.grant();
  page.session.setItem(`token-broker:${broker.origin}:`, JSON.stringify(grant));
  const client = createBrokerClient({ brokerUrl: broker.origin, shareAcrossTabs: false, fetch: broker.fetch });
  t.after(() => client.dispose());
  return { client, broker, grant };
}

test('Vue: the ref follows the state until its scope ends', async (t) => {
  const { client } = open(t);
  const scope = effectScope();
  const seen = [];
  const state = scope.run(() => {
    const ref = useBrokerInVue(client);
    watch(ref, ({ status }) => seen.push(status), { flush: 'sync' });
    return ref;
  });
  assert.equal(state.value.status, 'loading');
  await client.ready();
  assert.equal(state.value.user.username, 'alice');
  await client.logout();
  assert.deepEqual(seen, ['signed-in', 'signed-out']);
  scope.stop();
  await client.rotate().catch(() => {});
  assert.deepEqual(seen.length, 2);
});

test('Vue, Solid, Svelte and React render on a server: loading, and nothing is left behind', async (t) => {
  assert.ok(!('history' in globalThis));
  const client = createBrokerClient({ clientId: 'web' });
  let subscribed = 0;
  const counting = { ...client, subscribe: (fn) => {
    const end = client.subscribe(fn);
    subscribed += 1;
    return () => { subscribed -= 1; end(); };
  } };
  const App = { setup: () => { const state = useBrokerInVue(counting); return () => h('p', state.value.status); } };
  assert.equal(await renderVueToString(createSSRApp(App)), '<p>loading</p>');
  assert.equal(createRoot(() => useBrokerInSolid(counting)().status), 'loading');
  assert.equal(get(useBrokerInSvelte(counting)).status, 'loading');
  const Status = () => createElement('p', null, useBrokerInReact(counting).status);
  assert.equal(renderToString(createElement(Status)), '<p>loading</p>');
  await new Promise((resolve) => { setTimeout(resolve, 20); }); // an unhandled rejection would end the process
  assert.equal(subscribed, 0);
});

test('Svelte: a store that follows the state', async (t) => {
  const { client } = open(t);
  const seen = [];
  const end = useBrokerInSvelte(client).subscribe(({ status }) => seen.push(status));
  await client.ready();
  end();
  await client.logout();
  assert.deepEqual(seen, ['loading', 'signed-in']);
});

test('Solid: a signal that follows the state until its owner ends', async (t) => {
  const { client } = open(t);
  const [state, end] = createRoot((dispose) => [useBrokerInSolid(client), dispose]);
  await client.ready();
  assert.equal(state().user.username, 'alice');
  end();
  await client.logout();
  assert.equal(state().status, 'signed-in');
});

test('Angular: a signal that follows the state until its injector ends', async (t) => {
  const { client } = open(t);
  const injector = createEnvironmentInjector([], Injector.NULL);
  const state = runInInjectionContext(injector, () => injectBroker(client));
  assert.equal(state().status, 'loading');
  await client.ready();
  assert.equal(state().user.username, 'alice');
  injector.destroy();
  await client.logout();
  assert.equal(state().status, 'signed-in');
});

test('React: servers and hydration begin with loading, whatever the client knows by then', async (t) => {
  const { client } = open(t);
  const Status = () => createElement('p', null, useBrokerInReact(client).status);
  assert.equal(renderToString(createElement(Status)), '<p>loading</p>');
  await client.ready();
  assert.equal(client.getState().status, 'signed-in');
  assert.equal(renderToString(createElement(Status)), '<p>loading</p>');
});

test('axios: the token goes along where it may, and the broker is asked after a 401', async (t) => {
  const { client, broker, grant } = open(t);
  const api = axiosWith(client, { baseURL: broker.origin });
  const { data, status } = await api.get('/api/me');
  assert.deepEqual([status, data.user.username, broker.requests.at(-1).bearer], [200, 'alice', grant.bearer]);
  broker.fault = () => Response.json({});
  await api.post('https://elsewhere.example/', { a: 1 });
  const { bearer, body } = broker.requests.at(-1);
  assert.deepEqual([bearer, body], [null, { a: 1 }]);
  broker.fault = null;
  broker.end(grant.session.id);
  await assert.rejects(api.get('/api/me'), ({ response }) => response.status === 401);
  assert.equal(client.getState().reason, 'revoked');
});

test('openapi-fetch: the token goes along, and the answer is typed by the document', async (t) => {
  const { client, broker, grant } = open(t);
  const api = openapiWith(client, { baseUrl: broker.origin });
  const { data } = await api.GET('/api/me');
  assert.deepEqual([data.user.username, broker.requests.at(-1).bearer], ['alice', grant.bearer]);
});

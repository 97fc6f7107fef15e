/** Behaviour 6 against real servers: what Node's own `fetch` does with a request that carries the token. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { FakeBroker } from './testing/broker.mjs';
import { openPage } from './testing/page.mjs';
import { createBrokerClient } from './token-broker.js';

test('the token never goes along a redirect, not even when asked to follow', async (t) => {
  const seen = [];
  const serve = async (answer) => {
    const server = createServer(answer).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    return `http://127.0.0.1:${server.address().port}`;
  };
  const elsewhere = await serve((request, response) => {
    seen.push(request.headers.authorization ?? 'no token');
    response.end('got it');
  });
  const api = await serve((_, response) => response.writeHead(302, { location: elsewhere }).end());
  const broker = new FakeBroker();
  const page = openPage(t, 'https://app.example/');
  const grant = broker.grant();
  page.session.setItem(`token-broker:${broker.origin}:`, JSON.stringify(grant));
  const client = createBrokerClient({
    brokerUrl: broker.origin,
    resourceOrigins: [api],
    shareAcrossTabs: false,
    fetch: (input, init) =>
      (new Request(input).url.startsWith(broker.origin) ? broker.fetch(input, init) : fetch(input, init)),
  });
  t.after(() => client.dispose());
  await client.ready();
  assert.equal(await client.getToken(), grant.bearer);

  await assert.rejects(client.fetch(api), TypeError);
  await assert.rejects(client.fetch(api, { redirect: 'follow' }), TypeError);
  await assert.rejects(client.fetch(api, { redirect: 'manual' }), TypeError);
  assert.deepEqual(seen, []);
  assert.equal(await (await client.fetch(elsewhere)).text(), 'got it');
  assert.deepEqual(seen, ['no token'], 'the server is there, and is not trusted');
});

/** What a browser downloads for the client: the program's own compressed copy of the file that is reviewed here. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';

import { startBroker } from './support/broker.mjs';

const fromDisk = process.env.TOKEN_BROKER_SAMPLE === 'disk';
let broker;
before(async () => { broker = await startBroker(); });
after(() => broker?.end());

test('the client is served compressed, as it is reviewed', { skip: fromDisk && 'files from disk are served as they are' }, async (t) => {
  const request = get(`${broker.origin}/sample/client/token-broker.js`, { headers: { 'accept-encoding': 'gzip' } });
  const [response] = await once(request, 'response');
  const body = Buffer.concat(await response.toArray());
  t.diagnostic(`${body.length} bytes`);
  assert.equal(response.headers['content-encoding'], 'gzip');
  assert.ok(body.length < 7500, `${body.length} bytes`);
  assert.equal(String(gunzipSync(body)), readFileSync(new URL('../client/token-broker.js', import.meta.url), 'utf8'));
});

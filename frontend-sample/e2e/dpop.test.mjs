/** Bound tokens in a real browser against the real broker. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { openClient, requestsTo, signIn, startBoth } from './support/browser.mjs';

let broker;
let browser;
before(async () => { [broker, browser] = await startBoth(); });
after(async () => { await browser?.close(); await broker?.end(); });

/** Replaces the page's client by one whose tokens are bound, as the broker serves its module. */
const script = `
  const { withDpop } = await import('/sample/client/dpop.js');
  window.broker = createBrokerClient(withDpop({ clientId: 'sample', redirectUri: location.origin + '/' }));
  window.bound = true;
  broker.ready();`;

test('the key cannot be read, and a copy of the token is useless', async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await openClient(context, broker, { script });
  await page.waitForFunction(() => window.bound);
  const redemptions = requestsTo(page, '/api/get_token');
  assert.equal((await signIn(page)).status, 'signed-in');
  assert.equal(redemptions.length, 2, 'the second one has the nonce');
  assert.equal(await page.evaluate(async () => (await broker.fetch('/api/sessions')).status), 200);
  await page.evaluate(() => broker.rotate());

  const token = await page.evaluate(() => broker.getToken());
  for (const headers of [{ authorization: `Bearer ${token}` }, { authorization: `DPoP ${token}` }]) {
    assert.equal((await fetch(`${broker.origin}/api/me`, { headers })).status, 401);
  }

  const exported = await page.evaluate(() => new Promise((resolve) => {
    indexedDB.open('token-broker-dpop').onsuccess = ({ target: { result: database } }) => {
      database.transaction('keys').objectStore('keys').getAll().onsuccess = ({ target: { result } }) => {
        const keys = result.map(({ privateKey }) => privateKey);
        const formats = ['jwk', 'pkcs8'].flatMap((format) =>
          keys.map((key) => crypto.subtle.exportKey(format, key).then(() => 'exported', ({ name }) => name)));
        Promise.all(formats).then(resolve);
      };
    };
  }));
  assert.deepEqual(exported, ['InvalidAccessError', 'InvalidAccessError']);

  await page.reload();
  await page.waitForFunction(() => window.bound && broker.getState().status === 'signed-in');
  assert.equal(await page.evaluate(async () => (await broker.fetch('/api/me')).status), 200, 'after a reload');
});

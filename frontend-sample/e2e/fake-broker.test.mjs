/** The broker in memory of `@token-broker/client/testing`, as the Playwright tests of an app use it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { FakeBroker } from '../client/testing/broker.mjs';
import { openBrowser } from './support/browser.mjs';

let browser;
before(async () => { browser = await openBrowser(); });
after(() => browser?.close());

const client = readFileSync(new URL('../client/token-broker.js', import.meta.url), 'utf8');
const html = `<!doctype html><script type="module">
  import { createBrokerClient } from './token-broker.js';
  window.broker = createBrokerClient({ brokerUrl: 'https://broker.example', clientId: 'web', restore: 'silent' });
  broker.ready();
</script>`;

/** An app's page whose broker is the fake. */
async function open(t, fake) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.route('https://app.example/**', (route) => (route.request().url().endsWith('.js')
    ? route.fulfill({ contentType: 'text/javascript', body: client })
    : route.fulfill({ contentType: 'text/html', body: html })));
  await page.route(`${fake.origin}/**`, fake.route);
  await page.goto('https://app.example/');
  return page;
}
const status = (page, wanted) => page.waitForFunction((each) => window.broker?.getState().status === each, wanted);

test('no one is signed in, then a person signs in, calls an API and signs out', async (t) => {
  const fake = new FakeBroker();
  fake.user = null;
  const page = await open(t, fake);
  await status(page, 'signed-out');
  fake.user = 'bob';
  await page.evaluate(() => { broker.login({ returnTo: '/?order=7' }); });
  await status(page, 'signed-in');
  assert.equal(page.url(), 'https://app.example/?order=7');
  assert.equal(await page.evaluate(() => broker.getState().user.username), 'bob');
  fake.fault = ({ path, bearer }) => (path === 'orders' ? Response.json({ bearer }) : undefined);
  const { bearer } = await page.evaluate(async () => (await broker.fetch('https://broker.example/orders')).json());
  assert.ok(fake.isLive(bearer));
  assert.equal(await page.evaluate(() => broker.logout()), true);
  assert.ok(!fake.isLive(bearer));
});

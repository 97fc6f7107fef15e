/** Debian's Chromium, the pages in it, and what a person does at the development provider. */
import { existsSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { startBroker } from './broker.mjs';

const program = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';
const folder = fileURLToPath(new URL('../..', import.meta.url));

export async function openBrowser() {
  if (!existsSync(program)) {
    throw new Error(`${program} is missing: install Debian's package "chromium", or name another in CHROMIUM_BIN`);
  }
  return chromium.launch({
    executablePath: program,
    chromiumSandbox: false,
    timeout: 120_000,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
      // A page that a test answers itself has no address, so Chromium asks before it may call this machine.
      '--disable-features=LocalNetworkAccessChecks',
    ],
  });
}

/**
 * The broker and the browser of a test file. Neither is left behind when the other does not start; when the broker
 * dies, the browser is closed, so that no test waits for an answer that cannot come.
 */
export async function startBoth() {
  const [broker, browser] = await Promise.allSettled([startBroker(), openBrowser()]);
  if (broker.status === 'rejected' || browser.status === 'rejected') {
    await Promise.all([broker.value?.end(), browser.value?.close()]);
    throw broker.reason ?? browser.reason;
  }
  broker.value.onDeath((error) => {
    console.error(error.message);
    browser.value.close();
  });
  return [broker.value, browser.value];
}

const types = { '.html': 'text/html', '.js': 'text/javascript' };

/** A file of this folder as an answer. */
const file = (path) => ({ type: types[extname(path)], body: readFileSync(join(folder, path)) });

/**
 * Answers requests of `page` to the broker's origin in its place: `answer(path)` gives `{ type, body }`, or
 * nothing to let the request through. Playwright's own routes do not see requests that follow a redirect, and
 * that is how a browser comes back from a login.
 */
async function answerFor(page, origin, answer) {
  const devtools = await page.context().newCDPSession(page);
  devtools.on('Fetch.requestPaused', ({ requestId, request }) => {
    const found = answer(new URL(request.url).pathname);
    const done = found
      ? devtools.send('Fetch.fulfillRequest', {
        requestId,
        responseCode: 200,
        responseHeaders: [{ name: 'content-type', value: `${found.type}; charset=utf-8` }],
        body: Buffer.from(found.body).toString('base64'),
      })
      : devtools.send('Fetch.continueRequest', { requestId });
    done.catch(() => {}); // the page was left meanwhile
  });
  await devtools.send('Fetch.enable', { patterns: [{ urlPattern: `${origin}/*` }] });
}

/**
 * Stops the clock in a profile's tabs. A tab that asks the others for their session waits as long as they need then,
 * also on a machine where 200 ms are not enough for them.
 */
export async function stopClock(context) {
  await context.clock.install();
  await context.clock.pauseAt(Date.now() + 3_600_000);
}

/** A tab on the sample, as the broker serves it. */
export async function openSample(context, broker) {
  const page = await context.newPage();
  await page.goto(broker.origin);
  return page;
}

/**
 * A tab on one of the examples, with the client beside it, as if they were the page of `origin`; `edit` is what its
 * developer changes in `app.js`.
 */
export async function openExample(context, broker, example, { origin = broker.origin, edit = (app) => app } = {}) {
  const page = await context.newPage();
  const app = file(`examples/${example}/app.js`);
  await answerFor(page, origin, (path) => ({
    '/': file(`examples/${example}/index.html`),
    '/app.js': { ...app, body: edit(String(app.body)) },
    '/client/token-broker.js': file('client/token-broker.js'),
  })[path]);
  await page.goto(origin);
  return page;
}

/**
 * A tab on a page that holds nothing but the client, as `window.broker`. `script` runs right after it was made;
 * `options` are the client's.
 */
export async function openClient(context, broker, { options = {}, script = 'broker.ready();', path = '/' } = {}) {
  const html = `<!doctype html><title>client</title><script type="module">
    import { createBrokerClient } from '/client/token-broker.js';
    history.replaceState({ router: 'state' }, '');
    window.states = [];
    window.broker = createBrokerClient({
      clientId: 'sample', redirectUri: location.origin + '/', ...${JSON.stringify(options)} });
    broker.subscribe((state) => states.push(state));
    ${script}
  </script>`;
  const page = await context.newPage();
  await answerFor(page, broker.origin, (asked) => ({
    '/': { type: 'text/html', body: html },
    '/client/token-broker.js': file('client/token-broker.js'),
  })[asked]);
  await page.goto(broker.origin + path);
  await page.waitForFunction(() => 'broker' in window);
  return page;
}

/** Leaves for the provider and waits until it is there. `login` are the client's options. */
export async function goToProvider(page, login = { provider: 'dev' }) {
  await page.evaluate((how) => { broker.login(how); }, login);
  await page.waitForURL(/\/authorize\/?\?/);
}

/** What the person does there: `{ user: 'alice' }`, `{ deny: '1' }`, `{ user: 'bob', fault: 'token_500' }`. */
export async function answerProvider(page, choice = { user: 'alice' }) {
  await page.waitForURL(/\/authorize\/?\?/);
  const url = new URL(page.url());
  for (const [name, value] of Object.entries(choice)) url.searchParams.set(name, value);
  await page.goto(url.href);
}

/** Signs the client's page in. */
export async function signIn(page, choice) {
  await goToProvider(page);
  await answerProvider(page, choice);
  await settled(page);
  return page.evaluate(() => broker.getState());
}

/** Waits until the client knows whether someone is signed in. */
export async function settled(page) {
  await page.waitForFunction(() => window.broker && broker.getState().status !== 'loading');
  return page.evaluate(() => broker.getState());
}

/** The requests of a tab to a path of the API, from now on. */
export function requestsTo(page, path) {
  const seen = [];
  page.on('request', (request) => {
    if (new URL(request.url()).pathname === path && request.method() !== 'OPTIONS') seen.push(request);
  });
  return seen;
}

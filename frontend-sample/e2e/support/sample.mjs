/** The broker and the browser of a test file, and what a person does on the sample. */
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';

import { openSample, startBoth } from './browser.mjs';

/** @type {Awaited<ReturnType<typeof import('./broker.mjs').startBroker>>} */
export let broker;
/** @type {Awaited<ReturnType<typeof import('./browser.mjs').openBrowser>>} */
export let browser;
before(async () => { [broker, browser] = await startBoth(); });
after(async () => { await browser?.close(); await broker?.end(); });

/** A browser profile with one tab on the sample; whatever its pages must not do ends up in `trouble`. */
export async function open(t, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const trouble = [];
  context.on('page', (page) => watch(page, trouble));
  const page = await openSample(context, broker);
  return { context, page, trouble };
}

function watch(page, trouble) {
  page.on('pageerror', (error) => trouble.push(`exception: ${error.message}`));
  page.on('console', (message) => {
    // A refused request is written into the console by the browser itself; causing some is what the sample is for.
    if (/error|warning/.test(message.type()) && !/^Failed to load resource/.test(message.text())) {
      trouble.push(`console: ${message.text()}`);
    }
  });
  page.on('request', (request) => {
    const from = request.frame().url();
    const leaving = request.isNavigationRequest();
    if (!leaving && from.startsWith(broker.origin) && new URL(request.url()).origin !== broker.origin) {
      trouble.push(`foreign request: ${request.url()}`);
    }
  });
}

/** Shows the sample in a tab where browsers offer no cryptography: plain http, and not localhost. */
export async function openInsecurely(page) {
  await page.route('http://app.internal/**', (route) => {
    const { pathname } = new URL(route.request().url());
    const file = pathname === '/' ? '/index.html' : pathname.replace(/^\/sample/, '');
    return route.fulfill({ path: fileURLToPath(new URL(`../..${file}`, import.meta.url)) });
  });
  await page.goto('http://app.internal/');
  await heading(page, 'Sign in');
}

export const heading = (page, name) => page.getByRole('heading', { level: 1, name }).waitFor();
export const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
/** Signs in at the development provider: two clicks. */
export async function signIn(page, name = 'Alice') {
  await press(page, 'Continue with Development provider');
  await page.getByRole('link', { name: name === 'Alice' ? /Alice/ : /Bob/ }).first().click();
  await heading(page, /^Hello/);
}
/** Causes one of the “errors by hand”. */
export const cause = (page, id) => page.locator(`[data-lab="${id}"]`).click();
/** What the error on the page says. */
export const alert = async (page) => {
  await page.getByRole('alert').waitFor();
  return page.getByRole('alert').innerText();
};

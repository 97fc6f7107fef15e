/** A started `demo` with a client `app`, and a browser that signs people in at its development provider. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { program, startBroker } from '../../frontend-sample/e2e/support/broker.mjs';

/** The address of the app. No one listens there: the browser stops when it is sent to it. */
export const APP = 'http://localhost:3999/signed-in';

/** Starts a broker for the tests of one file. */
export async function start() {
  const broker = await startBroker('--app', APP);
  return { issuer: broker.origin, data: broker.data, end: broker.end };
}

/** Registers an API at a started broker, as an administrator does; returns its secret. */
export function registerApi(broker, id) {
  const config = join(broker.data, 'administration.toml');
  writeFileSync(config, `
    public_url = "https://auth.example.com"
    database.url = "sqlite:${join(broker.data, 'broker.sqlite')}"
    key_store.url = "redis://127.0.0.1:1"
    server_keys.file = "${join(broker.data, 'server_keys.toml')}"
    [[providers]]
    id = "dev"
    kind = "oidc"
    issuer = "https://login.example.com"
    client_id = "token-broker"
    [[clients]]
    id = "app"
    redirect_uris = ["https://app.example.com/"]
  `);
  const said = run('resource-servers', 'add', id, '--audience', broker.issuer, '--personal-data', '--config', config);
  return /tbs_[0-9A-Za-z]{50}/.exec(said)[0];
}

/** Changes the server keys of a started broker, as an administrator does. */
export function changeKeys(broker, ...args) {
  run('keys', ...args, '--file', join(broker.data, 'server_keys.toml'));
}

function run(...args) {
  const env = { ...process.env, TOKEN_BROKER__PROVIDERS__DEV__CLIENT_SECRET: 'not used by administration' };
  return execFileSync(program, args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** A browser that keeps cookies by host, as browsers do, and follows redirects until the app's address. */
export class Browser {
  #cookies = new Map();

  /** Opens an authorization URL, signs in as `user` if it is asked, and returns the URL that the app is called with. */
  async signIn(url, user = 'alice') {
    let next = new URL(url);
    for (let step = 0; step < 10; step += 1) {
      if (next.href.startsWith(APP)) return next;
      const response = await this.#open(next);
      const location = response.headers.get('location');
      next = location === null ? await this.#choose(response, next) : new URL(location, next);
      // The page of the development provider has a button for each user; a script presses it with this parameter.
      if (next.pathname === '/oidc/authorize' || next.pathname.endsWith('/authorize')) {
        if (next.searchParams.get('client_id') === 'token-broker') next.searchParams.set('user', user);
      }
    }
    throw new Error(`no way back to the app; the last address was ${next}`);
  }

  /**
   * Opens the address that a device shows, signs in as `user`, compares the code, and connects the device; the question
   * that was asked.
   */
  async connectDevice(address, userCode, user = 'alice') {
    const { page, url } = await this.#signInAtPage(new URL(address), user);
    assert(page.includes(`value="${userCode}"`), `${url} does not fill in the code`);
    const question = await this.#send(url, { user_code: userCode });
    assert(question.includes(userCode), `the question does not show the code: ${question}`);
    const [, sealed] = /name="question" value="([^"]+)"/.exec(question);
    const end = await this.#send(url, { user_code: userCode, question: sealed, answer: 'connect' });
    assert(end.includes('Your device is connected'), end);
    return question;
  }

  /** Follows redirects and, once, the choice of a provider, until a page has a form. */
  async #signInAtPage(first, user) {
    let url = first;
    for (let step = 0; step < 10; step += 1) {
      const response = await this.#open(url);
      const location = response.headers.get('location');
      const page = location === null ? await response.text() : '';
      if (page.includes('<form')) return { page, url };
      url = location === null ? chosen(page, url, response.status) : new URL(location, url);
      if (url.searchParams.get('client_id') === 'token-broker') url.searchParams.set('user', user);
    }
    throw new Error(`no form; the last address was ${url}`);
  }

  /** Sends a form of the broker's page, as the page does. */
  async #send(url, form) {
    const own = { origin: url.origin, 'sec-fetch-site': 'same-origin' };
    const response = await this.#open(url, { method: 'POST', body: new URLSearchParams(form) }, own);
    return response.text();
  }

  /** The broker's page on which the person chooses a provider. */
  async #choose(response, url) {
    return chosen(await response.text(), url, response.status);
  }

  async #open(url, request = {}, more = {}) {
    const jar = this.#cookies.get(url.hostname) ?? new Map();
    this.#cookies.set(url.hostname, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { accept: 'text/html', 'sec-fetch-dest': 'document', 'sec-fetch-mode': 'navigate', ...(cookie && { cookie }), ...more };
    const response = await fetch(url, { redirect: 'manual', headers, ...request });
    for (const line of response.headers.getSetCookie()) {
      const [pair, ...attributes] = line.split(';');
      const at = pair.indexOf('=');
      const gone = attributes.some((attribute) => attribute.trim().toLowerCase() === 'max-age=0');
      if (gone) jar.delete(pair.slice(0, at));
      else jar.set(pair.slice(0, at), pair.slice(at + 1));
    }
    return response;
  }
}

/** The link to the development provider of a page that lets the person choose. */
function chosen(page, url, status) {
  const link = /href="([^"]*provider=dev[^"]*)"/.exec(page);
  if (!link) throw new Error(`${url} answered ${status}: ${page}`);
  return new URL(link[1].replaceAll('&amp;', '&'), url);
}

/** `GET /api/me` with a token; the status and the body. */
export async function me(issuer, token) {
  const response = await fetch(`${issuer}/api/me`, { headers: { authorization: `Bearer ${token}` } });
  return { status: response.status, body: await response.json() };
}

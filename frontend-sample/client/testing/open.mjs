/** Clients in every situation, for the unit tests. */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';

import { FakeBroker } from './broker.mjs';
import { openPage } from './page.mjs';
import { createBrokerClient } from '../token-broker.js';

export const APP = 'https://app.example/';
/** What the client calls its entry in a storage. */
export const NAME = 'token-broker:https://broker.example:web';

/** A request that gets no answer. */
export const down = () => { throw new TypeError('fetch failed'); };
/** What a test compares of a state. */
export const brief = ({ status, reason, error }) => [status, reason, error?.name, error?.code];

/** Waits until something holds that needs no timer, such as cryptography that was begun. */
export const until = async (holds) => {
  for (let turns = 0; !holds() && turns < 5000; turns += 1) await turn();
  assert.ok(holds());
};

/** A page, a broker and a client on it. */
export function open(t, { href = APP, broker = new FakeBroker(), page = openPage(t, href), ...options } = {}) {
  const visited = [];
  const client = createBrokerClient({
    brokerUrl: broker.origin,
    clientId: 'web',
    shareAcrossTabs: false,
    fetch: broker.fetch,
    navigate: (url) => visited.push(url),
    ...options,
  });
  t.after(() => client.dispose());
  return { client, broker, page, visited };
}

/** The same, signed in from the storage. */
export async function openSignedIn(t, { broker = new FakeBroker(), user, ...options } = {}) {
  const page = options.page ?? openPage(t, APP);
  const grant = broker.grant(user, options.now?.());
  const storage = options.storage ?? page.session;
  storage.setItem(NAME, JSON.stringify(grant));
  const opened = open(t, { broker, page, ...options });
  assert.equal((await opened.client.ready()).status, 'signed-in');
  return { ...opened, grant, storage };
}

/** Goes to the login and comes back with a key; nothing has read the address yet. */
export async function comeBack(t, { login = {}, answer = {}, ...options } = {}) {
  const opened = open(t, options);
  await opened.client.login(login);
  opened.page.href = opened.broker.signIn(opened.visited[0], answer);
  return { ...opened, answer: opened.page.href };
}

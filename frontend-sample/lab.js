/**
 * Errors by hand. Each one is as real as a page can make it: if the broker can be made to refuse, it does.
 * Only an unreachable broker and the passing of a week are simulated.
 */
import config from './config.js';
import { leaveFor } from './leave.js';

/** @typedef {import('./client/token-broker.js').BrokerClient} BrokerClient */

const ARMED = 'sample:lab';
let unreachable = false;
let weekLater = false;

/** The time that the client sees. */
export const now = () => Date.now() + (weekLater ? 8 * 86_400_000 : 0);

/**
 * `fetch` with the faults that are armed, each for one request.
 * @param {typeof fetch} send
 * @returns {typeof fetch}
 */
export const withFaults = (send) => async (input, init) => {
  if (unreachable) {
    unreachable = false;
    throw new TypeError('simulated: no connection');
  }
  const path = new URL(input instanceof Request ? input.url : input, location.href).pathname;
  const fault = path === '/api/get_token' && sessionStorage.getItem(ARMED);
  if (!fault) return send(input, init);
  sessionStorage.removeItem(ARMED);
  if (fault === 'key-used') await send(input, init); // the client sees the answer to the second try
  else init = { ...init, body: JSON.stringify({ ...JSON.parse(String(init?.body)), code_verifier: 'x'.repeat(43) }) };
  return send(input, init);
};

/** Ends this session behind the client's back, as another device would. @param {BrokerClient} broker */
const endElsewhere = async (broker) => {
  await fetch('/api/logout', { method: 'POST', headers: await broker.authHeaders('/api/logout') });
};
/** @param {BrokerClient} broker @param {string} [fault] */
const loginWith = (broker, fault) => {
  if (fault) sessionStorage.setItem(ARMED, fault);
  // Without `prompt`, a browser that is signed in at the broker would skip the provider
  return leaveFor(broker, { provider: config.providers[0]?.id, prompt: fault ? undefined : 'login' });
};

/** @type {{ id: string, title: string, how: string, act: (broker: BrokerClient) => Promise<unknown> }[]} */
export const experiments = [
  {
    id: 'denied', title: 'Denied',
    how: 'Goes to the provider; press “Deny” there.',
    act: (broker) => loginWith(broker),
  },
  {
    id: 'key-used', title: 'Key used twice',
    how: 'Signs in again and redeems the one-time key twice.',
    act: (broker) => loginWith(broker, 'key-used'),
  },
  {
    id: 'key-expired', title: 'Key expired',
    how: 'Signs in again with a proof that does not fit. The broker answers as it does to an expired key: it never says which.',
    act: (broker) => loginWith(broker, 'key-expired'),
  },
  {
    id: 'broker-down', title: 'Broker down',
    how: 'The next request gets no answer (simulated). You stay signed in.',
    act: async (broker) => {
      unreachable = true;
      await broker.rotate();
    },
  },
  {
    id: 'expired', title: 'Session expired',
    how: 'Ends the session at the broker and puts this page’s clock a week ahead.',
    act: async (broker) => {
      await endElsewhere(broker);
      weekLater = true;
      await broker.getToken().finally(() => { weekLater = false; });
    },
  },
  {
    id: 'revoked', title: 'Revoked elsewhere',
    how: 'Ends the session as another device would, then uses the token.',
    act: async (broker) => {
      await endElsewhere(broker);
      await broker.fetch('/api/me');
    },
  },
  {
    id: 'provider-down', title: 'Provider down',
    how: 'Goes to the provider; choose “token_500” under “Make something go wrong”.',
    act: (broker) => loginWith(broker),
  },
];

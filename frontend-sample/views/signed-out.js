/** The signed-out view: the reason, and the ways to sign in. */
import config from '../config.js';
import { button, h } from '../dom.js';
import { leaveFor } from '../leave.js';
import { problem } from './problem.js';

/** @typedef {import('../client/token-broker.js').BrokerClient} BrokerClient */
/** @typedef {Extract<import('../client/token-broker.js').AuthState, { status: 'signed-out' }>} SignedOut */

const people = [
  { id: 'alice', name: 'Alice', what: 'may read and write reports' },
  { id: 'bob', name: 'Bob', what: 'may read reports' },
];

/** @param {SignedOut} state */
export const titleOf = ({ reason, error }) => {
  if (reason === 'expired' || reason === 'revoked') return 'Your session has ended';
  if (reason === 'other-tab') return 'You signed out in another tab';
  if (reason === 'manual') return 'You are signed out';
  if (error?.name === 'NetworkError') return 'The broker cannot be reached';
  return error ? 'That sign-in did not work' : 'Sign in';
};

/** @param {BrokerClient} broker @param {SignedOut} state */
export const signedOut = (broker, state) => [
  h('section', { class: 'gate' },
    h('div', { class: 'gate-form' },
      h('h1', { tabindex: '-1' }, titleOf(state)),
      state.error
        ? problem(broker, state.error, { signedIn: false })
        : h('p', { class: 'lead' }, 'This page never sees a password, a client secret or a provider’s token. '
          + 'It gets a one-time key and trades it for a token of its own.'),
      ways(broker, !state.error),
      config.demoUsers && demoUsers(broker)),
    relay()),
  h('section', { 'aria-labelledby': 'steps-title' },
    h('h2', { id: 'steps-title', class: 'quiet-title' }, 'What happens when you press a button'),
    h('ol', { class: 'steps' }, steps.map(([title, text]) =>
      h('li', {}, h('strong', {}, title), h('span', {}, text))))),
];

/** @param {BrokerClient} broker @param {boolean} first whether signing in is the main action of the page */
const ways = (broker, first) => h('div', { class: 'ways' },
  config.providers.map(({ id, displayName }, index) =>
    button(`Continue with ${displayName}`, () => leaveFor(broker, { provider: id }),
      { class: first && index === 0 ? 'big primary' : 'big' })),
  button(config.providers.length ? 'Choose on the next page' : 'Sign in', () => leaveFor(broker),
    { class: config.providers.length ? 'link' : 'big primary' }));

/** @param {BrokerClient} broker */
const demoUsers = (broker) => h('div', { class: 'people' },
  h('h2', {}, 'Demo users'),
  h('p', {}, 'The development provider knows two people and asks for no password.'),
  h('ul', {}, people.map(({ id, name, what }) => h('li', {},
    button(
      [h('span', { class: 'avatar', 'aria-hidden': 'true' }, name.slice(0, 1)),
        h('span', {}, h('strong', {}, `Sign in as ${name}`), h('small', {}, what))],
      () => leaveFor(broker, { provider: config.providers[0]?.id, loginHint: id }),
      { class: 'person' })))));

const steps = /** @type {const} */ ([
  ['The page asks', 'It goes to the broker with the fingerprint of a secret it keeps (PKCE).'],
  ['The broker deals with the provider', 'Code, client secret and provider tokens stay between those two.'],
  ['A one-time key comes back', 'It lives two minutes, works once, and only with the secret of this tab.'],
  ['The key becomes a token', 'Seven days, rotated on the way, ended at once by a logout.'],
]);

/** The flow as a picture; the list below says the same in words. */
const relay = () => h('div', { class: 'relay', 'aria-hidden': 'true' },
  h('div', { class: 'node' }, h('b', {}, 'Provider'), h('i', {}, 'password · consent')),
  h('div', { class: 'wire' }, h('span', { class: 'pass' }, 'code + secret')),
  h('div', { class: 'node own' }, h('b', {}, 'token-broker'), h('i', {}, 'user · session · token')),
  h('div', { class: 'wire' }, h('span', { class: 'pass ticket' }, 'one-time key')),
  h('div', { class: 'node' }, h('b', {}, 'Your page'), h('i', {}, 'no secrets')));

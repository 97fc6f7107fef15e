/** Everything that a signed-in page can do. */
import { h } from '../dom.js';
import { callTheApi } from './calls.js';
import { errorsByHand } from './experiments.js';
import { howItWorks } from './hops.js';
import { permissions } from './permissions.js';
import { problem } from './problem.js';
import { nameOf, profile } from './profile.js';
import { sessions } from './sessions.js';
import { tabs } from './tabs.js';
import { token } from './token.js';

/** @typedef {import('../client/token-broker.js').BrokerClient} BrokerClient */
/** @typedef {Extract<import('../client/token-broker.js').AuthState, { status: 'signed-in' }>} SignedIn */

/**
 * The view, and `update` for what may change while the same person stays signed in.
 * @param {BrokerClient} broker @param {SignedIn} first @param {{ arrival: import('./tabs.js').Arrival, now: () => number }} about
 */
export const signedIn = (broker, first, { arrival, now }) => {
  const banner = h('div', { class: 'banner' });
  const ticket = token(broker, now);
  /** @param {SignedIn} state */
  const update = ({ error }) => {
    banner.replaceChildren(...(error ? [problem(broker, error, { signedIn: true })] : []));
    ticket.draw();
  };
  update(first);
  const nodes = [
    h('h1', { tabindex: '-1' }, `Hello, ${nameOf(first)}`),
    banner,
    h('div', { class: 'cards' },
      profile(first), ticket.element,
      callTheApi(broker), permissions(broker),
      sessions(broker), tabs(arrival),
      howItWorks(), errorsByHand(broker)),
  ];
  return { nodes, update, tick: ticket.draw };
};

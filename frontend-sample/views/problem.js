/** An error for the user: one sentence, one action, and the code and request id for support. */
import { button, h } from '../dom.js';
import { leaveFor } from '../leave.js';
import { adviceFor } from '../messages.js';

/** @typedef {import('../client/token-broker.js').BrokerClient} BrokerClient */
/** @typedef {import('../client/token-broker.js').BrokerError} BrokerError */

/**
 * @param {BrokerClient} broker
 * @param {BrokerError} error
 * @param {{ signedIn: boolean, dismiss?: () => void }} where
 */
export const problem = (broker, error, { signedIn, dismiss }) => {
  const { sentence, action, label } = adviceFor(error, signedIn);
  const still = signedIn && action === 'login' ? ' You are still signed in as before.' : '';
  const routine = error.name === 'SessionError' && error.code === 'expired';
  return h('div', { class: routine ? 'problem calm' : 'problem', role: 'alert' },
    h('p', {}, sentence + still),
    h('p', { class: 'codes' },
      h('span', {}, error.name), h('code', {}, error.code),
      error.requestId && h('span', {}, 'request ', h('code', {}, error.requestId))),
    h('div', { class: 'row' },
      button(label, () => (action === 'retry' ? broker.ready() : leaveFor(broker)), { class: 'primary' }),
      // The error of an outage clears with the next answer; any other one stays until the user dismisses it.
      dismiss && action === 'login' && button('Dismiss', dismiss)));
};

/** Two tabs: how this one got its session, and what reaches the other. */
import { card, h } from '../dom.js';

/** @typedef {'login' | 'reload' | 'failed-login' | 'hand-over'} Arrival */

const arrivals = {
  login: 'This tab redeemed the one-time key itself.',
  reload: 'This tab kept its session over a reload.',
  'failed-login': 'This tab kept the session it had; the last attempt to sign in failed.',
  'hand-over': 'This tab got its session from another tab, without a redirect.',
};

/** @param {Arrival} arrival */
export const tabs = (arrival) => card('tabs', 'Two tabs',
  h('p', {}, arrivals[arrival]),
  h('p', { class: 'faint' }, 'A second tab is signed in by the first. A new token reaches both; so does a logout.'),
  h('a', { class: 'button', href: '/', target: '_blank', rel: 'noopener' }, 'Open a second tab'));

/** Everything that a signed-in page can do. */
import { h } from '../dom.js';
import { callTheApi } from './calls.js';
import { errorsByHand } from './experiments.js';
import { howItWorks } from './hops.js';
import { permissions } from './permissions.js';
import { personalTokens } from './personal-tokens.js';
import { problem } from './problem.js';
import { nameOf, profile } from './profile.js';
import { sessions } from './sessions.js';
import { tabs } from './tabs.js';
import { token } from './token.js';

/** @typedef {import('../client/token-broker.js').BrokerClient} BrokerClient */
/** @typedef {Extract<import('../client/token-broker.js').AuthState, { status: 'signed-in' }>} SignedIn */

/** Links to the cards, for screens on which they stand one below the other. @param {HTMLElement[]} cards */
const sections = (cards) => h('nav', { class: 'sections', 'aria-label': 'Sections' }, cards.map((card) =>
  h('a', { href: `#${card.id}` }, card.querySelector('h2')?.textContent)));

/**
 * The view, and `update` for what may change while the same person stays signed in.
 * @param {BrokerClient} broker @param {SignedIn} first @param {{ arrival: import('./tabs.js').Arrival, now: () => number }} about
 */
export const signedIn = (broker, first, { arrival, now }) => {
  const heading = h('h1', { tabindex: '-1' }, `Hello, ${nameOf(first)}`);
  const banner = h('div', { class: 'banner' });
  const ticket = token(broker, now);
  /** @type {HTMLElement | null} What had the focus when the problem appeared. */
  let cause = null;
  /** @param {SignedIn['error']} error */
  const show = (error) => {
    const held = banner.contains(document.activeElement);
    if (!held) cause = /** @type {HTMLElement | null} */ (document.activeElement);
    banner.replaceChildren(...(error ? [problem(broker, error, { signedIn: true, dismiss: () => show(null) })] : []));
    if (error) banner.scrollIntoView({ block: 'nearest' }); // where it does not stick, it may be far up
    if (held) (banner.querySelector('button') ?? (cause?.matches('main button') ? cause : heading)).focus();
  };
  /** @param {SignedIn} state */
  const update = ({ error }) => {
    show(error);
    ticket.draw();
  };
  update(first);
  const cards = [
    profile(first), ticket.element,
    callTheApi(broker), permissions(broker),
    sessions(broker), tabs(arrival),
    personalTokens(broker, first),
    howItWorks(), errorsByHand(broker),
  ];
  const nodes = [heading, banner, sections(cards), h('div', { class: 'cards' }, cards)];
  return { nodes, update, tick: ticket.draw };
};

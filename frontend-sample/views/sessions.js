/** Every browser that is signed in as this person. */
import { isBrokerError } from '../client/token-broker.js';
import { button, card, h, say, when } from '../dom.js';

/** @typedef {import('../client/token-broker.js').BrokerClient} BrokerClient */
/** @typedef {Awaited<ReturnType<BrokerClient['sessions']['list']>>[number]} Entry */

/** How many others are shown before one has to ask. */
const SHOWN = 3;

/** @param {BrokerClient} broker */
export const sessions = (broker) => {
  const list = h('div', { 'aria-live': 'polite' }, h('p', { class: 'faint' }, 'Asking …'));

  const load = async () => {
    try {
      const found = await broker.sessions.list();
      const own = found.filter(({ current }) => current);
      const others = found.filter(({ current }) => !current);
      const rest = others.splice(SHOWN);
      list.replaceChildren(
        h('ul', { class: 'sessions' }, [...own, ...others].map(row)),
        ...(rest.length ? [h('details', {}, h('summary', {}, `${rest.length} more`),
          h('ul', { class: 'sessions' }, rest.map(row)))] : []));
    } catch (error) {
      list.replaceChildren(h('p', { class: 'faint' }, explain(error)));
    }
  };
  /** @param {Entry} entry */
  const row = ({ id, current, device, provider, address_prefix, created_at, last_used_at }) => {
    const name = device.name ?? 'An unknown browser';
    return h('li', {},
      h('div', {},
        h('strong', {}, name), current && h('span', { class: 'badge good' }, 'this one'),
        h('small', {}, 'Since ', when(created_at), last_used_at && h('span', {}, ' · used ', when(last_used_at))),
        h('small', {}, `${address_prefix} · by ${provider}`)),
      button('End', () => end(id, current), { 'aria-label': current ? 'End this session' : `End the session of ${name}`, class: 'small' }));
  };
  /** @param {string} id @param {boolean} current */
  const end = async (id, current) => {
    try {
      await broker.sessions.revoke(id);
      say('That session has ended.');
    } catch (error) {
      say(explain(error));
    }
    if (!current) await load();
  };
  /** @param {Parameters<BrokerClient['logout']>[0] & {}} options */
  const leave = async (options) => {
    const others = options.scope === 'others';
    try {
      await broker.logout(options);
      if (others) say('All other sessions have ended.');
    } catch (error) {
      say(explain(error));
    }
    if (others) await load();
  };

  load();
  return card('sessions', 'Sessions', list,
    h('div', { class: 'row' },
      button('Sign out the others', () => leave({ scope: 'others' })),
      button('Sign out at the provider, too', () => leave({ provider: true })),
      button('Sign out everywhere', () => leave({ scope: 'all' }), { class: 'danger' })));
};

/** @param {unknown} error */
const explain = (error) => {
  if (!isBrokerError(error)) return 'Something went wrong on this page.';
  return error.name === 'NetworkError' ? 'The broker cannot be reached.' : error.message;
};

/** Every browser that is signed in as this person. */
import { isBrokerError } from '../client/token-broker.js';
import { button, card, h, say, when } from '../dom.js';

/** @typedef {import('../client/token-broker.js').BrokerClient} BrokerClient */
/** @typedef {Awaited<ReturnType<BrokerClient['sessions']['list']>>[number]} Entry */

/** How many other sessions are shown without expanding the list. */
const SHOWN = 3;

/** @param {BrokerClient} broker */
export const sessions = (broker) => {
  const list = h('div', {}, h('p', { class: 'faint' }, 'Asking …'));

  const load = async () => {
    try {
      const found = await broker.sessions.list();
      const own = found.filter(({ current }) => current);
      const others = found.filter(({ current }) => !current);
      const rest = others.splice(SHOWN);
      const open = list.querySelector('details')?.open;
      list.replaceChildren(
        h('ul', { class: 'sessions' }, [...own, ...others].map(row)),
        ...(rest.length ? [h('details', { open }, h('summary', {}, `${rest.length} more`),
          h('ul', { class: 'sessions' }, rest.map(row)))] : []));
    } catch (error) {
      list.replaceChildren(h('p', { class: 'faint' }, explain(error)));
    }
  };
  /** @param {Entry} entry */
  const row = ({ id, current, device, provider, address_prefix, created_at, last_used_at }) => {
    const name = device.name ?? 'An unknown browser';
    const since = when(created_at);
    return h('li', {},
      h('div', {},
        h('strong', {}, name), current && h('span', { class: 'badge good' }, 'this browser'),
        h('small', {}, 'Since ', since, last_used_at && h('span', {}, ' · used ', when(last_used_at))),
        h('small', {}, `${address_prefix} · via ${provider}`)),
      button('End', () => end(id, current), {
        class: 'small',
        'aria-label': current ? 'End this session' : `End the session of ${name}, since ${since?.textContent}`,
      }));
  };
  /** @param {string} id @param {boolean} current */
  const end = async (id, current) => {
    const row = ends().findIndex((each) => each === document.activeElement);
    try {
      await broker.sessions.revoke(id);
      say('That session has ended.');
    } catch (error) {
      say(explain(error));
    }
    if (current) return;
    await load();
    // The pressed button is gone: move the focus to the button of the next session.
    if (document.activeElement === document.body) (ends()[row] ?? ends().at(-1) ?? heading())?.focus();
  };
  const ends = () => [...list.querySelectorAll('button')];
  const heading = () => document.getElementById('sessions-title');
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
      button('Sign out other sessions', () => leave({ scope: 'others' })),
      button('Also sign out at the provider', () => leave({ provider: true })),
      button('Sign out everywhere', () => leave({ scope: 'all' }), { class: 'danger' })));
};

/** @param {unknown} error */
const explain = (error) => {
  if (!isBrokerError(error)) return 'Something went wrong on this page.';
  return error.name === 'NetworkError' ? 'The broker cannot be reached.' : error.message;
};

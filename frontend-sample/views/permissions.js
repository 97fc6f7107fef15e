/** What the provider lets the person do, read from the broker with the token. */
import { card, h, when } from '../dom.js';

/** @param {import('../client/token-broker.js').BrokerClient} broker */
export const permissions = (broker) => {
  const content = h('div', {}, h('p', { class: 'faint' }, 'Asking …'));
  const load = async () => {
    const response = await broker.fetch('/api/permissions');
    if (!response.ok) throw new Error(`The broker answered ${response.status}.`);
    const found = await response.json();
    content.replaceChildren(
      chips('Permissions', found.permissions), chips('Groups', found.groups),
      h('p', { class: 'faint' }, 'As of ', when(found.as_of), ', when the provider was asked.'));
  };
  load().catch((error) => content.replaceChildren(
    h('p', { class: 'faint' }, error instanceof TypeError ? 'The broker cannot be reached.' : error.message)));
  return card('permissions', 'Permissions', content);
};

/** @param {string} title @param {string[]} names */
const chips = (title, names) => h('div', { class: 'chips' },
  h('h3', {}, title),
  names.length
    ? h('ul', {}, names.map((name) => h('li', {}, name)))
    : h('p', { class: 'faint' }, 'None.'));

/** How this very login went, and the last one that failed: who spoke to whom, with every secret masked. */
import { card, h } from '../dom.js';
import { failedHops, hops } from '../trace.js';

/** @typedef {import('../trace.js').Hop} Hop */

const names = { app: 'Your page', broker: 'token-broker', provider: 'Provider' };

export const howItWorks = () => {
  const failed = failedHops();
  return card('hops', 'How it works',
    h('p', { class: 'faint' }, 'Every step of this sign-in; secrets are masked.'),
    ...sequence(hops()),
    ...(failed.length ? [h('h3', { class: 'failed' }, 'The last attempt, which failed'), ...sequence(failed)] : []));
};

/** @param {Hop[]} all */
const sequence = (all) => [
  h('div', { class: 'lanes', 'aria-hidden': 'true' }, Object.values(names).map((name) => h('b', {}, name))),
  h('ol', { class: 'hops' }, all.map(({ from, to, what, detail }) => h('li', { class: `${from}-${to}` },
    h('p', { class: 'arrow' },
      h('span', { class: 'between' }, from === to ? names[from] : `${names[from]} to ${names[to]}: `),
      h('span', { class: 'what' }, what)),
    h('ul', { class: 'detail' }, detail.map((line) => h('li', {}, line)))))),
];

/** How this very login went: who spoke to whom, with every secret masked. */
import { card, h } from '../dom.js';
import { hops } from '../trace.js';

const names = { app: 'Your page', broker: 'token-broker', provider: 'Provider' };

export const howItWorks = () => card('hops', 'How it works',
  h('p', { class: 'faint' }, 'The hops of this very sign-in. What proves something is masked.'),
  h('div', { class: 'lanes', 'aria-hidden': 'true' }, Object.values(names).map((name) => h('b', {}, name))),
  h('ol', { class: 'hops' }, hops().map(({ from, to, what, detail }) => h('li', { class: `${from}-${to}` },
    h('p', { class: 'arrow' },
      h('span', { class: 'between' }, from === to ? names[from] : `${names[from]} to ${names[to]}: `),
      h('span', { class: 'what' }, what)),
    h('ul', { class: 'detail' }, detail.map((line) => h('li', {}, line)))))));

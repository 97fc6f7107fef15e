/** Every error, by hand. */
import { button, card, h } from '../dom.js';
import { experiments } from '../lab.js';

/** @param {import('../client/token-broker.js').BrokerClient} broker */
export const errorsByHand = (broker) => card('errors', 'Errors by hand',
  h('p', { class: 'faint' }, 'Cause each one and see its code, its request id and the way out.'),
  h('ul', { class: 'experiments' }, experiments.map(({ id, title, how, act }) => h('li', {},
    h('div', {}, h('strong', {}, title), h('small', { id: `lab-${id}` }, how)),
    button('Cause it', () => act(broker).catch(() => {}), {
      class: 'small', 'aria-label': `Cause it: ${title}`, 'aria-describedby': `lab-${id}`, 'data-lab': id,
    })))));

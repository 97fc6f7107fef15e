/** Calls with the token, and the code that makes them: what is shown is the function that runs. */
import { button, card, h } from '../dom.js';

/** @typedef {import('../client/token-broker.js').BrokerClient} BrokerClient */

/** @type {{ title: string, call: (broker: BrokerClient) => Promise<Response> }[]} */
const calls = [
  { title: 'Who am I', call: (broker) => broker.fetch('/api/me') },
  { title: 'Forbidden', call: (broker) => broker.fetch('/login') },
  { title: 'Public', call: () => fetch('/healthz') },
  { title: 'Without token', call: () => fetch('/api/me') },
];

/** @param {BrokerClient} broker */
export const callTheApi = (broker) => {
  const code = h('pre', { class: 'code', tabindex: '0', 'aria-label': 'Code' }, sourceOf(calls[0]));
  const answer = h('div', { class: 'answer', role: 'status' }, h('p', { class: 'faint' }, 'Press one; its answer comes here.'));

  /** @param {typeof calls[number]} one */
  const run = async (one) => {
    const { call } = one;
    for (const [index, each] of buttons.entries()) each.toggleAttribute('data-shown', calls[index] === one);
    code.textContent = sourceOf(one);
    const started = performance.now();
    try {
      const response = await call(broker);
      const text = await response.text();
      answer.replaceChildren(
        h('p', {},
          h('span', { class: response.ok ? 'badge good' : 'badge bad' }, `${response.status}`),
          h('span', { class: 'faint' }, ` ${Math.round(performance.now() - started)} ms`)),
        h('pre', { class: 'code', tabindex: '0', 'aria-label': 'Answer' }, readable(response, text)));
    } catch {
      answer.replaceChildren(h('p', {}, h('span', { class: 'badge bad' }, 'no answer'), ' The broker cannot be reached.'));
    }
  };
  const buttons = calls.map((one) => button(one.title, () => run(one)));
  return card('calls', 'Call the API', h('div', { class: 'row' }, buttons), code, answer);
};

/** @param {typeof calls[number] | undefined} one */
const sourceOf = (one) => `const response = await ${String(one?.call).replace(/^\(\w*\) => /, '')};`;

/** @param {Response} response @param {string} text */
const readable = (response, text) => {
  if (/json/.test(response.headers.get('content-type') ?? '')) return JSON.stringify(JSON.parse(text), null, 2);
  // Not parsed: a page's own style would break this page's policy.
  return text.replace(/<(head|style|script)\b[^]*?<\/\1>|<[^>]*>/g, ' ').replace(/\s+/g, ' ').trim() || '(no content)';
};

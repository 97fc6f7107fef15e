/** Calls with the token, and the code that makes them: what is shown is the function that runs. */
import { button, card, h } from '../dom.js';

/** @typedef {import('../client/token-broker.js').BrokerClient} BrokerClient */

/** @type {{ title: string, call: (broker: BrokerClient) => Promise<Response> }[]} */
const calls = [
  { title: 'Who am I', call: (broker) => broker.fetch('/api/me') },
  // `/login` accepts navigations only and refuses other requests with JSON. It needs no token.
  { title: 'Forbidden', call: () => fetch('/login', { headers: { Accept: 'application/json' } }) },
  { title: 'Public', call: () => fetch('/healthz') },
  { title: 'Without token', call: () => fetch('/api/me') },
];

/** @param {BrokerClient} broker */
export const callTheApi = (broker) => {
  const code = h('pre', { class: 'code', tabindex: '0', 'aria-label': 'Code' }, sourceOf(calls[0]));
  // Only this line is announced, not the answer's whole text.
  const outcome = h('p', { role: 'status' }, h('span', { class: 'faint' }, 'Press a button to see the answer.'));
  const body = h('pre', { class: 'code', tabindex: '0', 'aria-label': 'Answer', hidden: true });

  /** @param {typeof calls[number]} one */
  const run = async (one) => {
    const { call } = one;
    for (const [index, each] of buttons.entries()) each.toggleAttribute('data-shown', calls[index] === one);
    code.textContent = sourceOf(one);
    const started = performance.now();
    try {
      const response = await call(broker);
      const text = await response.text();
      outcome.replaceChildren(
        h('span', { class: response.ok ? 'badge good' : 'badge bad' }, `${response.status}`),
        h('span', { class: 'faint' }, ` ${Math.round(performance.now() - started)} ms`));
      body.textContent = readable(text);
    } catch {
      outcome.replaceChildren(h('span', { class: 'badge bad' }, 'no answer'), ' The broker cannot be reached.');
      body.textContent = '';
    }
    body.hidden = !body.textContent;
  };
  const buttons = calls.map((one) => button(one.title, () => run(one)));
  return card('calls', 'Call the API', h('div', { class: 'row' }, buttons), code,
    h('div', { class: 'answer' }, outcome, body));
};

/** @param {typeof calls[number] | undefined} one */
const sourceOf = (one) => `const response = await ${String(one?.call).replace(/^\(\w*\) => /, '')};`;

/** @param {string} text */
const readable = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

/** The sample: one client, one view for each status, and what happens between them. */
import { createBrokerClient } from './client/token-broker.js';
import config from './config.js';
import { button, h } from './dom.js';
import { now, withFaults } from './lab.js';
import { hasRedeemed, noteHandOver, noteLogin, noteReturn, traced } from './trace.js';
import { signedIn } from './views/signed-in.js';
import { signedOut, titleOf } from './views/signed-out.js';

/** @typedef {import('./client/token-broker.js').AuthState} AuthState */

const broker = createBrokerClient({
  clientId: config.clientId,
  redirectUri: `${location.origin}/`,
  now,
  fetch: traced(withFaults((input, init) => fetch(input, init))),
  navigate: (url) => {
    noteLogin(url);
    location.assign(url);
  },
});

// How this tab gets its session: read from the address and the storage before the client changes them.
const cameBack = noteReturn();
const reloaded = Object.keys(sessionStorage).some((name) => name === `token-broker::${config.clientId}`);
/** @returns {import('./views/tabs.js').Arrival} */
const arrivalNow = () => {
  if (hasRedeemed()) return 'login';
  if (!reloaded) return 'hand-over';
  return cameBack ? 'failed-login' : 'reload';
};

const main = /** @type {HTMLElement} */ (document.getElementById('main'));
const account = /** @type {HTMLElement} */ (document.getElementById('account'));
/** @type {ReturnType<typeof signedIn> | null} */
let view = null;
let shown = '';
let moves = cameBack;

/** @param {AuthState} state */
const render = (state) => {
  // Same user or same signed-out state: update only parts, so that the focus stays where it is.
  const screen = state.status === 'signed-in' ? `in ${state.user.id}` : JSON.stringify(state);
  if (screen === shown) {
    if (view && state.status === 'signed-in') view.update(state);
    return;
  }
  shown = screen;
  view = null;
  if (state.status === 'loading') {
    show(cameBack ? 'Signing you in' : 'One moment', [
      h('section', { class: 'wait', role: 'status' },
        h('h1', { tabindex: '-1' }, cameBack ? 'Signing you in' : 'One moment'),
        h('p', { class: 'lead' }, cameBack ? 'Trading the one-time key for a token …' : 'Looking for your session …'),
        h('div', { class: 'thread' })),
    ]);
  } else if (state.status === 'signed-out') {
    show(titleOf(state), signedOut(broker, state));
  } else {
    const arrival = arrivalNow();
    if (arrival === 'hand-over') noteHandOver();
    view = signedIn(broker, state, { arrival, now });
    show('Signed in', view.nodes);
  }
  account.replaceChildren(...(state.status === 'signed-in'
    ? [h('span', {}, state.user.username ?? ''), button('Sign out', () => broker.logout())]
    : []));
  // A new screen is announced by its heading. When the page was just opened, the browser does that itself.
  if (moves) main.querySelector('h1')?.focus();
  moves ||= state.status !== 'loading';
};

/** @param {string} title @param {(Node | string | null | undefined | false)[]} nodes */
const show = (title, nodes) => {
  document.title = `${title} · token-broker sample`;
  main.replaceChildren(...nodes.filter((node) => node instanceof Node));
};

broker.subscribe(render);
broker.ready();
setInterval(() => { if (!document.hidden) view?.tick(); }, 1000);
// After the browser's back button at the provider, the page is restored as it was left, with a busy button.
addEventListener('pageshow', (event) => {
  if (event.persisted) for (const busy of document.querySelectorAll('[aria-busy]')) busy.removeAttribute('aria-busy');
});

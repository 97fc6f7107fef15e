/** The token: how long it lives, when it is rotated, and how to use it elsewhere. Its text is never shown. */
import { button, h, lasting, masked, say, when } from '../dom.js';

/** @typedef {import('../client/token-broker.js').BrokerClient} BrokerClient */
/** @typedef {Extract<import('../client/token-broker.js').AuthState, { status: 'signed-in' }>} SignedIn */

/** @param {BrokerClient} broker @param {() => number} now */
export const token = (broker, now) => {
  const secret = h('code', { class: 'secret' });
  const left = h('strong', { class: 'left' });
  const bar = h('div', { class: 'bar' }, h('span', { class: 'fill' }), h('span', { class: 'mark' }));
  const notes = h('div', { class: 'bar-notes' });

  const draw = async () => {
    const state = broker.getState();
    if (state.status !== 'signed-in') return;
    const { receivedAt, rotatesAt, expiresAt } = state.token;
    const remaining = expiresAt - now();
    const life = expiresAt - receivedAt;
    left.textContent = lasting(remaining);
    // Time runs from left to right: received, rotated, expired.
    bar.style.setProperty('--passed', String(Math.min(1, Math.max(0, 1 - remaining / life))));
    bar.style.setProperty('--mark', String((rotatesAt - receivedAt) / life));
    notes.replaceChildren(
      h('span', {}, h('span', { class: 'tick', 'aria-hidden': 'true' }), 'Next rotation ', when(rotatesAt), `, in ${lasting(rotatesAt - now())}`),
      h('span', {}, 'Expires ', when(expiresAt)));
    secret.textContent = masked(await broker.getToken() ?? '');
  };
  const copy = async () => {
    const current = await broker.getToken();
    try {
      await navigator.clipboard.writeText(`curl -H 'Authorization: Bearer ${current}' ${location.origin}/api/me`);
      say('Copied. The command holds the token: treat it like a password.');
    } catch {
      say('The browser does not let this page copy.');
    }
  };
  const rotate = async () => {
    await broker.rotate();
    say('There is a new token. The old one works for another minute.');
  };

  const element = h('section', { class: 'card ticket-card', id: 'token', 'aria-labelledby': 'token-title' },
    h('div', { class: 'ticket-main' },
      h('h2', { id: 'token-title' }, 'Token'),
      h('p', { class: 'countdown' }, left, h('span', {}, ' left')),
      bar, notes),
    h('div', { class: 'ticket-stub' },
      secret,
      button('Copy as curl', copy),
      button('Rotate now', () => rotate().catch(() => {}))));
  return { element, draw };
};

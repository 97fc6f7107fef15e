/** The tokens that the person makes for scripts. The text of a new one is on the page until the next is made. */
import { button, card, h, say, when } from '../dom.js';
import { leaveFor } from '../leave.js';

/** @typedef {import('../client/token-broker.js').BrokerClient} BrokerClient */
/** @typedef {Extract<import('../client/token-broker.js').AuthState, { status: 'signed-in' }>} SignedIn */
/** @typedef {{ id: string, name: string, scope: string, expires_at: string, last_used_at: string | null }} Entry */

const PATH = '/api/personal_tokens';
const DAY = 86_400;

/**
 * The broker's answer, or its refusal.
 * @param {BrokerClient} broker @param {string} path @param {RequestInit} [init]
 * @returns {Promise<{ answer?: any, problem?: { code?: string, detail: string } }>}
 */
const ask = async (broker, path, init) => {
  try {
    const response = await broker.fetch(path, init);
    const answer = response.status === 204 ? {} : await response.json();
    return response.ok ? { answer } : { problem: answer };
  } catch {
    return { problem: { detail: 'The broker cannot be reached.' } };
  }
};

/** @param {BrokerClient} broker @param {SignedIn} state */
export const personalTokens = (broker, { user }) => {
  const list = h('div', {}, h('p', { class: 'faint' }, 'Asking …'));
  const outcome = h('div', { class: 'made' });
  const name = h('input', { id: 'personal-name', required: true, maxlength: 100, autocomplete: 'off' });
  const days = h('select', { id: 'personal-days' });
  const scopes = h('fieldset', {}, h('legend', {}, 'May use'));
  const form = h('form', { class: 'make', hidden: true },
    h('label', { for: 'personal-name' }, 'Name'), name,
    h('label', { for: 'personal-days' }, 'Expires'), days,
    scopes,
    button('Make a token', () => make(), { class: 'primary', type: 'submit' }));
  form.addEventListener('submit', (event) => event.preventDefault()); // the button does it, also for Enter in a field

  const load = async () => {
    const { answer, problem } = await ask(broker, PATH);
    if (problem) return list.replaceChildren(h('p', { class: 'faint' }, problem.detail));
    const entries = /** @type {Entry[]} */ (answer.personal_tokens);
    const none = answer.enabled ? 'You have made none.' : 'This broker does not offer personal tokens.';
    list.replaceChildren(entries.length
      ? h('ul', { class: 'sessions' }, entries.map(row))
      : h('p', { class: 'faint' }, none));
    if (!answer.enabled || !form.hidden) return;
    const lifetimes = [7, 30, 90, 366].filter((lifetime) => lifetime <= answer.max_days);
    days.replaceChildren(...(lifetimes.length ? lifetimes : [answer.max_days]).map((lifetime) =>
      h('option', { value: lifetime }, `in ${lifetime} days`)));
    // A token can be given what the page's own token may do, and no more.
    const { answer: me } = await ask(broker, '/api/me');
    const granted = /** @type {string[]} */ (me?.token.scope.split(' ') ?? []);
    scopes.append(...granted.map((scope) => h('label', {},
      h('input', { type: 'checkbox', name: 'scope', value: scope, checked: scope === 'profile' }), ` ${scope}`)));
    form.hidden = false;
  };
  /** @param {Entry} entry */
  const row = ({ id, name, scope, expires_at, last_used_at }) => h('li', {},
    h('div', {},
      h('strong', {}, name), h('span', { class: 'badge' }, scope || 'no scope'),
      h('small', {}, 'Expires ', when(expires_at), last_used_at ? h('span', {}, ' · used ', when(last_used_at)) : ' · never used')),
    button('Revoke', () => revoke(id), { class: 'small', 'aria-label': `Revoke ${name}, expires ${when(expires_at)?.textContent}` }));

  const make = async () => {
    if (!form.reportValidity()) return;
    const checked = /** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll('[name=scope]:checked'));
    const { answer, problem } = await ask(broker, PATH, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        name: name.value,
        scope: [...checked].map(({ value }) => value).join(' '),
        expires_in: Number(days.value) * DAY,
      }),
    });
    if (problem) return refuse(problem);
    name.value = '';
    show(answer.token, answer.personal_token.name);
    await load();
  };
  /** @param {string} text @param {string} name */
  const show = (text, name) => {
    const field = h('input', { id: 'personal-text', class: 'secret', readonly: true, value: text, onfocus: () => field.select() });
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(text);
        say('Copied. Treat it like a password.');
      } catch {
        field.select();
        say('The browser does not let this page copy. The token is selected.');
      }
    };
    outcome.replaceChildren(
      h('label', { for: 'personal-text' }, `The token “${name}”. It is shown only now.`),
      h('div', { class: 'row' }, field, button('Copy token', copy)));
    field.focus();
  };
  /** @param {{ code?: string, detail: string }} problem */
  const refuse = ({ code, detail }) => {
    if (code !== 'insufficient_user_authentication') return say(detail);
    // RFC 9470: only a person who has just proven who they are may make a token.
    const again = () => leaveFor(broker, { provider: user.provider, prompt: 'login' });
    const ask = button('Sign in again', again, { class: 'primary' });
    outcome.replaceChildren(h('p', {}, 'To make a token, prove again who you are: your sign-in is too long ago.'), ask);
    ask.focus();
  };
  /** @param {string} id */
  const revoke = async (id) => {
    const position = revokes().findIndex((each) => each === document.activeElement);
    const { problem } = await ask(broker, `${PATH}/${id}`, { method: 'DELETE' });
    say(problem?.detail ?? 'That token no longer works.');
    await load();
    // The pressed button is gone: move the focus to the button of the next token.
    if (document.activeElement === document.body) (revokes()[position] ?? revokes().at(-1) ?? heading())?.focus();
  };
  const revokes = () => [...list.querySelectorAll('button')];
  const heading = () => document.getElementById('personal-tokens-title');

  load();
  return card('personal-tokens', 'Personal tokens',
    h('p', { class: 'faint' }, 'For scripts. They stay valid when you sign out, until they expire or you revoke them.'),
    outcome, form, list);
};

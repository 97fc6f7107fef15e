/** The profile of the signed-in user. */
import { card, facts, h, when } from '../dom.js';

/** @typedef {Extract<import('../client/token-broker.js').AuthState, { status: 'signed-in' }>} SignedIn */

/** @param {SignedIn} state */
export const nameOf = ({ user }) => user.display_name ?? user.username ?? 'unnamed user';

/** @param {SignedIn} state */
export const profile = (state) => {
  const { user, session } = state;
  const name = nameOf(state);
  return card('profile', 'Profile',
    h('div', { class: 'who' },
      h('span', { class: 'avatar large', 'aria-hidden': 'true' }, [...name][0] ?? '?'),
      h('div', {}, h('strong', {}, name), h('span', {}, user.username && `@${user.username}`))),
    facts([
      ['Email', user.email && h('span', {}, user.email, ' ',
        h('span', { class: user.email_verified ? 'badge good' : 'badge' }, user.email_verified ? 'verified' : 'not verified'))],
      ['Provider', h('code', {}, user.provider)],
      ['Local id', h('code', { class: 'id' }, user.id)],
      ['Signed in', when(session.created_at)],
      ['Session ends', when(session.expires_at)],
    ]));
};

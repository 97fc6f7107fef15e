/**
 * Records the hops of this tab's sign-in for "How it works", by wrapping the client's `fetch` and `navigate`. It never
 * keeps a credential: every secret value is masked before it is stored.
 */
import { masked } from './dom.js';

/**
 * @typedef {'app' | 'broker' | 'provider'} Party
 * @typedef {{ from: Party, to: Party, what: string, detail: string[] }} Hop
 */

const KEPT = 'sample:hops'; // of the sign-in that gave this session
const ATTEMPT = 'sample:attempt'; // of one that is under way, or failed: it becomes the other only with a token
const SECRET = ['state', 'code_challenge', 'one_time_key', 'code_verifier', 'access_token'];

/** @param {Record<string, unknown>} values */
const lines = (values) => Object.entries(values).map(([name, value]) =>
  `${name} = ${SECRET.includes(name) ? masked(String(value)) : String(value)}`);

/** @param {string} key @returns {Hop[]} */
const read = (key) => JSON.parse(sessionStorage.getItem(key) ?? '[]');
/** @param {string} key @param {Hop[]} all */
const keep = (key, all) => sessionStorage.setItem(key, JSON.stringify(all));
/** @param {Hop} hop @param {string} [key] */
const add = (hop, key = ATTEMPT) => keep(key, [...read(key), hop]);

/** How this session came to this tab. */
export const hops = () => read(KEPT);
/** The last attempt since then, if it returned without a session; one that was abandoned at the provider is not shown. */
export const failedHops = () => read(ATTEMPT).length > 1 ? read(ATTEMPT) : [];

let redeemed = false;
/** Whether this page traded a one-time key for the token. */
export const hasRedeemed = () => redeemed;

/** A login begins: what was noted of the last attempt is forgotten. @param {string} url */
export const noteLogin = (url) => {
  const { pathname, searchParams } = new URL(url);
  if (pathname !== '/login') return;
  keep(ATTEMPT, [{ from: 'app', to: 'broker', what: `GET ${pathname}`, detail: lines(Object.fromEntries(searchParams)) }]);
};

/** The browser is back from a login. To be called before the client cleans the address. */
export const noteReturn = () => {
  const answer = Object.fromEntries(new URLSearchParams(location.search));
  if (!('state' in answer) || !read(ATTEMPT).length) return false;
  // The browser counts redirects only if none has left this origin: then the provider was not asked.
  const [visit] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType('navigation'));
  const asked = !visit?.redirectCount;
  if (asked) {
    const provider = read(ATTEMPT)[0]?.detail.find((line) => line.startsWith('provider = '))?.slice(11) ?? 'chosen';
    add({ from: 'broker', to: 'provider', what: '303 to the provider',
      detail: [`provider = ${provider}`, 'its own state, nonce and PKCE', 'this page never sees them'] });
    add({ from: 'provider', to: 'broker', what: 'GET /oauth2_callback',
      detail: 'error' in answer ? ['no session was created'] : ['code for tokens, with the client secret', 'both stay at the broker'] });
  }
  add({ from: 'broker', to: 'app', what: `303 to ${location.origin}/`,
    detail: [...lines(answer), ...(asked ? [] : ['already signed in at the broker:', 'no provider was asked'])] });
  return true;
};

/**
 * `fetch` that notes the two calls of a sign-in.
 * @param {typeof fetch} send
 * @returns {typeof fetch}
 */
export const traced = (send) => async (input, init) => {
  const path = new URL(input instanceof Request ? input.url : input, location.href).pathname;
  const noted = path === '/api/get_token' || (path === '/api/me' && hops().at(-1)?.what === '200 with the token');
  if (!noted) return send(input, init);
  const where = path === '/api/me' ? KEPT : ATTEMPT;
  const body = typeof init?.body === 'string' ? JSON.parse(init.body) : {};
  add({ from: 'app', to: 'broker', what: `${init?.method} ${path}`,
    detail: path === '/api/me' ? ['Authorization: Bearer tbk_••••'] : lines(body) }, where);
  const started = performance.now();
  const response = await send(input, init);
  const took = `${Math.round(performance.now() - started)} ms`;
  const answer = await response.clone().json().catch(() => ({}));
  if (path === '/api/me') add({ from: 'broker', to: 'app', what: `${response.status} with the profile`, detail: [took] }, KEPT);
  else if (response.ok) {
    const { access_token, token_type, expires_in, scope } = answer;
    add({ from: 'broker', to: 'app', what: '200 with the token', detail: [...lines({ access_token, token_type, expires_in, scope }), took] });
    keep(KEPT, read(ATTEMPT));
    sessionStorage.removeItem(ATTEMPT);
    redeemed = true;
  } else add({ from: 'broker', to: 'app', what: `${response.status} ${answer.error ?? ''}`, detail: [took] });
  return response;
};

/** Another tab gave the session: there was no login here. */
export const noteHandOver = () => keep(KEPT, [
  { from: 'app', to: 'app', what: 'Handed over by another tab', detail: ['BroadcastChannel, this origin only'] },
]);

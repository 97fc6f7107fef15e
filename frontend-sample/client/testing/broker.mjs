/**
 * A broker in memory, for the tests of apps and of the client: the HTTP contract as far as the client uses it. That the
 * real broker agrees with it is what the tests under `e2e/` show.
 */

/**
 * @import { BrokerOptions, Grant, Session, User } from '../token-broker-types.js'
 * @typedef {{
 *   method: string, path: string, url: string, bearer: string | null, body: any,
 *   keepalive: boolean, redirect: string, credentials: string,
 * }} SeenRequest
 * @typedef {{ id: string, user: string, live: boolean }} FakeSession
 * @typedef {{
 *   request(): { url(): string, method(): string, postData(): string | null, headers(): Record<string, string> },
 *   fulfill(answer: { status: number, headers: Record<string, string>, body: string }): Promise<void>,
 * }} Route What is used of Playwright's `Route`.
 */

/** @type {(status: number, body: unknown, headers?: Record<string, string>) => Response} */
const json = (status, body, headers) => new Response(body === null ? null : JSON.stringify(body), {
  status, headers: { 'content-type': 'application/json', ...headers },
});
/** @param {string} text */
const s256 = async (text) => {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...new Uint8Array(digest))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
};
/** @param {string} text */
const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text || null;
  }
};

/** A broker that knows every user by name and asks for no password. */
export class FakeBroker {
  origin = 'https://broker.example';
  /** The username that `/login` signs in; `null`: no one is signed in, and `prompt=none` is refused. */
  user = /** @type {string | null} */ ('alice');
  /** Every request, in order. @type {SeenRequest[]} */
  requests = [];
  /**
   * Set it to answer the next requests in its place, as an API or a fault: it returns a `Response`, throws, or returns
   * nothing to leave the answer to the broker.
   * @type {((request: SeenRequest) => unknown) | null}
   */
  fault = null;
  /** How long a token lives, in seconds. */
  lifetime = 604_800;
  /** @type {Map<string, { challenge: string | null, session: FakeSession }>} */
  #keys = new Map();
  /** @type {Map<string, FakeSession>} */
  #tokens = new Map();
  /** @type {Map<string, FakeSession>} */
  #sessions = new Map();
  #count = 0;

  /**
   * Options for a client of this broker: `createBrokerClient({ ...broker.options('alice'), … })`. With a username the
   * client finds a session of that user; it stores nothing.
   * @param {string | null} [user]
   * @returns {BrokerOptions}
   */
  options(user = null) {
    let kept = user === null ? null : JSON.stringify(this.grant(user));
    return {
      brokerUrl: this.origin,
      fetch: this.fetch,
      shareAcrossTabs: false,
      storage: { getItem: () => kept, setItem: (_, text) => { kept = text; }, removeItem: () => { kept = null; } },
    };
  }

  /**
   * What `/login` and the provider would do: parks a key for this login address, returns the way back.
   * @param {string} loginUrl
   * @param {{ user?: string, delivery?: string }} [how]
   */
  signIn(loginUrl, { user = 'alice', delivery = '?' } = {}) {
    const query = new URL(loginUrl).searchParams;
    const key = `tbo_key${++this.#count}`;
    this.#keys.set(key, { challenge: query.get('code_challenge'), session: this.#begin(user) });
    const back = query.get('redirect_uri') ?? 'https://app.example/';
    return `${back}${delivery}one_time_key=${key}&state=${query.get('state')}`;
  }

  /**
   * A live grant, as the client stores it.
   * @param {string} [user]
   * @returns {Grant & { user: User, session: Session }}
   */
  grant(user = 'alice', now = Date.now()) {
    const session = this.#begin(user);
    const bearer = this.#issue(session);
    const expiresAt = now + this.lifetime * 1000;
    return {
      bearer,
      token: { receivedAt: now, rotatesAt: expiresAt - 86_400_000, expiresAt },
      ...this.#me(session),
    };
  }

  /** Ends a session from elsewhere. @param {string} id */
  end(id) {
    const session = this.#sessions.get(id);
    if (session) session.live = false;
  }
  /** Whether a token is live. @param {string | null} bearer */
  isLive(bearer) { return this.#live(bearer) !== undefined; }
  /** How many requests there were to a path. @param {string} path */
  count(path) { return this.requests.filter((request) => request.path === path).length; }

  /** The option `fetch` of the client. @type {typeof globalThis.fetch} */
  fetch = async (input, init = {}) => {
    const request = new Request(input, init);
    const { pathname } = new URL(request.url);
    const bearer = request.headers.get('authorization')?.replace('Bearer ', '') ?? null;
    const seen = {
      method: request.method, path: pathname.slice(1), url: request.url, bearer, body: parsed(await request.text()),
      keepalive: request.keepalive, redirect: request.redirect, credentials: request.credentials,
    };
    request.signal.throwIfAborted();
    this.requests.push(seen);
    return /** @type {Response} */ (await this.fault?.(seen)) || this.#answer(seen);
  };

  /**
   * For Playwright: `await page.route(`${broker.origin}/**`, broker.route)`. The page goes to `/login` and comes back
   * signed in as `user`.
   * @param {Route} route
   */
  route = async (route) => {
    const request = route.request();
    const cors = { 'access-control-allow-origin': '*', 'access-control-allow-headers': 'authorization, content-type',
      'access-control-allow-methods': 'GET, POST, DELETE' };
    if (request.method() === 'OPTIONS') return route.fulfill({ status: 204, headers: cors, body: '' });
    const { authorization, 'content-type': type } = request.headers();
    const answer = await this.fetch(request.url(), {
      method: request.method(),
      headers: { ...(authorization && { authorization }), ...(type && { 'content-type': type }) },
      body: request.postData() ?? undefined,
    });
    const headers = { ...Object.fromEntries(answer.headers), ...cors };
    return route.fulfill({ status: answer.status, headers, body: await answer.text() });
  };

  /** @param {string} url */
  #login(url) {
    const { searchParams } = new URL(url);
    const back = `${searchParams.get('redirect_uri') ?? 'https://app.example/'}?error=login_required&state=${searchParams.get('state')}`;
    return new Response(null, { status: 303, headers: { location: this.user === null ? back : this.signIn(url, { user: this.user }) } });
  }

  /** @param {SeenRequest} request @returns {Response | Promise<Response>} */
  #answer({ method, path, url, bearer, body }) {
    if (path === 'healthz') return json(200, { status: 'ok' });
    if (path === 'login') return this.#login(url);
    if (path === 'api/get_token') return this.#redeem(body);
    const session = this.#live(bearer);
    if (!session) return refused(401, 'invalid_token');
    if (path === 'api/me') return json(200, this.#me(session));
    if (path === 'api/token/rotate') return this.#tokenAnswer(session);
    if (path === 'api/logout') {
      for (const other of this.#sessions.values()) {
        if (other === session || (body.everywhere && other.user === session.user)) other.live = false;
      }
      return json(204, null);
    }
    if (path === 'api/sessions') {
      const own = [...this.#sessions.values()].filter((other) => other.live && other.user === session.user);
      if (method === 'DELETE') {
        for (const other of own) if (other !== session) other.live = false;
        return json(204, null);
      }
      return json(200, { sessions: own.map(({ id }) => ({ id, current: id === session.id })) });
    }
    if (method === 'DELETE') {
      this.end(String(path.split('/').at(-1)));
      return json(204, null);
    }
    return refused(404, 'not_found');
  }

  /** @param {{ one_time_key: string, code_verifier: string }} body */
  async #redeem({ one_time_key, code_verifier }) {
    const challenge = await s256(code_verifier);
    const parked = this.#keys.get(one_time_key);
    if (!parked || parked.challenge !== challenge) {
      return json(400, { error: 'invalid_grant', error_description: 'Used or expired.', request_id: 'r-grant' });
    }
    this.#keys.delete(one_time_key);
    return this.#tokenAnswer(parked.session);
  }

  /** @param {FakeSession} session */
  #tokenAnswer(session) {
    return json(200, {
      access_token: this.#issue(session), token_type: 'Bearer', expires_in: this.lifetime,
      expires_at: '1999-01-01T00:00:00Z', scope: 'profile', // a clock that is far off: must not matter
    });
  }

  /** @param {string} user */
  #begin(user) {
    const session = { id: `session-${++this.#count}`, user, live: true };
    this.#sessions.set(session.id, session);
    return session;
  }

  /** @param {FakeSession} session */
  #issue(session) {
    const token = `tbk_token${++this.#count}`;
    this.#tokens.set(token, session);
    return token;
  }

  /** @param {string | null} bearer */
  #live(bearer) {
    const session = this.#tokens.get(bearer ?? '');
    return session?.live ? session : undefined;
  }

  /** @param {FakeSession} session @returns {{ user: User, session: Session }} */
  #me({ id, user }) {
    return {
      user: { id: `user-${user}`, provider: 'dev', username: user, display_name: user, email: null, email_verified: false },
      session: { id, created_at: '2026-01-01T00:00:00Z', expires_at: '2026-01-31T00:00:00Z', auth_time: null },
    };
  }
}

/** A refusal in the shape of RFC 9457. @type {(status: number, code: string) => Response} */
export const refused = (status, code) =>
  json(status, { status, code, detail: `It said ${code}.`, request_id: `r-${code}` });

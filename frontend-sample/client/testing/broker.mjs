/**
 * The broker's HTTP contract as far as the client sees it, in memory, for the unit tests. That the real broker
 * agrees with it is what the tests under `e2e/` show.
 */
import { createHash } from 'node:crypto';

const json = (status, body, headers) => new Response(body === null ? null : JSON.stringify(body), {
  status, headers: { 'content-type': 'application/json', ...headers },
});
const sha256 = (text) => createHash('sha256').update(text).digest('base64url');

export class FakeBroker {
  origin = 'https://broker.example';
  /** Every request: `{ method, path, bearer, body, … }`. */
  requests = [];
  /** Set to make the next answers different: gets the request, returns a Response, throws, or nothing. */
  fault = null;
  lifetime = 604_800;
  #keys = new Map();
  #tokens = new Map();
  #sessions = new Map();
  #count = 0;

  /** What `/login` and the provider would do: parks a key for this login address, returns the way back. */
  signIn(loginUrl, { user = 'alice', delivery = '?' } = {}) {
    const query = new URL(loginUrl).searchParams;
    const key = `tbo_key${++this.#count}`;
    this.#keys.set(key, { challenge: query.get('code_challenge'), session: this.#begin(user) });
    const back = query.get('redirect_uri') ?? 'https://app.example/';
    return `${back}${delivery}one_time_key=${key}&state=${query.get('state')}`;
  }

  /** A live grant, as it would stand in the storage. */
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

  /** Ends a session from elsewhere. */
  end(id) { this.#sessions.get(id).live = false; }
  isLive(bearer) { return this.#live(bearer) !== undefined; }
  count(path) { return this.requests.filter((request) => request.path === path).length; }

  fetch = async (input, init = {}) => {
    const request = new Request(input, init);
    const { pathname } = new URL(request.url);
    const bearer = request.headers.get('authorization')?.replace('Bearer ', '') ?? null;
    const text = await request.text();
    const seen = {
      method: request.method, path: pathname.slice(1), url: request.url, bearer,
      body: text ? JSON.parse(text) : null,
      keepalive: request.keepalive, redirect: request.redirect, credentials: request.credentials,
    };
    request.signal.throwIfAborted();
    this.requests.push(seen);
    return (await this.fault?.(seen)) || this.#answer(seen);
  };

  #answer({ method, path, bearer, body }) {
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
      this.end(path.split('/').at(-1));
      return json(204, null);
    }
    return refused(404, 'not_found');
  }

  #redeem({ one_time_key, code_verifier }) {
    const parked = this.#keys.get(one_time_key);
    if (!parked || parked.challenge !== sha256(code_verifier)) {
      return json(400, { error: 'invalid_grant', error_description: 'Used or expired.', request_id: 'r-grant' });
    }
    this.#keys.delete(one_time_key);
    return this.#tokenAnswer(parked.session);
  }

  #tokenAnswer(session) {
    return json(200, {
      access_token: this.#issue(session), token_type: 'Bearer', expires_in: this.lifetime,
      expires_at: '1999-01-01T00:00:00Z', scope: 'profile', // a clock that is far off: must not matter
    });
  }

  #begin(user) {
    const session = { id: `session-${++this.#count}`, user, live: true };
    this.#sessions.set(session.id, session);
    return session;
  }

  #issue(session) {
    const token = `tbk_token${++this.#count}`;
    this.#tokens.set(token, session);
    return token;
  }

  #live(bearer) {
    const session = this.#tokens.get(bearer);
    return session?.live ? session : undefined;
  }

  #me({ id, user }) {
    return {
      user: { id: `user-${user}`, provider: 'dev', username: user, display_name: user, email: null, email_verified: false },
      session: { id, created_at: '2026-01-01T00:00:00Z', expires_at: '2026-01-31T00:00:00Z', auth_time: null },
    };
  }
}

/** A refusal in the shape of RFC 9457. */
export const refused = (status, code) =>
  json(status, { status, code, detail: `It said ${code}.`, request_id: `r-${code}` });

/**
 * Signs a single-page app in through a token-broker. One file; importing it does nothing.
 * Its reference is `token-broker-types.d.ts`.
 */

/**
 * @import { Grant, SignedOutReason, TokenStorage } from './token-broker-types.js'
 * @typedef {import('./token-broker-types.js').AuthState} AuthState
 * @typedef {import('./token-broker-types.js').BrokerClient} BrokerClient
 * @typedef {import('./token-broker-types.js').BrokerError} BrokerError
 * @typedef {import('./token-broker-types.js').BrokerOptions} BrokerOptions
 */

const brand = Symbol.for('token-broker.error'); // two copies of this file agree on it

/** @type {(error: any) => error is BrokerError} */
export const isBrokerError = (error) => error?.[brand] === true;

/** @type {(name: BrokerError['name'], code: string, message: string, facts?: object) => any} */
const failure = (name, code, message, facts) => Object.assign(
  new Error(message), { status: 0, retryable: false, requestId: null, ...facts, name, code, [brand]: true },
);

/** @param {ArrayBuffer | Uint8Array} bytes */
const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** @type {(text: () => string | null) => any} */
const parse = (text) => {
  try {
    return JSON.parse(text() ?? 'null');
  } catch {
    return null;
  }
};

/** @type {(options?: BrokerOptions) => BrokerClient} */
export const createBrokerClient = (options = {}) => {
  const {
    clientId, storage = 'session', resourceOrigins = [], rotateBeforeSeconds = 86_400, now = Date.now,
    navigate = (url) => location.assign(url), fetch: send = (...request) => fetch(...request),
  } = options;
  const name = `token-broker:${options.brokerUrl ?? ''}:${clientId ?? ''}`;
  const loginName = `${name}:login`;

  /** @type {AuthState} */
  let state = { status: 'loading', error: null };
  /** @type {Grant | null} */
  let grant = null;
  /** @type {Promise<void> | null} */
  let starting = null;
  /** @type {Promise<void> | null} */
  let rotating = null;
  /** @type {BroadcastChannel | null} */
  let channel = null;
  /** @type {((found?: Grant) => void) | undefined} */
  let handedOver;
  let timer = 0;
  let rotationDue = 0;
  let epoch = 0; // counts sign-outs: ignores older answers
  let target = new EventTarget(); // isolates listeners' exceptions

  /** @type {(path: string) => URL} */
  const address = (path) => new URL(path, (options.brokerUrl ?? location.origin).replace(/\/*$/, '/'));
  /** @type {() => TokenStorage} `undefined` for `memory`: callers catch. */
  const store = () =>
    typeof storage === 'object' ? storage : /** @type {any} */ (globalThis)[`${storage}Storage`];

  /** @type {(event: string) => void} */
  const emit = (event) => void target.dispatchEvent(new Event(event));
  /** @type {BrokerClient['on']} */
  const on = (event, fn) => {
    const listener = () => fn(state);
    target.addEventListener(event, listener);
    return () => target.removeEventListener(event, listener);
  };
  /** @type {(error?: any, reason?: SignedOutReason) => void} */
  const publish = (error = null, reason = null) => {
    const { status } = state;
    /** @type {AuthState} */
    const next = grant?.user && grant.session
      ? { status: 'signed-in', user: grant.user, session: grant.session, token: grant.token, error }
      : { status: 'signed-out', reason, error };
    if (error?.retryable) starting = null; // ready() tries again
    if (JSON.stringify(next) === JSON.stringify(state)) return;
    state = next;
    emit('change');
    if (next.status !== status) emit(next.status);
    if (error) emit('error');
  };

  /** @type {(at: number) => void} */
  const arm = (at) => {
    rotationDue = at;
    clearTimeout(timer);
    timer = setTimeout(
      () => now() < at ? arm(at) : rotate().catch(() => {}),
      Math.min(at - now(), 2 ** 31 - 1), // longer ones fire at once
    );
  };
  /** @type {(next: Grant) => void} */
  const keep = (next) => {
    grant = next;
    const { rotatesAt, expiresAt } = next.token;
    arm(rotatesAt + (expiresAt - rotatesAt) * Math.random() / 2); // one tab rotates first
    try {
      store().setItem(name, JSON.stringify(next));
    } catch {} // in memory, full or forbidden
  };
  /** @type {(found: any) => Grant} */
  const receive = ({ access_token: bearer, expires_in }) => {
    const receivedAt = now();
    const expiresAt = receivedAt + expires_in * 1000; // not `expires_at`: clocks differ
    const ahead = Math.min(rotateBeforeSeconds, expires_in > 60 ? expires_in / 2 : 0);
    return { bearer, token: { receivedAt, expiresAt, rotatesAt: expiresAt - ahead * 1000 } };
  };
  /** @type {(next: Grant) => void} */
  const renew = (next) => {
    keep(next);
    publish();
    emit('rotated');
  };
  const forget = () => {
    epoch++;
    grant = null;
    clearTimeout(timer);
    handedOver?.();
  };
  /** @type {(reason: SignedOutReason, error?: BrokerError) => void} */
  const drop = (reason, error) => {
    forget();
    try {
      store().removeItem(name);
    } catch {}
    publish(error, reason);
  };

  /** @type {(method: string, path: string, bearer?: string, body?: object) => Promise<any>} */
  const call = async (method, path, bearer, body) => {
    let response, text;
    try {
      response = await send(address(path), {
        method,
        headers: {
          ...(body && { 'Content-Type': 'application/json' }),
          ...(bearer && { Authorization: `Bearer ${bearer}` }),
        },
        body: body && JSON.stringify(body),
        credentials: 'omit',
        redirect: 'error',
        keepalive: true,
        signal: AbortSignal.timeout(10_000),
      });
      text = await response.text();
    } catch (cause) {
      throw failure('NetworkError', 'network_error', 'The broker did not answer.', { retryable: true, cause });
    }
    const data = parse(() => text || '{}');
    const { status, headers } = response;
    if (response.ok && data) return data;
    const code = data?.error ?? data?.code ?? `http_${status}`;
    const message = data?.error_description ?? data?.detail ?? 'No token-broker answers here; check brokerUrl.';
    const requestId = data?.request_id ?? headers.get('x-request-id');
    throw failure('ApiError', code, message, { status, retryable: status > 499 || status === 429, requestId });
  };
  /** @type {(method: string, path: string, shown?: BrokerError | null) => Promise<any>} */
  const authorized = async (method, path, shown) => {
    if (!grant) throw failure('SessionError', 'not_signed_in', 'The user is not signed in.');
    const { bearer, token } = grant;
    try {
      return await call(method, path, bearer);
    } catch (/** @type {any} */ error) {
      if (error.status === 401 && error.code === 'invalid_token' && bearer === grant?.bearer) {
        const reason = now() < token.expiresAt ? 'revoked' : 'expired';
        drop(reason, shown ?? failure('SessionError', reason, error.message, error));
      }
      throw error;
    }
  };
  /** @type {(error?: BrokerError | null) => Promise<void>} `error` is published with the session or instead of it. */
  const check = async (error) => {
    const bearer = grant?.bearer;
    try {
      const { user, session } = await authorized('GET', 'api/me', error);
      if (grant && bearer === grant.bearer) keep({ ...grant, user, session });
    } catch (/** @type {any} */ problem) {
      error = problem;
    }
    if (grant && bearer === grant.bearer) publish(error);
  };

  /** @type {() => Record<string, string>} Removes the answer from the address before the first `await`. */
  const takeAnswer = () => {
    const pending = parse(() => sessionStorage.getItem(loginName));
    const url = new URL(location.href);
    const found = new URLSearchParams(`${url.search}&${url.hash.slice(1)}`);
    const ours = pending?.state === found.get('state');
    if (!ours && (!/=tbo_/.test(url.href)
      || `${Object.values(sessionStorage)}`.includes(`"${found.get('state')}"`))) return {}; // another client's
    for (const part of /** @type {const} */ (['search', 'hash'])) {
      url[part] = url[part].slice(1).split('&')
        .filter((pair) => !/^(one_time_key|state|error(_description)?)=/.test(pair)).join('&');
    }
    history.replaceState(history.state, '', ours && pending.returnTo || url);
    if (!ours) return { error: 'unknown_login' };
    sessionStorage.removeItem(loginName);
    return { ...Object.fromEntries(found), code_verifier: pending.verifier };
  };
  const start = async () => {
    const began = epoch;
    const { one_time_key, code_verifier, error: code, error_description = '' } = takeAnswer();
    const [message, requestId = null] = error_description.split(/ \(\w+, request (\S+)\)$/);
    let error = !code ? null : failure('LoginError', code, message, { requestId });
    grant ??= parse(() => store().getItem(name));
    connect();
    if (one_time_key) {
      try {
        const body = { one_time_key, code_verifier, client_id: clientId };
        const found = await call('POST', 'api/get_token', '', body);
        if (began === epoch) keep(receive(found));
        else await call('POST', 'api/logout', found.access_token, {});
      } catch (/** @type {any} */ problem) {
        error = problem.status ? failure('HandoffError', problem.code, problem.message, problem) : problem;
      }
    }
    if (!grant && channel) {
      channel.postMessage({ asked: true });
      const found = await new Promise((resolve) => {
        handedOver = resolve;
        timer = setTimeout(resolve, 200);
      });
      if (found && began === epoch) keep(found);
    }
    if (began !== epoch) return;
    if (grant) await check(error);
    else publish(error);
  };
  const connect = () => {
    if (channel || options.shareAcrossTabs === false || !globalThis.BroadcastChannel) return;
    channel = new BroadcastChannel(name);
    channel.onmessage = ({ data: { asked, found, rotated, left } }) => {
      if (asked && grant?.user) channel?.postMessage({ found: grant });
      if (found) handedOver?.(found);
      const fresh = rotated && grant && rotated.token.expiresAt > grant.token.expiresAt;
      if (fresh && rotated.session.id === grant?.session?.id) renew(rotated);
      if (left && [grant?.session?.id, grant?.user?.id].includes(left)) drop('other-tab');
    };
  };
  const ready = async () => {
    await (starting ??= start());
    return state;
  };

  const rotate = () => rotating ??= (async () => {
    const bearer = grant?.bearer;
    try {
      const found = await authorized('POST', 'api/token/rotate');
      if (!grant || bearer !== grant.bearer) return;
      renew({ ...grant, ...receive(found) });
      channel?.postMessage({ rotated: grant });
    } catch (error) {
      if (grant && bearer === grant.bearer) {
        arm(now() + 60_000);
        publish(error);
      }
      throw error;
    } finally {
      rotating = null;
    }
  })();
  const getToken = async () => {
    if (!grant) await ready();
    if (grant && now() >= rotationDue) await rotate().catch(() => {});
    return grant && grant.bearer;
  };
  /** @type {(url: string | URL) => Promise<string | null | false>} */
  const tokenFor = async (url) =>
    [address(''), ...resourceOrigins].some((allowed) =>
      new URL(allowed).origin === new URL(url, globalThis.location?.href).origin) && getToken();
  /** @type {BrokerClient['sessions']} */
  const sessions = {
    list: async () => (await authorized('GET', 'api/sessions')).sessions,
    async revoke(id) {
      await authorized('DELETE', `api/sessions/${encodeURIComponent(id)}`);
      channel?.postMessage({ left: id });
      if (id === grant?.session?.id) drop('manual');
    },
  };

  return {
    ready,
    getState: () => state,
    subscribe(fn) {
      fn(state);
      return on('change', fn);
    },
    on,
    async login({ provider, prompt, loginHint, returnTo } = {}) {
      if (!crypto.subtle) {
        throw failure('ConfigError', 'insecure_context', 'Open this page on https:// or on http://localhost.');
      }
      const { origin } = location;
      const back = returnTo && new URL(returnTo, location.href);
      if (back && back.origin !== origin) {
        throw failure('ConfigError', 'foreign_return_to', 'returnTo must be an address of this origin.');
      }
      const state = random();
      const verifier = random();
      const challenge = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
      sessionStorage.setItem(loginName, JSON.stringify({ state, verifier, returnTo: back }));
      const url = address('login');
      for (const [key, value] of Object.entries({
        client_id: clientId,
        redirect_uri: options.redirectUri ?? (url.origin !== origin && `${origin}/`),
        state,
        code_challenge: base64url(challenge),
        code_challenge_method: 'S256',
        provider,
        prompt,
        login_hint: loginHint,
      })) if (value) url.searchParams.set(key, value);
      navigate(url.href);
    },
    async logout({ scope = 'current', provider } = {}) {
      if (scope === 'others') {
        await authorized('DELETE', 'api/sessions');
        return true;
      }
      const everywhere = scope === 'all';
      const leaving = grant ?? parse(() => store().getItem(name));
      connect();
      drop('manual');
      if (!leaving) return true;
      channel?.postMessage({ left: (everywhere ? leaving.user : leaving.session)?.id });
      try {
        const { provider_logout_url } = await call('POST', 'api/logout', leaving.bearer, { everywhere });
        if (provider && provider_logout_url) navigate(provider_logout_url);
      } catch (/** @type {any} */ error) {
        if (error.code === 'invalid_token') return true; // already over
        const facts = { ...error, retryable: false };
        const text = 'Signed out here; the broker did not confirm.';
        if (!grant) publish(failure('SessionError', 'revocation_not_confirmed', text, facts), 'manual');
        return false;
      }
      return true;
    },
    getToken,
    async authHeaders(url) {
      const token = await tokenFor(url);
      return token ? { Authorization: `Bearer ${token}` } : {};
    },
    async fetch(input, init) {
      const request = new Request(input, init);
      const token = await tokenFor(request.url);
      if (!token) return send(request);
      const carrying = new Request(request, { redirect: 'error' }); // a redirect could carry the token elsewhere
      carrying.headers.set('Authorization', `Bearer ${token}`);
      const response = await send(carrying);
      if (response.status === 401 && options.on401 !== 'ignore' && token === grant?.bearer) await check();
      return response;
    },
    rotate,
    sessions,
    dispose() {
      forget();
      target = new EventTarget();
      channel?.close();
      channel = null;
    },
  };
};

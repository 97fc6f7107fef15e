/**
 * @token-broker/client 0.1.0: signs a single-page app in through a token-broker. One file; importing it does nothing.
 * Its reference is `token-broker-types.d.ts`.
 */

/**
 * @import { Grant, LoginOptions, SignedOutReason, TokenStorage } from './token-broker-types.js'
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
/** @type {(code: string, message: string) => any} */
const misuse = (code, message) => failure('ConfigError', code, message);

/** One-time keys that are being redeemed: by one client of the page at a time. */
const redeeming = new Set();
const KEY_LIFE = 120_000;

/** Whether there is a page; a server that renders the app has none. */
const hasPage = () => 'history' in globalThis;

/** @param {ArrayBuffer | Uint8Array} bytes */
const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** @type {<T>(act: () => T) => T | null} `null` if it throws, as a storage that is full or blocked does. */
const attempt = (act) => {
  try {
    return act();
  } catch {
    return null;
  }
};
/** @type {(text: () => string | null) => any} */
const parse = (text) => attempt(() => JSON.parse(text() ?? 'null'));

/** @type {(options?: BrokerOptions) => BrokerClient} */
export const createBrokerClient = (options = {}) => {
  const {
    clientId, storage = 'session', resourceOrigins = [], rotateBeforeSeconds = 86_400, now = Date.now,
    navigate = (url) => location.assign(url), fetch: send = (...request) => fetch(...request),
  } = options;
  for (const [option, urls] of Object.entries({ brokerUrl: options.brokerUrl, resourceOrigins })) {
    for (const url of [urls ?? []].flat()) if (!/^https?:\/\/[^/]/.test(url)) {
      throw misuse('invalid_option', `${option} must hold an absolute address such as https://auth.example.com, not "${url}".`);
    }
  }
  const name = `token-broker:${options.brokerUrl ?? ''}:${clientId ?? ''}`;
  const loginName = `${name}:login`;
  const silentName = `${name}:silent`; // set once this tab has tried to sign in silently, or has signed out

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
  let retryTimer = 0;
  let rotationDue = 0;
  let warned = false;
  let returned = false;
  let connected = false;
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
    attempt(() => store().setItem(name, JSON.stringify(next)));
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
    clearTimeout(retryTimer);
    handedOver?.();
  };
  /** @type {(reason: SignedOutReason, error?: BrokerError) => void} */
  const drop = (reason, error) => {
    forget();
    attempt(() => store().removeItem(name));
    if (!error) endLogin(true);
    publish(error, reason);
  };

  /** @type {(method: string, path: string, bearer?: string, body?: object, patience?: number) => Promise<any>} */
  const call = async (method, path, bearer, body, patience = 10_000) => {
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
        signal: AbortSignal.timeout(patience),
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

  /** The login that this tab waits for; with a `key` once it is back and not yet redeemed. */
  const pendingLogin = () => parse(() => sessionStorage.getItem(loginName));
  /** @type {(pending: object) => void} */
  const keepLogin = (pending) => sessionStorage.setItem(loginName, JSON.stringify(pending));
  /** @type {(stay?: boolean) => void} Forgets it; with `stay` no silent sign-in follows either. */
  const endLogin = (stay) => {
    attempt(() => sessionStorage.removeItem(loginName));
    if (options.restore === 'silent') attempt(() => sessionStorage[stay ? 'setItem' : 'removeItem'](silentName, '1'));
  };
  /** @type {() => any} Removes the answer from the address before the first `await`. */
  const takeAnswer = () => {
    const pending = pendingLogin();
    const url = new URL(location.href);
    const found = new URLSearchParams(`${url.search}&${url.hash.slice(1)}`);
    const ours = pending?.state === found.get('state');
    const held = attempt(() => Object.values(sessionStorage));
    if (!ours && (!/=tbo_/.test(url.href)
      || `${held}`.includes(`"${found.get('state')}"`))) { // none, or another client's
      return pending?.key ? { ...pending, tries: pending.tries + 1 } : {};
    }
    for (const part of /** @type {const} */ (['search', 'hash'])) {
      url[part] = url[part].slice(1).split('&')
        .filter((pair) => !/^(one_time_key|state|error(_description)?)=/.test(pair)).join('&');
    }
    history.replaceState(history.state, '', ours && !options.onReturnTo && pending.returnTo || url);
    if (!ours) return { error: 'unknown_login' };
    // Nothing else of the address counts: it is the app's own.
    const answer = { ...pending, key: found.get('one_time_key'), error: found.get('error'),
      description: found.get('error_description'), since: now(), tries: 0 };
    if (answer.key) attempt(() => keepLogin(answer)); // for a reload before it is redeemed
    else sessionStorage.removeItem(loginName);
    return answer;
  };
  /** @type {(login: any) => Promise<any>} Returns the error. */
  const redeem = async ({ key, verifier }) => {
    const began = epoch;
    redeeming.add(key);
    try {
      const body = { one_time_key: key, code_verifier: verifier, client_id: clientId };
      // The broker lets the same browser ask again within ten seconds: the next try comes before they are over.
      const found = await call('POST', 'api/get_token', '', body, 8000);
      if (began === epoch) keep(receive(found));
      else await call('POST', 'api/logout', found.access_token, {});
    } catch (/** @type {any} */ problem) {
      if (began !== epoch) return null;
      if (!problem.retryable) endLogin();
      return problem.status ? failure('HandoffError', problem.code, problem.message, problem) : problem;
    } finally {
      redeeming.delete(key);
    }
    if (pendingLogin()?.key === key) endLogin();
    return null;
  };
  /** @type {(returnTo?: string) => Promise<void>} Goes to the broker and back without a page; returns if that does not work. */
  const signInSilently = async (returnTo = location.href) => {
    try {
      await leave({ prompt: 'none', returnTo }, true);
      await new Promise((resolve) => {
        retryTimer = setTimeout(resolve, 10_000);
      });
    } catch {}
  };
  /** Asks the other tabs for their session; those that are there answer at once. */
  const askTabs = async (patience = 200) => {
    if (!channel) return;
    const began = epoch;
    channel.postMessage({ asked: true });
    const found = await new Promise((resolve) => {
      handedOver = resolve;
      timer = setTimeout(resolve, patience);
    });
    handedOver = undefined;
    if (found && began === epoch) keep(found);
  };
  const start = async () => {
    const began = epoch;
    const login = takeAnswer();
    const { key, returnTo, since, tries, silent, error: code, description } = login;
    const [message, requestId = null] = (description ?? '').split(/ \(\w+, request (\S+)\)$/);
    let error = !code || silent && /_required$/.test(code) ? null : failure('LoginError', code, message, { requestId });
    grant ??= parse(() => store().getItem(name));
    connect();
    const redeems = key && !redeeming.has(key);
    if (redeems) error = await redeem(login);
    // The answer to an earlier try was lost, or it is too late: the browser's session at the broker is there then.
    if (error && tries && !error.retryable && !grant) await signInSilently(returnTo);
    if (!grant) await askTabs();
    if (!grant && !error && options.restore === 'silent' && attempt(() => !sessionStorage.getItem(silentName))
      && began === epoch && await isReachable()) await signInSilently();
    if (began !== epoch) return;
    if (grant) await check(error);
    else publish(error);
    if (redeems && grant?.user) channel?.postMessage({ signedIn: true });
    if (redeems && error?.retryable && now() - since < KEY_LIFE) {
      attempt(() => keepLogin(login));
      retryTimer = setTimeout(ready, 1000 * 2 ** Math.min(tries, 4));
    }
    if (returnTo && !returned) {
      returned = true;
      queueMicrotask(() => options.onReturnTo?.(returnTo)); // its exceptions are its own
    }
  };
  /** Before the page is left for a broker that may be down. */
  const isReachable = () => send(address('healthz'), { mode: 'no-cors', credentials: 'omit', signal: AbortSignal.timeout(3000) })
    .then(() => true, () => false);
  const online = () => {
    if (state.error?.retryable) ready();
  };
  const connect = () => {
    if (connected) return;
    connected = true;
    globalThis.addEventListener?.('online', online);
    if (options.shareAcrossTabs === false || !globalThis.BroadcastChannel) return;
    channel = new BroadcastChannel(name);
    channel.onmessage = ({ data: { asked, found, signedIn, rotated, left } }) => {
      if (asked && grant?.user) channel?.postMessage({ found: grant });
      if (found) handedOver?.(found);
      if (signedIn && handedOver) channel?.postMessage({ asked: true });
      else if (signedIn && !grant && state.status === 'signed-out') askTabs(5000).then(() => grant && check());
      const fresh = rotated && grant && rotated.token.expiresAt > grant.token.expiresAt;
      if (fresh && rotated.session.id === grant?.session?.id) renew(rotated);
      if (left && [grant?.session?.id, grant?.user?.id].includes(left)) drop('other-tab');
    };
  };
  /** @type {BrokerClient['ready']} */
  const ready = async () => {
    if (hasPage()) await (starting ??= start());
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
  /** @type {(url: string | URL) => Promise<string | null>} */
  const tokenFor = async (url) => {
    if (!hasPage()) return null;
    const { origin } = new URL(url, location.href);
    const mayHaveIt = [options.brokerUrl ?? location.href, location.href, ...resourceOrigins].some((each) => new URL(each).origin === origin);
    if (mayHaveIt && origin !== 'null') return getToken();
    if (grant && !warned) {
      warned = true;
      console.warn(`token-broker: no token was sent to ${origin}. If it is your API, add it to resourceOrigins.`);
    }
    return null;
  };
  /** @type {BrokerClient['sessions']} */
  const sessions = {
    list: async () => (await authorized('GET', 'api/sessions')).sessions,
    async revoke(id) {
      await authorized('DELETE', `api/sessions/${encodeURIComponent(id)}`);
      channel?.postMessage({ left: id });
      if (id === grant?.session?.id) drop('manual');
    },
  };

  /** @type {(how?: LoginOptions, silent?: boolean) => Promise<void>} */
  const leave = async ({ provider, prompt, loginHint, returnTo } = {}, silent) => {
    if (!hasPage()) throw misuse('not_in_browser', 'login() needs a page: call it in the browser, not while rendering on a server.');
    const { origin } = location;
    if (!crypto.subtle || origin === 'null') throw misuse('insecure_context', 'Open this page on https:// or on http://localhost.');
    if (globalThis.top !== globalThis.self && !options.navigate) {
      throw misuse('in_frame', 'Sign-in pages cannot be shown in a frame. Open this page in a tab of its own.');
    }
    const back = returnTo && new URL(returnTo, location.href);
    if (back && back.origin !== origin) {
      throw misuse('foreign_return_to', 'returnTo must be an address of this origin.');
    }
    const state = random();
    const verifier = random();
    const challenge = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
    let dpop_jkt;
    try {
      dpop_jkt = await options.dpopJkt?.();
      keepLogin({ state, verifier, returnTo: back, silent });
      if (silent) sessionStorage.setItem(silentName, '1');
    } catch (cause) {
      throw failure('ConfigError', 'storage_blocked',
        'The browser blocks the storage of this page. Allow cookies and site data for it.', { cause });
    }
    const url = address('login');
    for (const [key, value] of Object.entries({
      client_id: clientId,
      // An empty path is registered as `/`.
      redirect_uri: options.redirectUri?.replace(/^(https?:\/\/[^/?]+)(?=$|\?)/, '$1/') ?? (url.origin !== origin && `${origin}/`),
      state,
      code_challenge: base64url(challenge),
      code_challenge_method: 'S256',
      dpop_jkt,
      provider,
      prompt,
      login_hint: loginHint,
    })) if (value) url.searchParams.set(key, value);
    navigate(url.href);
  };

  return {
    ready,
    getState: () => state,
    subscribe(fn) {
      fn(state);
      return on('change', fn);
    },
    on,
    login: (how) => leave(how),
    async requireLogin(how) {
      const found = await ready();
      if (found.status !== 'signed-out') return found;
      const { error } = found;
      if (error && error.name !== 'SessionError') throw error; // never in a circle
      await leave({ returnTo: location.href, ...how });
      return new Promise(() => {}); // the page is being left
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
      globalThis.removeEventListener?.('online', online);
      channel?.close();
      channel = null;
      connected = false;
    },
  };
};

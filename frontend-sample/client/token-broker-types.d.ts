/**
 * The reference of the client `token-broker.js`: one line for each option, state, event, method and error code.
 */
/** A person, as `GET /api/me` describes them. */
export interface User {
  /** The stable local id. */
  id: string;
  /** The provider that the sign-in went through. */
  provider: string;
  username: string | null;
  display_name: string | null;
  email: string | null;
  /** Whether the provider vouches for the address. */
  email_verified: boolean;
}

/** One browser's sign-in. Times are RFC 3339, by the broker's clock. */
export interface Session {
  id: string;
  created_at: string;
  /** When it ends at the latest, however often the token is rotated. */
  expires_at: string;
  /** When the person last proved who they are, if the provider says so. */
  auth_time: string | null;
}

/** A session in the list of all sessions of the user: the current one first, then the newest. */
export interface SessionEntry {
  id: string;
  /** Whether it is the session that sends the request. */
  current: boolean;
  /** The browser and its machine, from its `User-Agent`: enough to recognise it, but no proof. */
  device: { name: string | null; kind: 'computer' | 'mobile' | 'other' | 'unknown' };
  created_at: string;
  /** When one of its tokens was last used, to within five minutes. */
  last_used_at: string | null;
  expires_at: string;
  /** The provider that the person signed in at. */
  provider: string;
  /** The network it was begun in, not the full address. */
  address_prefix: string;
}

/** Milliseconds since 1970 by this browser's clock, counted from the moment the token arrived. */
export interface TokenTimes {
  receivedAt: number;
  /** From then on the token is rotated, by whichever tab comes first. */
  rotatesAt: number;
  expiresAt: number;
}

/**
 * Why the user is signed out: `null` at first, `manual` after a logout here, `other-tab` after one in another tab,
 * `expired` after the token's lifetime, `revoked` when the broker ended the session before.
 */
export type SignedOutReason = null | 'manual' | 'expired' | 'revoked' | 'other-tab';

/** What all errors have in common; `isBrokerError` recognises them. */
interface Failure<Name extends string, Code extends string> extends Error {
  /** The kind of error. */
  name: Name;
  /** A stable code, which does not change from release to release. */
  code: Code;
  /** The HTTP status of the broker's answer; 0 when there was none. */
  status: number;
  /** Whether a retry may succeed. */
  retryable: boolean;
  /**
   * Identifies the details in the broker's log: show it, so that users can quote it. For a `LoginError` it is taken
   * from the end of `error_description`, where the broker writes "(code, request id)"; `message` is the rest.
   */
  requestId: string | null;
}

/** A code of the broker that this list does not name. */
type OtherCode = string & {};

/** The login came back with an error, so there was nothing to redeem. An existing session stays active. */
export type LoginError = Failure<'LoginError',
  /** The user or the provider refused. */
  | 'access_denied'
  /** The provider or the broker is down or too slow. */
  | 'temporarily_unavailable'
  /** `prompt: 'none'`, and the person would have had to act. */
  | 'login_required' | 'interaction_required' | 'consent_required' | 'account_selection_required'
  /** A key came back that no login of this tab waits for. It was removed from the address and not redeemed. */
  | 'unknown_login'
  /** The sign-in was older or weaker than asked for. */
  | 'unmet_authentication_requirements'
  /** The broker failed. Its log has the cause, under `requestId`. */
  | 'server_error'
  /** The client is not allowed to do this, or the request is invalid. */
  | 'invalid_request' | 'unauthorized_client' | 'invalid_scope'
  | OtherCode>;

/**
 * The one-time key could not be redeemed. After a `retryable` error the client tries again by itself, as long as the
 * key lives; after any other the user has to sign in again.
 */
export type HandoffError = Failure<'HandoffError',
  /** The key was used, has expired, or belongs to another login; the broker does not say which. */
  | 'invalid_grant'
  /** This page's origin is not one of the client's. */
  | 'origin_not_allowed'
  | 'rate_limited' | 'temporarily_unavailable'
  | OtherCode>;

/** The session is over, or there is none. */
export type SessionError = Failure<'SessionError',
  /** The token's lifetime was over, and the broker confirmed it. */
  | 'expired'
  /** The session was ended early: the user signed out elsewhere, or an administrator ended it. */
  | 'revoked'
  /** A method was called that needs a session. */
  | 'not_signed_in'
  /** Signed out here, but the broker could not be reached or did not confirm. */
  | 'revocation_not_confirmed'>;

/** No answer came, or not within ten seconds. Does not sign the user out. */
export type NetworkError = Failure<'NetworkError', 'network_error'>;

/** The broker answered and refused. Only a 401 `invalid_token` ends the session. */
export type ApiError = Failure<'ApiError',
  | 'invalid_token' | 'insufficient_scope' | 'not_found' | 'origin_not_allowed'
  | 'rate_limited' | 'temporarily_unavailable' | 'server_error'
  /** `http_` and the status: something other than the broker answered, such as a proxy or the wrong server. */
  | `http_${number}`
  | OtherCode>;

/** The page or its hosting must be changed. */
export type ConfigError = Failure<'ConfigError',
  /** The page is plain http on a name that is not localhost, where browsers offer no cryptography. */
  | 'insecure_context'
  /** `returnTo` leads to another origin. */
  | 'foreign_return_to'
  /** `brokerUrl` or `resourceOrigins` holds something that is no absolute address, such as an empty string. */
  | 'invalid_option'
  /** The page is in a frame, where no sign-in page can be shown. */
  | 'in_frame'
  /**
   * The browser blocks `sessionStorage`, in which a login waits for its answer, or the IndexedDB in which `dpop.js` keeps
   * its key: cookies are blocked, for example.
   */
  | 'storage_blocked'
  /** `login()` was called while a server renders the app. */
  | 'not_in_browser'>;

export type BrokerError = LoginError | HandoffError | SessionError | NetworkError | ApiError | ConfigError;

/**
 * A plain object that is replaced, never changed. `error` is the latest error; an error beside `signed-in`
 * (broker unreachable, a second login that failed) does not end the session.
 */
export type AuthState =
  | { status: 'loading'; error: null }
  | { status: 'signed-out'; reason: SignedOutReason; error: BrokerError | null }
  | { status: 'signed-in'; user: User; session: Session; token: TokenTimes; error: BrokerError | null };

/**
 * `change`: any new state. `signed-in`, `signed-out`: the status became this. `rotated`: there is a new token.
 * `error`: the new state has an error.
 */
export type BrokerEvent = 'change' | 'signed-in' | 'signed-out' | 'rotated' | 'error';

/** What is kept in the storage: the token itself, its times, and the user and session once the broker has returned them. */
export interface Grant {
  bearer: string;
  token: TokenTimes;
  user?: User;
  session?: Session;
}

/** The methods of a storage that the client uses; `localStorage` is one. */
export type TokenStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

export interface BrokerOptions {
  /** The broker's public URL. Default: the origin of the page. */
  brokerUrl?: string;
  /** May be omitted if the broker has only one client. */
  clientId?: string;
  /**
   * Where the broker sends the browser after the login; must be registered for the client and match exactly. Default: `/`
   * of the page's origin or, if that is the broker's own, the only one that the client registered.
   */
  redirectUri?: string;
  /**
   * Where the token is kept. `session` (default) survives a reload and ends with the tab; `memory` ends with
   * the page; `local` survives the browser and is readable by every page of the origin until it expires.
   */
  storage?: 'session' | 'memory' | 'local' | TokenStorage;
  /**
   * Whether tabs get the session from one that is signed in, when they are opened and when it signs in. Default: true.
   * Logout reaches all tabs.
   */
  shareAcrossTabs?: boolean;
  /** The origins that may get the token, beside the page's own and the broker's. */
  resourceOrigins?: string[];
  /**
   * What a tab does that finds no session, neither in its storage nor in another tab. `none` (default): it is signed
   * out. `silent`: it goes to the broker and back once, without showing a page, and is signed in if the browser's
   * session there is still alive. Not after a sign-out in this tab.
   */
  restore?: 'none' | 'silent';
  /**
   * Shows the `returnTo` of a login that is back, as in `(url) => router.replace(url)`. Default: the client puts it
   * into the address at once, which is enough for a router that starts after `ready()` was called.
   */
  onReturnTo?: (url: string) => void;
  /** How long before its expiry a token is rotated; at most half its lifetime. Default: 86 400, a day. */
  rotateBeforeSeconds?: number;
  /**
   * After a 401 to `fetch`: `sign-out` (default) asks the broker whether the token is still valid and signs
   * out if it is not; `ignore` does nothing.
   */
  on401?: 'sign-out' | 'ignore';
  /** Set by `withDpop` of `dpop.js`: the thumbprint of the key that the token will be bound to (RFC 9449, section 10). */
  dpopJkt?: () => Promise<string>;
  /** For tests: instead of the browser's `fetch`. */
  fetch?: typeof globalThis.fetch;
  /** For tests: instead of `location.assign`. */
  navigate?: (url: string) => void;
  /** For tests: instead of `Date.now`. */
  now?: () => number;
}

export interface LoginOptions {
  /** The provider's id. If omitted, the broker uses the only one or lets the user choose. */
  provider?: string;
  /** `login` asks for the password again, `none` never shows a page (OpenID Connect). */
  prompt?: string;
  /** Who is likely to sign in, for the provider's form. */
  loginHint?: string;
  /** An address of this origin to show afterwards instead of the redirect URI. */
  returnTo?: string;
}

export interface LogoutOptions {
  /** `current` (default): this session. `others`: all but this one. `all`: every session of the user. */
  scope?: 'current' | 'others' | 'all';
  /** Whether to continue to the provider's logout page, if it has one. */
  provider?: boolean;
}

export interface BrokerClient {
  /**
   * Completes the login that is in the address, or restores the session. You can call it any number of times: it runs
   * once, and again only after a `retryable` error; the browser's `online` event does the same. Never rejects; read the
   * state. While a server renders, it does nothing and the state stays `loading`.
   */
  ready(): Promise<AuthState>;
  /** The current state; the same object until something changes. */
  getState(): AuthState;
  /** Calls `fn` at once and on every change. Returns a function that unsubscribes. */
  subscribe(fn: (state: AuthState) => void): () => void;
  /** Calls `fn` on every such event. Returns a function that unsubscribes. */
  on(event: BrokerEvent, fn: (state: AuthState) => void): () => void;
  /** Leaves the page for the provider. Rejects with a `ConfigError` if that cannot work. */
  login(options?: LoginOptions): Promise<void>;
  /**
   * For the guard of a route: resolves to the state if someone is signed in, else begins a login that returns to this
   * page (or to `returnTo`) and never settles. Rejects with the error of a login that failed, so that no circle begins.
   * While a server renders, it resolves to the state `loading`.
   */
  requireLogin(options?: LoginOptions): Promise<Exclude<AuthState, { status: 'signed-out' }>>;
  /**
   * Signs out here at once, then at the broker. Resolves to whether the broker confirmed it; if not, the state
   * has the error `revocation_not_confirmed`. With `scope: 'others'` it rejects when the broker refuses.
   */
  logout(options?: LogoutOptions): Promise<boolean>;
  /** The token, rotated first if it is due; `null` when signed out. */
  getToken(): Promise<string | null>;
  /** The `Authorization` header for an address that may get the token, else an empty object. */
  authHeaders(url: string | URL): Promise<{ Authorization?: string }>;
  /**
   * The browser's `fetch` with the token, for the page's own origin, the broker and `resourceOrigins`; without it for
   * all others, with a warning in the console for the first.
   * A request that carries the token follows no redirect: it rejects instead.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;
  /** Rotates the token now. Concurrent calls share one request. */
  rotate(): Promise<void>;
  sessions: {
    /** All sessions of the user. */
    list(): Promise<SessionEntry[]>;
    /** Ends one of them. */
    revoke(id: string): Promise<void>;
  };
  /** Stops timer, listeners and channel for good; does not sign out. */
  dispose(): void;
}

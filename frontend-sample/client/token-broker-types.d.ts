/**
 * What `token-broker.js` takes and gives: the reference of the client, one line for each option, state, event,
 * method and error code.
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
  /** When the person last proved who they are, where the provider says so. */
  auth_time: string | null;
}

/** A session in the list of all sessions of the user: the current one first, then the newest. */
export interface SessionEntry {
  id: string;
  /** Whether it is the session that asks. */
  current: boolean;
  /** The browser and its machine as they name themselves: good for recognising, no proof. */
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
 * Why nobody is signed in: `null` at first, `manual` after a logout here, `other-tab` after one in another tab,
 * `expired` after the token's lifetime, `revoked` when the broker ended the session before.
 */
export type SignedOutReason = null | 'manual' | 'expired' | 'revoked' | 'other-tab';

/** What all errors have in common; `isBrokerError` recognises them. */
interface Failure<Name extends string, Code extends string> extends Error {
  /** The kind of error. */
  name: Name;
  /** What happened, in a word that does not change from release to release. */
  code: Code;
  /** The HTTP status of the broker's answer; 0 when there was none. */
  status: number;
  /** Whether the same thing may work in a moment. */
  retryable: boolean;
  /**
   * Leads to the details in the broker's log: show it, so that people can name it. That of a `LoginError` is taken
   * from the end of its `error_description`, where the broker writes "(code, request id)"; `message` is the rest.
   */
  requestId: string | null;
}

/** A code that the broker may send and this list does not name. */
type OtherCode = string & {};

/** The login came back with an error, so there was nothing to redeem. A session that exists goes on. */
export type LoginError = Failure<'LoginError',
  /** The person, or the provider on their behalf, said no. */
  | 'access_denied'
  /** The provider or the broker is down or too slow. */
  | 'temporarily_unavailable'
  /** `prompt: 'none'`, and the person would have had to act. */
  | 'login_required' | 'interaction_required' | 'consent_required' | 'account_selection_required'
  /** The sign-in was older or weaker than asked for. */
  | 'unmet_authentication_requirements'
  /** The broker had a fault. Whoever runs it finds the cause in its log, under `requestId`. */
  | 'server_error'
  /** The client is not allowed to do this, or asked for it wrongly. */
  | 'invalid_request' | 'unauthorized_client' | 'invalid_scope'
  | OtherCode>;

/** The one-time key could not be redeemed. Nothing is tried again by itself. */
export type HandoffError = Failure<'HandoffError',
  /** The key is used, expired or of another login; the broker does not say which. */
  | 'invalid_grant'
  /** This page's origin is not one of the client's. */
  | 'origin_not_allowed'
  | 'rate_limited' | 'temporarily_unavailable'
  | OtherCode>;

/** About a session that is over, or not there. */
export type SessionError = Failure<'SessionError',
  /** The token's time was up, and the broker said so. */
  | 'expired'
  /** The broker ended the session before its time: signed out elsewhere, or by an administrator. */
  | 'revoked'
  /** A method was called that needs a session. */
  | 'not_signed_in'
  /** Signed out here; the broker could not be told, or did not agree. */
  | 'revocation_not_confirmed'>;

/** No answer came, or not within ten seconds. Signs nobody out. */
export type NetworkError = Failure<'NetworkError', 'network_error'>;

/** The broker answered and refused. Only a 401 `invalid_token` ends the session. */
export type ApiError = Failure<'ApiError',
  | 'invalid_token' | 'insufficient_scope' | 'not_found' | 'origin_not_allowed'
  | 'rate_limited' | 'temporarily_unavailable' | 'server_error'
  /** `http_` and the status: somebody else than the broker answered, a proxy or the wrong server. */
  | `http_${number}`
  | OtherCode>;

/** The page or its hosting must be changed. */
export type ConfigError = Failure<'ConfigError',
  /** The page is plain http on a name that is not localhost, where browsers offer no cryptography. */
  | 'insecure_context'
  /** `returnTo` leads to another origin. */
  | 'foreign_return_to'>;

export type BrokerError = LoginError | HandoffError | SessionError | NetworkError | ApiError | ConfigError;

/**
 * A plain object that is replaced, never changed. `error` is what went wrong last; an error beside `signed-in`
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

/** What is kept in the storage: the token itself, its times, and who is signed in once the broker has said it. */
export interface Grant {
  bearer: string;
  token: TokenTimes;
  user?: User;
  session?: Session;
}

/** What the client needs of a storage; `localStorage` is one. */
export type TokenStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

export interface BrokerOptions {
  /** Where the broker answers, with its path if it has one. Default: the origin of the page. */
  brokerUrl?: string;
  /** May be left out where the broker knows one client only. */
  clientId?: string;
  /**
   * Where the broker sends the browser after the login; must be registered for the client, exactly so. Default: `/` of
   * the page's origin, or, where that is the broker's own, the only one that the client registered.
   */
  redirectUri?: string;
  /**
   * Where the token is kept. `session` (default) survives a reload and ends with the tab; `memory` ends with
   * the page; `local` survives the browser and is readable by every page of the origin until it expires.
   */
  storage?: 'session' | 'memory' | 'local' | TokenStorage;
  /** Whether a new tab gets the session from one that is signed in. Default: true. Logout reaches all tabs. */
  shareAcrossTabs?: boolean;
  /** The origins, beside the broker's own, that may get the token. */
  resourceOrigins?: string[];
  /** How long before its end a token is rotated; at most half its lifetime. Default: 86 400, a day. */
  rotateBeforeSeconds?: number;
  /**
   * After a 401 to `fetch`: `sign-out` (default) asks the broker whether the token still lives and signs out
   * when it does not; `ignore` does nothing.
   */
  on401?: 'sign-out' | 'ignore';
  /** For tests: instead of the browser's `fetch`. */
  fetch?: typeof globalThis.fetch;
  /** For tests: instead of `location.assign`. */
  navigate?: (url: string) => void;
  /** For tests: instead of `Date.now`. */
  now?: () => number;
}

export interface LoginOptions {
  /** The provider's id; left out, the broker takes the only one or lets the person choose. */
  provider?: string;
  /** `login` asks for the password again, `none` never shows a page (OpenID Connect). */
  prompt?: string;
  /** Who is likely to sign in, for the provider's form. */
  loginHint?: string;
  /** An address of this origin to show afterwards, in place of the redirect URI. */
  returnTo?: string;
}

export interface LogoutOptions {
  /** `current` (default): this session. `others`: all but this one. `all`: every session of the user. */
  scope?: 'current' | 'others' | 'all';
  /** Whether to go on to the provider's logout page, where it has one. */
  provider?: boolean;
}

export interface BrokerClient {
  /**
   * Completes the login that is in the address, or restores the session. Call it as often as you like: it runs
   * once, and again only after an error that is `retryable`. Never rejects; look at the state.
   */
  ready(): Promise<AuthState>;
  /** The state now; the same object until something changed. */
  getState(): AuthState;
  /** Calls `fn` at once and on every change. Returns what ends that. */
  subscribe(fn: (state: AuthState) => void): () => void;
  /** Calls `fn` on every such event. Returns what ends that. */
  on(event: BrokerEvent, fn: (state: AuthState) => void): () => void;
  /** Leaves the page for the provider. Rejects with a `ConfigError` where that cannot work. */
  login(options?: LoginOptions): Promise<void>;
  /**
   * Signs out here at once, then at the broker. Resolves to whether the broker confirmed it; if not, the state
   * has the error `revocation_not_confirmed`. With `scope: 'others'` it rejects when the broker refuses.
   */
  logout(options?: LogoutOptions): Promise<boolean>;
  /** The token, rotated first when it is time; `null` when nobody is signed in. */
  getToken(): Promise<string | null>;
  /** The `Authorization` header for an address that may get the token, else an empty object. */
  authHeaders(url: string | URL): Promise<{ Authorization?: string }>;
  /**
   * The browser's `fetch` with the token, for the broker and `resourceOrigins`; without it for all others.
   * A request that carries the token follows no redirect: it rejects instead.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;
  /** Asks for the next token now. Calls at the same time share one request. */
  rotate(): Promise<void>;
  sessions: {
    /** All sessions of the user. */
    list(): Promise<SessionEntry[]>;
    /** Ends one of them. */
    revoke(id: string): Promise<void>;
  };
  /** Stops timer, listeners and channel for good; signs nobody out. */
  dispose(): void;
}

/** A broker that knows every user by name and asks for no password. */
export class FakeBroker {
    origin: string;
    /** The username that `/login` signs in; `null`: no one is signed in, and `prompt=none` is refused. */
    user: string | null;
    /** Every request, in order. @type {SeenRequest[]} */
    requests: SeenRequest[];
    /**
     * Set it to answer the next requests in its place, as an API or a fault: it returns a `Response`, throws, or returns
     * nothing to leave the answer to the broker.
     * @type {((request: SeenRequest) => unknown) | null}
     */
    fault: ((request: SeenRequest) => unknown) | null;
    /** How long a token lives, in seconds. */
    lifetime: number;
    /**
     * Options for a client of this broker: `createBrokerClient({ ...broker.options('alice'), … })`. With a username the
     * client finds a session of that user; it stores nothing.
     * @param {string | null} [user]
     * @returns {BrokerOptions}
     */
    options(user?: string | null): BrokerOptions;
    /**
     * What `/login` and the provider would do: parks a key for this login address, returns the way back.
     * @param {string} loginUrl
     * @param {{ user?: string, delivery?: string }} [how]
     */
    signIn(loginUrl: string, { user, delivery }?: {
        user?: string;
        delivery?: string;
    }): string;
    /**
     * A live grant, as the client stores it.
     * @param {string} [user]
     * @returns {Grant & { user: User, session: Session }}
     */
    grant(user?: string, now?: number): Grant & {
        user: User;
        session: Session;
    };
    /** Ends a session from elsewhere. @param {string} id */
    end(id: string): void;
    /** Whether a token is live. @param {string | null} bearer */
    isLive(bearer: string | null): boolean;
    /** How many requests there were to a path. @param {string} path */
    count(path: string): number;
    /** The option `fetch` of the client. @type {typeof globalThis.fetch} */
    fetch: typeof globalThis.fetch;
    /**
     * For Playwright: `await page.route(`${broker.origin}/**`, broker.route)`. The page goes to `/login` and comes back
     * signed in as `user`.
     * @param {Route} route
     */
    route: (route: Route) => Promise<void>;
    #private;
}
/** A refusal in the shape of RFC 9457. @type {(status: number, code: string) => Response} */
export const refused: (status: number, code: string) => Response;
export type SeenRequest = {
    method: string;
    path: string;
    url: string;
    bearer: string | null;
    body: any;
    keepalive: boolean;
    redirect: string;
    credentials: string;
};
export type FakeSession = {
    id: string;
    user: string;
    live: boolean;
};
/**
 * What is used of Playwright's `Route`.
 */
export type Route = {
    request(): {
        url(): string;
        method(): string;
        postData(): string | null;
        headers(): Record<string, string>;
    };
    fulfill(answer: {
        status: number;
        headers: Record<string, string>;
        body: string;
    }): Promise<void>;
};
import type { BrokerOptions } from '../token-broker-types.js';
import type { Grant } from '../token-broker-types.js';
import type { User } from '../token-broker-types.js';
import type { Session } from '../token-broker-types.js';

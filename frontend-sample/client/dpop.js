/**
 * Binds the tokens of the client in `token-broker.js` to a key of this browser (DPoP, RFC 9449): a stolen token is useless.
 * `createBrokerClient(withDpop({ brokerUrl, clientId }))` is all. Importing it does nothing.
 *
 * The private key is made by the browser, kept in IndexedDB, and cannot be read by any script.
 */

/**
 * @import { BrokerOptions } from './token-broker-types.js'
 * @typedef {{ privateKey: CryptoKey, jwk: { crv: string, kty: string, x: string, y: string }, jkt: string }} ProofKey
 */

const DATABASE = 'token-broker-dpop';
const KEYS = 'keys';
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** @param {string} text */
const bytes = (text) => new TextEncoder().encode(text);
/** @param {ArrayBuffer | Uint8Array} binary */
const base64url = (binary) => btoa(String.fromCharCode(...new Uint8Array(binary)))
  .replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
/** @param {string} text */
const sha256 = async (text) => base64url(await crypto.subtle.digest('SHA-256', bytes(text)));

/** @type {() => Promise<IDBDatabase>} */
const openDatabase = () => new Promise((resolve, reject) => {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(KEYS);
  opening.onsuccess = () => resolve(opening.result);
  opening.onerror = () => reject(opening.error);
});

/** @type {(name: string, fresh?: CryptoKeyPair) => Promise<CryptoKeyPair | undefined>} Stores `fresh` unless another tab was first. */
const stored = async (name, fresh) => {
  const database = await openDatabase();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(KEYS, 'readwrite');
      const store = transaction.objectStore(KEYS);
      const reading = store.get(name);
      reading.onsuccess = () => {
        if (!reading.result && fresh) store.put(fresh, name);
      };
      transaction.oncomplete = () => resolve(reading.result ?? fresh);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
};

/** @type {(name: string) => Promise<ProofKey>} */
const openKey = async (name) => {
  const pair = await stored(name)
    // The private key is not extractable; a public key always is.
    ?? await stored(name, await crypto.subtle.generateKey(ECDSA, false, ['sign']));
  const { privateKey, publicKey } = /** @type {CryptoKeyPair} */ (pair);
  const { crv = '', kty = '', x = '', y = '' } = await crypto.subtle.exportKey('jwk', publicKey);
  const jwk = { crv, kty, x, y }; // the order of RFC 7638
  return { privateKey, jwk, jkt: await sha256(JSON.stringify(jwk)) };
};

/**
 * The options of a client whose tokens are bound: those given, with a `fetch` that adds the proofs and a `dpopJkt` that
 * names the key at the login.
 * @type {(options?: BrokerOptions) => BrokerOptions}
 */
export const withDpop = (options = {}) => {
  const {
    now = Date.now, fetch: send = (/** @type {Parameters<typeof fetch>} */ ...request) => fetch(...request),
  } = options;
  const name = `${options.brokerUrl ?? ''}:${options.clientId ?? ''}`;
  /** @type {Map<string, string>} The latest nonce of each origin. */
  const nonces = new Map();
  /** @type {Promise<ProofKey> | undefined} */
  let opened;
  const key = () => opened ??= openKey(name).catch((error) => {
    opened = undefined; // the next call tries again
    throw error;
  });
  const redemption = () => new URL('api/get_token', (options.brokerUrl ?? location.origin).replace(/\/*$/, '/')).href;

  /** @type {(request: Request, token: string | undefined, nonce: string | undefined) => Promise<string>} */
  const proof = async (request, token, nonce) => {
    const { privateKey, jwk } = await key();
    const url = new URL(request.url);
    url.search = url.hash = '';
    const parts = [{ typ: 'dpop+jwt', alg: 'ES256', jwk }, {
      jti: base64url(crypto.getRandomValues(new Uint8Array(16))),
      htm: request.method,
      htu: url.href,
      iat: Math.floor(now() / 1000),
      ath: token && await sha256(token),
      nonce,
    }];
    const message = parts.map((part) => base64url(bytes(JSON.stringify(part)))).join('.');
    return `${message}.${base64url(await crypto.subtle.sign(ECDSA, privateKey, bytes(message)))}`;
  };

  /** @type {(request: Request, token?: string) => Promise<{ response: Response, wantsNonce: boolean }>} */
  const sendWithProof = async (request, token) => {
    const { origin } = new URL(request.url);
    request.headers.set('DPoP', await proof(request, token, nonces.get(origin)));
    if (token) request.headers.set('Authorization', `DPoP ${token}`);
    const response = await send(request);
    const nonce = response.headers.get('DPoP-Nonce');
    if (nonce) nonces.set(origin, nonce);
    const refused = nonce && (response.status === 400 || response.status === 401);
    const reason = refused && `${response.headers.get('WWW-Authenticate')}${await response.clone().text()}`;
    return { response, wantsNonce: !!reason && reason.includes('"use_dpop_nonce"') };
  };

  return {
    ...options,
    async fetch(input, init) {
      const request = new Request(input, init);
      // Only the broker's tokens of sessions are bound; other texts are none of our business.
      const [, token] = /^Bearer (tbk_\S+)$/.exec(request.headers.get('Authorization') ?? '') ?? [];
      if (!token && request.url !== redemption()) return send(request);
      const again = request.clone();
      const { response, wantsNonce } = await sendWithProof(request, token);
      return wantsNonce ? (await sendWithProof(again, token)).response : response;
    },
    dpopJkt: async () => (await key()).jkt,
  };
};

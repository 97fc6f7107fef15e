/**
 * The options of a client whose tokens are bound: those given, with a `fetch` that adds the proofs and a `dpopJkt` that
 * names the key at the login.
 * @type {(options?: BrokerOptions) => BrokerOptions}
 */
export const withDpop: (options?: BrokerOptions) => BrokerOptions;
export type ProofKey = {
    privateKey: CryptoKey;
    jwk: {
        crv: string;
        kty: string;
        x: string;
        y: string;
    };
    jkt: string;
};
import type { BrokerOptions } from './token-broker-types.js';

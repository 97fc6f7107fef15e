/** @type {(error: any) => error is BrokerError} */
export const isBrokerError: (error: any) => error is BrokerError;
/** @type {(options?: BrokerOptions) => BrokerClient} */
export const createBrokerClient: (options?: BrokerOptions) => BrokerClient;
export type AuthState = import("./token-broker-types.js").AuthState;
export type BrokerClient = import("./token-broker-types.js").BrokerClient;
export type BrokerError = import("./token-broker-types.js").BrokerError;
export type BrokerOptions = import("./token-broker-types.js").BrokerOptions;

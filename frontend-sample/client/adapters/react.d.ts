/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @returns {import('../token-broker.js').AuthState}
 */
export function useBroker(broker: import("../token-broker.js").BrokerClient): import("../token-broker.js").AuthState;

/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @returns {import('solid-js').Accessor<import('../token-broker.js').AuthState>}
 */
export function useBroker(broker: import("../token-broker.js").BrokerClient): import("solid-js").Accessor<import("../token-broker.js").AuthState>;

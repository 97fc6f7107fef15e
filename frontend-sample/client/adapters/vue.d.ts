/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @returns {Readonly<import('vue').ShallowRef<import('../token-broker.js').AuthState>>}
 */
export function useBroker(broker: import("../token-broker.js").BrokerClient): Readonly<import("vue").ShallowRef<import("../token-broker.js").AuthState>>;

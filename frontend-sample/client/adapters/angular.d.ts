/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @returns {import('@angular/core').Signal<import('../token-broker.js').AuthState>}
 */
export function injectBroker(broker: import("../token-broker.js").BrokerClient): import("@angular/core").Signal<import("../token-broker.js").AuthState>;

export function useBroker(broker: import("../token-broker.js").BrokerClient): import("svelte/store").Readable<import("../token-broker.js").AuthState>;

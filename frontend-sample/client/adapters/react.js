/** React: `const state = useBroker(broker)`. Make the client once, outside of all components. */
import { useEffect, useSyncExternalStore } from 'react';

/** @type {import('../token-broker.js').AuthState} What servers render; hydration has to begin with the same. */
const loading = { status: 'loading', error: null };

/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @returns {import('../token-broker.js').AuthState}
 */
export function useBroker(broker) {
  useEffect(() => { broker.ready(); }, [broker]);
  return useSyncExternalStore(broker.subscribe, broker.getState, () => loading);
}

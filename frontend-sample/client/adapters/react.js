/** React: `const state = useBroker(broker)`. Make the client once, outside of all components. */
import { useEffect, useSyncExternalStore } from 'react';

/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @returns {import('../token-broker.js').AuthState}
 */
export function useBroker(broker) {
  useEffect(() => { broker.ready(); }, [broker]);
  return useSyncExternalStore(broker.subscribe, broker.getState, broker.getState);
}

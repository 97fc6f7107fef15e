/** React: `const state = useBroker(broker)`. Make the client once, outside of all components. */
import { useEffect, useSyncExternalStore } from 'react';

/** @param {import('../client/token-broker.js').BrokerClient} broker */
export function useBroker(broker) {
  useEffect(() => { broker.ready(); }, [broker]);
  return useSyncExternalStore(broker.subscribe, broker.getState, broker.getState);
}

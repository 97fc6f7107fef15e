/** Solid: `const state = useBroker(broker)` in a component; `state()` is the state. */
import { createSignal, onCleanup } from 'solid-js';

/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @returns {import('solid-js').Accessor<import('../token-broker.js').AuthState>}
 */
export function useBroker(broker) {
  const [state, setState] = createSignal(broker.getState());
  if (!('history' in globalThis)) return state; // a server has nothing to clean up
  onCleanup(broker.subscribe((next) => { setState(next); }));
  broker.ready();
  return state;
}

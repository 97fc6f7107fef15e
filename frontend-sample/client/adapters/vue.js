/** Vue: `const state = useBroker(broker)` in `setup`; the subscription ends with the component. */
import { onScopeDispose, shallowRef } from 'vue';

/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @returns {Readonly<import('vue').ShallowRef<import('../token-broker.js').AuthState>>}
 */
export function useBroker(broker) {
  const state = shallowRef(broker.getState());
  if (!('history' in globalThis)) return state; // a server never ends the scope of a component
  onScopeDispose(broker.subscribe((next) => { state.value = next; }));
  broker.ready();
  return state;
}

/** Vue: `const state = useBroker(broker)` in `setup`; the subscription ends with the component. */
import { onScopeDispose, shallowRef } from 'vue';

/** @param {import('../client/token-broker.js').BrokerClient} broker */
export function useBroker(broker) {
  const state = shallowRef(broker.getState());
  onScopeDispose(broker.subscribe((next) => { state.value = next; }));
  broker.ready();
  return state;
}

/** Svelte 4 and 5: `const auth = useBroker(broker)` is a store, `$auth` its state. */
import { readable } from 'svelte/store';

/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @returns {import('svelte/store').Readable<import('../token-broker.js').AuthState>}
 */
export const useBroker = (broker) => readable(broker.getState(), (set) => {
  broker.ready();
  return broker.subscribe(set);
});

/** Angular 17 or later: `state = injectBroker(broker)` in a component or service; `state()` is the state. */
import { DestroyRef, inject, signal } from '@angular/core';

/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @returns {import('@angular/core').Signal<import('../token-broker.js').AuthState>}
 */
export function injectBroker(broker) {
  const state = signal(broker.getState());
  inject(DestroyRef).onDestroy(broker.subscribe((next) => state.set(next)));
  broker.ready();
  return state.asReadonly();
}

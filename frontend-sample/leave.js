/** Leaving for the provider, for every button that does. */
import { say } from './dom.js';

/**
 * Begins a login. Settles only if that cannot work, so that the button stays busy until the page is gone; a page
 * that comes back by the browser's own button is made ready again in `app.js`.
 * @param {import('./client/token-broker.js').BrokerClient} broker
 * @param {Parameters<import('./client/token-broker.js').BrokerClient['login']>[0]} [options]
 */
export const leaveFor = async (broker, options) => {
  try {
    await broker.login(options);
    await new Promise(() => {});
  } catch (/** @type {any} */ error) {
    say(`${error.message} (${error.code})`);
  }
};

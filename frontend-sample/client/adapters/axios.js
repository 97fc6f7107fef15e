/** axios (1.12 or later): its requests go through the client, with all its guarantees. */
import axios from 'axios';

/**
 * @param {import('../token-broker.js').BrokerClient} broker
 * @param {import('axios').CreateAxiosDefaults} [defaults]
 * @returns {import('axios').AxiosInstance}
 */
export const axiosWith = (broker, defaults) =>
  axios.create({ ...defaults, adapter: 'fetch', env: { fetch: broker.fetch } });

/** openapi-fetch: typed calls from your OpenAPI document, with the token where it may go. */
import createClient from 'openapi-fetch';

/**
 * @template {{}} Paths
 * @param {import('../token-broker.js').BrokerClient} broker
 * @param {import('openapi-fetch').ClientOptions} [options]
 * @returns {import('openapi-fetch').Client<Paths>}
 */
export const openapiWith = (broker, options) => createClient({ ...options, fetch: broker.fetch });

/** The client of this app, created once, outside of all components. */
import { createBrokerClient } from '../../../client/token-broker.js';

export const brokerUrl: string = import.meta.env.VITE_BROKER_URL ?? 'http://localhost:8080';

export const broker = createBrokerClient({
  brokerUrl,
  clientId: 'vite-react',
  redirectUri: `${location.origin}/`,
});

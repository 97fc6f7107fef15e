import { createBrokerClient } from '@token-broker/client';

export const broker = createBrokerClient({
  brokerUrl: import.meta.env.VITE_BROKER_URL ?? 'http://localhost:8080',
  clientId: 'app',
});
broker.ready(); // takes the answer of a login out of the address before a router reads it

import { createBrokerClient } from './client/token-broker.js';

const broker = createBrokerClient({ clientId: 'sample' }); // brokerUrl: 'https://auth.example.com'
const [title, button] = document.querySelectorAll('h1, button');

broker.subscribe((state) => {
  const signedIn = state.status === 'signed-in';
  title.textContent = signedIn ? `Hello, ${state.user.display_name}` : 'Hello, stranger';
  button.textContent = signedIn ? 'Sign out' : 'Sign in';
  button.onclick = () => (signedIn ? broker.logout() : broker.login({ provider: 'dev' }));
});
await broker.ready();

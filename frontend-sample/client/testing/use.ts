/** How an app in TypeScript uses the client; compiled by `package.test.mjs`, never run. */
import { createBrokerClient, isBrokerError } from '../token-broker.js';
import type { AuthState, BrokerClient, BrokerError } from '../token-broker.js';

const client: BrokerClient = createBrokerClient({
  clientId: 'web', storage: 'memory', restore: 'silent', onReturnTo: (url) => history.replaceState(null, '', url),
});

export function greet(state: AuthState): string {
  switch (state.status) {
    case 'loading': return '…';
    case 'signed-out': return state.reason ?? state.error?.message ?? 'welcome';
    case 'signed-in': return `${state.user.display_name ?? state.user.id} until ${state.token.expiresAt}`;
  }
}

export function advise(error: BrokerError): string {
  switch (error.name) {
    case 'LoginError': return error.code === 'access_denied' ? 'You said no.' : error.message;
    case 'HandoffError': return 'Sign in again.';
    case 'SessionError': return error.code === 'expired' ? 'It has been a while.' : 'You were signed out.';
    case 'NetworkError': return 'Try again.';
    case 'ApiError': return `${error.status} ${error.requestId ?? ''}`;
    case 'ConfigError': return error.message;
  }
}

export async function use(): Promise<void> {
  const state = await client.ready();
  // @ts-expect-error: there is a user only when someone is signed in
  state.user;
  // @ts-expect-error: the state is replaced, not changed, so its statuses are known
  if (state.status === 'signedin') return;
  try {
    await client.login({ returnTo: '/orders' });
    // @ts-expect-error: no such scope
    await client.logout({ scope: 'everyone' });
  } catch (error) {
    if (isBrokerError(error)) advise(error);
  }
  const guarded = await client.requireLogin({ returnTo: '/orders/7' });
  if (guarded.status === 'signed-in') greet(guarded);
  // @ts-expect-error: requireLogin() does not settle without a session
  if (guarded.status === 'signed-out') return;
  const headers: HeadersInit = await client.authHeaders('/api/me');
  await fetch('/api/me', { headers: { ...headers } });
}

import { useState } from 'react';

import { useBroker } from '../../../client/adapters/react.js';
import type { AuthState } from '../../../client/token-broker.js';
import { broker, brokerUrl } from './broker';

export function App() {
  const state = useBroker(broker);
  switch (state.status) {
    case 'loading': return <p>One moment …</p>;
    case 'signed-out': return <Welcome error={state.error} />;
    case 'signed-in': return <Home user={state.user} />;
  }
}

function Welcome({ error }: { error: AuthState['error'] }) {
  return (
    <main>
      <h1>Welcome</h1>
      {error && <p role="alert">{error.message} ({error.code})</p>}
      <button onClick={() => broker.login({ returnTo: location.href })}>Sign in</button>
    </main>
  );
}

function Home({ user }: { user: Extract<AuthState, { status: 'signed-in' }>['user'] }) {
  const [permissions, setPermissions] = useState<string[]>([]);
  const ask = async () => {
    const response = await broker.fetch(`${brokerUrl}/api/permissions`);
    if (response.ok) setPermissions((await response.json()).permissions);
  };
  return (
    <main>
      <h1>Hello, {user.display_name ?? user.id}</h1>
      <button onClick={ask}>What may I do?</button>
      <ul>{permissions.map((name) => <li key={name}>{name}</li>)}</ul>
      <button onClick={() => broker.logout()}>Sign out</button>
    </main>
  );
}

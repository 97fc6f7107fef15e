import { useBroker } from '@token-broker/client/react';
import { broker } from './broker';

export default function App() {
  const state = useBroker(broker);
  const orders = async () => alert(await (await broker.fetch('/api/orders')).text());
  if (state.status === 'loading') return <p>One moment …</p>;
  if (state.status === 'signed-in') {
    return <><h1>Hello, {state.user.display_name}</h1><button onClick={orders}>My orders</button></>;
  }
  return <button onClick={() => broker.login({ returnTo: location.href })}>Sign in</button>;
}

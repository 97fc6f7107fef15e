/** The real broker: `token-broker demo` on a free port with a database of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const program = process.env.TOKEN_BROKER_BIN
  ?? fileURLToPath(new URL('../../../target/debug/token-broker', import.meta.url));

const sample = fileURLToPath(new URL('../..', import.meta.url));

/**
 * A free port below those that the system hands out by itself: no other program gets it while the broker is
 * stopped.
 */
async function freePort() {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const server = createServer().listen(port, '127.0.0.1');
    const bound = await once(server, 'listening').then(() => true, () => false);
    if (!bound) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** How long it may take to start, in milliseconds; a second is usual. */
const patience = 60_000;

/**
 * Starts it, with its files in the folder `data`. `stop()` and `start()` keep port, database and keys, and do nothing if there is nothing to do.
 * `onDeath(listener)` tells when it ends without having been stopped, and why. `options` are more arguments of `demo`.
 */
export async function startBroker(...options) {
  if (!existsSync(program)) {
    throw new Error(`${program} is missing: build it with "cargo build --features postgres", or name another in TOKEN_BROKER_BIN`);
  }
  const data = mkdtempSync(join(tmpdir(), 'token-broker-e2e-'));
  const port = await freePort();
  const broker = { origin: `http://localhost:${port}`, data, start, stop, end, onDeath: (listener) => { dead = listener; } };
  let child = null;
  let dead = () => {};
  const runs = () => child !== null && child.exitCode === null && child.signalCode === null;
  process.once('exit', () => child?.kill('SIGKILL')); // also after a test run that broke off

  async function start() {
    if (runs()) return;
    const from = process.env.TOKEN_BROKER_SAMPLE === 'disk' ? ['--sample-from', sample] : [];
    const args = ['demo', '--port', String(port), '--data', data, ...from, ...options];
    const own = child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const heard = [];
    own.stderr.on('data', (bytes) => heard.push(bytes));
    own.once('error', (error) => heard.push(error.message)); // it could not be started; its output ends at once
    const limit = setTimeout(() => own.kill('SIGKILL'), patience);
    for await (const line of createInterface({ input: own.stdout })) {
      heard.push(`${line}\n`);
      if (!line.startsWith('ready: ')) continue;
      clearTimeout(limit);
      own.once('exit', (code, signal) => {
        if (child === own) dead(new Error(`token-broker demo ended (${signal ?? code}) while tests used it:\n${heard.join('')}`));
      });
      return;
    }
    clearTimeout(limit);
    throw new Error(`token-broker demo ended before it was ready, or was not ready in ${patience / 1000} s:\n${heard.join('')}`);
  }
  async function stop() {
    if (!runs()) return;
    const own = child;
    child = null;
    const gone = once(own, 'exit');
    own.kill('SIGKILL');
    await gone;
  }
  async function end() {
    await stop();
    rmSync(data, { recursive: true, force: true });
  }

  await start().catch(async (error) => { await end(); throw error; });
  return broker;
}

/** Installs the client from this repository as `npm install` would install the published package. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const client = fileURLToPath(new URL('../../client', import.meta.url));
const target = fileURLToPath(new URL('node_modules/@token-broker/client', import.meta.url));

const scratch = mkdtempSync(join(tmpdir(), 'token-broker-pack-'));
execFileSync('npm', ['pack', '--pack-destination', scratch], { cwd: client, stdio: 'pipe' });
rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
execFileSync('tar', ['-xzf', join(scratch, readdirSync(scratch)[0]), '-C', target, '--strip-components=1']);
rmSync(scratch, { recursive: true });

/** The types that openapi-typescript makes of the broker's document, and the client's own, say the same. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = (program, ...args) =>
  execFileSync(process.execPath, [join(root, 'node_modules', program), ...args], { cwd: root, encoding: 'utf8', stdio: 'pipe' });

test('types: the client and the OpenAPI document agree', (t) => {
  // Inside this folder, so that both files are read with the same settings.
  const folder = mkdtempSync(join(root, 'node_modules', '.openapi-'));
  t.after(() => rmSync(folder, { recursive: true }));
  run('openapi-typescript/bin/cli.js', '../openapi/token-broker.json', '-o', join(folder, 'broker.d.ts'));
  const compare = (user) => {
    writeFileSync(join(folder, 'compare.ts'), `
      import type { components, paths } from './broker';
      import type { Session, SessionEntry, User } from '${root}client/token-broker-types';
      type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
      type Plain<T> = { [K in keyof T]: T[K] };
      type Me = components['schemas']['Me'];
      export const user: Same<Plain<${user}>, Plain<Me['user']>> = true;
      // Null only for a personal token, which this client never holds.
      export const session: Same<Plain<Session>, Plain<NonNullable<Me['session']>>> = true;
      export const nullable: null extends Me['session'] ? true : false = true;
      type List = paths['/api/sessions']['get']['responses'][200]['content']['application/json'];
      type Deep<T> = T extends object ? { [K in keyof T]: Deep<T[K]> } : T;
      export const entry: Same<Deep<SessionEntry>, Deep<List['sessions'][number]>> = true;
      type With<M extends string> = { [P in keyof paths]: paths[P] extends { [K in M]: { responses: unknown } } ? P : never }[keyof paths];
      const called: { get: With<'get'>[], post: With<'post'>[], delete: With<'delete'>[] } = {
        get: ['/login', '/api/me', '/api/sessions'],
        post: ['/api/get_token', '/api/token/rotate', '/api/logout'],
        delete: ['/api/sessions', '/api/sessions/{id}'],
      };
      type Body<P extends keyof paths> = paths[P] extends { post: { requestBody?: { content: { 'application/json': infer B } } } } ? B : never;
      export const redeem: Body<'/api/get_token'> = { one_time_key: '', code_verifier: '', client_id: '' };
      export const logout: Body<'/api/logout'> = { everywhere: true };
      type Token = paths['/api/get_token']['post']['responses'][200]['content']['application/json'];
      type Next = paths['/api/token/rotate']['post']['responses'][200]['content']['application/json'];
      export const needed = (token: Token, next: Next): [string, number, string, number] =>
        [token.access_token, token.expires_in, next.access_token, next.expires_in];
      export { called };
    `);
    return run('typescript/bin/tsc', '--noEmit', '--strict', '--skipLibCheck', '--moduleResolution', 'bundler',
      '--module', 'esnext', '--target', 'es2022', join(folder, 'compare.ts'));
  };
  compare('User');
  assert.throws(() => compare("Omit<User, 'email'>"), ({ stdout }) => /TS2322/.test(stdout), 'a difference is seen');
});

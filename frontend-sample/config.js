/**
 * What differs from one installation to the next. The broker serves its own version of this file, made from its
 * configuration; this one exists for the types.
 *
 * @typedef {{ id: string, displayName: string }} Provider
 * @type {{ clientId: string, providers: Provider[], demoUsers: boolean }}
 */
const config = {
  clientId: 'sample',
  // A button each.
  providers: [
    { id: 'dev', displayName: 'Development provider' },
    { id: 'ops', displayName: 'Development provider, plain OAuth 2' },
  ],
  // Whether the first provider is the built-in one with its two users.
  demoUsers: true,
};

export default config;

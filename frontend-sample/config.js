/**
 * What differs from one installation to the next. The broker may serve its own version of this file.
 *
 * @typedef {{ id: string, displayName: string }} Provider
 * @type {{ clientId: string, providers: Provider[], development: boolean }}
 */
const config = {
  clientId: 'sample',
  // Buttons. With none, one button goes to the broker, which lets the person choose.
  providers: [
    { id: 'dev', displayName: 'OpenID provider' },
    { id: 'ops', displayName: 'OAuth 2 provider' },
  ],
  // Whether the built-in provider with its two users is there.
  development: true,
};

export default config;

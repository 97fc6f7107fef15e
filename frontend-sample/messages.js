/** What each error means to a person: one sentence, one thing to do. The codes stay visible beside it. */

/** @typedef {import('./client/token-broker.js').BrokerError} BrokerError */
/** @typedef {{ sentence: string, action: 'login' | 'retry', label: string }} Advice */

/** @type {(sentence: string, label?: string) => Advice} */
const login = (sentence, label = 'Sign in again') => ({ sentence, action: 'login', label });
/** @type {(sentence: string) => Advice} */
const retry = (sentence) => ({ sentence, action: 'retry', label: 'Try again' });

/** @type {Record<string, Advice>} */
const known = {
  access_denied: login('The sign-in was cancelled, or this account may not sign in here.'),
  login_required: login('The provider wants you to sign in yourself.', 'Sign in'),
  unknown_login: login('This sign-in was not started in this tab.'),
  invalid_grant: login('The one-time key was used already or is older than two minutes.'),
  expired: login('Your session has run out.'),
  revoked: login('This session was ended from somewhere else.'),
  revocation_not_confirmed: login(
    'You are signed out in this browser, but the broker could not be reached; the token works until it expires.',
    'Sign in to end it'),
};

/**
 * @param {BrokerError} error
 * @param {boolean} signedIn
 * @returns {Advice}
 */
export const adviceFor = (error, signedIn) => {
  if (error.name === 'NetworkError') {
    // When signed out, the page's heading already says that the broker cannot be reached.
    return retry(signedIn ? 'The broker cannot be reached. You are still signed in.' : 'Check the connection, or try again in a moment.');
  }
  if (error.name === 'LoginError' && error.code === 'temporarily_unavailable') {
    return login('The sign-in provider does not answer as it should. That is not your fault.', 'Try signing in again');
  }
  return known[error.code]
    ?? (signedIn && error.retryable ? retry(error.message) : login(error.message || 'The sign-in did not work.'));
};

//! Lifetimes and limits. They are checked against the server's clock on every use.

use chrono::TimeDelta;

/// The lifetime of a login attempt, from `/login` to the callback.
pub const LOGIN_ATTEMPT: TimeDelta = TimeDelta::seconds(600);

/// The maximum lifetime of a one-time key. The configuration can only shorten it.
pub const ONE_TIME_KEY: TimeDelta = TimeDelta::seconds(120);

/// The minimum lifetime of a one-time key that can be configured.
pub const ONE_TIME_KEY_MIN: TimeDelta = TimeDelta::seconds(10);

/// A second redemption by the same browser within this time is treated as a double submit, not as theft.
pub const DOUBLE_SUBMIT: TimeDelta = TimeDelta::seconds(10);

/// The maximum lifetime of an API token: seven days.
pub const API_TOKEN: TimeDelta = TimeDelta::seconds(604_800);

/// How long a rotated token is still accepted, so that parallel requests of the same SPA do not fail.
pub const ROTATION_OVERLAP: TimeDelta = TimeDelta::seconds(60);

/// How many successors a token can have. Several tabs can rotate the same token at the same moment.
pub const ROTATION_SIBLINGS: usize = 5;

/// The maximum lifetime of a session: thirty days from the login.
pub const SESSION: TimeDelta = TimeDelta::seconds(2_592_000);

/// The maximum lifetime of a personal token: 366 days.
pub const PERSONAL_TOKEN: TimeDelta = TimeDelta::days(366);

/// How long ago a person may have signed in to make a personal token, unless the configuration says otherwise.
pub const FRESH_SIGN_IN: TimeDelta = TimeDelta::minutes(15);

/// How far the time of a sign-in may be ahead of the broker's clock: the provider has a clock of its own.
pub const SIGN_IN_AHEAD: TimeDelta = TimeDelta::seconds(60);

/// How many live personal tokens a user can have, unless the configuration says otherwise.
pub const PERSONAL_TOKENS_PER_USER: usize = 20;

/// The resolution of the last-use time of a token and of its session. Their rows are updated at most once in this time.
pub const LAST_USE_GRAIN: TimeDelta = TimeDelta::minutes(5);

/// The minimum inactivity limit of a client, which must be longer than the five-minute resolution of the last use.
pub const INACTIVITY_MIN: TimeDelta = TimeDelta::minutes(10);

/// The maximum number of live tokens per user. If there are more, the oldest are revoked.
pub const LIVE_TOKENS_PER_USER: usize = 50;

/// The lifetime of a logout attempt: from the redirect to the provider until the browser comes back.
pub const LOGOUT_ATTEMPT: TimeDelta = TimeDelta::seconds(600);

/// How long a logout token is remembered as used. Longer than the three minutes for which any instance can accept it,
/// given the differences between their clocks.
pub const LOGOUT_TOKEN_USED: TimeDelta = TimeDelta::seconds(600);

/// The lifetime of a device code and of its user code: the time in which a person has to approve a device.
pub const DEVICE_CODE: TimeDelta = TimeDelta::minutes(10);

/// How long the broker can tell an expired device code from an unknown one, from its issue on.
pub const DEVICE_CODE_KNOWN: TimeDelta = TimeDelta::minutes(20);

/// How long a device waits between two polls. Each poll that comes too early adds the same time once more (RFC 8628
/// section 3.5).
pub const POLL_INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// How much too early a poll may come: the clocks of the instances differ a little.
pub const POLL_LEEWAY: TimeDelta = TimeDelta::milliseconds(500);

/// The maximum lifetime of a client assertion of a resource server.
pub const CLIENT_ASSERTION: TimeDelta = TimeDelta::minutes(5);

/// How far the clock of a resource server may be ahead of the broker's.
pub const CLIENT_ASSERTION_AHEAD: TimeDelta = TimeDelta::seconds(60);

/// How much longer than its access token a refresh token lives, within its session: a client library renews when the access
/// token has expired. The rows of tokens are kept for as long.
pub const REFRESH_GRACE: TimeDelta = TimeDelta::days(1);

/// The lifetime of an ID token of the broker. The client checks it once, when it receives it.
pub const ID_TOKEN: TimeDelta = TimeDelta::minutes(5);

/// The lifetime of an identity assertion. The API behind a gateway checks it with the request that it comes with.
pub const ASSERTION: TimeDelta = TimeDelta::seconds(60);

/// After a logout or a revocation, at most this much time passes until every instance refuses a token.
pub const REVOCATION_BOUND: TimeDelta = TimeDelta::seconds(1);

/// How far the time in a DPoP proof may be from the broker's, unless the proof has a nonce (RFC 9449 section 11.1).
pub const DPOP_PROOF: TimeDelta = TimeDelta::seconds(60);

/// How long a nonce for DPoP proofs can be used.
pub const DPOP_NONCE: TimeDelta = TimeDelta::seconds(300);

/// How much the clocks of the instances may differ, at most, without an effect on DPoP proofs.
pub const CLOCK_DIFFERENCE: TimeDelta = TimeDelta::seconds(60);

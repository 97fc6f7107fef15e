//! How long each thing lives. Every bound is checked by the server's clock on every use.

use chrono::TimeDelta;

/// A login attempt, from `/login` to the callback.
pub const LOGIN_ATTEMPT: TimeDelta = TimeDelta::seconds(600);

/// A one-time key, at most; configuration can only shorten it.
pub const ONE_TIME_KEY: TimeDelta = TimeDelta::seconds(120);

/// The shortest one-time key lifetime that configuration may set.
pub const ONE_TIME_KEY_MIN: TimeDelta = TimeDelta::seconds(10);

/// A second redemption within this time from the same browser is a double submit, not theft.
pub const DOUBLE_SUBMIT: TimeDelta = TimeDelta::seconds(10);

/// An API token, at most: seven days.
pub const API_TOKEN: TimeDelta = TimeDelta::seconds(604_800);

/// How long a rotated token still authenticates, so that parallel requests of the same SPA do not fail.
pub const ROTATION_OVERLAP: TimeDelta = TimeDelta::seconds(60);

/// How many successors one token can have: the tabs that rotate it at the same moment.
pub const ROTATION_SIBLINGS: usize = 5;

/// A session, at most: thirty days from the login.
pub const SESSION: TimeDelta = TimeDelta::seconds(2_592_000);

/// How fine it is known when a session was last used: so often its row is written at most.
pub const LAST_USE_GRAIN: TimeDelta = TimeDelta::minutes(5);

/// The shortest inactivity limit that a client can have: what is known to five minutes cannot be judged finer.
pub const INACTIVITY_MIN: TimeDelta = TimeDelta::minutes(10);

/// The live tokens a user can have; the oldest are revoked beyond it.
pub const LIVE_TOKENS_PER_USER: usize = 50;

/// A logout that has gone on to the provider, until it comes back.
pub const LOGOUT_ATTEMPT: TimeDelta = TimeDelta::seconds(600);

/// How long a logout token is remembered as used: longer than the three minutes in which it can be fresh by any
/// instance's clock.
pub const LOGOUT_TOKEN_USED: TimeDelta = TimeDelta::seconds(600);

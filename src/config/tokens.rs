//! `[tokens]`: the lifetimes of one-time keys, tokens and sessions.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::domain::lifetimes;
use crate::state::Lifetimes;

/// Lifetimes. They can be shorter than the defaults, never longer.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTokens {
    /// Seconds until a one-time key must be redeemed, 10 to 120.
    one_time_key_seconds: u32,
    /// Seconds until an API token expires, 60 to 604800 (seven days).
    api_token_seconds: u32,
    /// Seconds until a user must sign in again, 60 to 2592000 (thirty days). A token never outlives its session, so a
    /// value below `api_token_seconds` shortens the tokens as well.
    session_seconds: u32,
    /// The maximum number of live tokens per user, 1 to 1000; beyond it, the oldest are revoked. In addition, one
    /// client can have at most twenty in one browser session. Tokens that were used and tokens that were not are
    /// counted on their own.
    live_tokens_per_user: usize,
}

impl Default for RawTokens {
    fn default() -> Self {
        Self {
            one_time_key_seconds: seconds(lifetimes::ONE_TIME_KEY),
            api_token_seconds: seconds(lifetimes::API_TOKEN),
            session_seconds: seconds(lifetimes::SESSION),
            live_tokens_per_user: lifetimes::LIVE_TOKENS_PER_USER,
        }
    }
}

/// Whole seconds, as settings are written.
pub(super) fn seconds(time: TimeDelta) -> u32 {
    u32::try_from(time.num_seconds()).unwrap_or(u32::MAX)
}

impl RawTokens {
    /// The lifetimes, and the maximum number of live tokens of one user.
    pub(super) fn check(self, check: &mut Check) -> Option<(Lifetimes, usize)> {
        let key_range = seconds(lifetimes::ONE_TIME_KEY_MIN)..=seconds(lifetimes::ONE_TIME_KEY);
        let key = check.within("tokens.one_time_key_seconds", self.one_time_key_seconds, key_range);
        let token_range = 60..=seconds(lifetimes::API_TOKEN);
        let token = check.within("tokens.api_token_seconds", self.api_token_seconds, token_range);
        let session_range = 60..=seconds(lifetimes::SESSION);
        let session = check.within("tokens.session_seconds", self.session_seconds, session_range);
        let live = check.within("tokens.live_tokens_per_user", self.live_tokens_per_user, 1..=1000);
        let lifetimes = Lifetimes {
            one_time_key: TimeDelta::seconds(key?.into()),
            api_token: TimeDelta::seconds(token?.into()),
            session: TimeDelta::seconds(session?.into()),
        };
        Some((lifetimes, live?))
    }
}

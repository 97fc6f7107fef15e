//! `[personal_tokens]`: tokens that users make for their scripts.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::domain::lifetimes;
use crate::state::PersonalTokenSettings;

/// Tokens that users make for their scripts. Off by default: such a token outlives the session, and no sign-out ends it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPersonalTokens {
    /// Whether users may make personal tokens. Tokens that exist stay valid and can be listed and revoked either way.
    enabled: bool,
    /// Days until a personal token expires, at the latest, 1 to 366. Tokens that exist keep their expiry.
    max_days: i64,
    /// How many minutes ago a user may have signed in at the provider to make a personal token, 1 to 1440. After that
    /// they must sign in again.
    fresh_sign_in_minutes: i64,
    /// Live personal tokens of one user, 1 to 200. Beyond it, none can be made until one is revoked or expires.
    per_user: usize,
}

impl Default for RawPersonalTokens {
    fn default() -> Self {
        Self {
            enabled: false,
            max_days: lifetimes::PERSONAL_TOKEN.num_days(),
            fresh_sign_in_minutes: lifetimes::FRESH_SIGN_IN.num_minutes(),
            per_user: lifetimes::PERSONAL_TOKENS_PER_USER,
        }
    }
}

impl RawPersonalTokens {
    pub(super) fn check(self, check: &mut Check) -> Option<PersonalTokenSettings> {
        let most = lifetimes::PERSONAL_TOKEN.num_days();
        let days = check.within("personal_tokens.max_days", self.max_days, 1..=most);
        let fresh =
            check.within("personal_tokens.fresh_sign_in_minutes", self.fresh_sign_in_minutes, 1..=1440);
        let per_user = check.within("personal_tokens.per_user", self.per_user, 1..=200);
        Some(PersonalTokenSettings {
            enabled: self.enabled,
            max_lifetime: TimeDelta::days(days?),
            fresh_sign_in: TimeDelta::minutes(fresh?),
            per_user: per_user?,
        })
    }
}

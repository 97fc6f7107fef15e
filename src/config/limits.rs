//! `[limits]`: how often one address may ask.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::check::Check;

/// `[limits]`, validated: per address and minute.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Logins begun.
    pub login_per_minute: NonZeroU32,
    /// Callbacks.
    pub callback_per_minute: NonZeroU32,
    /// One-time keys refused.
    pub failed_redemptions_per_minute: NonZeroU32,
    /// Bearer tokens refused.
    pub failed_tokens_per_minute: NonZeroU32,
    /// Logout tokens refused.
    pub failed_logout_tokens_per_minute: NonZeroU32,
}

/// How often one address may ask, per minute. Offices and mobile networks share an address among many people.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Logins begun, 1 to 1000000.
    login_per_minute: u32,
    /// Callbacks from a provider, 1 to 1000000.
    callback_per_minute: u32,
    /// One-time keys that were refused, 1 to 1000000.
    failed_redemptions_per_minute: u32,
    /// Bearer tokens that were refused, 1 to 1000000.
    failed_tokens_per_minute: u32,
    /// Logout tokens of a provider that were refused, 1 to 1000000.
    failed_logout_tokens_per_minute: u32,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            login_per_minute: 120,
            callback_per_minute: 120,
            failed_redemptions_per_minute: 30,
            failed_tokens_per_minute: 60,
            failed_logout_tokens_per_minute: 60,
        }
    }
}

impl RawLimits {
    pub(super) fn check(self, check: &mut Check) -> Option<LimitsConfig> {
        let mut limit =
            |key: &str, number: u32| check.within(key, number, 1..=1_000_000).and_then(NonZeroU32::new);
        let login = limit("limits.login_per_minute", self.login_per_minute);
        let callback = limit("limits.callback_per_minute", self.callback_per_minute);
        let redemptions = limit("limits.failed_redemptions_per_minute", self.failed_redemptions_per_minute);
        let tokens = limit("limits.failed_tokens_per_minute", self.failed_tokens_per_minute);
        let logout_tokens =
            limit("limits.failed_logout_tokens_per_minute", self.failed_logout_tokens_per_minute);
        Some(LimitsConfig {
            login_per_minute: login?,
            callback_per_minute: callback?,
            failed_redemptions_per_minute: redemptions?,
            failed_tokens_per_minute: tokens?,
            failed_logout_tokens_per_minute: logout_tokens?,
        })
    }
}

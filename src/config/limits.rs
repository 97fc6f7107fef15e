//! `[limits]`: the rate limits per address.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::state::limits::LimitSettings;

/// The rate limits per address and minute. Many people of an office or a mobile network may share an address.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Started logins, 1 to 1000000.
    login_per_minute: u32,
    /// Callbacks from a provider, 1 to 1000000.
    callback_per_minute: u32,
    /// Refused one-time keys, 1 to 1000000.
    failed_redemptions_per_minute: u32,
    /// Made-up or mistyped bearer tokens, 1 to 1000000. Tokens that the broker issued never count, in whatever state
    /// they are.
    failed_tokens_per_minute: u32,
    /// Refused logout tokens of a provider, 1 to 1000000.
    failed_logout_tokens_per_minute: u32,
    /// Wrong ids or secrets of resource servers, 1 to 1000000.
    failed_resource_servers_per_minute: u32,
    /// Calls of one user with tokens that are bound to a key (DPoP), whatever the address, 1 to 1000000. The key store
    /// remembers each of them for some minutes.
    dpop_calls_per_minute: u32,
    /// Devices that ask for a code and, counted separately, codes that are entered at `/device`, 1 to 20000. All addresses
    /// together may have fifty times as many at one instance.
    devices_per_minute: u32,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            login_per_minute: 120,
            callback_per_minute: 120,
            failed_redemptions_per_minute: 30,
            failed_tokens_per_minute: 60,
            failed_logout_tokens_per_minute: 60,
            failed_resource_servers_per_minute: 60,
            dpop_calls_per_minute: 3000,
            devices_per_minute: 20,
        }
    }
}

impl RawLimits {
    pub(super) fn check(self, check: &mut Check) -> Option<LimitSettings> {
        let mut limit =
            |key: &str, number: u32| check.within(key, number, 1..=1_000_000).and_then(NonZeroU32::new);
        let logins = limit("limits.login_per_minute", self.login_per_minute);
        let callbacks = limit("limits.callback_per_minute", self.callback_per_minute);
        let redemptions = limit("limits.failed_redemptions_per_minute", self.failed_redemptions_per_minute);
        let tokens = limit("limits.failed_tokens_per_minute", self.failed_tokens_per_minute);
        let logout_tokens =
            limit("limits.failed_logout_tokens_per_minute", self.failed_logout_tokens_per_minute);
        let resource_servers =
            limit("limits.failed_resource_servers_per_minute", self.failed_resource_servers_per_minute);
        let dpop_calls = limit("limits.dpop_calls_per_minute", self.dpop_calls_per_minute);
        let devices = check.within("limits.devices_per_minute", self.devices_per_minute, 1..=20_000);
        Some(LimitSettings {
            logins: logins?,
            callbacks: callbacks?,
            failed_redemptions: redemptions?,
            failed_tokens: tokens?,
            failed_logout_tokens: logout_tokens?,
            failed_resource_servers: resource_servers?,
            dpop_calls: dpop_calls?,
            devices: devices.and_then(NonZeroU32::new)?,
        })
    }
}

//! `[purge]`: when expired rows are deleted.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::check::Check;

/// When expired rows are deleted.
#[derive(Debug, Clone)]
pub struct PurgeSettings {
    /// The time between two runs.
    pub interval: Duration,
    /// How long audit events are kept.
    pub audit_kept: TimeDelta,
}

/// When expired rows are deleted.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPurge {
    /// Seconds between two runs, 60 to 86400.
    interval_seconds: u32,
    /// Days that audit events are kept, 1 to 3650.
    audit_days: u32,
}

impl Default for RawPurge {
    fn default() -> Self {
        Self { interval_seconds: 3600, audit_days: 90 }
    }
}

impl RawPurge {
    pub(super) fn check(self, check: &mut Check) -> Option<PurgeSettings> {
        let interval = check.within("purge.interval_seconds", self.interval_seconds, 60..=86_400);
        let days = check.within("purge.audit_days", self.audit_days, 1..=3650);
        Some(PurgeSettings {
            interval: Duration::from_secs(interval?.into()),
            audit_kept: TimeDelta::days(days?.into()),
        })
    }
}

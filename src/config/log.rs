//! `[log]`: what is written to standard error.

use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::telemetry::LogSettings;

/// What is written to standard error.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    /// `json` or `pretty`.
    format: String,
    /// Which events: `error`, `warn`, `info`, `debug` or `trace`, also per module as in
    /// `info,token_broker::flow=debug`. Libraries never log below `info`, because they would log secrets.
    filter: String,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { format: "json".to_owned(), filter: "info".to_owned() }
    }
}

impl RawLog {
    pub(super) fn check(self, check: &mut Check) -> Option<LogSettings> {
        let format = check.choice("log.format", &self.format);
        let filter = check.parse("log.filter", &self.filter);
        Some(LogSettings { format: format?, filter: filter? })
    }
}

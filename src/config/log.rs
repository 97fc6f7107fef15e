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
    /// Lines per second at most, 10 to 1000000: of requests, of other events, and of warnings and errors, each. What is
    /// dropped is counted, in the log and as `token_broker_log_lines_dropped_total`.
    lines_per_second: u32,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { format: "json".to_owned(), filter: "info".to_owned(), lines_per_second: 5_000 }
    }
}

impl RawLog {
    pub(super) fn check(self, check: &mut Check) -> Option<LogSettings> {
        let format = check.choice("log.format", &self.format);
        let filter = check.parse("log.filter", &self.filter);
        let lines_per_second = check.within("log.lines_per_second", self.lines_per_second, 10..=1_000_000);
        Some(LogSettings { format: format?, filter: filter?, lines_per_second: lines_per_second? })
    }
}

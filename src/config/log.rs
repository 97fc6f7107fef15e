//! `[log]`: what is written to standard error.

use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::telemetry;

/// `[log]`, validated.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// Which events are written, as `tracing` directives.
    pub filter: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people.
    Pretty,
}

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
    pub(super) fn check(self, check: &mut Check) -> Option<LogConfig> {
        let format = check.choice("log.format", &self.format);
        if !telemetry::is_filter(&self.filter) {
            check.problem(
                "log.filter",
                "must be a level or a list of module=level, as in info,token_broker=debug",
            );
        }
        Some(LogConfig { format: format?, filter: self.filter })
    }
}

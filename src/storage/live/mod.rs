//! How many sessions and tokens are live, for metrics.

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use crate::domain::clock::Timestamp;

/// How many sessions and tokens are live. Tokens whose client is gone, whose server key was removed or whose session was
/// inactive for too long are counted as long as their rows look live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveCounts {
    /// Sessions.
    pub sessions: i64,
    /// Tokens that clients hold inside sessions.
    pub session_tokens: i64,
    /// Tokens that users made for scripts.
    pub personal_tokens: i64,
}

impl Storage {
    /// Counts live sessions and tokens. Reads all of them: takes a second for some million rows.
    pub async fn count_live(&self, now: Timestamp) -> Result<LiveCounts, StorageError> {
        on_backend!(self, live::count(now))
    }
}

//! Deleting useless rows, on schedule or by an administrator.

use serde::Serialize;

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use crate::domain::clock::Timestamp;

/// How many rows a purge deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Tokens that were dead for over a day.
    pub tokens: usize,
    /// Sessions that were over for a day and held no token any more.
    pub sessions: usize,
    /// Old audit events.
    pub audit_events: usize,
}

impl Storage {
    /// Rows that a purge deletes in one transaction, so that no one waits long for it.
    pub const PURGE_BATCH: i64 = 500;

    /// Deletes tokens that are dead and sessions that are over for more than a day, and audit events from before
    /// `audit_before`; at most `batch` rows of a kind at a time (1 to 10,000), so that other transactions run in between.
    pub async fn purge(
        &self,
        now: Timestamp,
        audit_before: Timestamp,
        batch: i64,
    ) -> Result<Purged, StorageError> {
        let batch = batch.clamp(1, 10_000);
        let mut total = Purged::default();
        loop {
            let part = on_backend!(self, purge::purge_batch(now, audit_before, batch))?;
            if part == Purged::default() {
                return Ok(total);
            }
            total.tokens += part.tokens;
            total.sessions += part.sessions;
            total.audit_events += part.audit_events;
        }
    }

    /// What [`Storage::purge`] would delete.
    pub async fn count_purgeable(
        &self,
        now: Timestamp,
        audit_before: Timestamp,
    ) -> Result<Purged, StorageError> {
        on_backend!(self, purge::count(now, audit_before))
    }
}

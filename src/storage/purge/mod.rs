//! Deleting rows that are no longer needed.

use chrono::TimeDelta;
use serde::Serialize;

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use crate::domain::clock::Timestamp;

/// How far ahead of the database a clock may be before this is logged.
const AHEAD: TimeDelta = TimeDelta::seconds(60);

/// How many rows a purge deletes, or would delete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Tokens that were revoked or expired more than a day ago.
    pub tokens: usize,
    /// Sessions that were ended or expired more than a day ago and have no token any more.
    pub sessions: usize,
    /// Old audit events.
    pub audit_events: usize,
}

impl Storage {
    /// The time at which an instance purges whose own clock says `now`: that of the database, if it is earlier. A clock
    /// that is ahead must not delete rows that other instances still consider live. A SQLite file is used by one
    /// machine, and has its clock.
    pub async fn purge_time(&self, now: Timestamp) -> Result<Timestamp, StorageError> {
        let shared = on_backend!(self, purge::time())?.unwrap_or(now);
        if now - shared > AHEAD {
            tracing::warn!(
                seconds = (now - shared).num_seconds(),
                "the clock of this machine is ahead of the database's; correct it (NTP)"
            );
        }
        Ok(now.min(shared))
    }

    /// How many rows a purge deletes in one transaction, so that no other transaction waits for long.
    pub const PURGE_BATCH: i64 = 500;

    /// Deletes tokens that were revoked or expired, and sessions that were ended or expired, more than a day before
    /// `now`, and audit events from before `audit_before`. Works in batches of at most `batch` rows per table (1 to
    /// 10,000), so that other transactions are not held up.
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

    /// How many rows [`Storage::purge`] would delete.
    pub async fn count_purgeable(
        &self,
        now: Timestamp,
        audit_before: Timestamp,
    ) -> Result<Purged, StorageError> {
        on_backend!(self, purge::count(now, audit_before))
    }
}

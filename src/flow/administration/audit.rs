//! The audit trail: listing it, and exporting it page by page.

use super::Result;
use crate::domain::clock::Timestamp;
use crate::storage::Storage;
use crate::storage::audit::{AuditEntry, AuditFilter, AuditPosition, Order};

/// Events read at a time.
const PAGE: u32 = 1000;

/// The newest events that match, newest first.
///
/// # Errors
/// The database is unreachable.
pub async fn list(storage: &Storage, filter: AuditFilter) -> Result<Vec<AuditEntry>> {
    Ok(storage.read_audit(filter, Order::NewestFirst, None).await?)
}

/// Every event that matches, oldest first, however many there are.
///
/// It covers events up to the moment it was started. Two exports of the same period are identical, except for events
/// that were purged or anonymised in between.
#[derive(Debug)]
pub struct Export<'a> {
    storage: &'a Storage,
    filter: AuditFilter,
    behind: Option<AuditPosition>,
}

impl<'a> Export<'a> {
    /// Begins to read what matches.
    pub fn new(storage: &'a Storage, filter: AuditFilter, now: Timestamp) -> Self {
        let until = filter.until.unwrap_or(now);
        let filter = AuditFilter { limit: PAGE, until: Some(until), ..filter };
        Self { storage, filter, behind: None }
    }

    /// The next events; none at the end.
    ///
    /// # Errors
    /// The database is unreachable.
    pub async fn page(&mut self) -> Result<Vec<AuditEntry>> {
        let page = self.storage.read_audit(self.filter.clone(), Order::OldestFirst, self.behind).await?;
        self.behind = page.last().map(AuditEntry::position).or(self.behind);
        Ok(page)
    }
}

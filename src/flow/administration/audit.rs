//! The audit trail: listing it, and exporting it page by page.

use super::{Administration, Result};
use crate::storage::audit::{AuditEntry, AuditFilter, AuditPosition, Order};

/// Events read at a time.
const PAGE: u32 = 1000;

/// The newest events that match, newest first.
///
/// # Errors
/// The database is unreachable.
pub async fn list(administration: &Administration, filter: AuditFilter) -> Result<Vec<AuditEntry>> {
    Ok(administration.storage.read_audit(filter, Order::NewestFirst, None).await?)
}

/// Every event that matches, oldest first, however many there are.
///
/// It covers events up to the moment it was started. Two exports of the same period are identical, except for events
/// that were purged or anonymised in between.
#[derive(Debug)]
pub struct Export<'a> {
    administration: &'a Administration,
    filter: AuditFilter,
    behind: Option<AuditPosition>,
}

impl<'a> Export<'a> {
    /// Begins to read what matches.
    pub fn new(administration: &'a Administration, filter: AuditFilter) -> Self {
        let until = filter.until.unwrap_or_else(|| administration.clock.now());
        let filter = AuditFilter { limit: PAGE, until: Some(until), ..filter };
        Self { administration, filter, behind: None }
    }

    /// The next events; none at the end.
    ///
    /// # Errors
    /// The database is unreachable.
    pub async fn page(&mut self) -> Result<Vec<AuditEntry>> {
        let storage = &self.administration.storage;
        let page = storage.read_audit(self.filter.clone(), Order::OldestFirst, self.behind).await?;
        self.behind = page.last().map(AuditEntry::position).or(self.behind);
        Ok(page)
    }
}

//! The audit trail: listing it, following it, and exporting it page by page.

use std::collections::BTreeMap;

use chrono::TimeDelta;

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

/// How late an event may be written, after an event of a later time, to be found by [`Follow`]. Instances write events
/// shortly after they happen.
const LATE: TimeDelta = TimeDelta::seconds(60);

/// The events that match, as they are written.
#[derive(Debug)]
pub struct Follow<'a> {
    storage: &'a Storage,
    filter: AuditFilter,
    /// From when on events count.
    since: Timestamp,
    /// The ids and times of events that were returned and can be found again.
    returned: BTreeMap<i64, Timestamp>,
}

impl<'a> Follow<'a> {
    /// Begins with the events since the filter's time, or with those of this moment.
    pub fn new(storage: &'a Storage, filter: AuditFilter, now: Timestamp) -> Self {
        let since = filter.since.unwrap_or(now);
        let filter = AuditFilter { limit: PAGE, until: None, ..filter };
        Self { storage, filter, since, returned: BTreeMap::new() }
    }

    /// The events that were written since the last call, oldest first.
    ///
    /// # Errors
    /// The database is unreachable. The next call continues where this one should have.
    pub async fn next(&mut self) -> Result<Vec<AuditEntry>> {
        let newest = self.returned.values().max().copied().unwrap_or(self.since);
        let from = self.since.max(newest - LATE);
        let filter = AuditFilter { since: Some(from), ..self.filter.clone() };
        let (mut new, mut behind) = (Vec::new(), None);
        loop {
            let page = self.storage.read_audit(filter.clone(), Order::OldestFirst, behind).await?;
            behind = page.last().map(AuditEntry::position);
            let is_last = page.len() < PAGE as usize;
            new.extend(page.into_iter().filter(|entry| !self.returned.contains_key(&entry.id)));
            if is_last {
                break;
            }
        }
        self.returned.retain(|_, at| *at >= from);
        self.returned.extend(new.iter().map(|entry| (entry.id, entry.event.at)));
        Ok(new)
    }
}

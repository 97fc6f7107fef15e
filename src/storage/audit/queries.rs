//! The audit trail.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::{Db, hold_users, write};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::UserId;
use crate::storage::audit::rows::{EntryRow, EventRow};
use crate::storage::audit::{AuditEntry, AuditFilter, AuditPosition, Order};
use crate::storage::error::StorageError;
use crate::storage::schema::audit_events;
use crate::storage::types::{Id, Time};

/// Rows of one statement: PostgreSQL takes 65 535 values at a time.
const CHUNK: usize = 1000;

pub fn record(db: &mut Db, mut events: Vec<AuditEvent>) -> Result<(), StorageError> {
    write(db, |db| {
        forget_addresses_of_deleted(db, &mut events)?;
        Ok(insert(db, events)?)
    })
}

/// Writes events inside a transaction, unchanged.
pub fn insert(db: &mut Db, events: Vec<AuditEvent>) -> QueryResult<()> {
    let rows: Vec<EventRow> = events.into_iter().map(EventRow::from).collect();
    for chunk in rows.chunks(CHUNK) {
        diesel::insert_into(audit_events::table).values(chunk).execute(db)?;
    }
    Ok(())
}

/// Events wait a moment before they are written: if their user was deleted in the meantime, only the id is kept. The
/// other users are locked, so that a deletion that comes now finds the rows and removes the addresses itself.
fn forget_addresses_of_deleted(db: &mut Db, events: &mut [AuditEvent]) -> QueryResult<()> {
    let named: BTreeSet<UserId> = events.iter().filter_map(|event| event.user).collect();
    if named.is_empty() {
        return Ok(());
    }
    let known = hold_users(db, named.into_iter().map(Id::from).collect())?;
    for event in events {
        if event.user.is_some_and(|user| !known.contains(&user.into())) {
            event.address = None;
        }
    }
    Ok(())
}

pub fn read(
    db: &mut Db,
    filter: &AuditFilter,
    order: Order,
    after: Option<AuditPosition>,
) -> Result<Vec<AuditEntry>, StorageError> {
    let mut query = audit_events::table.select(EntryRow::as_select()).into_boxed();
    if let Some(user) = filter.user {
        query = query.filter(audit_events::user_id.eq(Id::from(user)));
    }
    if let Some(kind) = &filter.kind {
        query = query.filter(audit_events::kind.eq(kind));
    }
    if let Some(client) = &filter.client {
        query = query.filter(audit_events::client_id.eq(client.as_str()));
    }
    if let Some(since) = filter.since {
        query = query.filter(audit_events::at.ge(Time(since)));
    }
    if let Some(until) = filter.until {
        query = query.filter(audit_events::at.lt(Time(until)));
    }
    let (at, id) = (audit_events::at, audit_events::id);
    query = match (order, after.map(|after| (Time(after.at), after.id))) {
        (_, None) => query,
        // The first condition alone is what the index can use.
        (Order::NewestFirst, Some((then, number))) => {
            query.filter(at.le(then)).filter(at.lt(then).or(id.lt(number)))
        }
        (Order::OldestFirst, Some((then, number))) => {
            query.filter(at.ge(then)).filter(at.gt(then).or(id.gt(number)))
        }
    };
    query = match order {
        Order::NewestFirst => query.order((at.desc(), id.desc())),
        Order::OldestFirst => query.order((at.asc(), id.asc())),
    };
    let rows = query.limit(filter.limit.into()).load::<EntryRow>(db)?;
    Ok(rows.into_iter().map(AuditEntry::from).collect())
}

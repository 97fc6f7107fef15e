//! The audit trail.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::{Db, hold_users, write};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::UserId;
use crate::storage::error::StorageError;
use crate::storage::records::AuditRecord;
use crate::storage::rows::AuditRow;
use crate::storage::schema::audit_events;
use crate::storage::types::Id;

/// Rows of one statement: PostgreSQL takes 65 535 values at a time.
const CHUNK: usize = 1000;

pub fn record(db: &mut Db, mut events: Vec<AuditEvent>) -> Result<(), StorageError> {
    write(db, |db| {
        forget_addresses_of_deleted(db, &mut events)?;
        Ok(insert(db, events)?)
    })
}

/// The same inside a transaction, as it is.
pub fn insert(db: &mut Db, events: Vec<AuditEvent>) -> QueryResult<()> {
    let rows: Vec<AuditRow> = events.into_iter().map(AuditRow::from).collect();
    for chunk in rows.chunks(CHUNK) {
        diesel::insert_into(audit_events::table).values(chunk).execute(db)?;
    }
    Ok(())
}

/// Events wait a moment for their place here: of a user who was deleted meanwhile only the id is kept. The others
/// are held, so that a deletion that comes now finds the rows and takes the addresses itself.
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

pub fn recent(db: &mut Db, limit: i64) -> Result<Vec<AuditRecord>, StorageError> {
    let rows = audit_events::table
        .order(audit_events::id.desc())
        .limit(limit)
        .select(AuditRow::as_select())
        .load(db)?;
    Ok(rows.into_iter().map(AuditRecord::from).collect())
}

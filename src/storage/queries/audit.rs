//! The audit trail.

use diesel::prelude::*;

use super::{Db, write};
use crate::domain::audit::AuditEvent;
use crate::storage::error::StorageError;
use crate::storage::records::AuditRecord;
use crate::storage::rows::AuditRow;
use crate::storage::schema::audit_events;

/// Rows of one statement: PostgreSQL takes 65 535 values at a time.
const CHUNK: usize = 1000;

pub fn record(db: &mut Db, events: Vec<AuditEvent>) -> Result<(), StorageError> {
    let rows: Vec<AuditRow> = events.into_iter().map(AuditRow::from).collect();
    write(db, |db| {
        for chunk in rows.chunks(CHUNK) {
            diesel::insert_into(audit_events::table).values(chunk).execute(db)?;
        }
        Ok(())
    })
}

pub fn recent(db: &mut Db, limit: i64) -> Result<Vec<AuditRecord>, StorageError> {
    let rows = audit_events::table
        .order(audit_events::id.desc())
        .limit(limit)
        .select(AuditRow::as_select())
        .load(db)?;
    Ok(rows.into_iter().map(AuditRecord::from).collect())
}

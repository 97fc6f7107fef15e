//! Deleting rows that are no longer needed: in batches, so that no other transaction waits for long, and by one
//! instance at a time.

use chrono::TimeDelta;
use diesel::dsl::{exists, not};
use diesel::prelude::*;

use super::{Db, clock, is_only_purger, write};
use crate::domain::clock::Timestamp;
use crate::storage::error::StorageError;
use crate::storage::liveness::{is_dead, is_over};
use crate::storage::purge::Purged;
use crate::storage::schema::{audit_events, sessions, tokens};
use crate::storage::types::{Id, Time};

/// How long a dead row is kept, so that late lookups still find it.
const KEPT: TimeDelta = TimeDelta::days(1);

/// The time of the database, if that has a clock of its own.
pub fn time(db: &mut Db) -> Result<Option<Timestamp>, StorageError> {
    Ok(clock(db)?)
}

/// Deletes at most `batch` rows of each table; none while another instance purges.
pub fn purge_batch(
    db: &mut Db,
    now: Timestamp,
    audit_before: Timestamp,
    batch: i64,
) -> Result<Purged, StorageError> {
    let before = Time(now - KEPT);
    write(db, |db| {
        if !is_only_purger(db)? {
            return Ok(Purged::default());
        }
        Ok(Purged {
            tokens: delete_tokens(db, before, batch)?,
            sessions: delete_sessions(db, before, batch)?,
            audit_events: delete_audit_events(db, Time(audit_before), batch)?,
        })
    })
}

fn delete_tokens(db: &mut Db, before: Time, batch: i64) -> QueryResult<usize> {
    let dead: Vec<Id> = tokens::table.filter(is_dead(before)).select(tokens::id).limit(batch).load(db)?;
    diesel::delete(tokens::table.filter(tokens::id.eq_any(dead))).execute(db)
}

fn delete_sessions(db: &mut Db, before: Time, batch: i64) -> QueryResult<usize> {
    let own_tokens = tokens::table.filter(tokens::session_id.eq(sessions::id.nullable()));
    let over: Vec<Id> = sessions::table
        .filter(is_over(before))
        .filter(not(exists(own_tokens)))
        .select(sessions::id)
        .limit(batch)
        .load(db)?;
    diesel::delete(sessions::table.filter(sessions::id.eq_any(over))).execute(db)
}

fn delete_audit_events(db: &mut Db, before: Time, batch: i64) -> QueryResult<usize> {
    let old: Vec<i64> = audit_events::table
        .filter(audit_events::at.lt(before))
        .select(audit_events::id)
        .limit(batch)
        .load(db)?;
    diesel::delete(audit_events::table.filter(audit_events::id.eq_any(old))).execute(db)
}

pub fn count(db: &mut Db, now: Timestamp, audit_before: Timestamp) -> Result<Purged, StorageError> {
    let before = Time(now - KEPT);
    let own_tokens = tokens::table.filter(tokens::session_id.eq(sessions::id.nullable()));
    let kept = own_tokens.filter(not(is_dead(before)));
    let tokens = tokens::table.filter(is_dead(before)).count();
    let sessions = sessions::table.filter(is_over(before)).filter(not(exists(kept))).count();
    let events = audit_events::table.filter(audit_events::at.lt(Time(audit_before))).count();
    let rows = |count: i64| usize::try_from(count).unwrap_or_default();
    Ok(Purged {
        tokens: rows(tokens.get_result(db)?),
        sessions: rows(sessions.get_result(db)?),
        audit_events: rows(events.get_result(db)?),
    })
}

//! Deleting what is over: in batches, so that nobody waits for it, and by one instance at a time.

use chrono::TimeDelta;
use diesel::dsl::auto_type;
use diesel::prelude::*;

use super::{Db, is_only_purger, write};
use crate::domain::clock::Timestamp;
use crate::storage::error::StorageError;
use crate::storage::records::Purged;
use crate::storage::schema::{api_tokens, audit_events, sessions};
use crate::storage::types::{Id, Time};

/// How long a dead row is kept, so that what is asked about it shortly after has an answer.
pub const KEPT: TimeDelta = TimeDelta::days(1);

/// Deletes at most `batch` rows of each kind; nothing while another instance does.
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
            tokens: tokens(db, before, batch)?,
            sessions: sessions(db, before, batch)?,
            audit_events: audit_events(db, Time(audit_before), batch)?,
        })
    })
}

/// Whether a token was of no use any more, before this moment already.
#[auto_type]
pub fn is_dead(before: Time) -> _ {
    api_tokens::expires_at.lt(before).or(api_tokens::revoked_at.lt(before))
}

/// Whether a session was over, before this moment already.
#[auto_type]
pub fn is_over(before: Time) -> _ {
    sessions::expires_at.lt(before).or(sessions::revoked_at.lt(before))
}

fn tokens(db: &mut Db, before: Time, batch: i64) -> QueryResult<usize> {
    let dead: Vec<Id> =
        api_tokens::table.filter(is_dead(before)).select(api_tokens::id).limit(batch).load(db)?;
    diesel::delete(api_tokens::table.filter(api_tokens::id.eq_any(dead))).execute(db)
}

fn sessions(db: &mut Db, before: Time, batch: i64) -> QueryResult<usize> {
    let its_tokens = api_tokens::table.filter(api_tokens::session_id.eq(sessions::id));
    let over: Vec<Id> = sessions::table
        .filter(is_over(before))
        .filter(diesel::dsl::not(diesel::dsl::exists(its_tokens)))
        .select(sessions::id)
        .limit(batch)
        .load(db)?;
    diesel::delete(sessions::table.filter(sessions::id.eq_any(over))).execute(db)
}

fn audit_events(db: &mut Db, before: Time, batch: i64) -> QueryResult<usize> {
    let old: Vec<i64> = audit_events::table
        .filter(audit_events::at.lt(before))
        .select(audit_events::id)
        .limit(batch)
        .load(db)?;
    diesel::delete(audit_events::table.filter(audit_events::id.eq_any(old))).execute(db)
}

//! Counting what a purge would delete.

use diesel::dsl::{exists, not};
use diesel::prelude::*;

use super::Db;
use super::purge::{KEPT, is_dead, is_over};
use crate::domain::clock::Timestamp;
use crate::storage::error::StorageError;
use crate::storage::records::Purged;
use crate::storage::schema::{api_tokens, audit_events, sessions};
use crate::storage::types::Time;

pub fn count(db: &mut Db, now: Timestamp, audit_before: Timestamp) -> Result<Purged, StorageError> {
    let before = Time(now - KEPT);
    let its_tokens = api_tokens::table.filter(api_tokens::session_id.eq(sessions::id));
    let kept = its_tokens.filter(not(is_dead(before)));
    let tokens = api_tokens::table.filter(is_dead(before)).count();
    let sessions = sessions::table.filter(is_over(before)).filter(not(exists(kept))).count();
    let events = audit_events::table.filter(audit_events::at.lt(Time(audit_before))).count();
    let rows = |count: i64| usize::try_from(count).unwrap_or_default();
    Ok(Purged {
        tokens: rows(tokens.get_result(db)?),
        sessions: rows(sessions.get_result(db)?),
        audit_events: rows(events.get_result(db)?),
    })
}

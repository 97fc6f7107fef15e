//! Sessions, as an administrator lists and ends them.

use diesel::dsl::exists;
use diesel::prelude::*;

use super::sessions::{end_all_locked, end_these, is_open};
use super::tokens::lock_user;
use super::{Db, audit, write};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::{SessionId, UserId};
use crate::storage::administration::records::{EndedBatch, SessionFilter, SessionRecord};
use crate::storage::administration::rows::AdminSessionRow;
use crate::storage::error::StorageError;
use crate::storage::schema::{identities, sessions, users};
use crate::storage::types::{Id, Time};

/// Users whose sessions are ended in one transaction.
const USERS: i64 = 200;

pub fn list(db: &mut Db, filter: &SessionFilter) -> Result<Option<Vec<SessionRecord>>, StorageError> {
    let mut query = sessions::table
        .inner_join(identities::table)
        .inner_join(users::table.on(users::id.eq(sessions::user_id)))
        .select(AdminSessionRow::as_select())
        .into_boxed();
    if let Some(after) = filter.after.map(Id::from) {
        let marker = sessions::table.find(after).select(sessions::created_at).first(db).optional()?;
        let Some(marker): Option<Time> = marker else { return Ok(None) };
        let older = sessions::created_at.lt(marker);
        query = query.filter(older.or(sessions::created_at.eq(marker).and(sessions::id.lt(after))));
    }
    if let Some(user) = filter.user {
        query = query.filter(sessions::user_id.eq(Id::from(user)));
    }
    if let Some(now) = filter.live_at.map(Time) {
        query = query.filter(is_open(now)).filter(users::disabled_at.is_null());
    }
    let rows = query
        .order((sessions::created_at.desc(), sessions::id.desc()))
        .limit(filter.limit.into())
        .load::<AdminSessionRow>(db)?;
    Ok(Some(rows.into_iter().map(SessionRecord::from).collect()))
}

pub fn end(db: &mut Db, session: SessionId, mut event: AuditEvent) -> Result<Option<bool>, StorageError> {
    let (session, now) = (Id::from(session), Time(event.at));
    write(db, |db| {
        let owner: Option<Id> =
            sessions::table.find(session).select(sessions::user_id).first(db).optional()?;
        let Some(owner) = owner else { return Ok(None) };
        lock_user(db, owner)?;
        let ended = end_these(db, &[session], now)? > 0;
        event.user = Some(owner.into());
        audit::insert(db, vec![event])?;
        Ok(Some(ended))
    })
}

pub fn end_all_of(db: &mut Db, user: UserId, event: AuditEvent) -> Result<Option<usize>, StorageError> {
    let (user, now) = (Id::from(user), Time(event.at));
    write(db, |db| {
        lock_user(db, user)?;
        if !diesel::select(exists(users::table.find(user))).get_result::<bool>(db)? {
            return Ok(None);
        }
        let ended = end_all_locked(db, &[user], now)?;
        audit::insert(db, vec![event])?;
        Ok(Some(ended))
    })
}

/// Ends the open sessions of the next users behind `after`, and notes it about each of them.
pub fn end_batch(db: &mut Db, after: Option<UserId>, event: &AuditEvent) -> Result<EndedBatch, StorageError> {
    write(db, |db| {
        let open =
            sessions::table.filter(sessions::user_id.eq(users::id)).filter(sessions::revoked_at.is_null());
        let mut query = users::table.select(users::id).filter(exists(open)).into_boxed();
        if let Some(after) = after {
            query = query.filter(users::id.gt(Id::from(after)));
        }
        let owners: Vec<Id> = query.order(users::id).limit(USERS).load(db)?;
        let Some(last) = owners.last() else { return Ok(EndedBatch { ended: 0, last: None }) };
        let events = owners.iter().map(|owner| AuditEvent { user: Some((*owner).into()), ..event.clone() });
        let events = events.collect();
        // In the order of their ids: two of these commands at once do not wait for each other.
        for owner in &owners {
            lock_user(db, *owner)?;
        }
        let ended = end_all_locked(db, &owners, Time(event.at))?;
        audit::insert(db, events)?;
        Ok(EndedBatch { ended, last: Some((*last).into()) })
    })
}

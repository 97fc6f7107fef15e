//! Ending sessions, and users.

use diesel::dsl::auto_type;
use diesel::prelude::*;

use super::tokens::{is_revocable, lock_user};
use super::{Db, write};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::storage::error::StorageError;
use crate::storage::schema::{api_tokens, sessions, users};
use crate::storage::types::{Id, Time};

/// Ids in one statement: SQLite takes 32 766 parameters.
pub const IN_A_STATEMENT: usize = 1_000;

/// Whether a session is neither ended nor over.
#[auto_type]
pub fn is_open(now: Time) -> _ {
    sessions::revoked_at.is_null().and(sessions::expires_at.gt(now))
}

pub fn end(db: &mut Db, session_id: SessionId, now: Timestamp) -> Result<bool, StorageError> {
    let (session_id, now) = (Id::from(session_id), Time(now));
    write(db, |db| {
        let owner: Option<Id> =
            sessions::table.find(session_id).select(sessions::user_id).first(db).optional()?;
        let Some(owner) = owner else { return Ok(false) };
        lock_user(db, owner)?;
        Ok(end_these(db, &[session_id], now)? > 0)
    })
}

/// Ends every session of a user; names those that were neither ended nor over before.
pub fn end_all_of(db: &mut Db, user_id: UserId, now: Timestamp) -> Result<Vec<SessionId>, StorageError> {
    let (user_id, now) = (Id::from(user_id), Time(now));
    write(db, |db| {
        lock_user(db, user_id)?;
        let open: Vec<Id> = sessions::table
            .filter(sessions::user_id.eq(user_id).and(is_open(now)))
            .select(sessions::id)
            .load(db)?;
        end_all_locked(db, &[user_id], now)?; // those that are over, too: a clock may be set back
        Ok(open.into_iter().map(Into::into).collect())
    })
}

/// Ends sessions, with their tokens, inside a transaction that holds the rows of their users; says how many were
/// not ended before.
pub fn end_these(db: &mut Db, ids: &[Id], now: Time) -> QueryResult<usize> {
    let mut ended = 0;
    for ids in ids.chunks(IN_A_STATEMENT) {
        let open = sessions::table.filter(sessions::id.eq_any(ids)).filter(sessions::revoked_at.is_null());
        ended += diesel::update(open).set(sessions::revoked_at.eq(now)).execute(db)?;
        // Expired tokens are left to the purge; their session is flagged in any case.
        let tokens = api_tokens::table.filter(api_tokens::session_id.eq_any(ids)).filter(is_revocable(now));
        diesel::update(tokens).set(api_tokens::revoked_at.eq(now)).execute(db)?;
    }
    Ok(ended)
}

/// Ends all sessions of several users inside a transaction that holds their rows.
pub fn end_all_locked(db: &mut Db, users: &[Id], now: Time) -> QueryResult<usize> {
    let open = sessions::table.filter(sessions::user_id.eq_any(users)).filter(sessions::revoked_at.is_null());
    let ended = diesel::update(open).set(sessions::revoked_at.eq(now)).execute(db)?;
    let tokens = api_tokens::table.filter(api_tokens::user_id.eq_any(users)).filter(is_revocable(now));
    diesel::update(tokens).set(api_tokens::revoked_at.eq(now)).execute(db)?;
    Ok(ended)
}

pub fn set_user_disabled(
    db: &mut Db,
    user_id: UserId,
    disabled_at: Option<Timestamp>,
) -> Result<bool, StorageError> {
    let user = users::table.find(Id::from(user_id));
    Ok(diesel::update(user).set(users::disabled_at.eq(disabled_at.map(Time))).execute(db)? > 0)
}

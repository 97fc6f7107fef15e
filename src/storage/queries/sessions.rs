//! Ending sessions, and users.

use diesel::prelude::*;

use super::tokens::lock_user;
use super::{Db, write};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::storage::error::StorageError;
use crate::storage::schema::{api_tokens, sessions, users};
use crate::storage::types::{Id, Time};

pub fn end(db: &mut Db, session_id: SessionId, now: Timestamp) -> Result<bool, StorageError> {
    let (session_id, now) = (Id::from(session_id), Time(now));
    write(db, |db| {
        let owner: Option<Id> =
            sessions::table.find(session_id).select(sessions::user_id).first(db).optional()?;
        let Some(owner) = owner else { return Ok(false) };
        lock_user(db, owner)?;
        Ok(end_locked(db, session_id, now)?)
    })
}

/// The same, inside a transaction that holds the user's row.
pub fn end_locked(db: &mut Db, session_id: Id, now: Time) -> QueryResult<bool> {
    let open = sessions::table.find(session_id).filter(sessions::revoked_at.is_null());
    let ended = diesel::update(open).set(sessions::revoked_at.eq(now)).execute(db)?;
    // Expired tokens are left to the purge; their session is flagged in any case.
    let tokens = api_tokens::table
        .filter(api_tokens::session_id.eq(session_id))
        .filter(api_tokens::revoked_at.is_null().and(api_tokens::expires_at.gt(now)));
    diesel::update(tokens).set(api_tokens::revoked_at.eq(now)).execute(db)?;
    Ok(ended > 0)
}

pub fn end_all_of(db: &mut Db, user_id: UserId, now: Timestamp) -> Result<usize, StorageError> {
    let (user_id, now) = (Id::from(user_id), Time(now));
    write(db, |db| {
        lock_user(db, user_id)?;
        Ok(end_all_locked(db, &[user_id], now)?)
    })
}

/// The same for several users, inside a transaction that holds their rows.
pub fn end_all_locked(db: &mut Db, users: &[Id], now: Time) -> QueryResult<usize> {
    let open = sessions::table.filter(sessions::user_id.eq_any(users)).filter(sessions::revoked_at.is_null());
    let ended = diesel::update(open).set(sessions::revoked_at.eq(now)).execute(db)?;
    let tokens = api_tokens::table
        .filter(api_tokens::user_id.eq_any(users))
        .filter(api_tokens::revoked_at.is_null().and(api_tokens::expires_at.gt(now)));
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

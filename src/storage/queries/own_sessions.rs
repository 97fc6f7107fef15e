//! A user's own sessions: listing them, and ending one or all others.

use diesel::dsl::exists;
use diesel::prelude::*;

use super::sessions::{end_these, is_open};
use super::tokens::{is_revocable, lock_user};
use super::{Db, write};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::storage::error::StorageError;
use crate::storage::records::OwnSession;
use crate::storage::rows::OwnSessionRow;
use crate::storage::schema::{api_tokens, identities, sessions};
use crate::storage::types::{Id, Time};

/// The user's sessions by which somebody is signed in, or could be: those with a live token or a browser's
/// cookie. The newest come first, `limit` at most.
pub fn list(
    db: &mut Db,
    user_id: UserId,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<OwnSession>, StorageError> {
    let (user_id, now) = (Id::from(user_id), Time(now));
    let live_token =
        api_tokens::table.filter(api_tokens::session_id.eq(sessions::id)).filter(is_revocable(now));
    let rows: Vec<(OwnSessionRow, String)> = sessions::table
        .inner_join(identities::table)
        .filter(sessions::user_id.eq(user_id).and(is_open(now)))
        .filter(sessions::cookie_digest.is_not_null().or(exists(live_token)))
        .order((sessions::created_at.desc(), sessions::id))
        .limit(limit)
        .select((OwnSessionRow::as_select(), identities::provider_id))
        .load(db)?;
    rows.into_iter().map(|(row, provider)| row.begun_at(provider)).collect()
}

/// Ends a session, if it is an open one of this user.
pub fn end(
    db: &mut Db,
    user_id: UserId,
    session_id: SessionId,
    now: Timestamp,
) -> Result<bool, StorageError> {
    let (user_id, session_id, now) = (Id::from(user_id), Id::from(session_id), Time(now));
    write(db, |db| {
        lock_user(db, user_id)?;
        let own: Option<Id> = sessions::table
            .find(session_id)
            .filter(sessions::user_id.eq(user_id).and(is_open(now)))
            .select(sessions::id)
            .first(db)
            .optional()?;
        Ok(own.map(|own| end_these(db, &[own], now)).transpose()?.is_some())
    })
}

/// Ends every open session of this user but `kept`; names those that it ended.
pub fn end_others(
    db: &mut Db,
    user_id: UserId,
    kept: SessionId,
    now: Timestamp,
) -> Result<Vec<SessionId>, StorageError> {
    let (user_id, kept, now) = (Id::from(user_id), Id::from(kept), Time(now));
    write(db, |db| {
        lock_user(db, user_id)?;
        let others: Vec<Id> = sessions::table
            .filter(sessions::user_id.eq(user_id).and(is_open(now)))
            .filter(sessions::id.ne(kept))
            .select(sessions::id)
            .load(db)?;
        end_these(db, &others, now)?;
        Ok(others.into_iter().map(Into::into).collect())
    })
}

//! Ending sessions. Ending one also revokes its tokens.

use std::collections::BTreeSet;

use diesel::dsl::exists;
use diesel::prelude::*;

use super::personal_tokens::{revoke_all_by_admin, revoke_all_of};
use super::sessions::ended;
use super::{Db, audit, users as users_queries, write};
use crate::domain::audit::AuditEvent;
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::storage::error::StorageError;
use crate::storage::liveness::{is_open, is_revocable, is_unended, is_unrevoked};
use crate::storage::schema::{sessions, tokens, users};
use crate::storage::sessions::{EndedBatch, EndedCounts, EndedEverywhere, EndedSession};
use crate::storage::types::{Id, Time};

/// Ids in one statement: SQLite accepts 32,766 parameters.
const IN_A_STATEMENT: usize = 1_000;

/// Users whose sessions are ended in one transaction.
const USERS_IN_A_BATCH: i64 = 200;

pub fn end(db: &mut Db, session: SessionId, now: Timestamp) -> Result<bool, StorageError> {
    let session = Id::from(session);
    write(db, |db| {
        if lock_owner(db, session)?.is_none() {
            return Ok(false);
        }
        Ok(end_these(db, &[session], Time(now))? > 0)
    })
}

/// Locks the row of a session's user; `None` if there is no such session.
fn lock_owner(db: &mut Db, session: Id) -> QueryResult<Option<Id>> {
    let owner: Option<Id> = sessions::table.find(session).select(sessions::user_id).first(db).optional()?;
    let Some(owner) = owner else { return Ok(None) };
    users_queries::lock(db, owner)?;
    Ok(Some(owner))
}

pub fn end_all_of(db: &mut Db, user: UserId, now: Timestamp) -> Result<Vec<SessionId>, StorageError> {
    let (user, now) = (Id::from(user), Time(now));
    write(db, |db| {
        users_queries::lock(db, user)?;
        Ok(end_all_of_locked(db, user, now)?)
    })
}

pub fn end_everything_of(db: &mut Db, user: UserId, now: Timestamp) -> Result<EndedEverywhere, StorageError> {
    let (user, now) = (Id::from(user), Time(now));
    write(db, |db| {
        users_queries::lock(db, user)?;
        let sessions = end_all_of_locked(db, user, now)?;
        Ok(EndedEverywhere { sessions, personal_tokens: revoke_all_of(db, &[user], now)? })
    })
}

/// Ends every session of a user whose row is locked. Returns those that were open.
fn end_all_of_locked(db: &mut Db, user: Id, now: Time) -> QueryResult<Vec<SessionId>> {
    let open: Vec<Id> =
        sessions::table.filter(sessions::user_id.eq(user).and(is_open(now))).select(sessions::id).load(db)?;
    end_all_of_users(db, &[user], now)?; // expired sessions as well: a clock may be set back
    Ok(open.into_iter().map(Into::into).collect())
}

pub fn end_own(db: &mut Db, user: UserId, session: SessionId, now: Timestamp) -> Result<bool, StorageError> {
    let (user, now) = (Id::from(user), Time(now));
    write(db, |db| {
        users_queries::lock(db, user)?;
        let own: Option<Id> = sessions::table
            .find(Id::from(session))
            .filter(sessions::user_id.eq(user).and(is_open(now)))
            .select(sessions::id)
            .first(db)
            .optional()?;
        Ok(own.map(|own| end_these(db, &[own], now)).transpose()?.is_some())
    })
}

pub fn end_others(
    db: &mut Db,
    user: UserId,
    kept: SessionId,
    now: Timestamp,
) -> Result<Vec<SessionId>, StorageError> {
    let (user, now) = (Id::from(user), Time(now));
    write(db, |db| {
        users_queries::lock(db, user)?;
        let others: Vec<Id> = sessions::table
            .filter(sessions::user_id.eq(user).and(is_open(now)))
            .filter(sessions::id.ne(Id::from(kept)))
            .select(sessions::id)
            .load(db)?;
        end_these(db, &others, now)?;
        Ok(others.into_iter().map(Into::into).collect())
    })
}

/// Ends the session whose cookie the browser sent until `user`, whose row is locked, signed in.
///
/// It may be another user's. That user's row is not locked, because two transactions could then wait for each other, so
/// only the session is marked; its tokens stop working with it.
pub fn end_previous(
    db: &mut Db,
    digest: &SessionDigest,
    user: Id,
    now: Timestamp,
) -> QueryResult<Option<EndedSession>> {
    let now = Time(now);
    let open =
        sessions::table.filter(sessions::cookie_digest.eq(digest.as_bytes().as_slice())).filter(is_open(now));
    let found: Option<(Id, Id)> = open.select((sessions::id, sessions::user_id)).first(db).optional()?;
    let Some((session, owner)) = found else { return Ok(None) };
    let unended = sessions::table.find(session).filter(is_unended());
    if diesel::update(unended).set(sessions::revoked_at.eq(now)).execute(db)? == 0 {
        return Ok(None);
    }
    let tokens = tokens::table
        .filter(tokens::session_id.eq(session).and(tokens::user_id.eq(user)))
        .filter(is_unrevoked());
    diesel::update(tokens).set(tokens::revoked_at.eq(now)).execute(db)?;
    Ok(Some(ended((session, owner))))
}

pub fn end_by_provider(
    db: &mut Db,
    found: &[EndedSession],
    now: Timestamp,
) -> Result<Vec<EndedSession>, StorageError> {
    write(db, |db| {
        // A `sid` alone may belong to several people. The order of the locks is always the same.
        let owners: BTreeSet<UserId> = found.iter().map(|found| found.user).collect();
        for owner in owners {
            users_queries::lock(db, owner.into())?;
        }
        let ids: Vec<Id> = found.iter().map(|found| found.session.into()).collect();
        let mut unended = Vec::new();
        for ids in ids.chunks(IN_A_STATEMENT) {
            let open = sessions::table.filter(sessions::id.eq_any(ids)).filter(is_unended());
            let rows: Vec<(Id, Id)> = open.select((sessions::id, sessions::user_id)).load(db)?;
            unended.extend(rows.into_iter().map(ended));
        }
        end_these(db, &ids, Time(now))?;
        forget_id_tokens(db, &ids)?; // the provider has ended its session already
        Ok(unended)
    })
}

pub fn end_by_admin(
    db: &mut Db,
    session: SessionId,
    mut event: AuditEvent,
) -> Result<Option<bool>, StorageError> {
    let (session, now) = (Id::from(session), Time(event.at));
    write(db, |db| {
        let Some(owner) = lock_owner(db, session)? else { return Ok(None) };
        let ended = end_these(db, &[session], now)? > 0;
        event.user = Some(owner.into());
        audit::insert(db, vec![event])?;
        Ok(Some(ended))
    })
}

pub fn end_all_of_by_admin(
    db: &mut Db,
    user: UserId,
    personal_tokens: bool,
    event: AuditEvent,
) -> Result<Option<EndedCounts>, StorageError> {
    let (user, now) = (Id::from(user), Time(event.at));
    write(db, |db| {
        if !users_queries::lock(db, user)? {
            return Ok(None);
        }
        let sessions = end_all_of_users(db, &[user], now)?;
        let personal_tokens = if personal_tokens { revoke_all_by_admin(db, &[user], &event)? } else { 0 };
        audit::insert(db, vec![event])?;
        Ok(Some(EndedCounts { sessions, personal_tokens }))
    })
}

/// Ends the sessions of the next users that follow `after`, with an audit event for each of these users.
pub fn end_batch(db: &mut Db, after: Option<UserId>, event: &AuditEvent) -> Result<EndedBatch, StorageError> {
    write(db, |db| {
        let unended = sessions::table.filter(sessions::user_id.eq(users::id)).filter(is_unended());
        let mut query = users::table.select(users::id).filter(exists(unended)).into_boxed();
        if let Some(after) = after {
            query = query.filter(users::id.gt(Id::from(after)));
        }
        let owners: Vec<Id> = query.order(users::id).limit(USERS_IN_A_BATCH).load(db)?;
        let Some(last) = owners.last() else { return Ok(EndedBatch { ended: 0, last: None }) };
        let events = owners.iter().map(|owner| AuditEvent { user: Some((*owner).into()), ..event.clone() });
        let events = events.collect();
        // In the order of the ids, so that two of these commands do not wait for each other.
        for owner in &owners {
            users_queries::lock(db, *owner)?;
        }
        let ended = end_all_of_users(db, &owners, Time(event.at))?;
        audit::insert(db, events)?;
        Ok(EndedBatch { ended, last: Some((*last).into()) })
    })
}

/// Ends sessions of users whose rows are locked. Returns how many were not ended before.
fn end_these(db: &mut Db, ids: &[Id], now: Time) -> QueryResult<usize> {
    let mut ended = 0;
    for ids in ids.chunks(IN_A_STATEMENT) {
        let unended = sessions::table.filter(sessions::id.eq_any(ids)).filter(is_unended());
        ended += diesel::update(unended).set(sessions::revoked_at.eq(now)).execute(db)?;
        // Expired tokens are left to the purge; their session is marked in any case.
        let ids = ids.iter().copied().map(Some);
        let tokens = tokens::table.filter(tokens::session_id.eq_any(ids)).filter(is_revocable(now));
        diesel::update(tokens).set(tokens::revoked_at.eq(now)).execute(db)?;
    }
    Ok(ended)
}

/// Ends every session of users whose rows are locked. Returns how many were not ended before.
pub fn end_all_of_users(db: &mut Db, users: &[Id], now: Time) -> QueryResult<usize> {
    let unended = sessions::table.filter(sessions::user_id.eq_any(users)).filter(is_unended());
    let ended = diesel::update(unended).set(sessions::revoked_at.eq(now)).execute(db)?;
    let tokens = tokens::table
        .filter(tokens::user_id.eq_any(users))
        .filter(tokens::session_id.is_not_null())
        .filter(is_revocable(now));
    diesel::update(tokens).set(tokens::revoked_at.eq(now)).execute(db)?;
    Ok(ended)
}

pub fn take_id_token(db: &mut Db, session: SessionId) -> Result<Option<Vec<u8>>, StorageError> {
    let session = Id::from(session);
    write(db, |db| {
        if lock_owner(db, session)?.is_none() {
            return Ok(None);
        }
        let row = sessions::table.find(session).select(sessions::sealed_id_token);
        let sealed: Option<Vec<u8>> = row.first(db).optional()?.flatten();
        if sealed.is_some() {
            forget_id_tokens(db, &[session])?;
        }
        Ok(sealed)
    })
}

/// Deletes the ID tokens of these sessions. The rows of their users are locked.
fn forget_id_tokens(db: &mut Db, ids: &[Id]) -> QueryResult<()> {
    for ids in ids.chunks(IN_A_STATEMENT) {
        let rows = sessions::table.filter(sessions::id.eq_any(ids));
        diesel::update(rows).set(sessions::sealed_id_token.eq(None::<Vec<u8>>)).execute(db)?;
    }
    Ok(())
}

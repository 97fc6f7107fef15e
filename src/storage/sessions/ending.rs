//! Ending sessions. Ending one also revokes its tokens.

use std::collections::BTreeSet;

use diesel::dsl::{auto_type, exists};
use diesel::prelude::*;

use super::personal_tokens::{revoke_all_by_admin, revoke_all_of};
use super::sessions::{browser, ended};
use super::{Db, audit, users as users_queries, write};
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::storage::error::StorageError;
use crate::storage::liveness::{is_open, is_revocable, is_unended};
use crate::storage::schema::{sessions, tokens, users};
use crate::storage::sessions::{EndedBatch, EndedCounts, EndedEverywhere, EndedSession};
use crate::storage::types::{Id, Time};

/// Ids in one statement: SQLite accepts 32,766 parameters.
const IN_A_STATEMENT: usize = 1_000;

/// Open sessions of one user in one browser that no one has used yet: those of as many tabs.
const UNUSED_IN_A_BROWSER: i64 = 20;

/// Users whose sessions are ended in one transaction.
const USERS_IN_A_BATCH: i64 = 200;

pub fn end(db: &mut Db, session: SessionId, now: Timestamp) -> Result<Vec<SessionId>, StorageError> {
    let session = Id::from(session);
    write(db, |db| match lock_owner(db, session)? {
        Some(owner) => Ok(end_with_browser(db, owner, session, Time(now))?),
        None => Ok(Vec::new()),
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

pub fn end_own(
    db: &mut Db,
    user: UserId,
    session: SessionId,
    now: Timestamp,
) -> Result<Vec<SessionId>, StorageError> {
    let (user, session, now) = (Id::from(user), Id::from(session), Time(now));
    write(db, |db| {
        users_queries::lock(db, user)?;
        let own = sessions::table.find(session).filter(sessions::user_id.eq(user).and(is_open(now)));
        if diesel::select(exists(own)).get_result(db)? {
            Ok(end_with_browser(db, user, session, now)?)
        } else {
            Ok(Vec::new())
        }
    })
}

/// Ends a session of a user whose row is locked, and with it the user's other sessions of the same browser, redeemed or
/// not: a browser that signs out must not stay signed in by one of them. Returns those that it ended, the given one
/// first; none if that had ended before.
fn end_with_browser(db: &mut Db, user: Id, session: Id, now: Time) -> QueryResult<Vec<SessionId>> {
    let unended = sessions::table.find(session).filter(is_unended());
    let row = unended.select((sessions::browser_id, sessions::id)).first(db).optional()?;
    let Some(browser) = row.map(browser) else { return Ok(Vec::new()) };
    let others: Vec<Id> = sessions::table
        .filter(is_of_browser(browser).and(sessions::user_id.eq(user)))
        .filter(is_unended().and(sessions::id.ne(session)))
        .select(sessions::id)
        .load(db)?;
    let ended: Vec<Id> = std::iter::once(session).chain(others).collect();
    end_these(db, &ended, now)?;
    Ok(ended.into_iter().map(Into::into).collect())
}

/// Ends the oldest sessions of a user in a browser that no one has ever used, except `newest`: any site can send a browser
/// through sign-ins whose keys are not redeemed. The user's row is locked. Returns those that it ended.
pub fn end_unused(db: &mut Db, user: Id, browser: Id, newest: Id, now: Time) -> QueryResult<Vec<SessionId>> {
    let surplus: Vec<Id> = sessions::table
        .filter(is_of_browser(browser).and(sessions::user_id.eq(user)))
        .filter(is_unended().and(sessions::last_used_at.is_null()).and(sessions::id.ne(newest)))
        .order((sessions::created_at.desc(), sessions::id.desc()))
        .offset(UNUSED_IN_A_BROWSER - 1)
        .select(sessions::id)
        .load(db)?;
    end_these(db, &surplus, now)?;
    Ok(surplus.into_iter().map(Into::into).collect())
}

/// The session belongs to this browser: to the one whose first session has this id.
#[auto_type(no_type_alias)]
fn is_of_browser(browser: Id) -> _ {
    sessions::browser_id.eq(browser).or(sessions::id.eq(browser))
}

/// Ends the sessions, of any user, that the browser of a session had before a login began.
pub fn end_older(
    db: &mut Db,
    newer: SessionId,
    before: Timestamp,
    now: Timestamp,
) -> Result<Vec<EndedSession>, StorageError> {
    let newer = Id::from(newer);
    write(db, |db| {
        let row = sessions::table.find(newer).select((sessions::browser_id, sessions::id));
        let Some(browser) = row.first(db).optional()?.map(browser) else { return Ok(Vec::new()) };
        let older: Vec<(Id, Id)> = sessions::table
            .filter(is_of_browser(browser).and(sessions::id.ne(newer)))
            .filter(is_unended().and(sessions::created_at.lt(Time(before))))
            .select((sessions::id, sessions::user_id))
            .load(db)?;
        let older: Vec<EndedSession> = older.into_iter().map(ended).collect();
        Ok(end_of_several(db, &older, Time(now))?)
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

pub fn end_by_provider(
    db: &mut Db,
    found: &[EndedSession],
    now: Timestamp,
) -> Result<Vec<EndedSession>, StorageError> {
    write(db, |db| {
        let unended = end_of_several(db, found, Time(now))?;
        // The provider has ended its session already.
        forget_id_tokens(db, &found.iter().map(|found| found.session.into()).collect::<Vec<_>>())?;
        Ok(unended)
    })
}

/// Ends sessions that may belong to several users. Returns those that were not ended before.
fn end_of_several(db: &mut Db, found: &[EndedSession], now: Time) -> QueryResult<Vec<EndedSession>> {
    // The order of the locks is always the same, so that two transactions do not wait for each other.
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
    end_these(db, &ids, now)?;
    Ok(unended)
}

pub fn end_by_admin(
    db: &mut Db,
    session: SessionId,
    event: AuditEvent,
) -> Result<Option<Vec<SessionId>>, StorageError> {
    let (id, now) = (Id::from(session), Time(event.at));
    write(db, |db| {
        let Some(owner) = lock_owner(db, id)? else { return Ok(None) };
        let ended = end_with_browser(db, owner, id, now)?;
        // That of the given session also if it had ended before: the administrator did it.
        let others = ended.iter().copied().filter(|other| *other != session);
        let events = std::iter::once(session).chain(others).map(|session| AuditEvent {
            session: Some(session),
            user: Some(owner.into()),
            ..event.clone()
        });
        audit::insert(db, events.collect())?;
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

//! Finding, listing and revoking tokens, and when they were used.

use diesel::dsl::auto_type;
use diesel::prelude::*;

use super::{Db, audit, users as users_queries, write};
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::TokenId;
use crate::domain::lifetimes::LAST_USE_GRAIN;
use crate::domain::standing::TokenRecord;
use crate::domain::token::HandleDigest;
use crate::storage::error::StorageError;
use crate::storage::liveness::is_unrevoked;
use crate::storage::schema::{identities, sessions, tokens, users};
use crate::storage::tokens::rows::RecordRow;
use crate::storage::tokens::{TokenFilter, TokenUse};
use crate::storage::types::{Id, Time, digest};

/// Tokens with their sessions, if they are in one, and with their identities and users.
#[auto_type(no_type_alias)]
pub fn records() -> _ {
    tokens::table.left_join(sessions::table).inner_join(identities::table).inner_join(users::table)
}

pub fn find(db: &mut Db, handle: &HandleDigest) -> Result<Option<Box<TokenRecord>>, StorageError> {
    let row = records()
        .filter(tokens::handle_digest.eq(handle.as_bytes().as_slice()))
        .select(RecordRow::as_select())
        .first(db)
        .optional()?;
    row.map(|row| TokenRecord::try_from(row).map(Box::new)).transpose()
}

/// Finds a token and locks its user's row, so that the record stays true until the end of the transaction.
pub fn lock_and_find(db: &mut Db, handle: &HandleDigest) -> Result<Option<Box<TokenRecord>>, StorageError> {
    let owner: Option<Id> = tokens::table
        .filter(tokens::handle_digest.eq(handle.as_bytes().as_slice()))
        .select(tokens::user_id)
        .first(db)
        .optional()?;
    let Some(owner) = owner else { return Ok(None) };
    users_queries::lock(db, owner)?;
    find(db, handle)
}

pub fn list(db: &mut Db, filter: &TokenFilter) -> Result<Option<Vec<TokenRecord>>, StorageError> {
    let mut query = records().select(RecordRow::as_select()).into_boxed();
    if let Some(after) = filter.after.map(Id::from) {
        let marker = tokens::table.find(after).select(tokens::issued_at).first(db).optional()?;
        let Some(marker): Option<Time> = marker else { return Ok(None) };
        let older = tokens::issued_at.lt(marker);
        query = query.filter(older.or(tokens::issued_at.eq(marker).and(tokens::id.lt(after))));
    }
    if let Some(user) = filter.user {
        query = query.filter(tokens::user_id.eq(Id::from(user)));
    }
    if let Some(session) = filter.session {
        query = query.filter(tokens::session_id.eq(Id::from(session)));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(tokens::kind.eq(kind.as_str()));
    }
    if let Some(usable) = &filter.usable {
        query = query.filter(usable.condition());
    }
    let rows = query
        .order((tokens::issued_at.desc(), tokens::id.desc()))
        .limit(filter.limit.into())
        .load::<RecordRow>(db)?;
    rows.into_iter().map(TokenRecord::try_from).collect::<Result<_, _>>().map(Some)
}

pub fn revoke(db: &mut Db, handle: &HandleDigest, now: Timestamp) -> Result<bool, StorageError> {
    write(db, |db| {
        let Some(record) = lock_and_find(db, handle)? else { return Ok(false) };
        Ok(revoke_locked(db, record.token.facts.id, now)?)
    })
}

/// Revokes a token of a user whose row is locked. Returns whether it was not revoked before.
fn revoke_locked(db: &mut Db, token: TokenId, now: Timestamp) -> QueryResult<bool> {
    let unrevoked = tokens::table.find(Id::from(token)).filter(is_unrevoked());
    Ok(diesel::update(unrevoked).set(tokens::revoked_at.eq(Time(now))).execute(db)? > 0)
}

pub fn revoke_by_admin(
    db: &mut Db,
    token: TokenId,
    event: AuditEvent,
) -> Result<Option<TokenRecord>, StorageError> {
    write(db, |db| {
        let handle: Option<Vec<u8>> =
            tokens::table.find(Id::from(token)).select(tokens::handle_digest).first(db).optional()?;
        let Some(handle) = handle else { return Ok(None) };
        let handle = HandleDigest::from_bytes(digest(handle, "tokens.handle_digest")?);
        let Some(before) = lock_and_find(db, &handle)? else { return Ok(None) };
        revoke_locked(db, token, event.at)?;
        let facts = &before.token.facts;
        let event = AuditEvent {
            user: Some(facts.owner.user_id),
            session: facts.owner.session_id,
            token: Some(facts.handle),
            client: Some(facts.client_id.clone()),
            ..event
        };
        audit::insert(db, vec![event])?;
        Ok(Some(*before))
    })
}

/// Stores these uses, each in a transaction of its own, and returns how many tokens' rows changed. Of uses that are
/// closer to each other than the grain the first one counts, whichever instance saw it.
pub fn store_uses(db: &mut Db, uses: &[TokenUse]) -> Result<usize, StorageError> {
    uses.iter().map(|used| store_use(db, used)).sum()
}

/// The session comes before the token, as everywhere else, to avoid deadlocks.
fn store_use(db: &mut Db, used: &TokenUse) -> Result<usize, StorageError> {
    let (at, stale) = (Time(used.at), Time(used.at - LAST_USE_GRAIN));
    write(db, |db| {
        if let Some(session) = used.session {
            let session = sessions::table
                .find(Id::from(session))
                .filter(sessions::last_used_at.is_null().or(sessions::last_used_at.le(stale)));
            diesel::update(session).set(sessions::last_used_at.eq(at)).execute(db)?;
        }
        let token = tokens::table
            .filter(tokens::handle_digest.eq(used.handle.as_bytes().as_slice()))
            .filter(tokens::last_used_at.is_null().or(tokens::last_used_at.le(stale)));
        Ok(diesel::update(token).set(tokens::last_used_at.eq(at)).execute(db)?)
    })
}

//! Finding, revoking and listing tokens.

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
use crate::storage::types::{Id, Time};

/// Tokens with their users, identities and, if they have one, sessions.
#[auto_type(no_type_alias)]
pub fn records() -> _ {
    tokens::table.inner_join(identities::table).inner_join(users::table).left_join(sessions::table)
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

pub fn revoke(db: &mut Db, handle: &HandleDigest, now: Timestamp) -> Result<bool, StorageError> {
    write(db, |db| {
        let Some(record) = lock_and_find(db, handle)? else { return Ok(false) };
        Ok(revoke_row(db, record.token.facts.id.into(), Time(now))?)
    })
}

fn revoke_row(db: &mut Db, token: Id, now: Time) -> QueryResult<bool> {
    let unrevoked = tokens::table.find(token).filter(is_unrevoked());
    Ok(diesel::update(unrevoked).set(tokens::revoked_at.eq(now)).execute(db)? > 0)
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

pub fn revoke_by_admin(
    db: &mut Db,
    token: TokenId,
    event: AuditEvent,
) -> Result<Option<TokenRecord>, StorageError> {
    let (token, now) = (Id::from(token), Time(event.at));
    write(db, |db| {
        let owner: Option<Id> = tokens::table.find(token).select(tokens::user_id).first(db).optional()?;
        let Some(owner) = owner else { return Ok(None) };
        users_queries::lock(db, owner)?;
        let row = records().filter(tokens::id.eq(token)).select(RecordRow::as_select()).first(db)?;
        let before = TokenRecord::try_from(row)?;
        revoke_row(db, token, now)?;
        let facts = &before.token.facts;
        let event = AuditEvent {
            user: Some(facts.owner.user_id),
            session: facts.owner.session_id,
            token: Some(facts.handle),
            client: Some(facts.client_id.clone()),
            ..event
        };
        audit::insert(db, vec![event])?;
        Ok(Some(before))
    })
}

/// Stores these uses, each in a transaction of its own. Of uses that are closer to each other than the grain the first one
/// counts, whichever instance saw it.
///
/// The session is updated before the token, as wherever both are changed, to avoid deadlocks.
pub fn store_uses(db: &mut Db, uses: &[TokenUse]) -> Result<usize, StorageError> {
    uses.iter().map(|used| store_use(db, used)).sum()
}

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

//! Writing new tokens, and keeping the number of a user's live tokens bounded.

use diesel::prelude::*;

use super::tokens::lock_and_find;
use super::{Db, sessions as sessions_queries, users as users_queries, write};
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::session::SessionRecord;
use crate::domain::standing::{Standing, TokenRecord};
use crate::domain::token::{HandleDigest, StoredToken};
use crate::storage::error::StorageError;
use crate::storage::liveness::{is_current, is_session_token, is_unrotated};
use crate::storage::schema::tokens;
use crate::storage::tokens::rows::TokenRow;
use crate::storage::tokens::{Rotation, RotationLimits};
use crate::storage::types::{Id, Time};

/// The live tokens that one client can have in one session, which are its tabs. The reloads of an app that keeps its
/// token in memory thus do not revoke tokens of the person's other browsers.
const TOKENS_OF_A_CLIENT: usize = 20;

pub fn add_to_session(
    db: &mut Db,
    digest: &SessionDigest,
    token: &StoredToken,
    now: Timestamp,
    live_tokens: usize,
    judge: impl FnOnce(&SessionRecord) -> bool,
) -> Result<bool, StorageError> {
    write(db, |db| {
        users_queries::lock(db, token.facts.owner.user_id.into())?;
        if !sessions_queries::find_by_cookie(db, digest)?.is_some_and(|session| judge(&session)) {
            return Ok(false);
        }
        insert(db, token, None)?;
        revoke_oldest(db, token, now, TOKENS_OF_A_CLIENT, Among::SessionAndClient)?;
        revoke_oldest(db, token, now, live_tokens, Among::User)?;
        Ok(true)
    })
}

pub fn rotate(
    db: &mut Db,
    handle: &HandleDigest,
    now: Timestamp,
    limits: RotationLimits,
    standing: impl FnOnce(&TokenRecord) -> Standing,
    issue: impl FnOnce(&TokenRecord) -> StoredToken,
) -> Result<Rotation, StorageError> {
    write(db, |db| {
        let Some(record) = lock_and_find(db, handle)? else { return Ok(Rotation::Refused(None)) };
        let standing = standing(&record);
        if !standing.is_usable() {
            return Ok(Rotation::Refused(Some(standing)));
        }
        let parent = Id::from(record.token.facts.id);
        let successors = tokens::table.filter(tokens::parent_id.eq(parent)).count();
        if usize::try_from(successors.get_result::<i64>(db)?).unwrap_or(usize::MAX) >= limits.siblings {
            return Ok(Rotation::TooManySiblings);
        }
        let unrotated = tokens::table.find(parent).filter(is_unrotated());
        diesel::update(unrotated).set(tokens::superseded_at.eq(Time(now))).execute(db)?;
        let token = issue(&record);
        insert(db, &token, Some(parent))?;
        revoke_oldest(db, &token, now, limits.live_tokens, Among::User)?;
        Ok(Rotation::Rotated(Box::new(token)))
    })
}

pub fn bind(
    db: &mut Db,
    handle: &HandleDigest,
    bind: impl FnOnce(&TokenRecord) -> Option<StoredToken>,
) -> Result<bool, StorageError> {
    write(db, |db| {
        let Some(record) = lock_and_find(db, handle)? else { return Ok(false) };
        let Some(bound) = bind(&record) else { return Ok(false) };
        if bound == record.token {
            return Ok(true);
        }
        let unbound_and_unused = tokens::table
            .find(Id::from(record.token.facts.id))
            .filter(tokens::dpop_jkt.is_null())
            .filter(tokens::last_used_at.is_null());
        let thumbprint = bound.facts.dpop_jkt.map(|thumbprint| thumbprint.as_bytes().to_vec());
        let change = (tokens::dpop_jkt.eq(thumbprint), tokens::binding.eq(bound.binding));
        Ok(diesel::update(unbound_and_unused).set(change).execute(db)? > 0)
    })
}

/// Writes a token of a user whose row is locked.
pub fn insert(db: &mut Db, token: &StoredToken, parent: Option<Id>) -> QueryResult<()> {
    let row = (TokenRow::from(token), tokens::parent_id.eq(parent));
    diesel::insert_into(tokens::table).values(row).execute(db)?;
    Ok(())
}

/// Which tokens a limit is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// All session tokens of the user.
    User,
    /// Those of the same client in the same session.
    SessionAndClient,
}

/// Keeps the user's live session tokens at `limit` by revoking the oldest, but never `newest`, whatever the clock did.
///
/// Tokens that were used and tokens that were not are counted on their own: any site can send a signed-in browser to
/// `/login`, time and again, and tokens that no one has redeemed must not take the place of those of the open tabs.
pub fn revoke_oldest(
    db: &mut Db,
    newest: &StoredToken,
    now: Timestamp,
    limit: usize,
    among: Among,
) -> QueryResult<()> {
    let mut surplus = Vec::new();
    for (used, limit) in [(false, limit.saturating_sub(1)), (true, limit)] {
        let owner = newest.facts.owner;
        let mut current = tokens::table
            .filter(tokens::user_id.eq(Id::from(owner.user_id)))
            .filter(is_session_token())
            .filter(is_current(Time(now)))
            .filter(tokens::id.ne(Id::from(newest.facts.id)))
            .filter(tokens::last_used_at.is_not_null().eq(used))
            .into_boxed();
        if among == Among::SessionAndClient {
            current = current
                .filter(tokens::session_id.eq(owner.session_id.map(Id::from)))
                .filter(tokens::client_id.eq(newest.facts.client_id.as_str()));
        }
        let oldest: Vec<Id> = current
            .order((tokens::issued_at.desc(), tokens::id.desc()))
            .offset(i64::try_from(limit).unwrap_or(i64::MAX))
            .select(tokens::id)
            .load(db)?;
        surplus.extend(oldest);
    }
    if !surplus.is_empty() {
        let surplus = tokens::table.filter(tokens::id.eq_any(surplus));
        diesel::update(surplus).set(tokens::revoked_at.eq(Time(now))).execute(db)?;
    }
    Ok(())
}

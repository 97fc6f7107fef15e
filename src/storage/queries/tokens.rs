//! API tokens: finding, rotating and revoking them.

use diesel::dsl::auto_type;
use diesel::prelude::*;

use super::{Db, write};
use crate::domain::api_token::HandleDigest;
use crate::domain::clock::Timestamp;
use crate::storage::error::StorageError;
use crate::storage::records::{Rotation, RotationLimits, StoredToken, TokenRecord};
use crate::storage::rows::{TokenRecordRow, TokenRow};
use crate::storage::schema::{api_tokens, identities, sessions, users};
use crate::storage::types::{Id, Time};

/// Takes the user's row until the end of the transaction, by an update that changes nothing: the one way that
/// both databases know.
pub fn lock_user(db: &mut Db, user_id: Id) -> QueryResult<()> {
    diesel::update(users::table.find(user_id)).set(users::updated_at.eq(users::updated_at)).execute(db)?;
    Ok(())
}

/// Whether a token can still be used for long: neither ended nor rotated away nor expired.
#[auto_type]
pub fn is_live(now: Time) -> _ {
    api_tokens::revoked_at
        .is_null()
        .and(api_tokens::superseded_at.is_null())
        .and(api_tokens::expires_at.gt(now))
}

/// Whether a token may still work, and so has to be revoked where its session ends: rotated away it works for a
/// while.
#[auto_type]
pub fn is_revocable(now: Time) -> _ {
    api_tokens::revoked_at.is_null().and(api_tokens::expires_at.gt(now))
}

pub fn find(db: &mut Db, handle: &HandleDigest) -> Result<Option<Box<TokenRecord>>, StorageError> {
    let row = api_tokens::table
        .inner_join(sessions::table.inner_join(identities::table))
        .inner_join(users::table)
        .filter(api_tokens::handle_digest.eq(handle.as_bytes().as_slice()))
        .select(TokenRecordRow::as_select())
        .first(db)
        .optional()?;
    row.map(|row| TokenRecord::try_from(row).map(Box::new)).transpose()
}

/// Finds a token and takes its user's row, so that the record stays true until the end of the transaction.
fn lock_and_find(db: &mut Db, handle: &HandleDigest) -> Result<Option<Box<TokenRecord>>, StorageError> {
    let owner: Option<Id> = api_tokens::table
        .filter(api_tokens::handle_digest.eq(handle.as_bytes().as_slice()))
        .select(api_tokens::user_id)
        .first(db)
        .optional()?;
    let Some(owner) = owner else { return Ok(None) };
    lock_user(db, owner)?;
    find(db, handle)
}

pub fn rotate(
    db: &mut Db,
    handle: &HandleDigest,
    now: Timestamp,
    limits: RotationLimits,
    judge: impl FnOnce(&TokenRecord) -> bool,
    issue: impl FnOnce(&TokenRecord) -> StoredToken,
) -> Result<Rotation, StorageError> {
    write(db, |db| {
        let Some(record) = lock_and_find(db, handle)? else { return Ok(Rotation::Refused) };
        if !judge(&record) {
            return Ok(Rotation::Refused);
        }
        let parent = Id::from(record.token.facts.id);
        let successors = api_tokens::table.filter(api_tokens::parent_id.eq(parent)).count();
        if usize::try_from(successors.get_result::<i64>(db)?).unwrap_or(usize::MAX) >= limits.siblings {
            return Ok(Rotation::TooManySiblings);
        }
        let unrotated = api_tokens::table.find(parent).filter(api_tokens::superseded_at.is_null());
        diesel::update(unrotated).set(api_tokens::superseded_at.eq(Time(now))).execute(db)?;
        let token = issue(&record);
        insert(db, &token, Some(parent))?;
        revoke_oldest(db, &token, now, limits.live_tokens, Among::User)?;
        Ok(Rotation::Rotated(Box::new(token)))
    })
}

pub fn insert(db: &mut Db, token: &StoredToken, parent: Option<Id>) -> QueryResult<()> {
    let row = (TokenRow::from(token), api_tokens::parent_id.eq(parent));
    diesel::insert_into(api_tokens::table).values(row).execute(db)?;
    Ok(())
}

/// Among which tokens the oldest are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// All of the user's.
    User,
    /// Those of this client in this session.
    SessionAndClient,
}

/// Keeps live tokens at `limit`, `newest` among them whatever the clock did.
pub fn revoke_oldest(
    db: &mut Db,
    newest: &StoredToken,
    now: Timestamp,
    limit: usize,
    among: Among,
) -> QueryResult<()> {
    let others = i64::try_from(limit.saturating_sub(1)).unwrap_or(i64::MAX);
    let mut live = api_tokens::table
        .filter(api_tokens::user_id.eq(Id::from(newest.facts.user_id)))
        .filter(is_live(Time(now)))
        .filter(api_tokens::id.ne(Id::from(newest.facts.id)))
        .into_boxed();
    if among == Among::SessionAndClient {
        live = live
            .filter(api_tokens::session_id.eq(Id::from(newest.facts.session_id)))
            .filter(api_tokens::client_id.eq(newest.facts.client_id.as_str()));
    }
    let surplus: Vec<Id> = live
        .order((api_tokens::issued_at.desc(), api_tokens::id.desc()))
        .offset(others)
        .select(api_tokens::id)
        .load(db)?;
    if !surplus.is_empty() {
        let surplus = api_tokens::table.filter(api_tokens::id.eq_any(surplus));
        diesel::update(surplus).set(api_tokens::revoked_at.eq(Time(now))).execute(db)?;
    }
    Ok(())
}

pub fn revoke(db: &mut Db, handle: &HandleDigest, now: Timestamp) -> Result<bool, StorageError> {
    write(db, |db| {
        let Some(record) = lock_and_find(db, handle)? else { return Ok(false) };
        let token = api_tokens::table.find(Id::from(record.token.facts.id));
        let unrevoked = token.filter(api_tokens::revoked_at.is_null());
        Ok(diesel::update(unrevoked).set(api_tokens::revoked_at.eq(Time(now))).execute(db)? > 0)
    })
}

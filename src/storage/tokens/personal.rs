//! Personal tokens: listing, making and revoking those of a user.

use diesel::dsl::exists;
use diesel::prelude::*;

use super::issuing::insert;
use super::tokens::{lock_and_find, records};
use super::{Db, audit, users as users_queries, write};
use crate::domain::audit::{AuditEvent, AuditKind};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{TokenId, UserId};
use crate::domain::standing::TokenRecord;
use crate::domain::token::{HandleDigest, RevokedToken, StoredToken};
use crate::storage::error::StorageError;
use crate::storage::liveness::{is_personal_token, is_revocable, is_unrevoked};
use crate::storage::schema::{tokens, users};
use crate::storage::tokens::rows::{RecordRow, RevokedRow};
use crate::storage::tokens::{PersonalTokenMade, RevokedBatch};
use crate::storage::types::{Id, Time};

/// Users whose tokens are revoked in one transaction.
const USERS_IN_A_BATCH: i64 = 200;

pub fn own(db: &mut Db, user: UserId, now: Timestamp) -> Result<Vec<TokenRecord>, StorageError> {
    let rows: Vec<RecordRow> = records()
        .filter(tokens::user_id.eq(Id::from(user)))
        .filter(is_personal_token())
        .filter(is_revocable(Time(now)))
        .order((tokens::issued_at.desc(), tokens::id.desc()))
        .select(RecordRow::as_select())
        .load(db)?;
    rows.into_iter().map(TokenRecord::try_from).collect()
}

pub fn make(
    db: &mut Db,
    maker: &HandleDigest,
    token: &StoredToken,
    limit: usize,
    judge: impl FnOnce(&TokenRecord) -> bool,
    counts: impl Fn(&TokenRecord) -> bool,
) -> Result<PersonalTokenMade, StorageError> {
    write(db, |db| {
        if !lock_and_find(db, maker)?.is_some_and(|maker| judge(&maker)) {
            return Ok(PersonalTokenMade::Refused);
        }
        let live = own(db, token.facts.owner.user_id, token.facts.issued_at)?;
        if live.iter().filter(|record| counts(record)).count() >= limit {
            return Ok(PersonalTokenMade::TooMany);
        }
        insert(db, token, None)?;
        Ok(PersonalTokenMade::Made)
    })
}

pub fn revoke_own(
    db: &mut Db,
    user: UserId,
    token: TokenId,
    now: Timestamp,
) -> Result<Option<RevokedToken>, StorageError> {
    let (user, now) = (Id::from(user), Time(now));
    write(db, |db| {
        users_queries::lock(db, user)?;
        let found: Option<RevokedRow> = tokens::table
            .find(Id::from(token))
            .filter(tokens::user_id.eq(user))
            .filter(is_personal_token())
            .filter(is_revocable(now))
            .select(RevokedRow::as_select())
            .first(db)
            .optional()?;
        let Some(found) = found else { return Ok(None) };
        diesel::update(tokens::table.find(found.id)).set(tokens::revoked_at.eq(now)).execute(db)?;
        found.try_into().map(Some)
    })
}

/// Revokes every personal token of users whose rows are locked, the expired ones as well: a clock may be set back. Returns
/// those that were not expired.
pub fn revoke_all_of(db: &mut Db, users: &[Id], now: Time) -> Result<Vec<RevokedToken>, StorageError> {
    let live: Vec<RevokedRow> = tokens::table
        .filter(tokens::user_id.eq_any(users))
        .filter(is_personal_token())
        .filter(is_revocable(now))
        .order((tokens::user_id, tokens::issued_at, tokens::id))
        .select(RevokedRow::as_select())
        .load(db)?;
    let unrevoked = tokens::table
        .filter(tokens::user_id.eq_any(users))
        .filter(is_personal_token())
        .filter(is_unrevoked());
    diesel::update(unrevoked).set(tokens::revoked_at.eq(now)).execute(db)?;
    live.into_iter().map(RevokedToken::try_from).collect()
}

/// The same, with an audit event of the administrator for each token that was not expired.
pub fn revoke_all_by_admin(db: &mut Db, users: &[Id], command: &AuditEvent) -> Result<usize, StorageError> {
    let revoked = revoke_all_of(db, users, Time(command.at))?;
    let count = revoked.len();
    let events = revoked.into_iter().map(|revoked| AuditEvent {
        kind: AuditKind::AdminTokenRevoked,
        user: Some(revoked.user),
        token: Some(revoked.handle),
        client: Some(revoked.client),
        ..command.clone()
    });
    audit::insert(db, events.collect())?;
    Ok(count)
}

/// Revokes the personal tokens of the next users that follow `after`.
pub fn revoke_batch(
    db: &mut Db,
    after: Option<UserId>,
    command: &AuditEvent,
) -> Result<RevokedBatch, StorageError> {
    write(db, |db| {
        let unrevoked = tokens::table
            .filter(tokens::user_id.eq(users::id))
            .filter(is_personal_token())
            .filter(is_unrevoked());
        let mut query = users::table.select(users::id).filter(exists(unrevoked)).into_boxed();
        if let Some(after) = after {
            query = query.filter(users::id.gt(Id::from(after)));
        }
        let owners: Vec<Id> = query.order(users::id).limit(USERS_IN_A_BATCH).load(db)?;
        // In the order of the ids, so that two of these commands do not wait for each other.
        for owner in &owners {
            users_queries::lock(db, *owner)?;
        }
        let revoked = revoke_all_by_admin(db, &owners, command)?;
        Ok(RevokedBatch { revoked, last: owners.last().map(|last| (*last).into()) })
    })
}

pub fn count(db: &mut Db, user: Option<UserId>, now: Timestamp) -> Result<usize, StorageError> {
    let mut live = tokens::table.filter(is_personal_token()).filter(is_revocable(Time(now))).into_boxed();
    if let Some(user) = user {
        live = live.filter(tokens::user_id.eq(Id::from(user)));
    }
    let count: i64 = live.count().get_result(db)?;
    Ok(usize::try_from(count).unwrap_or_default())
}

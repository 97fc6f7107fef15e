//! The sessions of browsers, found by the digest of their cookies.

use diesel::prelude::*;

use super::sessions::is_open;
use super::tokens::{Among, insert, lock_user, revoke_oldest};
use super::{Db, write};
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::storage::error::StorageError;
use crate::storage::records::{BrowserSessionRecord, StoredToken};
use crate::storage::rows::BrowserSessionRow;
use crate::storage::schema::{api_tokens, identities, sessions, users};
use crate::storage::types::{Id, Time};

/// The live tokens that one client can have in one browser's session: its tabs. So reloads of an app that keeps its
/// token in memory use up nothing of the person's other browsers.
const TOKENS_OF_A_CLIENT: usize = 20;

pub fn find(db: &mut Db, digest: &SessionDigest) -> Result<Option<Box<BrowserSessionRecord>>, StorageError> {
    let row = sessions::table
        .inner_join(identities::table)
        .inner_join(users::table)
        .filter(sessions::cookie_digest.eq(digest.as_bytes().as_slice()))
        .select(BrowserSessionRow::as_select())
        .first(db)
        .optional()?;
    row.map(|row| BrowserSessionRecord::try_from(row).map(Box::new)).transpose()
}

pub fn add_token(
    db: &mut Db,
    digest: &SessionDigest,
    token: &StoredToken,
    now: Timestamp,
    live_tokens: usize,
    judge: impl FnOnce(&BrowserSessionRecord) -> bool,
) -> Result<bool, StorageError> {
    write(db, |db| {
        lock_user(db, token.facts.user_id.into())?;
        if !find(db, digest)?.is_some_and(|session| judge(&session)) {
            return Ok(false);
        }
        insert(db, token, None)?;
        revoke_oldest(db, token, now, TOKENS_OF_A_CLIENT, Among::SessionAndClient)?;
        revoke_oldest(db, token, now, live_tokens, Among::User)?;
        Ok(true)
    })
}

/// Ends the session that a browser had until `user_id`, whose row the transaction holds, signed in there.
///
/// It may be another user's. That user's row is not taken (two transactions could wait for each other), so only
/// the session is flagged: its tokens die with it.
pub fn end_previous(
    db: &mut Db,
    digest: &SessionDigest,
    user_id: Id,
    now: Timestamp,
) -> QueryResult<Option<(SessionId, UserId)>> {
    let open = sessions::table
        .filter(sessions::cookie_digest.eq(digest.as_bytes().as_slice()))
        .filter(is_open(Time(now)));
    let found: Option<(Id, Id)> = open.select((sessions::id, sessions::user_id)).first(db).optional()?;
    let Some((session_id, owner)) = found else { return Ok(None) };
    let open = sessions::table.find(session_id).filter(sessions::revoked_at.is_null());
    if diesel::update(open).set(sessions::revoked_at.eq(Time(now))).execute(db)? == 0 {
        return Ok(None);
    }
    let tokens = api_tokens::table
        .filter(api_tokens::session_id.eq(session_id).and(api_tokens::user_id.eq(user_id)))
        .filter(api_tokens::revoked_at.is_null());
    diesel::update(tokens).set(api_tokens::revoked_at.eq(Time(now))).execute(db)?;
    Ok(Some((session_id.into(), owner.into())))
}

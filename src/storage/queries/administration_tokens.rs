//! Tokens, as an administrator lists and revokes them.

use diesel::dsl::auto_type;
use diesel::prelude::*;

use super::sessions::is_open;
use super::tokens::{is_live, lock_user};
use super::{Db, audit, write};
use crate::domain::api_token::HandleDigest;
use crate::domain::audit::AuditEvent;
use crate::domain::ids::TokenId;
use crate::storage::administration::records::{TokenFilter, TokenListing};
use crate::storage::administration::rows::AdminTokenRow;
use crate::storage::error::StorageError;
use crate::storage::schema::{api_tokens, sessions, users};
use crate::storage::types::{Id, Time};

/// Tokens with their sessions and users.
#[auto_type(no_type_alias)]
fn tokens() -> _ {
    api_tokens::table.inner_join(sessions::table).inner_join(users::table)
}

pub fn list(db: &mut Db, filter: &TokenFilter) -> Result<Option<Vec<TokenListing>>, StorageError> {
    let mut query = tokens().select(AdminTokenRow::as_select()).into_boxed();
    if let Some(after) = filter.after.map(Id::from) {
        let marker = api_tokens::table.find(after).select(api_tokens::issued_at).first(db).optional()?;
        let Some(marker): Option<Time> = marker else { return Ok(None) };
        let older = api_tokens::issued_at.lt(marker);
        query = query.filter(older.or(api_tokens::issued_at.eq(marker).and(api_tokens::id.lt(after))));
    }
    if let Some(user) = filter.user {
        query = query.filter(api_tokens::user_id.eq(Id::from(user)));
    }
    if let Some(session) = filter.session {
        query = query.filter(api_tokens::session_id.eq(Id::from(session)));
    }
    if let Some(now) = filter.live_at.map(Time) {
        query = query.filter(is_live(now)).filter(is_open(now)).filter(users::disabled_at.is_null());
    }
    let rows = query
        .order((api_tokens::issued_at.desc(), api_tokens::id.desc()))
        .limit(filter.limit.into())
        .load::<AdminTokenRow>(db)?;
    rows.into_iter().map(TokenListing::try_from).collect::<Result<_, _>>().map(Some)
}

pub fn find(db: &mut Db, handle: &HandleDigest) -> Result<Option<TokenListing>, StorageError> {
    let row = tokens()
        .filter(api_tokens::handle_digest.eq(handle.as_bytes().as_slice()))
        .select(AdminTokenRow::as_select())
        .first(db)
        .optional()?;
    row.map(TokenListing::try_from).transpose()
}

pub fn revoke(db: &mut Db, token: TokenId, event: AuditEvent) -> Result<Option<TokenListing>, StorageError> {
    let (token, now) = (Id::from(token), Time(event.at));
    write(db, |db| {
        let owner: Option<Id> =
            api_tokens::table.find(token).select(api_tokens::user_id).first(db).optional()?;
        let Some(owner) = owner else { return Ok(None) };
        lock_user(db, owner)?;
        let row = tokens().filter(api_tokens::id.eq(token)).select(AdminTokenRow::as_select());
        let (before, handle) =
            (row.first(db)?, api_tokens::table.find(token).select(api_tokens::handle_digest));
        let handle = <[u8; 32]>::try_from(handle.first::<Vec<u8>>(db)?)
            .map_err(|_| StorageError::unreadable("api_tokens.handle_digest"))?;
        let before = TokenListing::try_from(before)?;
        let unrevoked = api_tokens::table.find(token).filter(api_tokens::revoked_at.is_null());
        diesel::update(unrevoked).set(api_tokens::revoked_at.eq(now)).execute(db)?;
        let event = AuditEvent {
            user: Some(before.user),
            session: Some(before.session),
            token: Some(HandleDigest::from_bytes(handle)),
            client: before.client.parse().ok(),
            ..event
        };
        audit::insert(db, vec![event])?;
        Ok(Some(before))
    })
}

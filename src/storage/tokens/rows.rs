//! Rows of `tokens`.

use diesel::prelude::*;

use crate::domain::dpop::thumbprint::Thumbprint;
use crate::domain::standing::TokenRecord;
use crate::domain::token::{HandleDigest, RevokedToken, StoredToken, TokenFacts, TokenOwner};
use crate::storage::error::StorageError;
use crate::storage::schema::tokens;
use crate::storage::sessions::rows::StateRow;
use crate::storage::types::{Id, Time, digest, key_id, profile_text, text};
use crate::storage::users::rows::{IdentityRow, UserRow, user};

/// A token as it is written; what happens to it later has columns of its own.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub struct TokenRow {
    id: Id,
    kind: String,
    handle_digest: Vec<u8>,
    key_id: i64,
    user_id: Id,
    identity_id: Id,
    session_id: Option<Id>,
    name: Option<String>,
    client_id: String,
    audiences: String,
    scopes: String,
    issued_at: Time,
    expires_at: Time,
    binding: Vec<u8>,
    sealed_handle: Option<Vec<u8>>,
    dpop_jkt: Option<Vec<u8>>,
}

impl From<&StoredToken> for TokenRow {
    fn from(token: &StoredToken) -> Self {
        let facts = &token.facts;
        Self {
            id: facts.id.into(),
            kind: facts.kind.as_str().to_owned(),
            handle_digest: facts.handle.as_bytes().to_vec(),
            key_id: facts.key_id.0.into(),
            user_id: facts.owner.user_id.into(),
            identity_id: facts.owner.identity_id.into(),
            session_id: facts.owner.session_id.map(Id::from),
            name: text(facts.name.as_ref()),
            client_id: facts.client_id.as_str().to_owned(),
            audiences: facts.audiences.to_string(),
            scopes: facts.scopes.to_string(),
            issued_at: facts.issued_at.into(),
            expires_at: facts.expires_at.into(),
            binding: token.binding.clone(),
            sealed_handle: token.sealed_handle.clone(),
            dpop_jkt: facts.dpop_jkt.map(|thumbprint| thumbprint.as_bytes().to_vec()),
        }
    }
}

impl TryFrom<TokenRow> for StoredToken {
    type Error = StorageError;

    fn try_from(row: TokenRow) -> Result<Self, StorageError> {
        let owner = TokenOwner {
            user_id: row.user_id.into(),
            identity_id: row.identity_id.into(),
            session_id: row.session_id.map(Into::into),
        };
        let dpop_jkt = row.dpop_jkt.map(|bytes| digest(bytes, "tokens.dpop_jkt")).transpose()?;
        let facts = TokenFacts {
            id: row.id.into(),
            kind: row.kind.parse().map_err(|_| StorageError::unreadable("tokens.kind"))?,
            handle: HandleDigest::from_bytes(digest(row.handle_digest, "tokens.handle_digest")?),
            key_id: key_id(row.key_id, "tokens.key_id")?,
            owner,
            name: profile_text(row.name),
            client_id: row.client_id.parse().map_err(|_| StorageError::unreadable("tokens.client_id"))?,
            audiences: row.audiences.parse().map_err(|_| StorageError::unreadable("tokens.audiences"))?,
            scopes: row.scopes.parse().map_err(|_| StorageError::unreadable("tokens.scopes"))?,
            issued_at: row.issued_at.0,
            expires_at: row.expires_at.0,
            dpop_jkt: dpop_jkt.map(Thumbprint::from_bytes),
        };
        Ok(Self { facts, binding: row.binding, sealed_handle: row.sealed_handle })
    }
}

/// What happened to a token since it was written.
#[derive(Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub struct HistoryRow {
    superseded_at: Option<Time>,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
}

/// A token with everything that decides whether it may be used.
#[derive(Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub struct RecordRow {
    #[diesel(embed)]
    token: TokenRow,
    #[diesel(embed)]
    history: HistoryRow,
    #[diesel(embed)]
    session: Option<StateRow>,
    #[diesel(embed)]
    identity: IdentityRow,
    #[diesel(embed)]
    user: UserRow,
}

impl TryFrom<RecordRow> for TokenRecord {
    type Error = StorageError;

    fn try_from(row: RecordRow) -> Result<Self, StorageError> {
        let time = |time: Time| time.0;
        Ok(Self {
            token: row.token.try_into()?,
            superseded_at: row.history.superseded_at.map(time),
            revoked_at: row.history.revoked_at.map(time),
            last_used_at: row.history.last_used_at.map(time),
            session: row.session.map(Into::into),
            user_disabled_at: row.user.disabled_at.map(time),
            user: user(row.user.id, row.identity)?,
        })
    }
}

/// What is read of a token that is about to be revoked.
#[derive(Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub struct RevokedRow {
    pub id: Id,
    handle_digest: Vec<u8>,
    user_id: Id,
    client_id: String,
}

impl TryFrom<RevokedRow> for RevokedToken {
    type Error = StorageError;

    fn try_from(row: RevokedRow) -> Result<Self, StorageError> {
        Ok(Self {
            handle: HandleDigest::from_bytes(digest(row.handle_digest, "tokens.handle_digest")?),
            user: row.user_id.into(),
            client: row.client_id.parse().map_err(|_| StorageError::unreadable("tokens.client_id"))?,
        })
    }
}

//! Rows as Diesel reads and writes them, and their way to and from domain types.

mod people;

use std::borrow::Cow;

use diesel::prelude::*;

pub use self::people::{IdentityProfile, IdentityRow, PermissionsRow, UserProfile, UserRow};
use self::people::{profile_text, text, user};
use crate::domain::api_token::{HandleDigest, TokenFacts};
use crate::domain::audit::AuditEvent;
use crate::domain::key_ring::KeyId;
use crate::domain::session::{Browser, Session};
use crate::storage::error::StorageError;
use crate::storage::records::{
    AuditRecord, BrowserSessionRecord, OwnSession, SignIn, StoredToken, TokenRecord,
};
use crate::storage::schema::{api_tokens, audit_events, sessions};
use crate::storage::types::{Id, Time};

/// A new row of `sessions`.
#[derive(Insertable)]
#[diesel(table_name = sessions)]
pub struct NewSession {
    id: Id,
    user_id: Id,
    identity_id: Id,
    cookie_digest: Option<Vec<u8>>,
    provider_session: Option<String>,
    auth_time: Option<Time>,
    created_at: Time,
    expires_at: Time,
    user_agent: Option<String>,
    address_prefix: String,
    sealed_id_token: Option<Vec<u8>>,
}

impl NewSession {
    pub fn new(login: &SignIn, user_id: Id, identity_id: Id) -> Self {
        Self {
            id: login.session_id.into(),
            user_id,
            identity_id,
            cookie_digest: login.browser_session.map(|browser| browser.digest.as_bytes().to_vec()),
            provider_session: text(login.profile.provider_session.as_ref()),
            auth_time: login.auth_time.map(Time),
            created_at: login.now.into(),
            expires_at: login.session_expires_at.into(),
            user_agent: text(login.browser.user_agent.as_ref()),
            address_prefix: login.browser.address_prefix.clone(),
            sealed_id_token: login.sealed_id_token.clone(),
        }
    }
}

/// A row of `api_tokens` as written; what happens to it later has columns of its own.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = api_tokens)]
pub struct TokenRow {
    id: Id,
    handle_digest: Vec<u8>,
    key_id: i64,
    session_id: Id,
    user_id: Id,
    client_id: String,
    audience: String,
    scope: String,
    issued_at: Time,
    expires_at: Time,
    binding: Vec<u8>,
    sealed_handle: Option<Vec<u8>>,
}

impl From<&StoredToken> for TokenRow {
    fn from(token: &StoredToken) -> Self {
        let facts = &token.facts;
        Self {
            id: facts.id.into(),
            handle_digest: facts.handle.as_bytes().to_vec(),
            key_id: facts.key_id.0.into(),
            session_id: facts.session_id.into(),
            user_id: facts.user_id.into(),
            client_id: facts.client_id.as_str().to_owned(),
            audience: facts.audience.clone(),
            scope: facts.scope.clone(),
            issued_at: facts.issued_at.into(),
            expires_at: facts.expires_at.into(),
            binding: token.binding.clone(),
            sealed_handle: token.sealed_handle.clone(),
        }
    }
}

impl TryFrom<TokenRow> for StoredToken {
    type Error = StorageError;

    fn try_from(row: TokenRow) -> Result<Self, StorageError> {
        let handle = <[u8; 32]>::try_from(row.handle_digest)
            .map_err(|_| StorageError::unreadable("api_tokens.handle_digest"))?;
        let key_id = u32::try_from(row.key_id).map_err(|_| StorageError::unreadable("api_tokens.key_id"))?;
        let client_id =
            row.client_id.try_into().map_err(|_| StorageError::unreadable("api_tokens.client_id"))?;
        let facts = TokenFacts {
            id: row.id.into(),
            handle: HandleDigest::from_bytes(handle),
            key_id: KeyId(key_id),
            session_id: row.session_id.into(),
            user_id: row.user_id.into(),
            client_id,
            audience: row.audience,
            scope: row.scope,
            issued_at: row.issued_at.0,
            expires_at: row.expires_at.0,
        };
        Ok(Self { facts, binding: row.binding, sealed_handle: row.sealed_handle })
    }
}

/// What became of a token.
#[derive(Queryable, Selectable)]
#[diesel(table_name = api_tokens)]
pub struct TokenState {
    superseded_at: Option<Time>,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
}

/// What a token's check, or the session's owner, sees of `sessions`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub struct SessionRow {
    id: Id,
    auth_time: Option<Time>,
    created_at: Time,
    expires_at: Time,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
}

/// One row of the join that a token's check reads.
#[derive(Queryable, Selectable)]
pub struct TokenRecordRow {
    #[diesel(embed)]
    token: TokenRow,
    #[diesel(embed)]
    state: TokenState,
    #[diesel(embed)]
    session: SessionRow,
    #[diesel(embed)]
    identity: IdentityRow,
    #[diesel(embed)]
    user: UserRow,
}

impl TryFrom<TokenRecordRow> for TokenRecord {
    type Error = StorageError;

    fn try_from(row: TokenRecordRow) -> Result<Self, StorageError> {
        let time = |time: Time| time.0;
        Ok(Self {
            token: row.token.try_into()?,
            superseded_at: row.state.superseded_at.map(time),
            revoked_at: row.state.revoked_at.map(time),
            last_used_at: row.state.last_used_at.map(time),
            session_revoked_at: row.session.revoked_at.map(time),
            session_last_used_at: row.session.last_used_at.map(time),
            session: row.session.into(),
            user_disabled_at: row.user.disabled_at.map(time),
            user: user(row.user.id, row.identity)?,
        })
    }
}

/// One row of the join that finds a browser's session.
#[derive(Queryable, Selectable)]
pub struct BrowserSessionRow {
    #[diesel(embed)]
    session: SessionRow,
    #[diesel(embed)]
    identity: IdentityRow,
    #[diesel(embed)]
    user: UserRow,
}

impl TryFrom<BrowserSessionRow> for BrowserSessionRecord {
    type Error = StorageError;

    fn try_from(row: BrowserSessionRow) -> Result<Self, StorageError> {
        Ok(Self {
            session_revoked_at: row.session.revoked_at.map(|time| time.0),
            session_last_used_at: row.session.last_used_at.map(|time| time.0),
            session: row.session.into(),
            user_disabled_at: row.user.disabled_at.map(|time| time.0),
            user: user(row.user.id, row.identity)?,
        })
    }
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id.into(),
            created_at: row.created_at.0,
            expires_at: row.expires_at.0,
            auth_time: row.auth_time.map(|time| time.0),
        }
    }
}

/// One row of an owner's list of sessions.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub struct OwnSessionRow {
    #[diesel(embed)]
    session: SessionRow,
    user_agent: Option<String>,
    address_prefix: String,
}

impl OwnSessionRow {
    /// The session, which was begun at this provider.
    pub fn begun_at(self, provider_id: String) -> Result<OwnSession, StorageError> {
        Ok(OwnSession {
            last_used_at: self.session.last_used_at.map(|time| time.0),
            session: self.session.into(),
            provider: provider_id
                .try_into()
                .map_err(|_| StorageError::unreadable("identities.provider_id"))?,
            browser: Browser {
                user_agent: profile_text(self.user_agent),
                address_prefix: self.address_prefix,
            },
        })
    }
}

/// A row of `audit_events`; the id is the database's.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = audit_events)]
pub struct AuditRow {
    at: Time,
    kind: String,
    request_id: String,
    address: Option<String>,
    client_id: Option<String>,
    provider_id: Option<String>,
    user_id: Option<Id>,
    session_id: Option<Id>,
    token: Option<String>,
    reason: Option<String>,
    actor: Option<String>,
    resource_server_id: Option<String>,
}

impl From<AuditEvent> for AuditRow {
    fn from(event: AuditEvent) -> Self {
        Self {
            at: event.at.into(),
            kind: event.kind.as_str().to_owned(),
            request_id: event.request_id,
            address: event.address.map(|address| address.to_string()),
            client_id: event.client.map(String::from),
            provider_id: event.provider.map(String::from),
            user_id: event.user.map(Id::from),
            session_id: event.session.map(Id::from),
            token: event.token.map(|token| token.short_id()),
            reason: event.reason.map(Cow::into_owned),
            actor: event.actor.map(|actor| actor.as_str().to_owned()),
            resource_server_id: event.resource_server.map(String::from),
        }
    }
}

impl From<AuditRow> for AuditRecord {
    fn from(row: AuditRow) -> Self {
        Self {
            at: row.at.0,
            kind: row.kind,
            request_id: row.request_id,
            address: row.address,
            client: row.client_id,
            provider: row.provider_id,
            user: row.user_id.map(Into::into),
            session: row.session_id.map(Into::into),
            token: row.token,
            reason: row.reason,
            actor: row.actor,
            resource_server: row.resource_server_id,
        }
    }
}

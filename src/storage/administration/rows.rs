//! Rows of the administrator's lists as Diesel reads them.

use diesel::prelude::*;

use super::records::{AuditEntry, SessionRecord, TokenListing, UserRecord};
use crate::domain::api_token::HandleDigest;
use crate::domain::ids::ResourceServerId;
use crate::domain::key_ring::KeyId;
use crate::domain::resource_server::{ResourceServer, SecretDigest, StoredSecret};
use crate::storage::error::StorageError;
use crate::storage::rows::AuditRow;
use crate::storage::schema::{
    api_tokens, audit_events, identities, resource_server_secrets, resource_servers, sessions, users,
};
use crate::storage::types::{Id, Time};

/// A row of `users`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct AdminUserRow {
    pub id: Id,
    username: Option<String>,
    display_name: Option<String>,
    email: Option<String>,
    email_verified: bool,
    disabled_at: Option<Time>,
    created_at: Time,
    updated_at: Time,
}

impl From<AdminUserRow> for UserRecord {
    fn from(row: AdminUserRow) -> Self {
        Self {
            id: row.id.into(),
            username: row.username,
            display_name: row.display_name,
            email: row.email,
            email_verified: row.email_verified,
            disabled_at: row.disabled_at.map(|at| at.0),
            created_at: row.created_at.0,
            profile_as_of: row.updated_at.0,
            identities: Vec::new(),
        }
    }
}

/// What the lists show of a session's or token's user.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct OwnerRow {
    id: Id,
    username: Option<String>,
    disabled_at: Option<Time>,
}

/// What the list shows of `sessions`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub struct AdminSessionColumns {
    id: Id,
    created_at: Time,
    expires_at: Time,
    last_used_at: Option<Time>,
    revoked_at: Option<Time>,
    user_agent: Option<String>,
    address_prefix: String,
}

/// What the list shows of `identities`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = identities)]
pub struct ProviderColumn {
    provider_id: String,
}

/// A row of `sessions` with its user and its provider.
#[derive(Queryable, Selectable)]
pub struct AdminSessionRow {
    #[diesel(embed)]
    session: AdminSessionColumns,
    #[diesel(embed)]
    identity: ProviderColumn,
    #[diesel(embed)]
    owner: OwnerRow,
}

impl From<AdminSessionRow> for SessionRecord {
    fn from(row: AdminSessionRow) -> Self {
        let AdminSessionRow { session, identity, owner } = row;
        Self {
            id: session.id.into(),
            user: owner.id.into(),
            username: owner.username,
            provider: identity.provider_id,
            created_at: session.created_at.0,
            expires_at: session.expires_at.0,
            last_used_at: session.last_used_at.map(|at| at.0),
            ended_at: session.revoked_at.map(|at| at.0),
            user_disabled_at: owner.disabled_at.map(|at| at.0),
            user_agent: session.user_agent,
            address_prefix: session.address_prefix,
        }
    }
}

/// What the list shows of `api_tokens`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = api_tokens)]
pub struct AdminTokenColumns {
    id: Id,
    handle_digest: Vec<u8>,
    session_id: Id,
    client_id: String,
    scope: String,
    issued_at: Time,
    expires_at: Time,
    superseded_at: Option<Time>,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
}

/// What of a session decides about its tokens.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub struct EndColumns {
    expires_at: Time,
    revoked_at: Option<Time>,
}

/// A row of `api_tokens` with its user and what its session decides.
#[derive(Queryable, Selectable)]
pub struct AdminTokenRow {
    #[diesel(embed)]
    token: AdminTokenColumns,
    #[diesel(embed)]
    session: EndColumns,
    #[diesel(embed)]
    owner: OwnerRow,
}

impl TryFrom<AdminTokenRow> for TokenListing {
    type Error = StorageError;

    fn try_from(row: AdminTokenRow) -> Result<Self, StorageError> {
        let AdminTokenRow { token, session, owner } = row;
        let time = |time: Time| time.0;
        Ok(Self {
            id: token.id.into(),
            log_id: HandleDigest::from_bytes(digest(token.handle_digest, "api_tokens.handle_digest")?)
                .short_id(),
            session: token.session_id.into(),
            user: owner.id.into(),
            username: owner.username,
            client: token.client_id,
            scope: token.scope,
            issued_at: token.issued_at.0,
            expires_at: token.expires_at.0,
            superseded_at: token.superseded_at.map(time),
            revoked_at: token.revoked_at.map(time),
            last_used_at: token.last_used_at.map(time),
            session_ended_at: session.revoked_at.map(time),
            session_expires_at: session.expires_at.0,
            user_disabled_at: owner.disabled_at.map(time),
        })
    }
}

fn digest(bytes: Vec<u8>, column: &'static str) -> Result<[u8; 32], StorageError> {
    bytes.try_into().map_err(|_| StorageError::unreadable(column))
}

/// A row of `audit_events` with its number.
#[derive(Queryable, Selectable)]
#[diesel(table_name = audit_events)]
pub struct AuditEntryRow {
    id: i64,
    #[diesel(embed)]
    event: AuditRow,
}

impl From<AuditEntryRow> for AuditEntry {
    fn from(row: AuditEntryRow) -> Self {
        Self { id: row.id, event: row.event.into() }
    }
}

/// A row of `resource_servers`.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = resource_servers)]
pub struct ResourceServerRow {
    pub id: String,
    audience: String,
    personal_data: bool,
    disabled_at: Option<Time>,
    created_at: Time,
}

/// A row of `resource_server_secrets`.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = resource_server_secrets)]
pub struct SecretRow {
    pub resource_server_id: String,
    digest: Vec<u8>,
    key_id: i64,
    created_at: Time,
}

impl From<&ResourceServer> for ResourceServerRow {
    fn from(server: &ResourceServer) -> Self {
        Self {
            id: server.id.as_str().to_owned(),
            audience: server.audience.as_str().to_owned(),
            personal_data: server.personal_data,
            disabled_at: server.disabled_at.map(Time),
            created_at: Time(server.created_at),
        }
    }
}

impl SecretRow {
    pub fn new(owner: &ResourceServerId, secret: &StoredSecret) -> Self {
        Self {
            resource_server_id: owner.as_str().to_owned(),
            digest: secret.digest.bytes.to_vec(),
            key_id: secret.digest.key_id.0.into(),
            created_at: Time(secret.created_at),
        }
    }

    fn read(self) -> Result<StoredSecret, StorageError> {
        let unreadable = |_| StorageError::unreadable("resource_server_secrets.key_id");
        let key_id = KeyId(u32::try_from(self.key_id).map_err(unreadable)?);
        let bytes = digest(self.digest, "resource_server_secrets.digest")?;
        Ok(StoredSecret { digest: SecretDigest { key_id, bytes }, created_at: self.created_at.0 })
    }
}

impl ResourceServerRow {
    /// The domain's view of it, with these of its secrets.
    pub fn read(self, secrets: Vec<SecretRow>) -> Result<ResourceServer, StorageError> {
        Ok(ResourceServer {
            id: self.id.try_into().map_err(|_| StorageError::unreadable("resource_servers.id"))?,
            audience: self
                .audience
                .parse()
                .map_err(|_| StorageError::unreadable("resource_servers.audience"))?,
            personal_data: self.personal_data,
            disabled_at: self.disabled_at.map(|at| at.0),
            created_at: self.created_at.0,
            secrets: secrets.into_iter().map(SecretRow::read).collect::<Result<_, _>>()?,
        })
    }
}

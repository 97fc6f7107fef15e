//! Rows of `resource_servers` and `resource_server_secrets`.

use diesel::prelude::*;

use crate::domain::ids::ResourceServerId;
use crate::domain::resource_server::{ResourceServer, SecretDigest, StoredKey, StoredSecret};
use crate::storage::error::StorageError;
use crate::storage::schema::{resource_server_keys, resource_server_secrets, resource_servers};
use crate::storage::types::{Time, digest, key_id};

/// A row of `resource_servers`.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = resource_servers)]
pub struct ResourceServerRow {
    pub id: String,
    audience: String,
    personal_data: bool,
    disabled_at: Option<Time>,
    created_at: Time,
    permissions: bool,
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

/// A row of `resource_server_keys`.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = resource_server_keys)]
pub struct KeyRow {
    resource_server_id: String,
    digest: Vec<u8>,
    public_key: String,
    created_at: Time,
}

impl KeyRow {
    pub fn new(owner: &ResourceServerId, key: &StoredKey) -> Self {
        Self {
            resource_server_id: owner.as_str().to_owned(),
            digest: key.key.digest().to_vec(),
            public_key: key.key.as_str().to_owned(),
            created_at: Time(key.created_at),
        }
    }

    pub fn read(self) -> Result<StoredKey, StorageError> {
        let unreadable = |_| StorageError::unreadable("resource_server_keys.public_key");
        Ok(StoredKey { key: self.public_key.parse().map_err(unreadable)?, created_at: self.created_at.0 })
    }
}

impl From<&ResourceServer> for ResourceServerRow {
    fn from(server: &ResourceServer) -> Self {
        Self {
            id: server.id.as_str().to_owned(),
            audience: server.audience.as_str().to_owned(),
            personal_data: server.personal_data,
            disabled_at: server.disabled_at.map(Time),
            created_at: Time(server.created_at),
            permissions: server.permissions,
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
        let key_id = key_id(self.key_id, "resource_server_secrets.key_id")?;
        let bytes = digest(self.digest, "resource_server_secrets.digest")?;
        Ok(StoredSecret { digest: SecretDigest { key_id, bytes }, created_at: self.created_at.0 })
    }
}

impl ResourceServerRow {
    /// The resource server of this row, with these secrets.
    pub fn read(self, secrets: Vec<SecretRow>) -> Result<ResourceServer, StorageError> {
        Ok(ResourceServer {
            id: self.id.try_into().map_err(|_| StorageError::unreadable("resource_servers.id"))?,
            audience: self
                .audience
                .parse()
                .map_err(|_| StorageError::unreadable("resource_servers.audience"))?,
            personal_data: self.personal_data,
            permissions: self.permissions,
            disabled_at: self.disabled_at.map(|at| at.0),
            created_at: self.created_at.0,
            secrets: secrets.into_iter().map(SecretRow::read).collect::<Result<_, _>>()?,
        })
    }
}

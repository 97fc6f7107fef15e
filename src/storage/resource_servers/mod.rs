//! Resource servers, their secrets and their public keys.

pub(super) mod rows;

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ResourceServerId;
use crate::domain::resource_server::{ResourceServer, StoredKey, StoredSecret};

/// What to do with a resource server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceServerChange {
    /// Add this secret.
    AddSecret(StoredSecret),
    /// Remove all secrets but the newest.
    KeepNewestSecret,
    /// Add this public key.
    AddKey(StoredKey),
    /// Remove all public keys but the newest.
    KeepNewestKey,
    /// Disable it, or enable it with `None`.
    SetDisabled(Option<Timestamp>),
    /// Remove it with its secrets.
    Remove,
    /// Leave it as it is, and write no event.
    Nothing,
}

impl Storage {
    /// All resource servers, by name.
    pub async fn resource_servers(&self) -> Result<Vec<ResourceServer>, StorageError> {
        on_backend!(self, resource_servers::all())
    }

    /// The resource server of this name.
    pub async fn find_resource_server(
        &self,
        id: ResourceServerId,
    ) -> Result<Option<ResourceServer>, StorageError> {
        on_backend!(self, resource_servers::find(&id))
    }

    /// The public keys of a resource server, newest first; none if there is no such resource server.
    pub async fn resource_server_keys(&self, id: ResourceServerId) -> Result<Vec<StoredKey>, StorageError> {
        on_backend!(self, resource_servers::keys(&id))
    }

    /// Registers a resource server with its secrets and this public key, if there is one; returns whether the name was free.
    pub async fn add_resource_server(
        &self,
        server: ResourceServer,
        key: Option<StoredKey>,
        event: AuditEvent,
    ) -> Result<bool, StorageError> {
        on_backend!(self, resource_servers::add(&server, key.as_ref(), event.clone()))
    }

    /// Changes a resource server in one transaction: `change` receives it with its public keys while no one
    /// else can change it, and returns what to do, or why not. Returns what was done; `None` if there is no such resource server.
    pub async fn change_resource_server<E: Send + 'static>(
        &self,
        id: ResourceServerId,
        event: AuditEvent,
        change: impl Fn(&ResourceServer, &[StoredKey]) -> Result<ResourceServerChange, E> + Send + 'static,
    ) -> Result<Option<Result<ResourceServerChange, E>>, StorageError> {
        on_backend!(self, resource_servers::change(&id, event.clone(), &change))
    }
}

//! Resource servers: registering them and replacing their secrets and public keys.

use super::{Administration, AdministrationError, Result, not_found};
use crate::domain::audience::Audience;
use crate::domain::audit::{AuditEvent, AuditKind};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ResourceServerId;
use crate::domain::key_ring::KeyId;
use crate::domain::public_key::PublicKey;
use crate::domain::resource_server::{
    KEYS, ResourceServer, ResourceServerSecret, SECRETS, StoredKey, StoredSecret,
};
use crate::storage::resource_servers::ResourceServerChange;

/// A resource server with its public keys.
#[derive(Debug)]
pub struct ListedResourceServer {
    /// The resource server.
    pub server: ResourceServer,
    /// Its public keys, newest first.
    pub keys: Vec<StoredKey>,
}

/// All resource servers with their public keys, by name.
///
/// # Errors
/// The database is unreachable.
pub async fn list_with_keys(administration: &Administration) -> Result<Vec<ListedResourceServer>> {
    let mut listed = Vec::new();
    for server in list(administration).await? {
        let keys = administration.storage.resource_server_keys(server.id.clone()).await?;
        listed.push(ListedResourceServer { server, keys });
    }
    Ok(listed)
}

/// All resource servers, by name.
///
/// # Errors
/// The database is unreachable.
pub async fn list(administration: &Administration) -> Result<Vec<ResourceServer>> {
    Ok(administration.storage.resource_servers().await?)
}

/// The resource server of this name.
///
/// # Errors
/// There is none; the database is unreachable.
pub async fn find(administration: &Administration, id: &ResourceServerId) -> Result<ResourceServer> {
    match administration.storage.find_resource_server(id.clone()).await? {
        Some(server) => Ok(server),
        None => unknown(id),
    }
}

/// Those with a secret that is refused once this server key is gone, enabled or not.
///
/// # Errors
/// The database is unreachable.
pub async fn with_secrets_of(administration: &Administration, key: KeyId) -> Result<Vec<ResourceServerId>> {
    let mut servers = list(administration).await?;
    servers.retain(|server| server.secrets.iter().any(|secret| secret.digest.key_id == key));
    Ok(servers.into_iter().map(|server| server.id).collect())
}

/// What a resource server is told about a person, beyond the local id.
#[derive(Debug, Clone, Copy, Default)]
pub struct Granted {
    /// Who the person is.
    pub personal_data: bool,
    /// What the provider lets the person do.
    pub permissions: bool,
}

/// Registers a resource server; returns its secret, which cannot be shown again.
///
/// # Errors
/// The name is taken; the database is unreachable.
pub async fn add(
    administration: &Administration,
    id: ResourceServerId,
    audience: Audience,
    granted: Granted,
) -> Result<ResourceServerSecret> {
    let (secret, stored) = new_secret(administration, &id);
    register(administration, id, audience, granted, vec![stored], None).await?;
    Ok(secret)
}

/// Registers a resource server that authenticates with this public key; it has no secret.
///
/// # Errors
/// As [`add`].
pub async fn add_with_key(
    administration: &Administration,
    id: ResourceServerId,
    audience: Audience,
    granted: Granted,
    key: PublicKey,
) -> Result<()> {
    let key = StoredKey { key, created_at: administration.clock.now() };
    register(administration, id, audience, granted, Vec::new(), Some(key)).await
}

async fn register(
    administration: &Administration,
    id: ResourceServerId,
    audience: Audience,
    granted: Granted,
    secrets: Vec<StoredSecret>,
    key: Option<StoredKey>,
) -> Result<()> {
    let server = ResourceServer {
        id: id.clone(),
        audience,
        personal_data: granted.personal_data,
        permissions: granted.permissions,
        disabled_at: None,
        created_at: administration.clock.now(),
        secrets,
    };
    let event = about(administration, AuditKind::AdminResourceServerAdded, &id);
    if administration.storage.add_resource_server(server, key, event).await? {
        return Ok(());
    }
    Err(AdministrationError::Refused(format!("the resource server {id} exists already")))
}

/// Registers one more public key of a resource server; the present one keeps working. Returns whether it is new.
///
/// # Errors
/// It has two already, or does not exist; the database is unreachable.
pub async fn add_key(administration: &Administration, id: &ResourceServerId, key: PublicKey) -> Result<bool> {
    let key = StoredKey { key, created_at: administration.clock.now() };
    let done = change(administration, id, AuditKind::AdminResourceServerKeyAdded, move |server, keys| {
        if keys.iter().any(|known| known.key == key.key) {
            return Ok(ResourceServerChange::Nothing);
        }
        if keys.len() >= KEYS {
            return Err(format!(
                "{} has two public keys already: remove the old one first, with remove-old-key",
                server.id
            ));
        }
        Ok(ResourceServerChange::AddKey(key.clone()))
    })
    .await?;
    Ok(done != ResourceServerChange::Nothing)
}

/// Removes all public keys but the newest; returns whether there was one to remove.
///
/// # Errors
/// There is no such resource server; the database is unreachable.
pub async fn remove_old_key(administration: &Administration, id: &ResourceServerId) -> Result<bool> {
    let done = change(administration, id, AuditKind::AdminResourceServerKeyRemoved, |_, keys| {
        Ok(if keys.len() > 1 { ResourceServerChange::KeepNewestKey } else { ResourceServerChange::Nothing })
    })
    .await?;
    Ok(done != ResourceServerChange::Nothing)
}

/// Adds a new secret to a resource server; the present one keeps working.
///
/// # Errors
/// It has two already, or does not exist; the database is unreachable.
pub async fn add_secret(
    administration: &Administration,
    id: &ResourceServerId,
) -> Result<ResourceServerSecret> {
    let (secret, stored) = new_secret(administration, id);
    change(administration, id, AuditKind::AdminResourceServerSecretAdded, move |server, _| {
        if server.secrets.len() >= SECRETS {
            return Err(format!(
                "{} has two secrets already: remove the old one first, with remove-old-secret",
                server.id
            ));
        }
        Ok(ResourceServerChange::AddSecret(stored))
    })
    .await?;
    Ok(secret)
}

/// Removes all secrets but the newest; returns whether there was one to remove.
///
/// # Errors
/// There is no such resource server; the database is unreachable.
pub async fn remove_old_secret(administration: &Administration, id: &ResourceServerId) -> Result<bool> {
    let done = change(administration, id, AuditKind::AdminResourceServerSecretRemoved, |server, _| {
        Ok(if server.secrets.len() > 1 {
            ResourceServerChange::KeepNewestSecret
        } else {
            ResourceServerChange::Nothing
        })
    })
    .await?;
    Ok(done != ResourceServerChange::Nothing)
}

/// Disables a resource server: its secrets are refused. Returns whether it was enabled.
///
/// # Errors
/// There is no such resource server; the database is unreachable.
pub async fn disable(administration: &Administration, id: &ResourceServerId) -> Result<bool> {
    let now = administration.clock.now();
    set_disabled(administration, id, AuditKind::AdminResourceServerDisabled, Some(now)).await
}

/// Enables a resource server again. Returns whether it was disabled.
///
/// # Errors
/// There is no such resource server; the database is unreachable.
pub async fn enable(administration: &Administration, id: &ResourceServerId) -> Result<bool> {
    set_disabled(administration, id, AuditKind::AdminResourceServerEnabled, None).await
}

async fn set_disabled(
    administration: &Administration,
    id: &ResourceServerId,
    kind: AuditKind,
    at: Option<Timestamp>,
) -> Result<bool> {
    let done = change(administration, id, kind, move |server, _| {
        Ok(if server.disabled_at.is_some() == at.is_some() {
            ResourceServerChange::Nothing
        } else {
            ResourceServerChange::SetDisabled(at)
        })
    });
    Ok(done.await? != ResourceServerChange::Nothing)
}

/// Removes a resource server with its secrets.
///
/// # Errors
/// There is no such resource server; the database is unreachable.
pub async fn remove(administration: &Administration, id: &ResourceServerId) -> Result<()> {
    let kind = AuditKind::AdminResourceServerRemoved;
    change(administration, id, kind, |_, _| Ok(ResourceServerChange::Remove)).await.map(drop)
}

async fn change(
    administration: &Administration,
    id: &ResourceServerId,
    kind: AuditKind,
    change: impl Fn(&ResourceServer, &[StoredKey]) -> std::result::Result<ResourceServerChange, String>
    + Send
    + 'static,
) -> Result<ResourceServerChange> {
    let event = about(administration, kind, id);
    match administration.storage.change_resource_server(id.clone(), event, change).await? {
        Some(Ok(done)) => Ok(done),
        Some(Err(refusal)) => Err(AdministrationError::Refused(refusal)),
        None => unknown(id),
    }
}

fn new_secret(
    administration: &Administration,
    id: &ResourceServerId,
) -> (ResourceServerSecret, StoredSecret) {
    let secret = ResourceServerSecret::random(&*administration.entropy);
    let digest = secret.digest(administration.keys.issuing(), id);
    (secret, StoredSecret { digest, created_at: administration.clock.now() })
}

fn about(administration: &Administration, kind: AuditKind, id: &ResourceServerId) -> AuditEvent {
    AuditEvent { resource_server: Some(id.clone()), ..administration.event(kind) }
}

fn unknown<T>(id: &ResourceServerId) -> Result<T> {
    not_found(format!("there is no resource server {id}"))
}

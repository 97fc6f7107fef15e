//! Resource servers and their secrets.

use diesel::prelude::*;

use super::{Db, audit, write};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::ResourceServerId;
use crate::domain::resource_server::{ResourceServer, StoredKey};
use crate::storage::error::StorageError;
use crate::storage::resource_servers::ResourceServerChange;
use crate::storage::resource_servers::rows::{KeyRow, ResourceServerRow, SecretRow};
use crate::storage::schema::{resource_server_keys, resource_server_secrets, resource_servers};
use crate::storage::types::Time;

pub fn all(db: &mut Db) -> Result<Vec<ResourceServer>, StorageError> {
    let rows = resource_servers::table
        .order(resource_servers::id)
        .select(ResourceServerRow::as_select())
        .load::<ResourceServerRow>(db)?;
    rows.into_iter().map(|row| with_secrets(db, row)).collect()
}

/// One query, so that an unknown id takes as long as a known one.
pub fn find(db: &mut Db, id: &ResourceServerId) -> Result<Option<ResourceServer>, StorageError> {
    let rows: Vec<(ResourceServerRow, Option<SecretRow>)> = resource_servers::table
        .left_join(resource_server_secrets::table)
        .filter(resource_servers::id.eq(id.as_str()))
        .order((resource_server_secrets::created_at.desc(), resource_server_secrets::digest))
        .select((ResourceServerRow::as_select(), Option::<SecretRow>::as_select()))
        .load(db)?;
    let mut rows = rows.into_iter();
    let Some((server, first)) = rows.next() else { return Ok(None) };
    let secrets = first.into_iter().chain(rows.filter_map(|(_, secret)| secret)).collect();
    server.read(secrets).map(Some)
}

pub fn keys(db: &mut Db, id: &ResourceServerId) -> Result<Vec<StoredKey>, StorageError> {
    let rows = resource_server_keys::table
        .filter(resource_server_keys::resource_server_id.eq(id.as_str()))
        .order((resource_server_keys::created_at.desc(), resource_server_keys::digest))
        .select(KeyRow::as_select())
        .load::<KeyRow>(db)?;
    rows.into_iter().map(KeyRow::read).collect()
}

fn with_secrets(db: &mut Db, row: ResourceServerRow) -> Result<ResourceServer, StorageError> {
    let secrets = resource_server_secrets::table
        .filter(resource_server_secrets::resource_server_id.eq(&row.id))
        .order((resource_server_secrets::created_at.desc(), resource_server_secrets::digest))
        .select(SecretRow::as_select())
        .load(db)?;
    row.read(secrets)
}

pub fn add(
    db: &mut Db,
    server: &ResourceServer,
    key: Option<&StoredKey>,
    event: AuditEvent,
) -> Result<bool, StorageError> {
    write(db, |db| {
        let row = ResourceServerRow::from(server);
        let added = diesel::insert_into(resource_servers::table)
            .values(row)
            .on_conflict(resource_servers::id)
            .do_nothing()
            .execute(db)?;
        if added == 0 {
            return Ok(false);
        }
        let secrets: Vec<_> =
            server.secrets.iter().map(|secret| SecretRow::new(&server.id, secret)).collect();
        diesel::insert_into(resource_server_secrets::table).values(secrets).execute(db)?;
        let keys: Vec<_> = key.into_iter().map(|key| KeyRow::new(&server.id, key)).collect();
        diesel::insert_into(resource_server_keys::table).values(keys).execute(db)?;
        audit::insert(db, vec![event])?;
        Ok(true)
    })
}

pub fn change<E>(
    db: &mut Db,
    id: &ResourceServerId,
    event: AuditEvent,
    change: impl FnOnce(&ResourceServer, &[StoredKey]) -> Result<ResourceServerChange, E>,
) -> Result<Option<Result<ResourceServerChange, E>>, StorageError> {
    let server = || resource_servers::table.find(id.as_str());
    write(db, |db| {
        // Locks its row, as `users::lock` does a user's.
        diesel::update(server())
            .set(resource_servers::audience.eq(resource_servers::audience))
            .execute(db)?;
        let Some(current) = find(db, id)? else { return Ok(None) };
        let keys = keys(db, id)?;
        let change = match change(&current, &keys) {
            Ok(change) => change,
            Err(refusal) => return Ok(Some(Err(refusal))),
        };
        match &change {
            ResourceServerChange::Nothing => return Ok(Some(Ok(change))),
            ResourceServerChange::AddKey(key) => {
                let row = KeyRow::new(id, key);
                diesel::insert_into(resource_server_keys::table).values(row).execute(db)?;
            }
            ResourceServerChange::KeepNewestKey => {
                for old in keys.iter().skip(1) {
                    let digest = old.key.digest();
                    let key = (id.as_str(), digest.as_slice());
                    diesel::delete(resource_server_keys::table.find(key)).execute(db)?;
                }
            }
            ResourceServerChange::AddSecret(secret) => {
                let row = SecretRow::new(id, secret);
                diesel::insert_into(resource_server_secrets::table).values(row).execute(db)?;
            }
            ResourceServerChange::KeepNewestSecret => {
                for old in current.secrets.iter().skip(1) {
                    let secret = (id.as_str(), old.digest.bytes.as_slice());
                    diesel::delete(resource_server_secrets::table.find(secret)).execute(db)?;
                }
            }
            ResourceServerChange::SetDisabled(at) => {
                let at = resource_servers::disabled_at.eq(at.map(Time));
                diesel::update(server()).set(at).execute(db)?;
            }
            ResourceServerChange::Remove => {
                diesel::delete(server()).execute(db)?;
            }
        }
        audit::insert(db, vec![event])?;
        Ok(Some(Ok(change)))
    })
}

//! What is SQLite's own; the queries are those of `queries`, compiled for SQLite.

use std::path::PathBuf;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::error::StorageError;
use super::pool::OpenError;
use super::settings::StorageSettings;

#[path = "queries/mod.rs"]
pub mod queries;

/// The connection that the queries are compiled for.
pub type Db = SqliteConnection;

/// The migrations, compiled in.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Counts the tables in which Diesel notes the applied migrations.
pub const COUNT_MIGRATION_TABLES: &str = "SELECT count(*) AS count FROM sqlite_master WHERE type = 'table' AND name = '__diesel_schema_migrations'";

/// Opens connections to `file`, which is created if need be.
pub fn opener(file: PathBuf, settings: &StorageSettings) -> impl Fn() -> Result<Db, OpenError> + use<> {
    let synchronous = if settings.synchronous_full { "FULL" } else { "NORMAL" };
    // The waiting comes first: to switch to the write-ahead log takes a lock, and a pool opens its connections
    // at the same moment.
    let pragmas = format!(
        "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
         PRAGMA foreign_keys = ON;",
        settings.wait.as_millis()
    );
    move || {
        if !file.parent().is_some_and(std::path::Path::is_dir) {
            return Err(OpenError("the folder of the SQLite file does not exist".to_owned()));
        }
        let name =
            file.to_str().ok_or_else(|| OpenError("the SQLite file's name is not UTF-8".to_owned()))?;
        let mut connection = Db::establish(name).map_err(|error| OpenError(error.to_string()))?;
        connection.batch_execute(&pragmas).map_err(|error| OpenError(error.to_string()))?;
        Ok(connection)
    }
}

/// Runs `work` in a transaction that has the write lock from the start: a transaction that reads first cannot
/// wait for another writer any more, and fails.
pub fn write<T>(
    connection: &mut Db,
    work: impl FnOnce(&mut Db) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    connection.immediate_transaction(work)
}

/// Waits until no other instance migrates: the write lock does that already.
pub fn lock_migrations(_connection: &mut Db) -> QueryResult<()> {
    Ok(())
}

/// Whether no other instance purges at the moment: the write lock sees to that already.
pub fn is_only_purger(_connection: &mut Db) -> QueryResult<bool> {
    Ok(true)
}

//! What is SQLite's own; the queries are those of `queries`, compiled for SQLite.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::error::StorageError;
use super::pool::OpenError;
use super::schema::users;
use super::settings::StorageSettings;
use super::types::{Id, Time};

#[path = "queries.rs"]
pub mod queries;

/// The connection that the queries are compiled for.
pub type Db = SqliteConnection;

/// The migrations, compiled in.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Counts the tables in which Diesel notes the applied migrations.
pub const COUNT_MIGRATION_TABLES: &str = "SELECT count(*) AS count FROM sqlite_master WHERE type = 'table' AND name = '__diesel_schema_migrations'";

/// A migration has the only write lock, and waits for no other.
pub const LOCK_WAIT: Option<Duration> = None;

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
        if !file.parent().is_some_and(Path::is_dir) {
            return Err(OpenError(format!("the folder of the SQLite file {} does not exist", shown(&file))));
        }
        let name = file
            .to_str()
            .ok_or_else(|| OpenError(format!("the SQLite file's name {} is not UTF-8", shown(&file))))?;
        create(&file)?;
        let mut connection = Db::establish(name).map_err(|error| OpenError(error.to_string()))?;
        connection.batch_execute(&pragmas).map_err(|error| OpenError(error.to_string()))?;
        Ok(connection)
    }
}

/// The whole path: a relative one depends on where the program was started.
fn shown(file: &Path) -> String {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

/// Makes the file where there is none, for its owner only; SQLite gives the files next to it the same rights.
///
/// One thread at a time, and never opening a file that is there: to close it would let go of the locks that this
/// process has on it.
fn create(file: &Path) -> Result<(), OpenError> {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(OpenError(format!("the SQLite file {} cannot be made: {error}", shown(file))))
        }
        _ => Ok(()),
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

/// Those of these users who exist; the write lock sees to it that none is deleted before the end of the transaction.
pub fn hold_users(connection: &mut Db, named: Vec<Id>) -> QueryResult<Vec<Id>> {
    users::table.filter(users::id.eq_any(named)).select(users::id).load(connection)
}

/// Waits until no other instance migrates: the write lock does that already.
pub fn lock_migrations(_connection: &mut Db) -> QueryResult<()> {
    Ok(())
}

/// Whether no other instance purges at the moment: the write lock sees to that already.
pub fn is_only_purger(_connection: &mut Db) -> QueryResult<bool> {
    Ok(true)
}

/// `None`: the clock of a file is that of the one machine that uses it.
pub fn shared_time(_connection: &mut Db) -> QueryResult<Option<Time>> {
    Ok(None)
}

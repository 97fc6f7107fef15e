//! What is SQLite's own; the queries are those of `queries`, compiled for SQLite.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::error::StorageError;
use super::pool::{Connector, OpenError};
use super::schema::users;
use super::settings::StorageSettings;
use super::types::Id;
use crate::domain::clock::Timestamp;

#[path = "queries.rs"]
pub mod queries;

/// The connection that the queries are compiled for.
pub type Db = SqliteConnection;

/// The migrations, compiled in.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Counts the tables in which Diesel notes the applied migrations.
pub const COUNT_MIGRATION_TABLES: &str = "SELECT count(*) AS count FROM sqlite_master WHERE type = 'table' AND name = '__diesel_schema_migrations'";

/// The most bytes that the write-ahead log keeps on the disk.
const WAL_LIMIT: u64 = 16 * 1024 * 1024;

/// A migration has the only write lock, and waits for no other.
pub const LOCK_WAIT: Option<Duration> = None;

/// How long a health check waits for other writers.
const CHECK_WAIT: Duration = Duration::from_millis(250);

/// A file, which is created if this process never opened it.
pub struct SqliteFile {
    file: PathBuf,
    pragmas: String,
    /// The file that was opened last: device and inode.
    opened: Mutex<Option<(u64, u64)>>,
}

impl SqliteFile {
    pub fn new(file: PathBuf, settings: &StorageSettings) -> Self {
        let synchronous = if settings.synchronous_full { "FULL" } else { "NORMAL" };
        // The waiting comes first: to switch to the write-ahead log takes a lock, and a pool opens its connections
        // at the same moment. The log is copied into the file at a megabyte; what a long reader makes it grow to is cut
        // off afterwards.
        let pragmas = format!(
            "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
             PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 256; PRAGMA journal_size_limit = {WAL_LIMIT};",
            settings.wait.as_millis()
        );
        Self { file, pragmas, opened: Mutex::new(None) }
    }

    fn opened(&self) -> MutexGuard<'_, Option<(u64, u64)>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connector for SqliteFile {
    type Connection = Db;

    fn open(&self) -> Result<Db, OpenError> {
        let file = &self.file;
        if !file.parent().is_some_and(Path::is_dir) {
            return Err(OpenError(format!("the folder of the SQLite file {} does not exist", shown(file))));
        }
        let name = file
            .to_str()
            .ok_or_else(|| OpenError(format!("the SQLite file's name {} is not UTF-8", shown(file))))?;
        if self.opened().is_none() {
            create(file)?;
        } else if !file.exists() {
            return Err(OpenError(format!(
                "the SQLite file {} was deleted or moved: put it back, or restart the broker to begin with an empty one",
                shown(file)
            )));
        }
        let mut connection = Db::establish(name).map_err(|error| OpenError(error.to_string()))?;
        connection.batch_execute(&self.pragmas).map_err(|error| OpenError(error.to_string()))?;
        *self.opened() = identity(file);
        Ok(connection)
    }

    /// Not so if the file was deleted or replaced: what is written to such a file is lost.
    fn is_current(&self) -> bool {
        let opened = *self.opened();
        opened.is_none() || opened == identity(&self.file)
    }

    /// A lock of another writer says nothing about the connection; an error of the disk may.
    fn survives(&self, error: &StorageError) -> bool {
        match error {
            StorageError::Unavailable(cause) => is_locked(cause),
            StorageError::Lost(_) => false,
            _ => true,
        }
    }
}

/// What tells a file from another one of the same name.
#[cfg(unix)]
fn identity(file: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(file).ok().map(|file| (file.dev(), file.ino()))
}

/// Only whether there is a file.
#[cfg(not(unix))]
fn identity(file: &Path) -> Option<(u64, u64)> {
    file.exists().then_some((0, 0))
}

/// A file has the clock of this machine.
pub fn clock(_connection: &mut Db) -> QueryResult<Option<Timestamp>> {
    Ok(None)
}

/// Whether the database can be changed: takes the write lock and releases it. Other writers of this program need it for a
/// moment only.
pub fn check_writable(connection: &mut Db) -> Result<(), StorageError> {
    let usual: Timeout = diesel::sql_query("PRAGMA busy_timeout").get_result(connection)?;
    let wait_at_most = |connection: &mut Db, milliseconds: u128| {
        connection.batch_execute(&format!("PRAGMA busy_timeout = {milliseconds}"))
    };
    wait_at_most(connection, CHECK_WAIT.as_millis())?;
    let locked = connection.batch_execute("BEGIN IMMEDIATE; ROLLBACK").map_err(StorageError::from);
    wait_at_most(connection, u128::try_from(usual.timeout).unwrap_or_default())?;
    match locked {
        Err(StorageError::Unavailable(cause)) if is_locked(&cause) => {
            Err(StorageError::ReadOnly(format!("another process holds the write lock ({cause})")))
        }
        other => other,
    }
}

/// What SQLite says while another writer has the lock.
fn is_locked(cause: &str) -> bool {
    cause.contains("locked")
}

/// The result of `PRAGMA busy_timeout`, in milliseconds.
#[derive(QueryableByName)]
struct Timeout {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    timeout: i64,
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

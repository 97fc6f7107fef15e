//! Applying migrations: all or none, one instance at a time.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_migrations::MigrationHarness;

use super::{
    COUNT_MIGRATION_TABLES, Db, LOCK_WAIT, MIGRATIONS, check_writable, clock, lock_migrations, write,
};
use crate::domain::clock::{Timestamp, monotonic};
use crate::storage::error::StorageError;

type MigrationError = Box<dyn std::error::Error + Send + Sync>;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

pub fn check(db: &mut Db) -> Result<(), StorageError> {
    let missing = missing(&applied(db)?)?;
    if missing.is_empty() {
        check_writable(db)
    } else {
        Err(StorageError::schema_is_behind(&missing.join(", ")))
    }
}

pub fn server_time(db: &mut Db) -> Result<Option<Timestamp>, StorageError> {
    Ok(clock(db)?)
}

pub fn apply(db: &mut Db) -> Result<Vec<String>, StorageError> {
    migrating(db, |db| {
        let names = pending(db)?;
        db.run_pending_migrations(MIGRATIONS)?;
        Ok(names)
    })
}

pub fn revert_all(db: &mut Db) -> Result<(), StorageError> {
    migrating(db, |db| {
        db.revert_all_migrations(MIGRATIONS)?;
        Ok(())
    })
}

pub fn apply_foreign(db: &mut Db, version: &str, statements: &str) -> Result<(), StorageError> {
    migrating(db, |db| {
        db.batch_execute(statements)?;
        let row = "INSERT INTO __diesel_schema_migrations (version) VALUES (";
        diesel::sql_query(row).sql(format!("'{version}')")).execute(db)?;
        Ok(())
    })
}

/// Runs `work` in the transaction of a migration.
///
/// # Errors
/// [`StorageError::Conflict`] if it did not get a lock: it changed nothing and can be tried again.
fn migrating<T>(
    db: &mut Db,
    work: impl FnOnce(&mut Db) -> Result<T, MigrationError>,
) -> Result<T, StorageError> {
    write(db, |db| {
        lock_migrations(db)?;
        let started = monotonic();
        work(db).map_err(|error| match LOCK_WAIT {
            Some(wait) if is_about_a_lock(&error, started.elapsed(), wait) => {
                StorageError::Conflict(error.to_string())
            }
            _ => failed(error),
        })
    })
}

/// Whether the error can be that of a lock. Diesel passes on the text only, and PostgreSQL writes it in the language of
/// the server. But waiting for a lock takes a known time: what fails earlier has another cause, and what fails later is
/// tried again for a limited time.
fn is_about_a_lock(error: &MigrationError, elapsed: Duration, lock_wait: Duration) -> bool {
    elapsed >= lock_wait || error.to_string().contains("deadlock detected")
}

/// Diesel's own function creates its table first, which a server without the right to change the schema cannot do.
pub fn pending(db: &mut Db) -> Result<Vec<String>, StorageError> {
    let tables: Count = diesel::sql_query(COUNT_MIGRATION_TABLES).get_result(db)?;
    let applied = if tables.count == 0 { Vec::new() } else { applied(db)? };
    missing(&applied)
}

fn applied(db: &mut Db) -> Result<Vec<Version>, StorageError> {
    Ok(diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load(db)?)
}

/// The names of this program's migrations that were not applied.
fn missing(applied: &[Version]) -> Result<Vec<String>, StorageError> {
    let is_applied = |version: &str| applied.iter().any(|row| row.version == version);
    let mut names: Vec<String> =
        embedded()?.into_iter().filter(|(version, _)| !is_applied(version)).map(|(_, name)| name).collect();
    names.sort_unstable();
    Ok(names)
}

/// Version and name of each migration of this program.
fn embedded() -> Result<Vec<(String, String)>, StorageError> {
    use diesel::migration::MigrationSource;
    let migrations =
        MigrationSource::<<Db as Connection>::Backend>::migrations(&MIGRATIONS).map_err(failed)?;
    let name = |migration: &dyn diesel::migration::Migration<_>| {
        (migration.name().version().to_string(), migration.name().to_string())
    };
    Ok(migrations.iter().map(|migration| name(&**migration)).collect())
}

/// Migrations contain no user data, so their errors can be logged in full.
fn failed(error: MigrationError) -> StorageError {
    let error = match error.downcast::<StorageError>() {
        Ok(error) => return *error,
        Err(error) => error,
    };
    match error.downcast::<diesel::result::Error>() {
        Ok(error) => StorageError::from(*error),
        Err(error) => StorageError::Unexpected(error.to_string()),
    }
}

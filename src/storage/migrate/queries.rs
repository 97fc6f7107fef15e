//! Applying migrations: all or none, one instance at a time.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_migrations::MigrationHarness;

use super::{COUNT_MIGRATION_TABLES, Db, MIGRATIONS, lock_migrations, write};
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

pub fn ping(db: &mut Db) -> Result<(), StorageError> {
    let missing = missing(&applied(db)?)?;
    if missing.is_empty() { Ok(()) } else { Err(StorageError::schema_is_behind(&missing.join(", "))) }
}

pub fn apply(db: &mut Db) -> Result<Vec<String>, StorageError> {
    write(db, |db| {
        lock_migrations(db)?;
        let names = pending(db)?;
        db.run_pending_migrations(MIGRATIONS).map_err(failed)?;
        Ok(names)
    })
}

pub fn revert_all(db: &mut Db) -> Result<(), StorageError> {
    write(db, |db| {
        lock_migrations(db)?;
        db.revert_all_migrations(MIGRATIONS).map_err(failed)?;
        Ok(())
    })
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
    match error.downcast::<diesel::result::Error>() {
        Ok(error) => StorageError::from(*error),
        Err(error) => StorageError::Unexpected(error.to_string()),
    }
}

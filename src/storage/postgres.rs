//! What is PostgreSQL's own; the queries are those of `queries`, compiled for PostgreSQL.

use std::time::Duration;

use diesel::connection::{CacheSize, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Timestamptz};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use secrecy::{ExposeSecret, SecretString};

use super::error::{POOLED, StorageError};
use super::pool::{Connector, OpenError};
use super::schema::users;
use super::settings::{Pooler, StorageSettings};
use super::types::Id;
use crate::domain::clock::Timestamp;

#[path = "queries.rs"]
pub mod queries;

/// The connection that the queries are compiled for.
pub type Db = PgConnection;

/// The migrations, compiled in.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Counts the tables in which Diesel notes the applied migrations.
pub const COUNT_MIGRATION_TABLES: &str =
    "SELECT count(*) AS count FROM pg_class WHERE oid = to_regclass('__diesel_schema_migrations')";

/// Advisory locks of this program: any two numbers that are not used otherwise in this database.
const MIGRATION_LOCK: i64 = 7_163_870_901;
const PURGE_LOCK: i64 = 7_163_870_902;

/// How long a migration waits for a lock. It holds those that it has, and every request for a table that it waits for queues
/// behind it, so it gives up soon, and long before PostgreSQL looks for a deadlock (after a second) and ends a request.
pub const LOCK_WAIT: Option<Duration> = Some(Duration::from_millis(200));

/// The server of a URL, or a pooler in front of it.
pub struct PostgresServer {
    url: SecretString,
    /// Sets up a session; `None` if a pooler hands the session to others after each transaction.
    set_up: Option<String>,
}

impl PostgresServer {
    pub fn new(url: SecretString, settings: &StorageSettings) -> Self {
        let bound = settings.statement_timeout.as_millis();
        let set_up = (settings.pooler == Pooler::None).then(|| {
            format!(
                "SET statement_timeout = {bound}; SET idle_in_transaction_session_timeout = {bound}; \
                 SET default_transaction_isolation = 'read committed'"
            )
        });
        Self { url, set_up }
    }
}

impl Connector for PostgresServer {
    type Connection = Db;

    fn open(&self) -> Result<Db, OpenError> {
        let mut connection = Db::establish(self.url.expose_secret()).map_err(|error| without_url(&error))?;
        match &self.set_up {
            Some(set_up) => connection
                .batch_execute(set_up)
                .map_err(|error| OpenError(StorageError::from(error).to_string()))?,
            // Without a name a statement is prepared and run in one step, so that both reach the same session.
            None => connection.set_prepared_statement_cache_size(CacheSize::Disabled),
        }
        Ok(connection)
    }

    fn compares(&self) -> bool {
        self.set_up.is_some()
    }

    /// A pooler in transaction mode serves two idle connections by one and the same backend, mostly: so three times.
    fn compare(&self, one: &mut Db, other: &mut Db) -> Result<(), StorageError> {
        for _ in 0..3 {
            if backend(one)? == backend(other)? {
                return Err(StorageError::Unavailable(POOLED.to_owned()));
            }
        }
        Ok(())
    }

    /// After an outage, a connection that did not fail by itself may be to a server that no longer counts. A conflict, and
    /// an error in the data or of the schema, are answers of a server that works.
    fn survives(&self, error: &StorageError) -> bool {
        match error {
            StorageError::Conflict(_) | StorageError::OtherSchema(_) | StorageError::Unexpected(_) => true,
            StorageError::Unavailable(_) | StorageError::Lost(_) | StorageError::ReadOnly(_) => false,
        }
    }
}

/// The process of the server that serves this connection.
fn backend(connection: &mut Db) -> QueryResult<i32> {
    diesel::select(diesel::dsl::sql::<Integer>("pg_backend_pid()")).get_result(connection)
}

/// The time of the server.
pub fn clock(connection: &mut Db) -> QueryResult<Option<Timestamp>> {
    diesel::select(diesel::dsl::sql::<Timestamptz>("clock_timestamp()")).get_result(connection).map(Some)
}

/// Whether the database can be changed.
pub fn check_writable(connection: &mut Db) -> Result<(), StorageError> {
    let read_only = "pg_is_in_recovery() OR current_setting('transaction_read_only')::bool";
    let read_only: bool = diesel::select(diesel::dsl::sql::<Bool>(read_only)).get_result(connection)?;
    if read_only {
        Err(StorageError::ReadOnly("it accepts no changes at the moment".to_owned()))
    } else {
        Ok(())
    }
}

/// What libpq says about a connection that it tried. What it says about a URL that it cannot read quotes the
/// URL, password included.
fn without_url(error: &ConnectionError) -> OpenError {
    let ConnectionError::BadConnection(text) = error else {
        return OpenError("the connection was lost while it was set up".to_owned());
    };
    let attempt = text.starts_with("connection to server ").then(|| text.rsplit("failed: ").next()).flatten();
    let reason = match attempt {
        Some(reason) => reason.trim(),
        None if text.starts_with("could not translate host name") => "the host's name cannot be resolved",
        None => "libpq refuses the database URL: check its form, its parameters and the files it names",
    };
    OpenError(reason.to_owned())
}

/// Runs `work` in a transaction. A transaction that reads in order to write locks a row first: see `queries`. Reading again
/// after a lock must show what the others wrote: not so above "read committed".
pub fn write<T>(
    connection: &mut Db,
    work: impl FnOnce(&mut Db) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let mut worked = false;
    let outcome = connection.build_transaction().read_committed().run(|connection| {
        let outcome = work(connection);
        worked = outcome.is_ok();
        outcome
    });
    outcome.map_err(|error| if worked { error.of_a_commit() } else { error })
}

/// Those of these users who exist; none of them is deleted before the end of the transaction. No one else waits for
/// it: to sign in or to rotate takes a weaker lock than to delete.
pub fn hold_users(connection: &mut Db, named: Vec<Id>) -> QueryResult<Vec<Id>> {
    users::table.filter(users::id.eq_any(named)).select(users::id).for_key_share().load(connection)
}

/// Waits until no other instance migrates, however long that takes; to the end of the transaction. From then on, no
/// statement waits longer than [`LOCK_WAIT`] for a lock.
pub fn lock_migrations(connection: &mut Db) -> QueryResult<()> {
    let lock_wait = LOCK_WAIT.unwrap_or_default().as_millis();
    connection.batch_execute(&format!(
        "SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({MIGRATION_LOCK}); \
         SET LOCAL lock_timeout = {lock_wait}"
    ))
}

/// Whether no other instance purges at the moment; to the end of the transaction.
pub fn is_only_purger(connection: &mut Db) -> QueryResult<bool> {
    let taken = format!("pg_try_advisory_xact_lock({PURGE_LOCK})");
    diesel::select(diesel::dsl::sql::<Bool>(&taken)).get_result(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_the_url_gets_into_an_error() {
        let bad = |text: &str| without_url(&ConnectionError::BadConnection(text.to_owned())).0;
        for text in [
            "invalid percent-encoded token: \"hunter2%zz\"",
            "end of string reached when looking for matching \"]\" in IPv6 host address in URI: \
             \"postgres://u:hunter2@[::1\"",
        ] {
            assert!(bad(text).starts_with("libpq refuses the database URL"), "{text}");
        }
        let refused = "connection to server at \"127.0.0.1\", port 5 failed: Connection refused\n\tIs the server running?";
        assert_eq!(bad(refused), "Connection refused\n\tIs the server running?");
    }
}

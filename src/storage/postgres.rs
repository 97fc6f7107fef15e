//! What is PostgreSQL's own; the queries are those of `queries`, compiled for PostgreSQL.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use secrecy::{ExposeSecret, SecretString};

use super::error::StorageError;
use super::pool::OpenError;
use super::schema::users;
use super::settings::StorageSettings;
use super::types::{Id, SqlTime, Time};

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

/// Opens connections to `url`.
pub fn opener(url: SecretString, settings: &StorageSettings) -> impl Fn() -> Result<Db, OpenError> + use<> {
    // Reading again after a lock must show what the others wrote: not so above "read committed".
    let bound = settings.statement_timeout.as_millis();
    let set_up = format!(
        "SET statement_timeout = {bound}; SET idle_in_transaction_session_timeout = {bound}; \
         SET default_transaction_isolation = 'read committed'"
    );
    move || {
        let mut connection = Db::establish(url.expose_secret()).map_err(|error| without_url(&error))?;
        connection
            .batch_execute(&set_up)
            .map_err(|error| OpenError(StorageError::from(error).to_string()))?;
        Ok(connection)
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

/// Runs `work` in a transaction. A transaction that reads in order to write locks a row first: see `queries`.
pub fn write<T>(
    connection: &mut Db,
    work: impl FnOnce(&mut Db) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    connection.transaction(work)
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

/// The time of the server, which all instances share.
pub fn shared_time(connection: &mut Db) -> QueryResult<Option<Time>> {
    diesel::select(diesel::dsl::sql::<SqlTime>("clock_timestamp()")).get_result(connection).map(Some)
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

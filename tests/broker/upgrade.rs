//! A newer program upgrades the database of an older one while instances of both run, as the README promises.
//!
//! `tests/fixtures/upgrade` has a database for each migration, as it was right after it: the schema as SQL, with users,
//! sessions and tokens, for SQLite and PostgreSQL, and beside it the tokens and the server key. They are kept for good. After
//! a new migration, write its fixture once, with `TOKEN_BROKER_WRITE_FIXTURES=1 cargo test --features postgres --test broker
//! upgrade::`, and commit it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use token_broker::domain::clock::{Clock, MovableClock, SystemClock, Timestamp};
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};

use crate::support::broker::{Setup, TestBroker, provider};
use crate::support::storage::{Database, sql};
use crate::support::wait::until;

/// The tables with rows, each after those that it refers to.
const TABLES: [&str; 9] = [
    "users",
    "identities",
    "sessions",
    "tokens",
    "resource_servers",
    "resource_server_secrets",
    "resource_server_keys",
    "audit_events",
    "__diesel_schema_migrations",
];

/// Diesel's own table, which is there before the first migration.
const MIGRATION_TABLE: &str = "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
     run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);\n";

/// A migration that a later program may bring, which the older one has to live with: it only adds. It changes two existing
/// tables, in the order in which it can wait for a request that waits for it: requests read `tokens` before they lock `users`.
const WIDENING: &str = "ALTER TABLE users ADD COLUMN trial text; ALTER TABLE tokens ADD COLUMN trial text; \
     CREATE TABLE trial (id integer PRIMARY KEY)";
const WIDENING_VERSION: &str = "29991231000001";

/// The server key of the fixtures, which is no secret.
const SERVER_KEY: [u8; 32] = *b"the server key of the fixtures!!";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The names of the migrations, oldest first.
fn migrations(backend: &str) -> Vec<String> {
    let folder = std::fs::read_dir(root("migrations").join(backend)).unwrap();
    let names: BTreeSet<String> =
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.into_iter().collect()
}

fn fixture(migration: &str, backend: &str, extension: &str) -> PathBuf {
    root("tests/fixtures/upgrade").join(migration).join(format!("{backend}.{extension}"))
}

/// A setup with the fixtures' server key.
fn setup(url: &str) -> Setup {
    let setup = Setup { database: Some(url.to_owned()), ..Setup::default() };
    setup.adjust(|config| {
        let key = ServerKey::new(KeyId(1), SERVER_KEY.to_vec()).unwrap();
        config.server_keys = KeyRing::new(KeyId(1), vec![key]).unwrap().into();
    })
}

async fn rotate(broker: &TestBroker, token: &str) -> String {
    let answer = broker.post("/api/token/rotate", token, &json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn log_out(broker: &TestBroker, token: &str) {
    let answer = broker.post("/api/logout", token, &json!({})).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

/// One user's way through everything that writes.
async fn works(broker: &TestBroker, user: &str) {
    let token = broker.sign_in(&broker.browser(), "dev", user).await;
    assert_eq!(status(broker, &token).await, 200);
    let successor = rotate(broker, &token).await;
    assert_eq!((status(broker, &token).await, status(broker, &successor).await), (200, 200));
    let sessions = broker.call("/api/sessions", &successor).await;
    assert_eq!(sessions.status, 200, "{sessions:?}");
    log_out(broker, &successor).await;
    assert_eq!(status(broker, &successor).await, 401);
}

/// The rows as `INSERT` statements. The database numbers audit events itself.
fn rows(url: &str, table: &str) -> String {
    let sqlite = url.starts_with("sqlite:");
    let columns = if sqlite {
        format!("SELECT name AS line FROM pragma_table_info('{table}') ORDER BY cid")
    } else {
        format!(
            "SELECT column_name::text AS line FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name = '{table}' ORDER BY ordinal_position"
        )
    };
    let mut columns = sql::lines(url, &columns);
    if table == "audit_events" {
        columns.retain(|column| column != "id");
    }
    let names = columns.join(", ");
    let query = if sqlite {
        let values: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
        let values = values.join(" || ', ' || ");
        format!(
            "SELECT 'INSERT INTO {table} ({names}) VALUES (' || {values} || ');' AS line FROM {table} ORDER BY 1"
        )
    } else {
        let values: Vec<String> =
            columns.iter().map(|column| format!("quote_nullable({column}::text)")).collect();
        let values = values.join(", ");
        format!(
            "SELECT format('INSERT INTO {table} ({names}) VALUES (%s);', concat_ws(', ', {values})) AS line \
             FROM {table} ORDER BY 1"
        )
    };
    sql::lines(url, &query).into_iter().map(|line| line + "\n").collect()
}

/// Writes the fixture of the newest migration.
async fn write(database: Database, backend: &str) {
    let migrations = migrations(backend);
    let newest = migrations.last().unwrap();
    let broker = TestBroker::with(setup(&database.url));
    broker.ready().await;
    let mut live = Vec::new();
    for (provider, user) in [("dev", "alice"), ("dev", "alice"), ("ops", "bob"), ("dev", "bob")] {
        live.push(broker.sign_in(&broker.browser(), provider, user).await);
    }
    live[0] = rotate(&broker, &live[0]).await;
    let logged_out = broker.sign_in(&broker.browser(), "ops", "bob").await;
    log_out(&broker, &logged_out).await;
    let tokens = json!({ "now": broker.now(), "live": live, "logged_out": [logged_out] });
    broker.stop();

    let mut text = MIGRATION_TABLE.to_owned();
    for migration in &migrations {
        let up = root("migrations").join(backend).join(migration).join("up.sql");
        text += &std::fs::read_to_string(up).unwrap();
    }
    text.extend(TABLES.map(|table| rows(&database.url, table)));
    let file = |extension| fixture(newest, backend, extension);
    std::fs::create_dir_all(file("sql").parent().unwrap()).unwrap();
    std::fs::write(file("sql"), text).unwrap();
    std::fs::write(file("json"), serde_json::to_string_pretty(&tokens).unwrap() + "\n").unwrap();
}

/// The tokens of a fixture.
struct Tokens {
    now: Timestamp,
    live: Vec<String>,
    logged_out: Vec<String>,
}

impl Tokens {
    fn read(migration: &str, backend: &str) -> Self {
        let file: Value =
            serde_json::from_str(&std::fs::read_to_string(fixture(migration, backend, "json")).unwrap())
                .unwrap();
        Self {
            now: serde_json::from_value(file["now"].clone()).unwrap(),
            live: serde_json::from_value(file["live"].clone()).unwrap(),
            logged_out: serde_json::from_value(file["logged_out"].clone()).unwrap(),
        }
    }

    /// Those of the fixture that have to work do so, and no other.
    async fn are_valid_at(&self, broker: &TestBroker) {
        for token in &self.live {
            assert_eq!(status(broker, token).await, 200, "{token}");
        }
        for token in &self.logged_out {
            assert_eq!(status(broker, token).await, 401, "{token}");
        }
    }
}

/// Sends requests, of which none may fail, until it is stopped. Counts the rounds.
async fn busy(broker: &TestBroker, live: &str, rounds: &AtomicUsize, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        works(broker, "bob").await;
        assert_eq!(status(broker, live).await, 200);
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until the older instance was busy for another while.
async fn another_while(rounds: &AtomicUsize) {
    let until_then = rounds.load(Ordering::Relaxed) + 3;
    until(async || {
        let done = rounds.load(Ordering::Relaxed);
        if done >= until_then { Ok(()) } else { Err(format!("{done} of {until_then} rounds")) }
    })
    .await;
}

async fn an_upgrade_fails_no_request(database: Database, migration: &str, backend: &str) {
    let text = std::fs::read_to_string(fixture(migration, backend, "sql")).unwrap();
    sql::execute(&database.url, &text);
    let later: Vec<String> =
        migrations(backend).into_iter().filter(|name| name.as_str() > migration).collect();
    assert_eq!(database.storage.migrate().await.unwrap(), later);

    let tokens = Tokens::read(migration, backend);
    let clock = Arc::new(MovableClock::new());
    clock.advance(tokens.now - SystemClock.now());
    let provider = Arc::new(provider(&clock));
    let old = TestBroker::with_provider(setup(&database.url), clock, provider);
    old.ready().await;
    tokens.are_valid_at(&old).await;

    let (rounds, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let upgrade = async {
        another_while(&rounds).await;
        database.storage.apply_later_migration(WIDENING_VERSION, WIDENING).await.unwrap();
        another_while(&rounds).await;
        let new = old.twin();
        new.ready().await;
        tokens.are_valid_at(&new).await;
        works(&new, "alice").await;
        another_while(&rounds).await;
        stop.store(true, Ordering::Relaxed);
        new
    };
    let (new, ()) = tokio::join!(upgrade, busy(&old, &tokens.live[1], &rounds, &stop));
    tokens.are_valid_at(&old).await;
    old.ready().await;

    // What one instance does to a session of the fixture, the other one sees.
    for (here, there, token) in [(&old, &new, &tokens.live[0]), (&new, &old, &tokens.live[2])] {
        let successor = rotate(here, token).await;
        assert_eq!(status(there, &successor).await, 200);
        log_out(there, &successor).await;
        until(async || match status(here, &successor).await {
            401 => Ok(()),
            other => Err(other),
        })
        .await;
    }
}

/// A database of each kind that this build has.
fn databases() -> Vec<(&'static str, Database)> {
    vec![
        ("sqlite", Database::sqlite()),
        #[cfg(feature = "postgres")]
        ("postgres", Database::postgres()),
    ]
}

#[actix_web::test]
async fn an_upgrade_from_every_migration_fails_no_request() {
    for (backend, database) in databases() {
        let files = || {
            ["sql", "json"].map(|extension| fixture(migrations(backend).last().unwrap(), backend, extension))
        };
        if std::env::var_os("TOKEN_BROKER_WRITE_FIXTURES").is_some()
            && !files().iter().all(|file| file.exists())
        {
            write(database.migrated().await, backend).await;
        }
        for migration in migrations(backend) {
            assert!(
                fixture(&migration, backend, "sql").exists(),
                "{migration} has no fixture: see this file's head"
            );
            let (_, database) = databases().into_iter().find(|(name, _)| *name == backend).unwrap();
            an_upgrade_fails_no_request(database, &migration, backend).await;
        }
    }
}

/// A released migration never changes: the fixture has the text that made it.
#[test]
fn a_migration_with_a_fixture_is_not_edited() {
    for backend in ["sqlite", "postgres"] {
        for migration in migrations(backend) {
            let up = root("migrations").join(backend).join(&migration).join("up.sql");
            let fixture = std::fs::read_to_string(fixture(&migration, backend, "sql")).unwrap();
            assert!(
                fixture.contains(&std::fs::read_to_string(up).unwrap()),
                "{backend}/{migration} was changed: add a migration, or, before the first release, write its fixture again"
            );
        }
    }
}

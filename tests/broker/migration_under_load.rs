//! A migration on PostgreSQL and the requests of running brokers wait for the same locks. The requests come first.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::broker::{Setup, TestBroker};
use crate::support::postgres::Postgres;
use crate::support::storage::sql;
use crate::support::wait::until;

/// How many sessions wait for a lock of a table. The broker's own count of live rows, in the background, is none of them.
const WAITING: &str = "SELECT count(*)::text AS line FROM pg_locks JOIN pg_stat_activity USING (pid) \
     WHERE NOT granted AND locktype = 'relation' AND query NOT ILIKE 'select count(%'";

/// A broker on a server of its own, with a token.
async fn broker_with_a_token() -> (Postgres, String, TestBroker, String) {
    let server = Postgres::own();
    let url = server.database();
    let broker = TestBroker::with(Setup { database: Some(url.clone()), ..Setup::default() });
    broker.storage().migrate().await.unwrap();
    broker.ready().await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    (server, url, broker, token)
}

async fn until_someone_waits(url: &str) {
    until(async || match sql::lines(url, WAITING)[0].as_str() {
        "0" => Err("no one waits"),
        _ => Ok(()),
    })
    .await;
}

/// The rotation reads `tokens`, waits for `users`, and PostgreSQL finds that the holder of `users` waits for `tokens`. It ends
/// the rotation's transaction, because that waited first.
#[actix_web::test]
async fn a_request_that_loses_a_deadlock_is_tried_once_more() {
    let (server, url, broker, token) = broker_with_a_token().await;
    let mut other = PgConnection::establish(&url).unwrap();
    other.batch_execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();

    let deadlock = async {
        until_someone_waits(&url).await;
        let rest = move || {
            other.batch_execute("LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE; COMMIT").unwrap();
        };
        tokio::task::spawn_blocking(rest).await.unwrap();
    };
    let body = json!({});
    let (answer, ()) = tokio::join!(broker.post("/api/token/rotate", &token, &body), deadlock);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(server.log().contains("deadlock detected"), "{}", server.log());
    let successors = "SELECT count(*)::text AS line FROM tokens WHERE parent_id IS NOT NULL";
    assert_eq!(sql::lines(&url, successors), ["1"], "the first try left no row");
}

/// A long transaction reads `tokens`, for example a backup. The migration has `users` by then, and gives it back.
#[actix_web::test]
async fn a_migration_that_waits_for_a_lock_stops_no_request() {
    let (server, url, broker, token) = broker_with_a_token().await;
    let mut reader = PgConnection::establish(&url).unwrap();
    reader.batch_execute("BEGIN; LOCK TABLE tokens IN ACCESS SHARE MODE").unwrap();

    let storage = broker.storage().clone();
    let statements =
        "ALTER TABLE users ADD COLUMN trial text; ALTER TABLE tokens ADD COLUMN trial text; SELECT 1";
    let migration =
        tokio::spawn(async move { storage.apply_later_migration("29991231000001", statements).await });
    until_someone_waits(&url).await;
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        let answer = broker.call("/api/me", &token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        slowest = slowest.max(asked.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    assert!(slowest < Duration::from_secs(1), "a request waited {slowest:?}");
    assert!(!migration.is_finished(), "it waits as long as the reader reads");

    reader.batch_execute("COMMIT").unwrap();
    migration.await.unwrap().unwrap();
    let added = "SELECT table_name::text AS line FROM information_schema.columns WHERE column_name = 'trial' ORDER BY 1";
    assert_eq!(sql::lines(&url, added), ["tokens", "users"]);
    assert!(server.log().contains("lock timeout"), "{}", server.log());
    broker.ready().await;
}

/// Only waiting for a lock is a reason to try again.
#[actix_web::test]
async fn a_migration_that_fails_says_so_at_once() {
    let (_server, _url, broker, _token) = broker_with_a_token().await;
    let begun = Instant::now();
    let statements = "ALTER TABLE users ADD COLUMN trial text; SELECT no_such_function()";
    let error = broker.storage().apply_later_migration("29991231000001", statements).await.unwrap_err();
    assert!(error.to_string().contains("no_such_function"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

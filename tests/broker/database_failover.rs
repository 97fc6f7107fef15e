//! PostgreSQL ends, forgets or refuses connections of the pool: no request notices a connection that can be replaced, and
//! no connection that may be wrong is used again.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use futures_util::future::join_all;
use token_broker::domain::token::HandleDigest;
use token_broker::storage::{Storage, StorageError, StorageSettings};

use crate::support::outage::{RECOVERY, within};
use crate::support::postgres::{Postgres, database};
use crate::support::silent_link::SilentLink;
use crate::support::storage::{login, noon, settings, sign_in, sql};
use crate::support::wait::until;

/// A storage with four open connections, and a token.
async fn with_four_connections(settings: &StorageSettings) -> (Storage, HandleDigest) {
    let storage = Storage::new(settings).unwrap();
    storage.migrate().await.unwrap();
    let handle = sign_in(&storage, login("alice", noon())).await.token.facts.handle;
    fill(&storage, handle).await;
    (storage, handle)
}

async fn fill(storage: &Storage, handle: HandleDigest) {
    let answers = join_all((0..4).map(|_| storage.find_token(handle))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

/// Ends every session of the database, as a restart, a failover and an administrator do.
fn end_sessions(url: &str) {
    let others = "SELECT pg_terminate_backend(pid)::text AS line FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(!sql::lines(url, others).is_empty());
}

#[tokio::test]
async fn a_session_that_the_server_ended_costs_no_request() {
    let url = database();
    let (storage, handle) = with_four_connections(&settings(&url)).await;
    for user in ["bob", "carol", "dave"] {
        end_sessions(&url);
        assert!(sign_in(&storage, login(user, noon())).await.first_login, "a write");
        fill(&storage, handle).await;
        end_sessions(&url);
        fill(&storage, handle).await;
    }
}

#[tokio::test]
async fn a_restart_between_two_requests_loses_none() {
    let mut server = Postgres::own();
    let (storage, handle) = with_four_connections(&settings(&server.database())).await;
    server.stop();
    server.resume();
    fill(&storage, handle).await;
    for _ in 0..40 {
        assert!(storage.find_token(handle).await.unwrap().is_some());
    }
}

/// The sessions of the pool are read-only, as after a failover that demoted their server; new ones are not.
#[tokio::test]
async fn a_read_only_session_is_replaced_and_the_write_succeeds() {
    let url = database();
    let storage = Storage::new(&settings(&url)).unwrap();
    storage.migrate().await.unwrap();
    let handle = sign_in(&storage, login("alice", noon())).await.token.facts.handle;
    let demote = |read_only: &str| {
        let name = url.rsplit('/').next().unwrap();
        sql::execute(
            &url,
            &format!(
                "BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {read_only}; COMMIT"
            ),
        );
    };
    demote("on");
    end_sessions(&url);
    fill(&storage, handle).await;
    demote("off");
    let begun = join_all(["bob", "carol", "dave"].map(|user| sign_in(&storage, login(user, noon())))).await;
    assert!(begun.iter().all(|signed_in| signed_in.first_login));
    storage.check().await.unwrap();
}

/// The whole server accepts no changes: reads work, and writes again as soon as it does.
#[tokio::test]
async fn a_read_only_server_is_reported_as_such_and_used_again() {
    let server = Postgres::own();
    let url = server.database();
    let (storage, handle) = with_four_connections(&settings(&url)).await;
    let read_only = |on: &str| {
        let mut admin = PgConnection::establish(&url).unwrap();
        admin.batch_execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {on}")).unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").unwrap();
    };
    read_only("on");
    let error = until(async || match storage.check().await {
        Err(error @ StorageError::ReadOnly(_)) => Ok(error),
        other => Err(other),
    })
    .await;
    assert!(error.to_string().contains("read-only"), "{error}");
    let refused = storage.revoke_token(handle, noon());
    assert!(matches!(refused.await, Err(StorageError::ReadOnly(_))));
    assert!(storage.find_token(handle).await.unwrap().is_some(), "reading works");

    let mut admin = PgConnection::establish(&url).unwrap();
    let writable =
        "SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only";
    for statement in writable.split("; ") {
        admin.batch_execute(statement).unwrap();
    }
    admin.batch_execute("SELECT pg_reload_conf()").unwrap();
    within(RECOVERY, "recovery", until(async || storage.check().await)).await;
    assert!(sign_in(&storage, login("bob", noon())).await.first_login);
}

/// The URL names both servers. The primary stops, and the standby is promoted.
#[tokio::test]
async fn a_promoted_standby_takes_over_without_a_restart() {
    let mut primary = Postgres::own();
    let url = primary.database();
    let standby = primary.standby();
    let name = url.rsplit('/').next().unwrap();
    let both = format!("postgres://test@127.0.0.1:{},127.0.0.1:{}/{name}", primary.port(), standby.port());
    let (storage, handle) = with_four_connections(&settings(&both)).await;
    let on_standby = format!("postgres://test@127.0.0.1:{}/{name}", standby.port());
    until(async || if sql::count(&on_standby, "tokens") == 1 { Ok(()) } else { Err("not copied yet") }).await;

    primary.stop();
    let error = storage.find_token(handle).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable(_)), "the standby is not asked: {error}");
    standby.promote();
    within(RECOVERY, "recovery", until(async || storage.check().await)).await;
    fill(&storage, handle).await;
    assert!(sign_in(&storage, login("bob", noon())).await.first_login);
}

/// Two places, both behind a link that swallows everything: their callers are told in time, and the next ones get new
/// connections while the threads of the first still hang.
#[tokio::test]
async fn a_silent_link_keeps_no_place() {
    let server = Postgres::own();
    let url = server.database();
    let link = SilentLink::to(server.port());
    let through = url.replace(&server.port().to_string(), &link.port().to_string());
    let impatient =
        StorageSettings { pool_size: 2, statement_timeout: Duration::from_millis(700), ..settings(&through) };
    let (storage, handle) = with_four_connections(&impatient).await;
    for _ in 0..2 {
        join_all((0..2).map(|_| storage.find_token(handle))).await;
        link.silence();
        let answers = join_all((0..2).map(|_| storage.find_token(handle)));
        let answers = within(Duration::from_millis(1_200), "the refusal", answers).await;
        assert!(
            answers.iter().any(|answer| matches!(answer, Err(StorageError::Unavailable(_)))),
            "{answers:?}"
        );
        for _ in 0..20 {
            assert!(storage.find_token(handle).await.unwrap().is_some());
        }
    }
}

/// A caller that goes away in the middle of its query, again and again.
#[tokio::test]
async fn a_caller_that_goes_away_keeps_no_place() {
    let server = Postgres::own();
    let link = SilentLink::to(server.port());
    let through = server.database().replace(&server.port().to_string(), &link.port().to_string());
    let impatient =
        StorageSettings { pool_size: 1, statement_timeout: Duration::from_millis(500), ..settings(&through) };
    let (storage, handle) = with_four_connections(&impatient).await;
    link.silence();
    let gone = tokio::time::timeout(Duration::from_millis(50), storage.find_token(handle)).await;
    assert!(gone.is_err());
    let found = within(Duration::from_secs(2), "the next query", storage.find_token(handle)).await;
    assert!(found.unwrap().is_some());
}

//! The database is unavailable, frozen, locked or overloaded: the storage responds within seconds, never with a wrong
//! result, and recovers without a restart.

use std::cell::Cell;
use std::sync::mpsc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use token_broker::domain::standing::Standing;
use token_broker::error::{Error, ErrorCode};
use token_broker::storage::tokens::{Rotation, RotationLimits};
use token_broker::storage::{Storage, StorageError, StorageSettings};

use crate::support::outage::within;
use crate::support::storage::{
    Database, after, found, login, noon, owner_of, settings, sign_in, successor, token,
};

/// Awaits `answer`, which must say "unavailable" within `seconds`.
async fn is_unavailable<T: std::fmt::Debug>(
    answer: impl Future<Output = Result<T, StorageError>>,
    seconds: u64,
) -> String {
    let error = within(Duration::from_secs(seconds), "the refusal", answer).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(Error::from(error).code(), ErrorCode::TemporarilyUnavailable, "{text}");
    text
}

/// With a single connection, which a blocked rotation holds, other callers do not wait longer than allowed.
async fn an_exhausted_pool_answers_in_time(database: Database) {
    let wait = Duration::from_secs(1);
    let small = StorageSettings { pool_size: 1, wait, ..settings(&database.url) };
    let storage = Storage::new(&small).unwrap();
    let handle = sign_in(&storage, login("alice", noon())).await.token.facts.handle;

    let (entered, holds) = tokio::sync::oneshot::channel();
    let (let_go, waits) = mpsc::channel::<()>();
    let holder = tokio::spawn({
        let storage = storage.clone();
        async move {
            let limits = RotationLimits { siblings: 5, live_tokens: 50 };
            let entered = Cell::new(Some(entered));
            let judge = move |_: &_| {
                entered.take().unwrap().send(()).unwrap();
                waits.recv().unwrap();
                Standing::Live
            };
            storage.rotate(handle, after(1), limits, judge, |record| successor(record, after(1))).await
        }
    });
    holds.await.unwrap();
    let text = is_unavailable(storage.find_token(handle), 2).await;
    assert!(text.contains("every connection is busy"), "{text}");
    let_go.send(()).unwrap();
    assert!(matches!(holder.await.unwrap().unwrap(), Rotation::Rotated(_)));
    assert_eq!(found(&storage, handle).await.superseded_at, Some(after(1)));
}

/// A database without tables, one without a column, and one without the newest migration.
async fn an_outdated_schema_is_unavailable_and_not_ready<C: SimpleConnection>(
    database: Database,
    owner: impl Fn(&str) -> C,
) {
    const REMEDY: &str = "run `token-broker migrate`";
    let (storage, user) = (&database.storage, login("a", noon()));
    let handle = token(owner_of(&user), noon()).facts.handle;
    for text in
        [is_unavailable(storage.check(), 3).await, is_unavailable(storage.find_token(handle), 3).await]
    {
        assert!(text.contains(REMEDY), "{text}");
    }
    storage.migrate().await.unwrap();
    storage.check().await.unwrap();

    let mut owner = owner(&database.url);
    owner.batch_execute("ALTER TABLE identities RENAME COLUMN email TO mail").unwrap();
    for text in [
        is_unavailable(storage.find_token(handle), 3).await,
        is_unavailable(storage.sign_in(user, |_| panic!("no user"), |_| true), 3).await,
    ] {
        assert!(text.contains(REMEDY) && text.contains("email"), "{text}");
    }
    owner.batch_execute("DELETE FROM __diesel_schema_migrations").unwrap();
    let text = is_unavailable(storage.check(), 3).await;
    assert!(text.contains(REMEDY) && text.contains("initial"), "{text}");
}

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn an_exhausted_pool_answers_in_time() {
        super::an_exhausted_pool_answers_in_time(Database::sqlite().migrated().await).await;
    }

    #[tokio::test]
    async fn a_lock_of_another_writer_ends_in_time() {
        let database = Database::sqlite().migrated().await;
        let storage = &database.storage;
        let handle = sign_in(storage, login("alice", noon())).await.token.facts.handle;
        let mut other = SqliteConnection::establish(database.url.strip_prefix("sqlite:").unwrap()).unwrap();
        other.batch_execute("BEGIN IMMEDIATE").unwrap();

        let text = is_unavailable(storage.revoke_token(handle, after(1)), 5).await;
        assert!(text.contains("locked"), "{text}");
        assert_eq!(found(storage, handle).await.revoked_at, None, "reading still works");

        other.batch_execute("ROLLBACK").unwrap();
        assert!(storage.revoke_token(handle, after(1)).await.unwrap());
    }

    #[tokio::test]
    async fn an_outdated_schema_is_unavailable_and_not_ready() {
        super::an_outdated_schema_is_unavailable_and_not_ready(Database::sqlite(), |url| {
            SqliteConnection::establish(url.strip_prefix("sqlite:").unwrap()).unwrap()
        })
        .await;
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use futures_util::future::join_all;
    use token_broker::domain::token::HandleDigest;
    use token_broker::storage::purge::Purged;

    use super::*;
    use crate::support::outage::RECOVERY;
    use crate::support::postgres::Postgres;
    use crate::support::wait::until;

    #[tokio::test]
    async fn an_exhausted_pool_answers_in_time() {
        super::an_exhausted_pool_answers_in_time(Database::postgres().migrated().await).await;
    }

    #[tokio::test]
    async fn an_outdated_schema_is_unavailable_and_not_ready() {
        super::an_outdated_schema_is_unavailable_and_not_ready(Database::postgres(), |url| {
            PgConnection::establish(url).unwrap()
        })
        .await;
    }

    /// A server with a token, with four connections, which will be lost.
    async fn server_with_a_token() -> (Postgres, Storage, HandleDigest) {
        let server = Postgres::own();
        let storage = Storage::new(&settings(&server.database())).unwrap();
        storage.migrate().await.unwrap();
        let handle = sign_in(&storage, login("alice", noon())).await.token.facts.handle;
        join_all((0..4).map(|_| storage.find_token(handle))).await;
        (server, storage, handle)
    }

    #[tokio::test]
    async fn a_stopped_server_is_unavailable_until_it_is_back() {
        let (mut server, storage, handle) = server_with_a_token().await;
        server.stop();
        for _ in 0..2 {
            let answers = (0..12).map(|_| is_unavailable(storage.find_token(handle), 3));
            join_all(answers).await;
        }
        is_unavailable(storage.check(), 3).await;

        server.resume();
        wait_until_it_answers(&storage).await;
        for _ in 0..3 {
            let answers = join_all((0..12).map(|_| storage.find_token(handle))).await;
            assert!(answers.into_iter().all(|answer| answer.unwrap().is_some()));
        }
    }

    #[tokio::test]
    async fn a_broker_starts_without_its_database_and_never_falls_back() {
        let mut server = Postgres::own();
        let url = server.database();
        server.stop();
        let storage = Storage::new(&settings(&url)).unwrap();
        let text = is_unavailable(storage.migrate(), 3).await;
        assert!(text.contains("Connection refused"), "{text}");

        server.resume();
        let missing = until(async || storage.pending_migrations().await).await;
        assert!(!missing.is_empty());
        assert_eq!(storage.migrate().await.unwrap(), missing);
        assert!(sign_in(&storage, login("alice", noon())).await.first_login);
    }

    /// Its host still acknowledges packets, so network timeouts do not help.
    #[tokio::test]
    async fn a_frozen_server_is_unavailable_in_time() {
        let server = Postgres::own();
        let storage = Storage::new(&settings(&server.database())).unwrap();
        storage.migrate().await.unwrap();
        let frozen = server.freeze();
        // The first query uses a connection that seems to work, so its statement timeout must pass.
        let bound = [7, 3, 3];
        for seconds in bound {
            is_unavailable(storage.check(), seconds).await;
        }
        drop(frozen);
        wait_until_it_answers(&storage).await;
    }

    #[tokio::test]
    async fn a_statement_ends_in_time() {
        let database = Database::postgres().migrated().await;
        let handle = sign_in(&database.storage, login("alice", noon())).await.token.facts.handle;
        let impatient =
            StorageSettings { statement_timeout: Duration::from_secs(1), ..settings(&database.url) };
        let storage = Storage::new(&impatient).unwrap();
        let mut other = PgConnection::establish(&database.url).unwrap();
        other.batch_execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();

        let text = is_unavailable(storage.find_token(handle), 2).await;
        assert!(text.contains("statement timeout"), "{text}");
        other.batch_execute("ROLLBACK").unwrap();
        assert!(storage.find_token(handle).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn only_one_purge_runs_at_a_time() {
        let database = Database::postgres().migrated().await;
        let session = sign_in(&database.storage, login("alice", noon())).await.token.facts.owner.session_id;
        database.storage.end_session(session.unwrap(), noon()).await.unwrap();
        let mut other = PgConnection::establish(&database.url).unwrap();
        // The number is defined in src/storage/postgres.rs.
        other.batch_execute("SELECT pg_advisory_lock(7163870902)").unwrap();
        let purge = || database.storage.purge(after(2 * 86_400), noon(), 10);
        assert_eq!(purge().await.unwrap(), Purged::default());
        other.batch_execute("SELECT pg_advisory_unlock_all()").unwrap();
        assert_eq!(purge().await.unwrap(), Purged { tokens: 1, sessions: 1, audit_events: 0 });
    }

    async fn wait_until_it_answers(storage: &Storage) {
        within(RECOVERY, "recovery", until(async || storage.check().await)).await;
    }
}

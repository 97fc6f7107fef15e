//! `/readyz` tells the truth: a store that answers but does not do what logins, redemptions and token checks need is seen,
//! body and status agree, and the answer comes within a second.

use std::time::Duration;

use serde_json::json;
use token_broker::domain::clock::monotonic;

use crate::support::broker::{Setup, TestBroker};
use crate::support::outage::{assert_becomes, assert_recovers, problems, report};
use crate::support::redis::RedisServer;

/// What the status of `/readyz` is if this is required, after a check that the body agrees.
async fn status(broker: &TestBroker, required: &str) -> u16 {
    let answer = broker.browser().get(&broker.at(&format!("/readyz?require={required}")), &[]).await;
    if answer.status != 400 {
        assert_eq!(answer.json()["ready"], json!(answer.status == 200), "{answer:?}");
    }
    answer.status.as_u16()
}

async fn with_redis(redis: &RedisServer) -> TestBroker {
    let broker = TestBroker::with(Setup { key_store: Some(redis.url()), ..Setup::default() });
    broker.ready().await;
    broker
}

/// The only problem, which is one of the key store.
async fn problem(broker: &TestBroker) -> String {
    let problems = problems(broker).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].0, "key store");
    problems[0].1.clone()
}

fn config(redis: &RedisServer, setting: &str, value: &str) {
    redis.ask::<()>(redis::cmd("CONFIG").arg("SET").arg(setting).arg(value));
}

#[actix_web::test]
async fn a_full_redis_still_redeems() {
    let redis = RedisServer::start(&[]);
    let broker = with_redis(&redis).await;
    config(&redis, "maxmemory", "1");
    assert_becomes(&broker, (false, true, true)).await;
    assert_eq!(problem(&broker).await, "the key store is full");
    for (required, expected) in [
        ("log_in", 503),
        ("redeem", 200),
        ("verify", 200),
        ("redeem,verify", 200),
        ("log_in,verify", 503),
        ("everything", 400),
        ("verify,", 400),
        ("", 200),
    ] {
        assert_eq!(status(&broker, required).await, expected, "{required:?}");
    }
    config(&redis, "maxmemory", "0");
    assert_recovers(&broker, "Redis had room").await;
    assert_eq!(status(&broker, "log_in,redeem,verify").await, 200);
}

#[actix_web::test]
async fn a_redis_that_became_a_replica_is_seen() {
    let redis = RedisServer::start(&[]);
    let broker = with_redis(&redis).await;
    redis.ask::<()>(redis::cmd("REPLICAOF").arg("127.0.0.1").arg("1"));
    assert_becomes(&broker, (false, false, true)).await;
    let problem = problem(&broker).await;
    assert!(problem.to_lowercase().contains("read only replica"), "{problem}");
    redis.ask::<()>(redis::cmd("REPLICAOF").arg("NO").arg("ONE"));
    assert_recovers(&broker, "Redis was the primary again").await;
}

#[actix_web::test]
async fn a_redis_user_without_a_permission_is_seen() {
    let redis = RedisServer::start(&[]);
    let broker = with_redis(&redis).await;
    let user = |rule: &str| redis.ask::<()>(redis::cmd("ACL").arg("SETUSER").arg("default").arg(rule));
    for (command, expected) in [
        ("hset", (false, false, true)),
        ("eval", (false, false, true)),
        ("set", (false, true, true)),
        ("exists", (false, true, true)),
    ] {
        user(&format!("-{command}"));
        assert_becomes(&broker, expected).await;
        let problem = problem(&broker).await;
        assert!(problem.contains("give the Redis user the commands"), "{command}: {problem}");
        user(&format!("+{command}"));
        assert_recovers(&broker, "the user had its permission").await;
    }
}

/// A Redis that cannot save its data refuses to write.
#[actix_web::test]
async fn a_redis_whose_disk_fails_is_seen() {
    let redis = RedisServer::start(&["dbfilename dump.rdb"]);
    let broker = with_redis(&redis).await;
    let in_the_way = redis.folder().join("dump.rdb");
    std::fs::create_dir(&in_the_way).unwrap();
    config(&redis, "save", "3600 1000000");
    redis.ask::<()>(&redis::cmd("BGSAVE"));
    assert_becomes(&broker, (false, false, true)).await;
    let problem = problem(&broker).await;
    assert!(problem.contains("MISCONF") || problem.contains("RDB snapshots"), "{problem}");
    config(&redis, "save", "");
    assert_recovers(&broker, "Redis wrote again").await;
}

/// The time in which `/readyz` must answer, with room for a busy machine.
const ANSWER: Duration = Duration::from_millis(1_500);

/// Asks without the help of a cached result.
async fn assert_answers_in_time(broker: &TestBroker) {
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        let begun = monotonic();
        status(broker, "verify").await;
        report(&format!("answered after {:?}", begun.elapsed()));
        assert!(begun.elapsed() < ANSWER, "{:?}", begun.elapsed());
    }
}

#[actix_web::test]
async fn a_frozen_redis_delays_the_answer_by_less_than_a_second() {
    let redis = RedisServer::start(&[]);
    let broker = with_redis(&redis).await;
    let frozen = redis.freeze();
    assert_answers_in_time(&broker).await;
    assert_becomes(&broker, (false, false, true)).await;
    drop(frozen);
    assert_recovers(&broker, "Redis went on").await;
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::support::postgres::{self, Postgres};
    use crate::support::storage::sql;

    async fn with_database(url: &str) -> TestBroker {
        let broker = TestBroker::with(Setup { database: Some(url.to_owned()), ..Setup::default() });
        broker.storage().migrate().await.unwrap();
        broker.ready().await;
        broker
    }

    #[actix_web::test]
    async fn a_read_only_database_still_verifies() {
        let url = postgres::database();
        let broker = with_database(&url).await;
        let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let name = url.rsplit('/').next().unwrap().to_owned();
        let make = |read_only: &str| {
            sql::execute(
                &url,
                &format!(
                    "BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {read_only}; COMMIT; \
                     SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()"
                ),
            );
        };
        make("on");
        assert_becomes(&broker, (false, true, true)).await;
        assert_eq!((status(&broker, "verify").await, status(&broker, "log_in").await), (200, 503));
        assert_eq!(broker.call("/api/me", &token).await.status, 200);
        let problems = problems(&broker).await;
        assert!(problems[0].0 == "database" && problems[0].1.contains("read-only"), "{problems:?}");
        make("off");
        assert_recovers(&broker, "the database accepted changes").await;
    }

    #[actix_web::test]
    async fn a_frozen_database_delays_the_answer_by_less_than_a_second() {
        let server = Postgres::own();
        let broker = with_database(&server.database()).await;
        let frozen = server.freeze();
        assert_answers_in_time(&broker).await;
        assert_becomes(&broker, (false, true, false)).await;
        drop(frozen);
        assert_recovers(&broker, "PostgreSQL went on").await;
    }
}

/// The file was deleted: what would be written to it now is lost.
#[actix_web::test]
async fn a_deleted_sqlite_file_is_seen_and_one_that_was_put_back_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.sqlite");
    let url = format!("sqlite:{}", file.display());
    let broker = TestBroker::with(Setup { database: Some(url), ..Setup::default() });
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let copy = folder.path().join("copy.sqlite");
    crate::support::storage::sql::execute(
        &format!("sqlite:{}", file.display()),
        &format!("VACUUM INTO '{}'", copy.display()),
    );
    for name in ["broker.sqlite", "broker.sqlite-wal", "broker.sqlite-shm"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    assert_eq!(broker.call("/api/me", &token).await.status, 503);
    assert_becomes(&broker, (false, true, false)).await;
    let problems = problems(&broker).await;
    assert!(problems[0].1.contains("was deleted or moved"), "{problems:?}");
    assert!(!file.exists(), "no empty file takes its place");

    std::fs::rename(&copy, &file).unwrap();
    assert_recovers(&broker, "the file was put back").await;
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

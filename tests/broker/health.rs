//! A broker that starts while a dependency is unavailable: it starts, reports what works and what is missing, and works
//! as soon as the dependency is available.

use crate::support::broker::{Setup, TestBroker};
use crate::support::outage::{assert_becomes, assert_recovers, assert_unavailable, problems, readiness};
use crate::support::redis::RedisServer;

/// Checks that the broker responds, that the public listener names no part, and that the admin listener reports the
/// problem of this part.
async fn assert_missing(broker: &TestBroker, part: &str) -> String {
    let browser = broker.browser();
    assert_eq!(browser.get(&broker.at("/healthz"), &[]).await.status, 200);
    let ready = browser.get(&broker.at("/readyz"), &[]).await;
    let members: Vec<_> = ready.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["log_in", "ready", "redeem", "verify"]);
    let mut problems = problems(broker).await.into_iter();
    problems.find(|(name, _)| name == part).unwrap_or_else(|| panic!("{part} is not missing")).1
}

async fn assert_signs_in(broker: &TestBroker) {
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

#[actix_web::test]
async fn everything_works() {
    let broker = TestBroker::start();
    broker.ready().await;
    assert_eq!(readiness(&broker).await, (true, true, true));
    let health = broker.browser().get(&format!("{}/healthz", broker.admin_url), &[]).await;
    let parts: Vec<_> = health.json()["parts"].as_array().unwrap().clone();
    let names: Vec<_> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["database", "key store", "server keys", "provider dev", "provider ops"]);
    assert!(parts.iter().all(|part| part["works"] == true && part["problem"].is_null()), "{parts:?}");
}

#[actix_web::test]
async fn started_without_redis() {
    let mut redis = RedisServer::prepare(&[]);
    let broker = TestBroker::with(Setup { key_store: Some(redis.url()), ..Setup::default() });
    // The tables of the SQLite file are created in the background.
    assert_becomes(&broker, (false, false, true)).await;
    assert_missing(&broker, "key store").await;
    redis.launch();
    assert_recovers(&broker, "Redis was started").await;
    assert_signs_in(&broker).await;
}

/// The folder of the SQLite file is not mounted yet. Once it is, the broker creates the tables.
#[actix_web::test]
async fn started_without_the_folder_of_the_sqlite_file() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = folder.path().join("mounted");
    let url = format!("sqlite:{}", mounted.join("broker.sqlite").display());
    let broker = TestBroker::with(Setup { database: Some(url), ..Setup::default() });
    assert_eq!(readiness(&broker).await, (false, true, false));
    assert_eq!(broker.browser().get(&broker.at("/readyz"), &[]).await.status, 200, "it still redeems");
    assert_missing(&broker, "database").await;
    std::fs::create_dir(&mounted).unwrap();
    assert_recovers(&broker, "the folder was there").await;
    assert_signs_in(&broker).await;
}

#[actix_web::test]
async fn started_without_the_provider() {
    let only_openid = |config: &mut token_broker::config::Config| config.providers.truncate(1);
    let mut broker = TestBroker::with(Setup::default().adjust(only_openid));
    let stopped = broker.stop_provider().await;
    assert_becomes(&broker, (false, true, true)).await;
    assert_missing(&broker, "provider dev").await;
    assert_unavailable(&broker.browser().navigate(&broker.login(&[]).url).await);
    broker.resume_provider(stopped);
    assert_recovers(&broker, "the provider was started").await;
    assert_signs_in(&broker).await;
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::support::postgres::{self, Postgres};

    #[actix_web::test]
    async fn started_without_postgresql() {
        let mut server = Postgres::own();
        let url = server.database();
        server.stop();
        let broker = TestBroker::with(Setup { database: Some(url), ..Setup::default() });
        assert_eq!(readiness(&broker).await, (false, true, false));
        assert_eq!(broker.browser().get(&broker.at("/readyz"), &[]).await.status, 200, "it still redeems");
        assert_missing(&broker, "database").await;

        server.resume();
        broker.storage().migrate().await.unwrap();
        assert_recovers(&broker, "PostgreSQL was there").await;
        assert_signs_in(&broker).await;
    }

    /// The broker's role cannot change the schema, so `migrate` must be run. Until then the broker reports what to do
    /// and is not ready.
    #[actix_web::test]
    async fn started_before_the_schema_was_created() {
        let broker = TestBroker::with(Setup { database: Some(postgres::database()), ..Setup::default() });
        assert_eq!(readiness(&broker).await, (false, true, false));
        let ready = broker.browser().get(&broker.at("/readyz"), &[]).await;
        assert_eq!(ready.status, 503, "other instances may work with this schema: {ready:?}");
        let problem = assert_missing(&broker, "database").await;
        assert!(problem.contains("run `token-broker migrate`"), "{problem}");
        let pending = broker.storage().pending_migrations().await.unwrap();
        assert_eq!(pending[0], "2026-11-27-000001_initial", "the broker created it");
        broker.storage().migrate().await.unwrap();
        assert_recovers(&broker, "the schema was made").await;
        assert_signs_in(&broker).await;
    }
}

//! Back-channel logout while a store or the provider's keys are unavailable: 503, no logout is lost, and the token is
//! not called invalid.

use secrecy::ExposeSecret;
use serde_json::json;
use token_broker::domain::provider_logout::{LogoutScope, ProviderLogout};
use token_broker::provider::dev::FaultSwitch;

use crate::backchannel_logout::{assert_answer, send, send_to, sign_in, signed, status};
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::outage::assert_recovers;
use crate::support::redis::RedisServer;
use crate::support::storage::sql::{self, SqliteLock};
use crate::support::wait::until_true;

#[actix_web::test]
async fn an_outage_is_503_and_the_token_can_be_sent_again() {
    let mut redis = RedisServer::start(&[]);
    let mut broker = TestBroker::with(Setup { key_store: Some(redis.url()), ..Setup::default() });
    let alice = sign_in(&broker, "alice").await;
    let token = signed(&broker, json!({"sub": alice.subject}));
    redis.stop();
    assert_outage(&send(&broker, &token).await);
    assert_eq!(status(&broker, &alice.token).await, 200, "no session was ended");
    redis.launch();
    assert_recovers(&broker, "the key store was started again").await;
    let sent = send(&broker, &token).await;
    assert_answer(&sent, 200);
    assert_eq!(status(&broker, &alice.token).await, 401);

    // Another instance has not fetched the provider's keys yet.
    let token = signed(&broker, json!({"sub": alice.subject}));
    let stopped = broker.stop_provider().await;
    let twin = broker.twin();
    assert_outage(&send_to(&twin, &token).await);
    drop(twin);
    broker.resume_provider(stopped);
    let twin = broker.twin();
    assert_answer(&send_to(&twin, &token).await, 200);
}

#[track_caller]
fn assert_outage(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn an_unavailable_database_does_not_use_up_the_token() {
    use crate::support::postgres::Postgres;
    let mut server = Postgres::own();
    let setup = Setup {
        database: Some(server.database()),
        key_store: Some(crate::support::redis::url()),
        ..Setup::default()
    };
    let broker = TestBroker::with(setup);
    broker.storage().migrate().await.unwrap();
    let alice = sign_in(&broker, "alice").await;
    let token = signed(&broker, json!({"sub": alice.subject}));
    server.stop();
    assert_outage(&send(&broker, &token).await);
    server.resume();
    assert_recovers(&broker, "the database's outage").await;
    assert_eq!(status(&broker, &alice.token).await, 200, "no session was ended");
    assert_answer(&send(&broker, &token).await, 200);
    assert_eq!(status(&broker, &alice.token).await, 401);
}

/// The database fails between the lookup and the end of the sessions: they end as soon as the database is back, and the
/// token is not used up.
#[actix_web::test]
async fn an_interrupted_logout_is_not_lost() {
    let broker = TestBroker::start();
    let alice = sign_in(&broker, "alice").await;
    let token = signed(&broker, json!({"sub": alice.subject}));
    let lock = SqliteLock::of(broker.config.database.url.expose_secret());
    assert_outage(&send(&broker, &token).await);
    drop(lock);
    until_true("the logout is carried out", async || status(&broker, &alice.token).await == 401).await;
    let ended = broker.audited("session_ended").await;
    assert!(ended.session.is_some() && ended.user.is_some() && ended.provider.is_some(), "{ended:?}");
    assert_answer(&send(&broker, &token).await, 200);
    assert_answer(&send(&broker, &token).await, 400);
}

/// As if the database was available: the other sessions of the browser stay.
#[actix_web::test]
async fn an_interrupted_logout_ends_only_what_it_names() {
    let broker = TestBroker::start();
    let (named, other) = (sign_in(&broker, "alice").await, sign_in(&broker, "alice").await);
    let database = broker.config.database.url.expose_secret();
    sql::execute(database, "UPDATE sessions SET browser_id = (SELECT min(id) FROM sessions)");
    let token = signed(&broker, json!({"sid": named.sid}));
    let lock = SqliteLock::of(database);
    assert_outage(&send(&broker, &token).await);
    drop(lock);
    until_true("the logout is carried out", async || status(&broker, &named.token).await == 401).await;
    assert_eq!(status(&broker, &other.token).await, 200);
}

/// Redis executes the first command and responds too late, so the broker does not know that it was executed.
#[actix_web::test]
async fn a_late_answer_of_the_key_store_does_not_use_up_the_token() {
    let redis = RedisServer::start(&[]);
    let broker = with_redis(&redis);
    let alice = sign_in(&broker, "alice").await;
    let token = signed(&broker, json!({"sub": alice.subject}));
    let frozen = redis.freeze();
    assert_outage(&send(&broker, &token).await);
    drop(frozen);
    assert_recovers(&broker, "Redis went on").await;
    assert_eq!(status(&broker, &alice.token).await, 200, "no session was ended");
    assert_answer(&send(&broker, &token).await, 200);
    assert_eq!(status(&broker, &alice.token).await, 401);
    assert_answer(&send(&broker, &token).await, 400);
}

/// A full Redis still returns its entries but accepts no new ones.
#[actix_web::test]
async fn a_logout_that_cannot_be_marked_as_used_can_be_sent_again() {
    let redis = RedisServer::start(&["maxmemory-policy noeviction"]);
    let limit = |bytes: u32| {
        redis.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes));
    };
    let broker = with_redis(&redis);
    let alice = sign_in(&broker, "alice").await;
    let token = signed(&broker, json!({"sub": alice.subject}));
    limit(1);
    assert_outage(&send(&broker, &token).await);
    assert_eq!(status(&broker, &alice.token).await, 401, "what could be done was done");
    let ended = broker.audited("session_ended").await;
    let failed = broker.audited("backchannel_logout_failed").await;
    assert_eq!(ended.request_id, failed.request_id);
    assert_eq!(failed.reason.as_deref(), Some("temporarily_unavailable"));
    assert_outage(&send(&broker, &token).await);
    limit(0);
    assert_answer(&send(&broker, &token).await, 200);
    let again = sign_in(&broker, "alice").await;
    assert_answer(&send(&broker, &token).await, 400);
    assert_eq!(status(&broker, &again.token).await, 200);
}

/// The provider signs with a key that it published a moment ago, and the broker has just fetched its keys for an
/// invalid token, which any caller can cause.
#[actix_web::test]
async fn a_key_that_cannot_be_fetched_yet_is_503_and_counts() {
    let few = std::num::NonZeroU32::new(5).unwrap();
    let broker =
        TestBroker::with(Setup::default().adjust(move |config| config.limits.failed_logout_tokens = few));
    let alice = sign_in(&broker, "alice").await;
    broker.provider.faults().set(FaultSwitch::JwksRotate, true);
    let [early, good] = [(); 2].map(|()| signed(&broker, json!({"sub": alice.subject})));
    broker.provider.faults().set(FaultSwitch::JwksRotate, false);
    let fetched = || broker.provider.log().count("/jwks");
    assert_answer(&send(&broker, &early).await, 400);
    assert_eq!(fetched(), 2, "asked, and no such key");

    broker.provider.faults().set(FaultSwitch::JwksRotate, true);
    for _ in 0..4 {
        assert_outage(&send(&broker, &good).await);
    }
    let limited = send(&broker, &good).await;
    assert_eq!((limited.status.as_u16(), limited.error_code().as_deref()), (429, Some("rate_limited")));
    assert_eq!(fetched(), 2, "unknown keys cost one fetch a minute");
    assert_eq!(status(&broker, &alice.token).await, 200, "no session was ended");

    // A sign-in during that time: its ID token is refused, and the SPA is told to retry.
    let login = broker.log_in(&broker.browser(), "dev", "bob", "").await;
    assert_eq!(login.error(), "temporarily_unavailable");
    assert_eq!(broker.audited("login_failed").await.reason.as_deref(), Some("invalid_id_token"));

    broker.advance(60);
    assert_answer(&send(&broker, &good).await, 200);
    assert_eq!(fetched(), 3);
    assert_eq!(status(&broker, &alice.token).await, 401);
    broker.sign_in(&broker.browser(), "dev", "bob").await;
}

/// A copy of a token that passed the first check before the original was processed, and is processed only afterwards.
#[actix_web::test]
async fn a_logout_ends_no_session_that_started_after_the_lookup() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let alice = sign_in(&broker, "alice").await;
        let logout = ProviderLogout {
            providers: vec!["dev".parse().unwrap()],
            scope: LogoutScope::Person(alice.subject.parse().unwrap()),
            used_name: String::new(),
        };
        let storage = broker.storage();
        let found = storage.find_provider_sessions(logout).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_answer(&send(&broker, &signed(&broker, json!({"sub": alice.subject}))).await, 200);
        let again = sign_in(&broker, "alice").await;
        assert_eq!(storage.end_provider_sessions(found, broker.now()).await.unwrap(), []);
        assert_eq!(status(&broker, &again.token).await, 200);
    }
}

fn with_redis(redis: &RedisServer) -> TestBroker {
    TestBroker::with(Setup { key_store: Some(redis.url()), ..Setup::default() })
}

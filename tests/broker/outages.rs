//! Redis, PostgreSQL, SQLite or the provider fail in the middle of a login: the broker responds in time, calls nothing
//! invalid, loses nothing, and recovers without a restart.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::join;

use crate::support::broker::{Login, LoginUrl, Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::outage::{
    SOON, assert_becomes, assert_nothing_lost, assert_recovers, assert_told_to_the_spa, assert_unavailable,
    problems, readiness, within,
};
use crate::support::redis::RedisServer;
use crate::support::storage::sql::SqliteLock;

mod database;
mod provider;

/// What users were doing when the outage started.
struct Underway {
    /// A user who is signed in.
    token: String,
    /// Another user who is signed in and will log out.
    leaving: String,
    /// A user who comes back from the provider: browser, login, URL of the callback.
    returning: (Browser, LoginUrl, String),
    /// A user who has a key and has not redeemed it.
    waiting: (Browser, Login),
}

impl Underway {
    async fn at(broker: &TestBroker) -> Self {
        let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let leaving = broker.sign_in(&broker.browser(), "dev", "bob").await;
        let waiting = broker.browser();
        let login = broker.log_in(&waiting, "dev", "alice", "").await;
        login.key();
        Self { token, leaving, returning: returning(broker, "dev", "").await, waiting: (waiting, login) }
    }
}

/// A browser on its way back from the provider.
async fn returning(broker: &TestBroker, provider: &str, choice: &str) -> (Browser, LoginUrl, String) {
    let browser = broker.browser();
    let login = broker.login(&[("provider", provider)]);
    let callback = broker.callback_url(&browser, &login.url, &format!("&user=alice{choice}")).await;
    (browser, login, callback)
}

async fn redeem(broker: &TestBroker, (browser, login): &(Browser, Login)) -> Answer {
    broker.redeem(browser, &login.key(), &login.verifier).await
}

/// A new login succeeds.
async fn assert_signs_in(broker: &TestBroker) {
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

/// Locks the SQLite file, like another writer, until it is dropped.
fn lock(broker: &TestBroker) -> SqliteLock {
    SqliteLock::of(broker.config.database.url.expose_secret())
}

fn with_redis(redis: &RedisServer) -> TestBroker {
    TestBroker::with(Setup { key_store: Some(redis.url()), ..Setup::default() })
}

/// Logins start and fail cleanly; tokens are verified, rotated and revoked as usual.
async fn assert_redis_is_missed_by_logins_only(broker: &TestBroker, underway: &Underway) {
    let url = broker.login(&[]).url;
    assert_eq!(within(SOON, "/login", broker.browser().navigate(&url)).await.status, 303);

    let (browser, login, callback) = &underway.returning;
    let cookies = browser.cookies("localhost");
    let back = within(SOON, "the callback", browser.navigate(callback)).await;
    assert_told_to_the_spa(&back, &login.state, "temporarily_unavailable");
    assert_nothing_lost(&back);
    assert_eq!(browser.cookies("localhost"), cookies, "the attempt is not used up");

    assert_unavailable(&within(SOON, "redemption", redeem(broker, &underway.waiting)).await);
    let legacy = broker.at(&format!("/api/get_token/?one_time_key={}", underway.waiting.1.key()));
    assert_unavailable(&within(SOON, "old redemption", broker.browser().get(&legacy, &[])).await);

    let (token, leaving) = (&underway.token, &underway.leaving);
    assert_eq!(within(SOON, "/api/me", broker.call("/api/me", token)).await.status, 200);
    assert_eq!(within(SOON, "/api/permissions", broker.call("/api/permissions", token)).await.status, 200);
    let rotated = within(SOON, "rotate", broker.post("/api/token/rotate", token, &json!({}))).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    assert_eq!(within(SOON, "logout", broker.post("/api/logout", leaving, &json!({}))).await.status, 200);
    assert_eq!(broker.call("/api/me", leaving).await.status, 401);

    assert_becomes(broker, (false, false, true)).await;
    let problems = problems(broker).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].0, "key store");
    assert_eq!(broker.browser().get(&broker.at("/healthz"), &[]).await.status, 200);
}

#[actix_web::test]
async fn redis_stops_in_the_middle_of_a_login() {
    let mut redis = RedisServer::start(&[]);
    let broker = with_redis(&redis);
    let underway = Underway::at(&broker).await;
    redis.stop();
    assert_redis_is_missed_by_logins_only(&broker, &underway).await;

    redis.launch();
    assert_recovers(&broker, "Redis was started again").await;
    let (browser, login, callback) = &underway.returning;
    let back = browser.navigate(callback).await;
    let login = Login {
        back,
        callback: callback.clone(),
        verifier: login.verifier.clone(),
        state: login.state.clone(),
    };
    assert_eq!(broker.redeem(browser, &login.key(), &login.verifier).await.status, 200);
    assert_signs_in(&broker).await;
}

/// Redis lost the logins in progress: users with such a key sign in again.
#[actix_web::test]
async fn a_redis_that_lost_its_data_loses_only_logins_in_progress() {
    let mut redis = RedisServer::start(&[]);
    let broker = with_redis(&redis);
    let underway = Underway::at(&broker).await;
    redis.stop();
    redis.launch();
    assert_recovers(&broker, "Redis was started again").await;
    let lost = redeem(&broker, &underway.waiting).await;
    assert_eq!((lost.status.as_u16(), lost.error_code().as_deref()), (400, Some("invalid_grant")));
    assert_eq!(broker.call("/api/me", &underway.token).await.status, 200);
    assert_signs_in(&broker).await;
}

/// It keeps its connections but does not respond. It can still execute commands later, when it continues, so the
/// interrupted login can be lost; a new one works.
#[actix_web::test]
async fn redis_hangs_in_the_middle_of_a_login() {
    let redis = RedisServer::start(&[]);
    let broker = with_redis(&redis);
    let underway = Underway::at(&broker).await;
    let frozen = redis.freeze();
    assert_redis_is_missed_by_logins_only(&broker, &underway).await;

    drop(frozen);
    assert_recovers(&broker, "Redis went on").await;
    assert_signs_in(&broker).await;
}

/// Redis keeps its data but refuses the broker: stored keys can be used afterwards.
#[actix_web::test]
async fn an_outage_uses_up_neither_key_nor_attempt() {
    let redis = RedisServer::start(&[]);
    let broker = with_redis(&redis);
    let underway = Underway::at(&broker).await;
    redis.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("another"));
    let inside = redis.url().replace("redis://", "redis://:another@");
    let ask = |command: &redis::Cmd| crate::support::redis::ask::<redis::Value>(&inside, command).unwrap();
    ask(redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal"));
    for _ in 0..3 {
        assert_redis_refuses(&broker, &underway).await;
    }

    ask(redis::cmd("CONFIG").arg("SET").arg("requirepass").arg(""));
    assert_recovers(&broker, "Redis let the broker in again").await;
    assert_eq!(redeem(&broker, &underway.waiting).await.status, 200);
    let (browser, login, callback) = &underway.returning;
    let key = browser.navigate(callback).await.parameter("one_time_key").unwrap();
    assert_eq!(broker.redeem(browser, &key, &login.verifier).await.status, 200);
}

async fn assert_redis_refuses(broker: &TestBroker, underway: &Underway) {
    assert_unavailable(&within(SOON, "redemption", redeem(broker, &underway.waiting)).await);
    let (browser, login, callback) = &underway.returning;
    let back = within(SOON, "the callback", browser.navigate(callback)).await;
    assert_told_to_the_spa(&back, &login.state, "temporarily_unavailable");
    assert_nothing_lost(&back);
}

/// A wrong proof or a malformed key is refused without a store, as usual.
#[actix_web::test]
async fn malformed_keys_are_refused_without_redis() {
    let mut redis = RedisServer::start(&[]);
    let broker = with_redis(&redis);
    broker.ready().await;
    redis.stop();
    let verifier = broker.login(&[]).verifier;
    for key in ["tbo_", "tbo_short", "tbk_00000000000000000000000000000000000000000000"] {
        let answer = broker.redeem(&broker.browser(), key, &verifier).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_deref()),
            (400, Some("invalid_grant")),
            "{key}"
        );
    }
}

/// Many requests wait for a connection; requests that need none are answered at once.
#[actix_web::test]
async fn blocked_work_blocks_no_worker() {
    let broker = TestBroker::with(Setup::default().adjust(|config| config.database.pool_size = 2));
    let underway = Underway::at(&broker).await;
    let lock = lock(&broker);
    let nothing = json!({});
    let rotate = || broker.post("/api/token/rotate", &underway.token, &nothing);
    let given_up = AtomicUsize::new(0);
    let crowd = futures_util::future::join_all((0..24).map(|_| async {
        let answer = within(Duration::from_secs(5), "rotate", rotate()).await;
        given_up.fetch_add(1, Ordering::Relaxed);
        answer
    }));
    let health = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for _ in 0..5 {
            assert_eq!(broker.browser().get(&broker.at("/healthz"), &[]).await.status, 200);
        }
        assert_eq!(given_up.load(Ordering::Relaxed), 0, "it is answered while they wait");
    };
    let (answers, ()) = join!(crowd, health);
    answers.iter().for_each(assert_unavailable);
    drop(lock);
    let answer = broker.browser().send(Method::GET, &broker.at("/readyz"), &[], None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(rotate().await.status, 200);
}

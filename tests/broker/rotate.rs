//! `/api/token/rotate`, as callers see it: no tab loses its session, and no old token stays valid.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::redis;
use crate::support::rows;
use crate::support::storage::sql::SqliteLock;
use crate::support::wait::until;

async fn rotate(broker: &TestBroker, token: &str) -> Answer {
    broker.post("/api/token/rotate", token, &json!({})).await
}

fn token_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[actix_web::test]
async fn a_successor_takes_over_within_the_same_session() {
    let broker = TestBroker::start();
    let old = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let before = broker.call("/api/me", &old).await.json();
    broker.advance(86_400);
    let answer = rotate(&broker, &old).await;
    let new = token_of(&answer);
    assert_ne!(new, old);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!((604_790..=604_800).contains(&answer.json()["expires_in"].as_i64().unwrap()), "{answer:?}");
    let after = broker.call("/api/me", &new).await.json();
    assert_eq!((&after["user"], &after["session"]), (&before["user"], &before["session"]));
    assert_eq!(after["token"]["scope"], before["token"]["scope"]);
    assert_eq!(time(&after["token"]["expires_at"]), time(&answer.json()["expires_at"]));

    assert_eq!(status(&broker, &old).await, 200, "in the overlap");
    broker.advance(55);
    assert_eq!(status(&broker, &old).await, 200, "near its end");
    broker.advance(6);
    assert_eq!(status(&broker, &new).await, 200);
    assert_eq!(status(&broker, &old).await, 401, "after it");
}

#[actix_web::test]
async fn five_tabs_get_siblings_and_a_sixth_must_wait() {
    let broker = TestBroker::start();
    let old = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let session = broker.call("/api/me", &old).await.json()["session"]["id"].clone();
    let mut siblings = Vec::new();
    for _ in 0..5 {
        siblings.push(token_of(&rotate(&broker, &old).await));
    }
    let sixth = rotate(&broker, &old).await;
    assert_eq!((sixth.status.as_u16(), sixth.error_code().as_deref()), (429, Some("rate_limited")));
    assert!(sixth.header("retry-after").is_some());
    siblings.push(old);
    for token in &siblings {
        let me = broker.call("/api/me", token).await;
        assert_eq!(me.json()["session"]["id"], session, "{me:?}");
    }
    siblings.sort();
    siblings.dedup();
    assert_eq!(siblings.len(), 6, "each is another one");
}

/// Twenty tabs rotate concurrently at two instances.
async fn parallel_tabs(setup: Setup) {
    let broker = TestBroker::with(setup);
    let twin = broker.twin();
    let old = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let instances = [&broker, &twin];
    let answers = join_all((0..20).map(|i| rotate(instances[i % 2], &old))).await;
    let (rotated, waiting): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(rotated.len(), 5, "{answers:?}");
    assert!(waiting.iter().all(|answer| answer.status == 429), "{waiting:?}");
    for token in rotated.into_iter().map(token_of).chain([old]) {
        assert_eq!([status(&broker, &token).await, status(&twin, &token).await], [200, 200]);
    }
}

#[actix_web::test]
async fn parallel_tabs_never_lose_the_session() {
    parallel_tabs(Setup::default()).await;
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn parallel_tabs_never_lose_the_session_on_postgresql_and_redis() {
    use crate::support::storage::Database;

    let database = Database::postgres().migrated().await;
    let key_store = Some(redis::url());
    parallel_tabs(Setup { database: Some(database.url), key_store, ..Setup::default() }).await;
}

/// The clock of the next instance can be slightly behind.
#[actix_web::test]
async fn a_slightly_slow_clock_ends_no_session() {
    let broker = TestBroker::start();
    let old = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let new = token_of(&rotate(&broker, &old).await);
    broker.advance(-3);
    assert_eq!(status(&broker, &old).await, 200);
    assert_eq!(rotate(&broker, &old).await.status, 200);
    assert_eq!(status(&broker, &new).await, 200);
}

#[actix_web::test]
async fn a_rotated_token_used_after_the_overlap_ends_its_session_and_no_other() {
    for path in ["/api/me", "/api/token/rotate"] {
        let broker = TestBroker::start();
        let old = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let elsewhere = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let new = token_of(&rotate(&broker, &old).await);
        let newest = token_of(&rotate(&broker, &new).await);
        broker.advance(61);
        let answer = match path {
            "/api/me" => broker.call(path, &old).await,
            _ => rotate(&broker, &old).await,
        };
        assert_eq!((answer.status.as_u16(), answer.error_code().as_deref()), (401, Some("invalid_token")));
        assert_eq!(status(&broker, &newest).await, 401, "{path}");
        assert_eq!(status(&broker, &elsewhere).await, 200, "{path}");
        let reused = broker.audited("token_reused").await;
        assert_eq!(reused.user, broker.audited("login_succeeded").await.user);
        assert!(reused.session.is_some() && reused.token.is_some(), "{reused:?}");
        assert!(broker.counted("token_reused").await > 0);
    }
}

/// The database can be read but not written: the copied token is refused all the same, and its session ends as soon as the
/// database accepts writes.
#[actix_web::test]
async fn the_session_of_a_copied_token_ends_after_an_outage() {
    let broker = TestBroker::start();
    let old = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let new = token_of(&rotate(&broker, &old).await);
    broker.advance(61);
    let lock = SqliteLock::of(broker.config.database.url.expose_secret());
    let answer = broker.call("/api/me", &old).await;
    assert_eq!((answer.status.as_u16(), answer.error_code().as_deref()), (401, Some("invalid_token")));
    drop(lock);
    until(async || match status(&broker, &new).await {
        401 => Ok(()),
        other => Err(other),
    })
    .await;
    assert!(broker.audited("session_ended").await.session.is_some());
}

#[actix_web::test]
async fn rotation_never_extends_a_session() {
    let broker = TestBroker::start();
    let mut token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let ends = time(&broker.call("/api/me", &token).await.json()["session"]["expires_at"]);
    for day in [6, 12, 18, 24, 29] {
        broker.go_to(ends - TimeDelta::days(30 - day));
        let answer = rotate(&broker, &token).await;
        token = token_of(&answer);
        let expected = (ends - TimeDelta::days(30 - day) + TimeDelta::days(7)).min(ends);
        let off = time(&answer.json()["expires_at"]) - expected;
        assert!(off >= TimeDelta::zero() && off < TimeDelta::seconds(30), "day {day}: {off}");
        assert!(time(&answer.json()["expires_at"]) <= ends, "day {day}");
        let session = broker.call("/api/me", &token).await.json()["session"].clone();
        assert_eq!(time(&session["expires_at"]), ends, "day {day}");
    }
    broker.go_to(ends - TimeDelta::seconds(30));
    token = token_of(&rotate(&broker, &token).await);
    broker.go_to(ends + TimeDelta::seconds(1));
    assert_eq!(status(&broker, &token).await, 401);
    assert_eq!(rotate(&broker, &token).await.status, 401);
}

#[actix_web::test]
async fn an_ended_token_is_not_revived() {
    let broker = TestBroker::start();
    let expired = broker.sign_in(&broker.browser(), "dev", "alice").await;
    broker.advance(604_801);
    let logged_out = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!(broker.post("/api/logout", &logged_out, &json!({})).await.status, 200);
    for token in [&expired, &logged_out] {
        let answer = rotate(&broker, token).await;
        assert_eq!((answer.status.as_u16(), answer.error_code().as_deref()), (401, Some("invalid_token")));
    }
    assert_eq!(rows::count(&broker, "tokens", "1"), 2, "no successor was written");
}

/// A rotation during the logout returns either a token of an ended session or none.
#[actix_web::test]
async fn a_rotation_during_a_logout_leaves_no_live_token() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    for _ in 0..5 {
        let token = broker.sign_in(&browser, "dev", "alice").await;
        let calls = join_all((0..6).map(|i| {
            let path = if i == 3 { "/api/logout" } else { "/api/token/rotate" };
            let (broker, token) = (&broker, &token);
            async move { broker.post(path, token, &json!({})).await }
        }));
        for (i, answer) in calls.await.into_iter().enumerate() {
            assert!([200, 401, 429].contains(&answer.status.as_u16()), "{answer:?}");
            if answer.status == 200 && i != 3 {
                assert_eq!(status(&broker, &token_of(&answer)).await, 401);
            }
        }
        assert_eq!(status(&broker, &token).await, 401);
    }
}

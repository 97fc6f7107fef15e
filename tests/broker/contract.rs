//! The main flows as one story, run on every pair of stores: SQLite or PostgreSQL, memory or Redis.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::broker::{Login, Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::redis;

const DAY: i64 = 86_400;

async fn redeem(broker: &TestBroker, login: &Login) -> Answer {
    broker.redeem(&broker.browser(), &login.key(), &login.verifier).await
}

fn token_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

async fn story(setup: Setup) {
    let broker = TestBroker::with(setup);
    broker.ready().await;
    for (provider, user) in [("dev", "alice"), ("ops", "bob")] {
        a_login(&broker, provider, user).await;
    }
    keys_expire(&broker).await;
    tokens_rotate(&broker).await;
    sessions_end(&broker).await;
    tokens_expire(&broker).await;
    legacy_tokens_last_seven_days(&broker).await;
}

async fn a_login(broker: &TestBroker, provider: &str, user: &str) {
    let login = broker.log_in(&broker.browser(), provider, user, "").await;
    assert_eq!(login.back.parameter("state"), Some(login.state.clone()));
    let guess = broker.redeem(&broker.browser(), &login.key(), &"a".repeat(43)).await;
    assert_eq!((guess.status.as_u16(), guess.error_code().as_deref()), (400, Some("invalid_grant")));
    let token = token_of(&redeem(broker, &login).await);
    let me = broker.call("/api/me", &token).await.json();
    assert_eq!((&me["user"]["username"], &me["user"]["provider"]), (&json!(user), &json!(provider)));
    let permissions = broker.call("/api/permissions", &token).await.json();
    let listed = |list: &str| permissions[list].as_array().map_or(0, Vec::len);
    assert!(listed("permissions") + listed("groups") > 0, "{permissions}");

    let double_click = redeem(broker, &login).await;
    assert_eq!(double_click.normalized(), guess.normalized());
    assert_eq!(status(broker, &token).await, 200);
    broker.advance(30);
    let replay = redeem(broker, &login).await;
    assert_eq!(replay.normalized(), guess.normalized());
    assert_eq!(status(broker, &token).await, 401);
}

async fn keys_expire(broker: &TestBroker) {
    let before = broker.now();
    let [in_time, late] = [
        broker.log_in(&broker.browser(), "dev", "alice", "").await,
        broker.log_in(&broker.browser(), "ops", "bob", "").await,
    ];
    let after = broker.now();
    broker.go_to(before + TimeDelta::seconds(119));
    assert_eq!(redeem(broker, &in_time).await.status, 200);
    broker.go_to(after + TimeDelta::seconds(121));
    assert_eq!(redeem(broker, &late).await.error_code().as_deref(), Some("invalid_grant"));
}

async fn tokens_rotate(broker: &TestBroker) {
    let old = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let new = token_of(&broker.post("/api/token/rotate", &old, &json!({})).await);
    assert_eq!([status(broker, &old).await, status(broker, &new).await], [200, 200]);
    broker.advance(61);
    assert_eq!(status(broker, &new).await, 200);
    assert_eq!(status(broker, &old).await, 401);
    assert_eq!(status(broker, &new).await, 401, "the token was copied: the session has ended");
}

async fn sessions_end(broker: &TestBroker) {
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(broker.sign_in(&broker.browser(), "dev", "alice").await);
    }
    let bob = broker.sign_in(&broker.browser(), "ops", "bob").await;
    assert_eq!(broker.post("/api/logout", &tokens[0], &json!({})).await.status, 200);
    assert_eq!([status(broker, &tokens[0]).await, status(broker, &tokens[1]).await], [401, 200]);
    let everywhere = json!({ "everywhere": true });
    assert_eq!(broker.post("/api/logout", &tokens[1], &everywhere).await.status, 200);
    assert_eq!([status(broker, &tokens[2]).await, status(broker, &bob).await], [401, 200]);
}

async fn tokens_expire(broker: &TestBroker) {
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let facts: Value = broker.call("/api/me", &token).await.json()["token"].clone();
    let issued_at: chrono::DateTime<chrono::Utc> = facts["issued_at"].as_str().unwrap().parse().unwrap();
    broker.go_to(issued_at + TimeDelta::seconds(604_799));
    assert_eq!(status(broker, &token).await, 200);
    broker.go_to(issued_at + TimeDelta::seconds(604_801));
    assert_eq!(status(broker, &token).await, 401);
}

async fn legacy_tokens_last_seven_days(broker: &TestBroker) {
    let mut tokens = Vec::new();
    for days in [0, 6, 2] {
        broker.advance(days * DAY);
        let login = broker.complete(&broker.browser(), broker.legacy_login(), "&user=alice").await;
        let url = format!("{}/?one_time_key={}", broker.at("/api/get_token"), login.key());
        let [first, second] = [broker.browser().get(&url, &[]).await, broker.browser().get(&url, &[]).await];
        assert_eq!(second.body, r#"{"token":null}"#);
        tokens.push(first.json()["token"].as_str().unwrap().to_owned());
    }
    assert_eq!(tokens[0], tokens[1], "on day 6");
    assert_ne!(tokens[0], tokens[2], "on day 8");
    assert_eq!([status(broker, &tokens[0]).await, status(broker, &tokens[2]).await], [401, 200]);
}

#[actix_web::test]
async fn the_story_on_sqlite_and_memory() {
    story(Setup::default()).await;
}

#[actix_web::test]
async fn the_story_on_sqlite_and_redis() {
    story(Setup { key_store: Some(redis::url()), ..Setup::default() }).await;
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::support::storage::Database;

    async fn migrated() -> Option<String> {
        Some(Database::postgres().migrated().await.url)
    }

    #[actix_web::test]
    async fn the_story_on_postgresql_and_memory() {
        story(Setup { database: migrated().await, ..Setup::default() }).await;
    }

    #[actix_web::test]
    async fn the_story_on_postgresql_and_redis() {
        let key_store = Some(redis::url());
        story(Setup { database: migrated().await, key_store, ..Setup::default() }).await;
    }

    #[actix_web::test]
    async fn a_broker_is_not_ready_before_its_schema_exists() {
        let database = Database::postgres();
        let broker = TestBroker::with(Setup { database: Some(database.url.clone()), ..Setup::default() });
        let ready = broker.browser().get(&broker.at("/readyz"), &[]).await;
        assert_eq!((ready.status.as_u16(), ready.json()["verify"].clone()), (503, json!(false)), "{ready:?}");
        database.storage.migrate().await.unwrap();
        broker.ready().await;
    }
}

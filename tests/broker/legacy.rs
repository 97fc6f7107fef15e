//! The API of the Django service that this broker replaces, for clients with `legacy = true`.

use futures_util::future::join_all;
use serde_json::{Value, json};
use token_broker::domain::client::Client;
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};

use crate::support::audit;
use crate::support::broker::{Login, Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::redis;

const DAY: i64 = 86_400;

async fn log_in(broker: &TestBroker, browser: &Browser, user: &str) -> Login {
    broker.ready().await;
    broker.complete(browser, broker.legacy_login(), &format!("&user={user}")).await
}

/// `GET /api/get_token/?one_time_key=…`, as the old SPA calls it.
async fn ask(broker: &TestBroker, key: &str) -> Answer {
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("one_time_key", key).finish();
    broker.browser().get(&format!("{}/?{query}", broker.at("/api/get_token")), &[]).await
}

/// The token from a login of `user` in a new browser.
async fn token_for(broker: &TestBroker, user: &str) -> String {
    let login = log_in(broker, &broker.browser(), user).await;
    let answer = ask(broker, &login.key()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn is_null(answer: &Answer, case: &str) {
    let seen = (answer.status.as_u16(), answer.body.as_str());
    assert_eq!(seen, (200, r#"{"token":null}"#), "{case}: {answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
}

#[actix_web::test]
async fn the_old_spa_signs_in_unchanged() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let login = log_in(&broker, &browser, "alice").await;
    let back = login.back.location().unwrap();
    assert_eq!(back.path(), "/legacy");
    let answer = ask(&broker, &login.key()).await;
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["token"]);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let me = broker.call("/api/me/", body["token"].as_str().unwrap()).await.json();
    assert_eq!((&me["user"]["username"], &me["token"]["client_id"]), (&json!("alice"), &json!("legacy")));
}

#[actix_web::test]
async fn the_token_is_null_for_every_invalid_key() {
    let broker = TestBroker::start();
    let [used, late] =
        [log_in(&broker, &broker.browser(), "alice").await, log_in(&broker, &broker.browser(), "bob").await];
    let modern = broker.log_in(&broker.browser(), "dev", "alice", "").await;
    assert!(ask(&broker, &used.key()).await.json()["token"].is_string());
    is_null(&ask(&broker, &used.key()).await, "used");
    is_null(&ask(&broker, "").await, "empty");
    is_null(&ask(&broker, "no key at all").await, "malformed");
    is_null(&ask(&broker, "ü\0\u{7f}").await, "hostile");
    is_null(&broker.browser().get(&broker.at("/api/get_token/"), &[]).await, "missing");
    let other_last = if late.key().ends_with('0') { '1' } else { '0' };
    is_null(&ask(&broker, &format!("{}{other_last}", &late.key()[..53])).await, "mistyped");
    is_null(&ask(&broker, &modern.key()).await, "a key of a login with a challenge");
    let answer = broker.redeem(&broker.browser(), &modern.key(), &modern.verifier).await;
    assert_eq!(answer.status, 200, "which is not spent by that");
    broker.advance(121);
    is_null(&ask(&broker, &late.key()).await, "expired");
    let twice = format!("{}?one_time_key=a&one_time_key=a", broker.at("/api/get_token"));
    assert_eq!(broker.browser().get(&twice, &[]).await.status, 400);
}

#[actix_web::test]
async fn of_parallel_requests_of_the_old_spa_one_gets_the_token() {
    let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..Setup::default() });
    let twin = broker.twin();
    let login = log_in(&broker, &broker.browser(), "alice").await;
    let key = login.key();
    let answers = join_all((0..40).map(|i| ask([&broker, &twin][i % 2], &key))).await;
    let tokens: Vec<Value> = answers.iter().map(|answer| answer.json()["token"].clone()).collect();
    assert_eq!(tokens.iter().filter(|token| token.is_string()).count(), 1, "{tokens:?}");
    assert_eq!(tokens.iter().filter(|token| token.is_null()).count(), 39, "{tokens:?}");
}

#[actix_web::test]
async fn the_same_token_again_within_seven_days_and_a_new_one_after() {
    let broker = TestBroker::start();
    let first = token_for(&broker, "alice").await;
    broker.advance(6 * DAY);
    assert_eq!(token_for(&broker, "alice").await, first, "also from another browser");
    assert_eq!(broker.call("/api/me", &first).await.status, 200);
    broker.advance(2 * DAY);
    let second = token_for(&broker, "alice").await;
    assert_ne!(second, first);
    assert_eq!(broker.call("/api/me", &first).await.status, 401);
    assert_eq!(broker.call("/api/me", &second).await.status, 200);
}

#[actix_web::test]
async fn parallel_logins_get_one_token() {
    let broker = TestBroker::start();
    broker.ready().await;
    let tokens = join_all((0..8).map(|_| token_for(&broker, "alice"))).await;
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
}

/// A broker with a second legacy client, `older`.
fn with_two_legacy_clients() -> TestBroker {
    TestBroker::with(Setup::default().adjust(|config| {
        let legacy = config.clients.iter().find(|client| client.legacy).unwrap().clone();
        config.clients.push(Client {
            id: "older".parse().unwrap(),
            redirect_uris: vec!["http://localhost:9/older".parse().unwrap()],
            ..legacy
        });
    }))
}

#[actix_web::test]
async fn the_token_is_of_one_user_and_one_client() {
    let broker = with_two_legacy_clients();
    let alice = token_for(&broker, "alice").await;
    assert_ne!(token_for(&broker, "bob").await, alice);
    let older = broker.login(&[
        ("client_id", "older"),
        ("provider", "ops"),
        ("redirect_uri", "http://localhost:9/older"),
        ("code_challenge", ""),
        ("code_challenge_method", ""),
    ]);
    let login = broker.complete(&broker.browser(), older, "&user=alice").await;
    let other = ask(&broker, &login.key()).await.json()["token"].as_str().unwrap().to_owned();
    assert_ne!(other, alice);
    let me = broker.call("/api/me", &other).await.json();
    assert_eq!((&me["user"]["username"], &me["token"]["client_id"]), (&json!("alice"), &json!("older")));
    let modern = broker.sign_in(&broker.browser(), "ops", "alice").await;
    assert_ne!(modern, alice, "and never that of a client that is no legacy one");
}

#[actix_web::test]
async fn an_ended_token_is_not_handed_out_again() {
    let broker = TestBroker::start();
    let first = token_for(&broker, "alice").await;
    assert_eq!(broker.post("/api/logout", &first, &json!({})).await.status, 204);
    let second = token_for(&broker, "alice").await;
    assert_ne!(second, first);
    let rotated = broker.post("/api/token/rotate", &second, &json!({})).await;
    assert_eq!(
        rotated.error_code().as_deref(),
        Some("invalid_request"),
        "one token is shared by all browsers"
    );
    let third = token_for(&broker, "alice").await;
    assert_eq!(third, second);
    let user = broker.audited("login_succeeded").await.user.unwrap();
    audit::set_user_disabled(&broker, user, true);
    let refused = log_in(&broker, &broker.browser(), "alice").await;
    assert_eq!(refused.error(), "access_denied");
    assert_eq!(broker.call("/api/me", &third).await.status, 401);
}

/// The old SPA has one token for all its tabs, and several tabs may redeem the same key: a replay must not sign them
/// out.
#[actix_web::test]
async fn a_replay_does_not_end_the_session_of_a_legacy_client() {
    let broker = TestBroker::start();
    let login = log_in(&broker, &broker.browser(), "alice").await;
    let token = ask(&broker, &login.key()).await.json()["token"].as_str().unwrap().to_owned();
    broker.advance(60);
    is_null(&ask(&broker, &login.key()).await, "replay");
    broker.audited("key_repeated").await;
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

#[actix_web::test]
async fn the_origin_of_another_client_is_refused() {
    let broker = TestBroker::start();
    let login = log_in(&broker, &broker.browser(), "alice").await;
    let url = format!("{}?one_time_key={}", broker.at("/api/get_token"), login.key());
    let answer = broker.browser().get(&url, &[("origin", "https://evil.example")]).await;
    let seen = (answer.status.as_u16(), answer.error_code());
    assert_eq!(seen, (403, Some("origin_not_allowed".to_owned())), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[actix_web::test]
async fn without_the_server_key_of_the_token_a_new_one_is_handed_out() {
    let ring = |id: u32| KeyRing::new(KeyId(id), vec![ServerKey::new(KeyId(id), vec![7; 32]).unwrap()]);
    let broker =
        TestBroker::with(Setup::default().adjust(move |config| config.server_keys = ring(1).unwrap().into()));
    let old = token_for(&broker, "alice").await;
    let twin = broker.twin_with(|config| config.server_keys = ring(2).unwrap().into());
    let new = token_for(&twin, "alice").await;
    assert_ne!(new, old);
    assert_eq!(twin.call("/api/me", &new).await.status, 200);
    assert_eq!(twin.call("/api/me", &old).await.status, 401);
}

#[actix_web::test]
async fn the_key_can_be_delivered_as_code() {
    use token_broker::domain::client::KeyParameter;

    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.clients.iter_mut().for_each(|client| client.key_parameter = KeyParameter::Code);
    }));
    let login = log_in(&broker, &broker.browser(), "alice").await;
    assert_eq!(login.back.parameter("one_time_key"), None);
    let key = login.back.parameter("code").unwrap();
    assert!(ask(&broker, &key).await.json()["token"].is_string());
}

//! `/api/sessions`: users see and end only their own sessions.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
#[cfg(feature = "postgres")]
use crate::support::outage::{assert_recovers, assert_unavailable};
#[cfg(feature = "postgres")]
use crate::support::postgres::Postgres;
use crate::support::rows;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 \
     (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";

async fn delete(broker: &TestBroker, path: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    broker.browser().send(Method::DELETE, &broker.at(path), &[("authorization", &bearer)], None).await
}

/// The session list for this token.
async fn list(broker: &TestBroker, token: &str) -> Vec<Value> {
    let answer = broker.call("/api/sessions", token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()["sessions"].as_array().unwrap().clone()
}

async fn id(broker: &TestBroker, token: &str) -> String {
    broker.call("/api/me", token).await.json()["session"]["id"].as_str().unwrap().to_owned()
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

fn browser_with(broker: &TestBroker, user_agent: &str) -> Browser {
    let mut browser = broker.browser();
    user_agent.clone_into(&mut browser.user_agent);
    browser
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

#[actix_web::test]
async fn the_list_shows_own_live_sessions_with_their_devices_and_no_token() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let phone = broker.sign_in(&browser_with(&broker, IPHONE), "ops", "alice").await;
        let bob = broker.sign_in(&broker.browser(), "dev", "bob").await;
        let begun = broker.now();
        let here = broker.sign_in(&browser_with(&broker, FIREFOX), "dev", "alice").await;
        let strange = broker.sign_in(&browser_with(&broker, "<b>x</b>"), "dev", "alice").await;

        let listed = list(&broker, &here).await;
        assert_eq!(listed.len(), 2, "the other provider's alice is another user: {listed:?}");
        let names: Vec<_> = listed[0].as_object().unwrap().keys().map(String::as_str).collect();
        let documented = [
            "address_prefix",
            "created_at",
            "current",
            "device",
            "expires_at",
            "id",
            "last_used_at",
            "provider",
        ];
        assert_eq!(names, documented);
        assert_eq!(listed[0]["id"], id(&broker, &here).await);
        assert_eq!(listed[0]["current"], true);
        assert_eq!(listed[0]["device"], json!({"name": "Firefox on Linux", "kind": "computer"}));
        assert_eq!(
            (&listed[0]["provider"], &listed[0]["address_prefix"]),
            (&json!("dev"), &json!("127.0.0.0/24"))
        );
        let created = time(&listed[0]["created_at"]);
        assert!(created >= begun && created <= broker.now());
        assert_eq!(time(&listed[0]["expires_at"]), created + TimeDelta::days(30));
        assert!(time(&listed[0]["last_used_at"]) >= created);

        assert_eq!(listed[1]["id"], id(&broker, &strange).await);
        assert_eq!(listed[1]["current"], false);
        assert_eq!(listed[1]["device"], json!({"name": null, "kind": "unknown"}));

        let phones = list(&broker, &phone).await;
        assert_eq!(phones.len(), 1);
        assert_eq!(phones[0]["device"], json!({"name": "Safari on iPhone", "kind": "mobile"}));
        assert_eq!(list(&broker, &bob).await.len(), 1);
    }
}

#[actix_web::test]
async fn only_usable_sessions_are_listed() {
    let broker = TestBroker::start();
    let ended = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!(broker.post("/api/logout", &ended, &json!({})).await.status.as_u16() / 100, 2);
    let here = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!(list(&broker, &here).await.len(), 1, "an ended one");

    // Not redeemed yet, but the key still can be.
    let waiting = broker.log_in(&broker.browser(), "dev", "alice", "").await;
    let listed = list(&broker, &here).await;
    assert_eq!((listed.len(), &listed[1]["last_used_at"]), (2, &Value::Null));
    let other = listed[1]["id"].as_str().unwrap();
    assert_eq!(delete(&broker, &format!("/api/sessions/{other}"), &here).await.status, 204);
    let redeemed = broker.redeem(&broker.browser(), &waiting.key(), &waiting.verifier).await;
    let token = redeemed.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(status(&broker, &token).await, 401, "redeeming asks no database; the token is dead");

    // A browser without live tokens and without a cookie cannot use its session any more.
    let no_cookie = "UPDATE sessions SET cookie_digest = NULL";
    broker.advance(8 * 86_400);
    let later = broker.sign_in(&broker.browser(), "dev", "alice").await;
    rows::change(&broker, no_cookie);
    assert_eq!(list(&broker, &later).await.len(), 1);
}

#[actix_web::test]
async fn a_foreign_session_is_404_like_every_id_that_does_not_exist() {
    let broker = TestBroker::start();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let other = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let bob = broker.sign_in(&broker.browser(), "dev", "bob").await;
    let bobs = id(&broker, &bob).await;
    let ended = id(&broker, &other).await;
    assert_eq!(delete(&broker, &format!("/api/sessions/{ended}"), &alice).await.status, 204);
    assert_eq!(status(&broker, &other).await, 401, "at once");

    let long = "a".repeat(2_000);
    let unknown = "/api/sessions/00000000-0000-4000-8000-000000000000";
    let missing = delete(&broker, unknown, &alice).await;
    assert_eq!((missing.status.as_u16(), missing.error_code().as_deref()), (404, Some("not_found")));
    for bad in [&*bobs, &ended, "x", "0", "%00", "%ff", "'%20or%201=1--", "..%2f..", "current", "null", &long]
    {
        let answer = delete(&broker, &format!("/api/sessions/{bad}"), &alice).await;
        assert_eq!(answer.normalized(), missing.normalized(), "{bad}");
    }
    assert_eq!([status(&broker, &alice).await, status(&broker, &bob).await], [200, 200]);
    let users_id = broker.call("/api/me", &bob).await.json()["user"]["id"].as_str().unwrap().to_owned();
    for query in [format!("?user_id={users_id}"), format!("?user={users_id}&all=true")] {
        let listed = broker.call(&format!("/api/sessions{query}"), &alice).await.json();
        assert_eq!(listed["sessions"].as_array().unwrap().len(), 1, "{query}");
    }
}

#[actix_web::test]
async fn one_all_others_and_all_can_be_ended() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let mut tokens = Vec::new();
        for _ in 0..4 {
            tokens.push(broker.sign_in(&broker.browser(), "dev", "alice").await);
        }
        let bob = broker.sign_in(&broker.browser(), "dev", "bob").await;
        let rotated = broker.post("/api/token/rotate", &tokens[1], &json!({})).await;
        let rotated = rotated.json()["access_token"].as_str().unwrap().to_owned();

        let second = id(&broker, &tokens[1]).await;
        assert_eq!(delete(&broker, &format!("/api/sessions/{second}"), &tokens[0]).await.status, 204);
        for token in [&tokens[1], &rotated] {
            assert_eq!(status(&broker, token).await, 401, "every token of it");
        }
        let event = broker.audited("session_ended").await;
        assert_eq!(event.session.map(|id| id.to_string()), Some(second));
        assert_eq!(event.client.as_deref(), Some("sample"));

        let ended = broker.counted("session_ended").await;
        let all_others = delete(&broker, "/api/sessions", &tokens[0]).await;
        assert_eq!((all_others.status.as_u16(), all_others.body.as_str()), (204, ""));
        assert!(broker.counted("session_ended").await >= ended + 2);
        let mut statuses = Vec::new();
        for token in tokens.iter().chain([&bob]) {
            statuses.push(status(&broker, token).await);
        }
        assert_eq!(statuses, [200, 401, 401, 401, 200]);
        assert_eq!(delete(&broker, "/api/sessions", &tokens[0]).await.status, 204, "there is none");
        assert_eq!(list(&broker, &tokens[0]).await.len(), 1);

        // The current session can also be ended, like a logout.
        let own = id(&broker, &tokens[0]).await;
        assert_eq!(delete(&broker, &format!("/api/sessions/{own}"), &tokens[0]).await.status, 204);
        assert_eq!(status(&broker, &tokens[0]).await, 401);
        assert_eq!(delete(&broker, &format!("/api/sessions/{own}"), &tokens[0]).await.status, 401);
    }
}

#[actix_web::test]
async fn each_ended_session_is_audited_once() {
    let broker = TestBroker::start();
    let mut tokens = Vec::new();
    let mut sessions = BTreeSet::new();
    for _ in 0..3 {
        let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        sessions.insert(id(&broker, &token).await);
        tokens.push(token);
    }
    let everywhere = json!({ "everywhere": true });
    let answers = join_all([&tokens[0]; 2].map(|token| broker.post("/api/logout", token, &everywhere))).await;
    assert!(answers.iter().any(|answer| answer.status == 200), "{answers:?}");
    broker.call("/api/me", "unknown").await;
    broker.audited("token_refused").await; // the queue is written in order: all of these are there now
    let events = audit::newest(&broker.storage(), 1_000).await;
    let ended: Vec<String> = events
        .iter()
        .filter(|event| event.kind == "session_ended")
        .filter_map(|event| Some(event.session?.to_string()))
        .collect();
    assert_eq!(ended.len(), 3, "{ended:?}");
    assert_eq!(BTreeSet::from_iter(ended), sessions);
}

/// `${api}/sessions/${id}` as built by an app with an empty id.
#[actix_web::test]
async fn an_empty_id_ends_no_session() {
    let broker = TestBroker::start();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let other = broker.sign_in(&broker.browser(), "dev", "alice").await;
    for path in
        ["/api/sessions/", "/api/sessions//", "//api//sessions/", "/%61pi/sessions/", "/api/sessions/?id=x"]
    {
        let answer = delete(&broker, path, &token).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_deref()),
            (404, Some("not_found")),
            "{path}"
        );
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        assert_eq!([status(&broker, &token).await, status(&broker, &other).await], [200, 200], "{path}");
    }
    // A trailing slash after an id is accepted, as everywhere.
    assert_eq!(broker.call("/api/sessions/", &token).await.json()["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(broker.post("/api/token/rotate/", &token, &json!({})).await.status, 200);
}

/// Two tabs end each other's session, and a third ends all others while they rotate.
#[actix_web::test]
async fn ending_sessions_in_parallel_leaves_no_live_token() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        let kept = broker.sign_in(&broker.browser(), "dev", "alice").await;
        for _ in 0..5 {
            let others = [
                broker.sign_in(&broker.browser(), "dev", "alice").await,
                twin.sign_in(&twin.browser(), "dev", "alice").await,
            ];
            let nothing = json!({});
            let rotations = others.iter().map(|token| twin.post("/api/token/rotate", token, &nothing));
            let (ended, rotated) = tokio::join!(delete(&broker, "/api/sessions", &kept), join_all(rotations));
            assert_eq!(ended.status, 204, "{ended:?}");
            for token in others {
                assert_eq!(status(&twin, &token).await, 401);
            }
            for answer in rotated.iter().filter(|answer| answer.status == 200) {
                assert_eq!(status(&broker, answer.json()["access_token"].as_str().unwrap()).await, 401);
            }
            assert_eq!(status(&twin, &kept).await, 200);
        }
    }
}

#[actix_web::test]
async fn the_list_needs_the_scope_profile_and_every_call_a_token() {
    let broker = TestBroker::with(
        Setup::default().adjust(|config| config.clients[0].scopes = "other".parse().unwrap()),
    );
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let answer = broker.call("/api/sessions", &token).await;
    assert_eq!((answer.status.as_u16(), answer.error_code().as_deref()), (403, Some("insufficient_scope")));
    for (method, path) in [(Method::GET, ""), (Method::DELETE, ""), (Method::DELETE, "/x")] {
        let url = broker.at(&format!("/api/sessions{path}"));
        let answer = broker.browser().send(method.clone(), &url, &[], None).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_deref()),
            (401, Some("missing_token")),
            "{method} {path}"
        );
    }
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn without_the_database_sessions_are_unknown_and_none_ends() {
    let mut server = Postgres::own();
    let broker = TestBroker::with(Setup { database: Some(server.database()), ..Setup::default() });
    broker.storage().migrate().await.unwrap();
    let here = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let other = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let others = id(&broker, &other).await;
    server.stop();
    let answers = [
        broker.call("/api/sessions", &here).await,
        delete(&broker, "/api/sessions", &here).await,
        delete(&broker, &format!("/api/sessions/{others}"), &here).await,
        delete(&broker, "/api/sessions/x", &here).await,
    ];
    for answer in answers {
        assert_unavailable(&answer);
    }
    server.resume();
    assert_recovers(&broker, "PostgreSQL was started again").await;
    assert_eq!([status(&broker, &here).await, status(&broker, &other).await], [200, 200]);
}

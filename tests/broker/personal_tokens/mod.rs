//! `/api/personal_tokens`: users make, see and revoke only their own tokens, after a fresh sign-in, and no token does more
//! than its maker.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use token_broker::domain::token::GenuineToken;

use crate::support::administration::Desk;
use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
#[cfg(feature = "postgres")]
use crate::support::outage::{assert_recovers, assert_unavailable};
#[cfg(feature = "postgres")]
use crate::support::postgres::Postgres;
use crate::support::rows;
use crate::support::wait::until;

mod limits;
mod sign_in;

const PATH: &str = "/api/personal_tokens";
const DAY: i64 = 86_400;

async fn delete(broker: &TestBroker, path: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    broker.browser().send(Method::DELETE, &broker.at(path), &[("authorization", &bearer)], None).await
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

/// The answer to making a token for a day; `changes` replaces members, and null removes one.
async fn ask(broker: &TestBroker, token: &str, changes: Value) -> Answer {
    let mut body = json!({ "name": "Nightly export", "scope": "profile", "expires_in": DAY });
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    broker.post(PATH, token, &body).await
}

/// Makes a token for a day and returns its text and its id.
async fn make(broker: &TestBroker, token: &str) -> (String, String) {
    let answer = ask(broker, token, json!({})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let (made, text) = (answer.json(), |value: &Value| value.as_str().unwrap().to_owned());
    (text(&made["token"]), text(&made["personal_token"]["id"]))
}

/// The list of personal tokens for this token.
async fn list(broker: &TestBroker, token: &str) -> Vec<Value> {
    let answer = broker.call(PATH, token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["personal_tokens"].as_array().unwrap().clone()
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.error_code().unwrap_or_else(|| panic!("{answer:?}")))
}

#[actix_web::test]
async fn a_personal_token_is_shown_once_listed_used_and_revoked() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let answer = ask(&broker, &alice, json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (201, Some("no-store")));
        let made = answer.json();
        let text = made["token"].as_str().unwrap();
        assert!(text.starts_with("tbp_") && text.len() == 76, "{text}");
        let genuine = GenuineToken::parse(text, &broker.config.server_keys.ring).unwrap();

        let me = twin.call("/api/me", text).await.json();
        assert_eq!((&me["token"]["kind"], &me["session"]), (&json!("personal"), &Value::Null));
        assert_eq!(me["user"]["username"], "alice");
        let listed = until(async || {
            let listed = list(&twin, &alice).await;
            if listed[0]["last_used_at"].is_string() { Ok(listed) } else { Err(listed) }
        })
        .await;
        let names: Vec<_> = listed[0].as_object().unwrap().keys().map(String::as_str).collect();
        let documented = [
            "audience",
            "client_id",
            "created_at",
            "expires_at",
            "id",
            "last_used_at",
            "log_id",
            "name",
            "scope",
        ];
        assert_eq!((listed.len(), names), (1, documented.to_vec()));
        for (name, value) in made["personal_token"].as_object().unwrap() {
            assert!(name == "last_used_at" || listed[0][name] == *value, "{name}: {value}");
        }
        assert_eq!(listed[0]["name"], "Nightly export");
        assert_eq!(listed[0]["scope"], "profile");
        assert_eq!(listed[0]["audience"], json!([broker.url]));
        assert_eq!(listed[0]["log_id"], genuine.handle.digest().short_id());
        assert!(!json!(listed).to_string().contains(&text[4..]));

        let path = format!("{PATH}/{}", listed[0]["id"].as_str().unwrap());
        let revoked = delete(&broker, &path, &alice).await;
        assert_eq!((revoked.status.as_u16(), revoked.body.as_str()), (204, ""));
        assert_eq!([status(&broker, text).await, status(&twin, text).await], [401, 401], "at once");
        assert_eq!(refusal(&delete(&broker, &path, &alice).await), (404, "not_found".to_owned()));
        assert_eq!(list(&broker, &alice).await.len(), 0);
        for kind in ["personal_token_made", "personal_token_revoked"] {
            let event = broker.audited(kind).await;
            assert_eq!(event.token, Some(genuine.handle.digest().short_id()), "{kind}");
            assert_eq!((event.user.is_some(), event.client.as_deref()), (true, Some("sample")), "{kind}");
        }
    }
}

#[actix_web::test]
async fn the_database_holds_nothing_that_can_be_presented() {
    let broker = TestBroker::start();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let (text, _) = make(&broker, &alice).await;
    let genuine = GenuineToken::parse(&text, &broker.config.server_keys.ring).unwrap();
    let values = rows::database_dump(&broker);
    let holds = |secret: &[u8]| values.iter().any(|value| value.windows(secret.len()).any(|at| at == secret));
    assert!(holds(genuine.handle.digest().as_bytes()), "the row was read");
    for secret in [text.as_bytes(), &text.as_bytes()[4..70], genuine.handle.expose()] {
        assert!(!holds(secret));
    }
}

#[actix_web::test]
async fn a_personal_token_opens_neither_sessions_nor_tokens() {
    let broker = TestBroker::start();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let (text, id) = make(&broker, &alice).await;
    let mut answers = vec![ask(&broker, &text, json!({})).await, broker.call(PATH, &text).await];
    answers.push(delete(&broker, &format!("{PATH}/{id}"), &text).await);
    answers.push(broker.call("/api/sessions", &text).await);
    answers.push(delete(&broker, "/api/sessions", &text).await);
    answers.push(broker.post("/api/token/rotate", &text, &json!({})).await);
    answers.push(broker.post("/api/logout", &text, &json!({ "everywhere": true })).await);
    for answer in answers {
        assert_eq!(refusal(&answer), (403, "insufficient_scope".to_owned()), "{answer:?}");
    }
    assert_eq!([status(&broker, &text).await, status(&broker, &alice).await], [200, 200]);
}

#[actix_web::test]
async fn a_foreign_token_is_404_like_every_id_that_does_not_exist() {
    let broker = TestBroker::start();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let bob = broker.sign_in(&broker.browser(), "dev", "bob").await;
    let (text, bobs) = make(&broker, &bob).await;
    let own_session_token = Desk::of(&broker).json(&["tokens", "list", "--user", "alice"])[0]["id"].clone();
    let unknown = format!("{PATH}/00000000-0000-4000-8000-000000000000");
    let missing = delete(&broker, &unknown, &alice).await;
    assert_eq!(refusal(&missing), (404, "not_found".to_owned()));
    for bad in [&*bobs, own_session_token.as_str().unwrap(), "x", "%00", "%ff", "'%20or%201=1--", "current"] {
        let answer = delete(&broker, &format!("{PATH}/{bad}"), &alice).await;
        assert_eq!(answer.normalized(), missing.normalized(), "{bad}");
    }
    assert_eq!([status(&broker, &text).await, status(&broker, &alice).await], [200, 200]);
    assert_eq!(list(&broker, &alice).await.len(), 0);
    let users_id = broker.call("/api/me", &bob).await.json()["user"]["id"].as_str().unwrap().to_owned();
    let listed = broker.call(&format!("{PATH}?user_id={users_id}"), &alice).await.json();
    assert_eq!(listed["personal_tokens"], json!([]));
    for member in ["user_id", "kind", "client_id", "audience", "token", "role", "subject"] {
        let answer = ask(&broker, &alice, json!({ member: "x" })).await;
        assert_eq!(refusal(&answer), (400, "invalid_request".to_owned()), "{member}");
    }
}

#[actix_web::test]
async fn the_permissions_are_the_owners_present_ones() {
    let broker = TestBroker::start();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let answer = ask(&broker, &alice, json!({ "scope": "permissions" })).await.json();
    let text = answer["token"].as_str().unwrap();
    let before = broker.call("/api/permissions", text).await.json();
    assert!(before["permissions"].as_array().is_some_and(|names| !names.is_empty()), "{before}");
    rows::change(&broker, r#"UPDATE identities SET permissions = '["report.read"]'"#);
    let after = broker.call("/api/permissions", text).await.json();
    assert_eq!(after["permissions"], json!(["report.read"]));
    assert_eq!(refusal(&broker.call("/api/me", text).await), (403, "insufficient_scope".to_owned()));
}

#[actix_web::test]
async fn disabling_a_user_revokes_their_personal_tokens_for_good() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        let desk = Desk::of(&broker);
        let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let bob = broker.sign_in(&broker.browser(), "dev", "bob").await;
        let (first, _) = make(&broker, &alice).await;
        let (second, _) = make(&broker, &alice).await;
        let (bobs, _) = make(&broker, &bob).await;
        assert_eq!(desk.json(&["users", "show", "alice"])["live_personal_tokens"], 2);

        let said = desk.done(&["users", "disable", "alice"]);
        assert!(said.ends_with("is now disabled; 1 session ended, 2 personal tokens revoked\n"), "{said}");
        assert_eq!([status(&broker, &first).await, status(&twin, &second).await], [401, 401]);
        let revoked = desk.json(&["audit", "list", "--kind", "admin_token_revoked"]);
        let revoked = revoked.as_array().unwrap().clone();
        assert_eq!(revoked.len(), 2, "{revoked:?}");
        assert!(revoked.iter().all(|event| event["token"].is_string() && event["actor"].is_string()));

        desk.done(&["users", "enable", "alice"]);
        assert_eq!([status(&broker, &first).await, status(&twin, &second).await], [401, 401]);
        assert_eq!(status(&broker, &bobs).await, 200);
        let back = broker.sign_in(&broker.browser(), "dev", "alice").await;
        assert_eq!(list(&broker, &back).await.len(), 0);
    }
}

/// A token that is made while its user is being disabled does not outlive that.
#[actix_web::test]
async fn no_token_is_made_beside_disabling() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let makers = (0..8).map(|_| ask(&broker, &alice, json!({})));
        let disabling =
            async { actix_web::web::block(move || desk.done(&["users", "disable", "alice"])).await };
        let (answers, disabled) = tokio::join!(join_all(makers), disabling);
        assert!(disabled.unwrap().contains("is now disabled"));
        audit::set_user_disabled(&broker, broker.audited("admin_user_disabled").await.user.unwrap(), false);
        for answer in answers {
            match answer.status.as_u16() {
                201 => assert_eq!(status(&broker, answer.json()["token"].as_str().unwrap()).await, 401),
                other => assert_eq!(other, 401, "{answer:?}"),
            }
        }
    }
}

#[actix_web::test]
async fn signing_out_everywhere_names_the_personal_tokens_and_can_revoke_them() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let (text, _) = make(&broker, &alice).await;
        make(&broker, &alice).await;
        let refused = broker.post("/api/logout", &alice, &json!({ "personal_tokens": true })).await;
        assert_eq!(refusal(&refused), (400, "invalid_request".to_owned()));
        assert_eq!([status(&broker, &alice).await, status(&broker, &text).await], [200, 200]);

        let out = broker.post("/api/logout", &alice, &json!({ "everywhere": true })).await.json();
        assert_eq!((&out["personal_tokens_left"], &out["personal_tokens_revoked"]), (&json!(2), &json!(0)));
        assert_eq!([status(&broker, &alice).await, status(&broker, &text).await], [401, 200]);

        let back = broker.sign_in(&broker.browser(), "ops", "alice").await;
        let here_only = broker.post("/api/logout", &back, &json!({})).await;
        assert_eq!(here_only.status, 204, "nothing about personal tokens");
        let back = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let all = json!({ "everywhere": true, "personal_tokens": true });
        let out = broker.post("/api/logout", &back, &all).await.json();
        assert_eq!((&out["personal_tokens_left"], &out["personal_tokens_revoked"]), (&json!(0), &json!(2)));
        assert_eq!(status(&broker, &text).await, 401);
        assert!(broker.audited("personal_token_revoked").await.token.is_some());
    }
}

#[actix_web::test]
async fn administrators_see_and_revoke_personal_tokens() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let bob = broker.sign_in(&broker.browser(), "dev", "bob").await;
        let mut tokens = Vec::new();
        for maker in [&alice, &alice, &alice, &bob] {
            tokens.push(make(&broker, maker).await);
        }
        let listed = desk.json(&["tokens", "list", "--kind", "personal", "--user", "alice"]);
        assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");
        assert_eq!((&listed[0]["kind"], &listed[0]["name"]), (&json!("personal"), &json!("Nightly export")));
        assert!(!listed.to_string().contains(&tokens[2].0[4..]));
        desk.file("leaked.txt", &tokens[0].0);
        let said = desk.done(&["tokens", "revoke", "--file", "leaked.txt"]);
        assert!(said.contains("a personal token that was live") && said.contains("Nightly export"), "{said}");
        desk.done(&["tokens", "revoke-id", &tokens[1].1]);
        assert_eq!([status(&broker, &tokens[0].0).await, status(&broker, &tokens[1].0).await], [401, 401]);
        assert_eq!(status(&broker, &alice).await, 200);

        let said = desk.done(&["sessions", "end-all", "--user", "alice", "--yes"]);
        assert_eq!(said, "1 session ended; 1 personal token left, which --personal-tokens revokes\n");
        assert_eq!(status(&broker, &tokens[2].0).await, 200);
        let said = desk.done(&["sessions", "end-all", "--user", "alice", "--personal-tokens", "--yes"]);
        assert_eq!(said, "0 sessions ended, 1 personal token revoked\n");
        assert_eq!([status(&broker, &tokens[2].0).await, status(&broker, &tokens[3].0).await], [401, 200]);
        let done = desk.json(&["sessions", "end-all", "--everyone", "--personal-tokens", "--yes"]);
        let counts = json!({ "sessions_ended": 1, "personal_tokens_revoked": 1, "personal_tokens_left": 0 });
        assert_eq!(done, counts);
        assert_eq!(status(&broker, &tokens[3].0).await, 401);
        let revoked = desk.json(&["audit", "list", "--kind", "admin_token_revoked"]);
        assert_eq!(revoked.as_array().unwrap().len(), 4, "{revoked}");
    }
}

#[actix_web::test]
async fn where_they_are_off_none_is_made_and_existing_ones_can_be_revoked() {
    let broker = TestBroker::start();
    let off = broker.twin_with(|config| config.personal_tokens.enabled = false);
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let (text, id) = make(&broker, &alice).await;
    let refused = ask(&off, &alice, json!({})).await;
    assert_eq!(refusal(&refused), (405, "method_not_allowed".to_owned()));
    assert_eq!(refused.header("allow"), Some("GET"));
    let answer = off.call(PATH, &alice).await.json();
    assert_eq!((&answer["enabled"], &answer["personal_tokens"][0]["id"]), (&json!(false), &json!(id)));
    assert_eq!(status(&off, &text).await, 200);
    assert_eq!(delete(&off, &format!("{PATH}/{id}"), &alice).await.status, 204);
    assert_eq!(status(&off, &text).await, 401);
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn without_the_database_personal_tokens_are_unknown_and_none_is_revoked() {
    let mut server = Postgres::own();
    let broker = TestBroker::with(Setup { database: Some(server.database()), ..Setup::default() });
    broker.storage().migrate().await.unwrap();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let (text, id) = make(&broker, &alice).await;
    server.stop();
    let answers = [
        broker.call(PATH, &alice).await,
        ask(&broker, &alice, json!({})).await,
        delete(&broker, &format!("{PATH}/{id}"), &alice).await,
        broker.call("/api/me", &text).await,
    ];
    for answer in answers {
        assert_unavailable(&answer);
    }
    server.resume();
    assert_recovers(&broker, "PostgreSQL was started again").await;
    assert_eq!((status(&broker, &text).await, list(&broker, &alice).await.len()), (200, 1));
}

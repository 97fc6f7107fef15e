//! Revocation: who may give up which token, and what ends with it.

use serde_json::json;

use crate::support::api::{Api, assert_inactive, assert_unauthenticated};
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::oauth::{setup_with, text, tokens};
use crate::support::personal;

const PATH: &str = "/oauth2/revoke";
const ORDERS: &str = "https://orders.example.com";

async fn sign_in(broker: &TestBroker) -> String {
    broker.sign_in(&broker.browser(), "dev", "alice").await
}

/// Revokes a token as this public client.
async fn revoke(broker: &TestBroker, client_id: &str, token: &str) -> Answer {
    broker.browser().post_form(&broker.at(PATH), &[("client_id", client_id), ("token", token)], &[]).await
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

#[track_caller]
fn assert_done(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[track_caller]
fn assert_refused(answer: &Answer, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.error_code().as_deref()), (400, Some(code)), "{answer:?}");
}

#[actix_web::test]
async fn a_session_ends_with_its_token_at_once_on_every_instance() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        let browser = broker.browser();
        let token = broker.sign_in(&browser, "dev", "alice").await;
        let rotated = broker.post("/api/token/rotate", &token, &json!({})).await.json();
        let successor = rotated["access_token"].as_str().unwrap();
        let elsewhere = sign_in(&broker).await;
        assert_done(&revoke(&broker, "sample", &token).await);
        for instance in [&twin, &broker] {
            assert_eq!([status(instance, &token).await, status(instance, successor).await], [401, 401]);
            assert_eq!(status(instance, &elsewhere).await, 200, "another session");
        }
        let again = browser.navigate(&broker.login(&[]).url).await;
        assert_eq!(again.parameter("one_time_key"), None, "the browser is signed out: {again:?}");
        let ended = broker.audited("session_ended").await;
        assert_eq!(ended.client.as_deref(), Some("sample"));
        assert_done(&revoke(&twin, "sample", &token).await);
    }
}

#[actix_web::test]
async fn a_personal_token_ends_alone() {
    let broker = TestBroker::start();
    let session = sign_in(&broker).await;
    let [first, second] = [personal::of(&broker, &session).await, personal::of(&broker, &session).await];
    assert_done(&revoke(&broker, "sample", &first).await);
    assert_eq!(status(&broker, &first).await, 401);
    assert_eq!([status(&broker, &second).await, status(&broker, &session).await], [200, 200]);
    broker.audited("token_revoked").await;
}

#[actix_web::test]
async fn a_token_of_another_client_stays_alive() {
    let broker = TestBroker::start();
    let token = sign_in(&broker).await;
    assert_refused(&revoke(&broker, "legacy", &token).await, "invalid_grant");
    assert_refused(&revoke(&broker, "nobody", &token).await, "invalid_client");
    assert_refused(&revoke(&broker, "Sample", &token).await, "invalid_client");
    assert_eq!(status(&broker, &token).await, 200);
}

#[actix_web::test]
async fn unknown_and_dead_tokens_are_a_success() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let ended = sign_in(&broker).await;
    broker.post("/api/logout", &ended, &json!({})).await;
    for token in [ended.as_str(), "tbk_unknown", "x", "a.b.c"] {
        assert_done(&revoke(&broker, "sample", token).await);
        assert_done(&api.revoke(&broker, token).await);
    }
    let missing = broker.browser().post_form(&broker.at(PATH), &[("client_id", "sample")], &[]).await;
    assert_refused(&missing, "invalid_request");
}

#[actix_web::test]
async fn an_api_revokes_only_tokens_that_are_for_it() {
    let broker = TestBroker::start();
    let itself = Api::register(&broker, "itself", &broker.url).await;
    let orders = Api::register(&broker, "orders", ORDERS).await;
    let token = sign_in(&broker).await;
    assert_refused(&orders.revoke(&broker, &token).await, "invalid_grant");
    assert_eq!(status(&broker, &token).await, 200);
    assert_unauthenticated(&Api::unregistered("itself").revoke(&broker, &token).await);
    let nobody = broker.browser().post_form(&broker.at(PATH), &[("token", &token)], &[]).await;
    assert_unauthenticated(&nobody);
    assert_eq!(status(&broker, &token).await, 200);
    assert_done(&itself.revoke(&broker, &token).await);
    assert_eq!(status(&broker, &token).await, 401);
    assert_inactive(&itself.introspect(&broker, &token).await);
    let ended = broker.audited("session_ended").await;
    assert_eq!(ended.resource_server.as_deref(), Some("itself"));
    assert_eq!(ended.address, None);
}

/// Of a hundred revocations at once each succeeds, and the session ends once.
#[actix_web::test]
async fn parallel_revocations_all_succeed_and_end_the_session_once() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let token = sign_in(&broker).await;
        let before = broker.counted("session_ended").await;
        let calls = (0..20).map(|_| revoke(&broker, "sample", &token));
        futures_util::future::join_all(calls).await.iter().for_each(assert_done);
        assert_eq!(status(&broker, &token).await, 401);
        broker.audited("session_ended").await;
        assert!(broker.counted("session_ended").await > before);
        let rows = crate::support::audit::newest(&broker.storage(), 1_000).await;
        assert_eq!(rows.iter().filter(|row| row.kind == "session_ended").count(), 1);
    }
}

/// A page can give up the tokens of its own client: a library of an SPA does so when the person signs out.
#[actix_web::test]
async fn only_pages_of_the_client_can_revoke() {
    const APP: &str = "https://app.example.com";
    let broker = TestBroker::with(setup_with(|config| {
        config.clients[0].origins = vec![APP.parse().unwrap()];
    }));
    for (of, from, status) in [
        ("sample", "https://evil.example", 403),
        // The origin of another client.
        ("sample", broker.url.as_str(), 403),
        ("sample", "null", 403),
        ("other", APP, 403),
        ("sample", APP, 200),
    ] {
        let token = text(&tokens(&broker, &[]).await, "access_token");
        let form = [("client_id", of), ("token", &token)];
        let answer = broker.browser().post_form(&broker.at(PATH), &form, &[("origin", from)]).await;
        assert_eq!(answer.status, status, "{of} from {from}: {answer:?}");
        // Any client's page can read why it is refused.
        let can_read = [APP, &broker.url].contains(&from).then_some(from);
        assert_eq!(answer.header("access-control-allow-origin"), can_read, "{of} from {from}");
        let alive = broker.call("/api/me", &token).await.status == 200;
        assert_eq!(alive, status != 200, "{of} from {from}");
    }
}

//! A store fails while a device is connected: nothing is spent, and repeating is safe.

use secrecy::ExposeSecret;

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::device::{
    ASK, CONNECTED, Device, ENTER, USED, ask, assert_page, enter, post, question, signed_in,
};
use crate::support::oauth::{assert_error, text};
use crate::support::outage::{assert_recovers, assert_unavailable};
use crate::support::redis::RedisServer;
use crate::support::storage::sql::SqliteLock;

async fn sessions(broker: &TestBroker, token: &str) -> usize {
    broker.call("/api/sessions", token).await.json()["sessions"].as_array().unwrap().len()
}

#[track_caller]
fn assert_unknown(answer: &Answer) {
    assert_unavailable(answer);
    assert!(!answer.body.contains("invalid") && !answer.body.contains("denied"), "{answer:?}");
}

#[actix_web::test]
async fn without_the_key_store_every_answer_is_unknown_and_repeating_connects_the_device_once() {
    let server = RedisServer::start(&[]);
    let broker = TestBroker::with(Setup { key_store: Some(server.url()), ..Setup::default() });
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    let code = device.user_code();
    let asked = question(&enter(&broker, &browser, &code).await);
    let form = [("user_code", &*code), ("question", &*asked), ("answer", "connect")];
    let refusal = [("user_code", &*code), ("question", &*asked), ("answer", "refuse")];
    {
        let _frozen = server.freeze();
        assert_unknown(&ask(&broker, &broker.browser(), &[]).await);
        assert_unknown(&device.poll(&broker).await);
        assert_unknown(&enter(&broker, &browser, &code).await);
        assert_unknown(&post(&broker, &browser, &form).await);
        assert_unknown(&post(&broker, &browser, &refusal).await);
        assert_page(&browser.navigate(&broker.at("/device")).await, ENTER);
    }
    assert_recovers(&broker, "Redis continues").await;
    assert_page(&enter(&broker, &browser, &code).await, ASK);
    assert_page(&post(&broker, &browser, &form).await, CONNECTED);
    broker.advance(60);
    {
        let _frozen = server.freeze();
        assert_unknown(&device.poll(&broker).await);
    }
    assert_recovers(&broker, "Redis continues").await;
    broker.advance(60);
    let tokens = device.poll(&broker).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    assert_eq!(
        sessions(&broker, &text(&tokens.json(), "access_token")).await,
        2,
        "the browser and the device"
    );
}

/// Redis is out of memory: it can be read but not written, so the session of the device is written and the answer is not.
#[actix_web::test]
async fn an_approval_that_got_only_as_far_as_the_database_is_repeated() {
    let server = RedisServer::start(&[]);
    let limit =
        |bytes: &str| -> String { server.ask(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes)) };
    let broker = TestBroker::with(Setup { key_store: Some(server.url()), ..Setup::default() });
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    let code = device.user_code();
    let asked = question(&enter(&broker, &browser, &code).await);
    let form = [("user_code", &*code), ("question", &*asked), ("answer", "connect")];
    let before = broker.rows("sessions");
    limit("1");
    assert_unknown(&post(&broker, &browser, &form).await);
    assert_unknown(&post(&broker, &browser, &form).await);
    assert_eq!(broker.rows("sessions"), before + 1);
    limit("0");
    let other = signed_in(&broker, "bob").await;
    let asked = question(&enter(&broker, &other, &code).await);
    let theirs = [("user_code", &*code), ("question", &*asked), ("answer", "connect")];
    assert!(post(&broker, &other, &theirs).await.body.contains(USED), "alice was first");
    assert_page(&post(&broker, &browser, &form).await, CONNECTED);
    broker.advance(60);
    let token = text(&device.poll(&broker).await.json(), "access_token");
    assert_eq!(broker.call("/api/me", &token).await.json()["user"]["username"], "alice");
    assert_eq!(sessions(&broker, &token).await, 2, "the browser and the device");
}

#[actix_web::test]
async fn while_the_database_is_locked_nothing_is_approved_and_nothing_is_spent() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    let code = device.user_code();
    let asked = question(&enter(&broker, &browser, &code).await);
    let form = [("user_code", &*code), ("question", &*asked), ("answer", "connect")];
    let lock = SqliteLock::of(broker.config.database.url.expose_secret());
    assert_unknown(&post(&broker, &browser, &form).await);
    broker.advance(5);
    assert_error(&device.poll(&broker).await, 400, "authorization_pending", "not approved");
    drop(lock);
    assert_page(&post(&broker, &browser, &form).await, CONNECTED);
    broker.advance(5);
    assert_eq!(device.poll(&broker).await.status, 200);
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn while_the_database_is_stopped_it_is_unknown_who_is_signed_in() {
    let mut server = crate::support::postgres::Postgres::own();
    let broker = TestBroker::with(Setup { database: Some(server.database()), ..Setup::default() });
    broker.storage().migrate().await.unwrap();
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    let code = device.user_code();
    let asked = question(&enter(&broker, &browser, &code).await);
    let form = [("user_code", &*code), ("question", &*asked), ("answer", "connect")];
    server.stop();
    assert_unknown(&browser.navigate(&broker.at("/device")).await);
    assert_unknown(&enter(&broker, &browser, &code).await);
    assert_unknown(&post(&broker, &browser, &form).await);
    // Neither the codes nor the device need the database.
    assert_error(&device.poll(&broker).await, 400, "authorization_pending", "not approved");
    assert_eq!(ask(&broker, &broker.browser(), &[]).await.status, 200);
    server.resume();
    assert_recovers(&broker, "PostgreSQL was started again").await;
    assert_page(&post(&broker, &browser, &form).await, CONNECTED);
    broker.advance(60);
    assert_eq!(device.poll(&broker).await.status, 200);
}

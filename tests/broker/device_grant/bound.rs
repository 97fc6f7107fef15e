//! Devices that hold a key: their tokens are bound to it (RFC 9449).

use serde_json::json;
use token_broker::domain::dpop::ClientDpop;

use crate::support::broker::TestBroker;
use crate::support::device::{CONNECTED, Device, answer, assert_page, signed_in};
use crate::support::dpop::{AppKey, call_with};
use crate::support::oauth::{TOKEN, assert_error, setup_with, text};

const ME: &str = "/api/me";

#[actix_web::test]
async fn with_a_proof_the_token_of_a_device_is_bound_and_a_missing_nonce_costs_no_time() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    let waiting = device.poll_with_proof(&broker, &key.grant_proof(&broker, TOKEN)).await;
    assert_error(&waiting, 400, "authorization_pending", "a good proof changes nothing about that");
    assert_page(&answer(&broker, &browser, &device.user_code(), "connect").await, CONNECTED);
    broker.advance(5);
    let without_nonce = key.proof(&broker, "POST", &broker.at(TOKEN)).sign();
    assert_error(&device.poll_with_proof(&broker, &without_nonce).await, 400, "use_dpop_nonce", "no nonce");
    let for_another = key.proof(&broker, "GET", &broker.at(TOKEN)).sign();
    assert_error(&device.poll_with_proof(&broker, &for_another).await, 400, "invalid_dpop_proof", "method");
    let tokens = device.poll_with_proof(&broker, &key.grant_proof(&broker, TOKEN)).await;
    assert_eq!((tokens.status.as_u16(), &tokens.json()["token_type"]), (200, &json!("DPoP")), "{tokens:?}");
    let token = text(&tokens.json(), "access_token");
    assert_eq!(call_with(&broker, "GET", ME, &token, &key).await.status, 200);
    assert_eq!(broker.call(ME, &token).await.status, 401, "a copy of the token is useless");
}

#[actix_web::test]
async fn a_client_that_must_have_bound_tokens_gets_no_other_for_a_device() {
    let broker = TestBroker::with(setup_with(|config| config.clients[0].dpop = ClientDpop::Required));
    let (browser, key) = (signed_in(&broker, "alice").await, AppKey::generate());
    let device = Device::start(&broker, &[]).await;
    assert_page(&answer(&broker, &browser, &device.user_code(), "connect").await, CONNECTED);
    assert_error(&device.poll(&broker).await, 400, "invalid_dpop_proof", "no proof");
    let tokens = device.poll_with_proof(&broker, &key.grant_proof(&broker, TOKEN)).await;
    assert_eq!((tokens.status.as_u16(), &tokens.json()["token_type"]), (200, &json!("DPoP")), "{tokens:?}");
}

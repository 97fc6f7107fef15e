//! How often anyone may ask for codes and try them.

use std::num::NonZeroU32;

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::device::{
    AUTHORIZATION, CONNECTED, Device, UNKNOWN, answer, assert_page, question, signed_in,
};
use crate::support::oauth::assert_error;

/// What one address may do in a minute here; all together may do fifty times as much.
const PER_ADDRESS: u32 = 2;
const IN_ALL: u32 = PER_ADDRESS * 50;

fn broker() -> TestBroker {
    TestBroker::with(Setup::default().adjust(|config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.devices = NonZeroU32::new(PER_ADDRESS).unwrap();
    }))
}

fn address(number: u32) -> String {
    format!("198.51.{}.{}", 100 + number / 200, 1 + number % 200)
}

async fn ask_from(broker: &TestBroker, number: u32) -> Answer {
    let headers = [("x-forwarded-for", &*address(number))];
    broker.browser().post_form(&broker.at(AUTHORIZATION), &[("client_id", "sample")], &headers).await
}

async fn enter_from(broker: &TestBroker, browser: &Browser, code: &str, number: u32) -> Answer {
    let headers = [("origin", &*broker.url), ("x-forwarded-for", &*address(number))];
    browser.post_form(&broker.at("/device"), &[("user_code", code)], &headers).await
}

#[track_caller]
fn is_limited(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&seconds), "{answer:?}");
}

#[actix_web::test]
async fn devices_are_limited_by_address_and_in_all_and_logins_go_on() {
    let broker = broker();
    broker.ready().await;
    broker.stop_clock();
    for _ in 0..PER_ADDRESS {
        assert_eq!(ask_from(&broker, 0).await.status, 200);
    }
    for _ in 0..IN_ALL {
        // What one address is refused is not counted against the others.
        let refused = ask_from(&broker, 0).await;
        is_limited(&refused);
        assert_error(&refused, 429, "rate_limited", "by address");
    }
    for number in 1..IN_ALL / PER_ADDRESS {
        for _ in 0..PER_ADDRESS {
            assert_eq!(ask_from(&broker, number).await.status, 200, "address {number}");
        }
    }
    is_limited(&ask_from(&broker, 1_000).await);
    broker.sign_in(&broker.browser(), "dev", "alice").await;
    broker.advance(60);
    assert_eq!(ask_from(&broker, 1_000).await.status, 200);
}

/// The limit on all of them together is tested in `state/limits.rs`: it takes many users.
#[actix_web::test]
async fn guesses_are_limited_by_address_and_by_user_and_spend_no_code() {
    let broker = broker();
    let (alice, bob) = (signed_in(&broker, "alice").await, signed_in(&broker, "bob").await);
    broker.stop_clock();
    let device = Device::start(&broker, &[]).await;
    let wrong = "BBBB-BBBB";
    for _ in 0..PER_ADDRESS {
        assert!(enter_from(&broker, &alice, wrong, 50).await.body.contains(UNKNOWN));
    }
    is_limited(&enter_from(&broker, &bob, &device.user_code(), 50).await);
    assert!(enter_from(&broker, &bob, wrong, 0).await.body.contains(UNKNOWN));
    // From there on a right code is refused as a wrong one is, wherever this user is.
    for code in [wrong, &device.user_code()] {
        let refused = enter_from(&broker, &bob, code, 99).await;
        is_limited(&refused);
        refused.assert_own_page(429, "rate_limited");
        assert!(refused.body.contains("href=\"/device\""), "{refused:?}");
    }
    // What is no code costs no guess.
    assert_eq!(enter_from(&broker, &bob, "junk", 0).await.status, 200);
    broker.advance(60);
    question(&enter_from(&broker, &bob, &device.user_code(), 50).await);
    assert_page(&answer(&broker, &bob, &device.user_code(), "connect").await, CONNECTED);
}

#[actix_web::test]
async fn polling_is_bounded_by_the_limit_on_redemptions_and_wrong_codes_by_that_on_failed_ones() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.limits.failed_redemptions = NonZeroU32::new(3).unwrap();
    }));
    broker.ready().await;
    broker.stop_clock();
    let device = Device::start(&broker, &[]).await;
    for code in ["invalid_grant", "invalid_grant", "invalid_grant", "rate_limited"] {
        let wrong = device.poll_with(&broker, &[("device_code", "tbd_wrong")]).await;
        assert_eq!(wrong.error_code().as_deref(), Some(code));
    }
    let waiting = device.poll(&broker).await;
    assert_error(&waiting, 400, "authorization_pending", "a device that waits is not slowed down by guesses");
    let mut last = waiting;
    for _ in 0..60 {
        last = device.poll(&broker).await;
    }
    assert_error(&last, 429, "rate_limited", "twenty times as many polls");
}

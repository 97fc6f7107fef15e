//! The device authorization grant (RFC 8628): from the codes to the tokens.

mod at_rest;
mod bound;
mod limits;
mod outages;
mod page;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::broker::{Setup, TestBroker};
use crate::support::device::{
    self, ASK, AUTHORIZATION, CONNECTED, Device, REFUSED, answer, ask, assert_page, signed_in,
};
use crate::support::oauth::{assert_error, decode, setup, text};
use crate::support::redis;

/// The story of one connection: the device talks to one instance, the browser to the other.
async fn connects(first: &TestBroker, second: &TestBroker) {
    let device = Device::start(first, &[("scope", "openid profile")]).await;
    assert_error(&device.poll(first).await, 400, "authorization_pending", "no one has answered");
    let browser = signed_in(second, "alice").await;
    let page = device::enter(second, &browser, &device.user_code()).await;
    assert_page(&page, ASK);
    assert!(page.body.contains(&device.user_code()), "the code again: {page:?}");
    assert!(page.body.contains("Alice"), "who is signed in: {page:?}");
    assert!(page.body.contains("127.0.0.0/24"), "where the device is: {page:?}");
    assert!(page.body.contains("Only continue if you started this on your own device"), "{page:?}");
    assert_error(&device.poll_later(first).await, 400, "authorization_pending", "a look is no answer");
    assert_page(&answer(second, &browser, &device.user_code(), "connect").await, CONNECTED);

    let tokens = device.poll_later(first).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    assert_eq!(tokens.header("cache-control"), Some("no-store"));
    let tokens = tokens.json();
    assert_eq!((&tokens["token_type"], &tokens["scope"]), (&json!("Bearer"), &json!("openid profile")));
    let me = second.call("/api/me", &text(&tokens, "access_token")).await.json();
    assert_eq!(me["user"]["username"], "alice");
    let (_, claims) = decode(&text(&tokens, "id_token"));
    assert_eq!((&claims["aud"], &claims["sub"]), (&json!("sample"), &me["user"]["id"]));
    assert!(claims["auth_time"].is_i64() && claims.get("nonce").is_none(), "{claims}");
    let renewed = crate::support::oauth::refresh(second, &text(&tokens, "refresh_token")).await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
}

#[actix_web::test]
async fn a_device_is_connected_in_memory() {
    let broker = TestBroker::with(setup());
    broker.ready().await;
    connects(&broker, &broker).await;
}

#[actix_web::test]
async fn a_device_is_connected_over_two_instances_on_redis() {
    let first = TestBroker::with(Setup { key_store: Some(redis::url()), ..setup() });
    first.ready().await;
    connects(&first, &first.twin()).await;
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn a_device_is_connected_over_two_instances_on_redis_and_postgresql() {
    let database = crate::support::storage::Database::postgres().migrated().await;
    let setup = Setup { key_store: Some(redis::url()), database: Some(database.url), ..setup() };
    let first = TestBroker::with(setup);
    connects(&first, &first.twin()).await;
}

#[actix_web::test]
async fn the_codes_are_as_documented() {
    let broker = TestBroker::start();
    let answer = ask(&broker, &broker.browser(), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, Some("no-store")));
    let body = answer.json();
    let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "device_code",
            "expires_in",
            "interval",
            "user_code",
            "verification_uri",
            "verification_uri_complete"
        ]
    );
    assert_eq!((&body["expires_in"], &body["interval"]), (&json!(600), &json!(5)));
    assert_eq!(body["verification_uri"], broker.at("/device"));
    let user_code = text(&body, "user_code");
    assert_eq!(body["verification_uri_complete"], broker.at(&format!("/device?user_code={user_code}")));
    assert!(regex::Regex::new("^[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}$").unwrap().is_match(&user_code));
    assert!(regex::Regex::new("^tbd_[0-9A-Za-z]{50}$").unwrap().is_match(&text(&body, "device_code")));
}

#[actix_web::test]
async fn a_request_for_codes_is_checked() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        let mut other = config.clients[0].clone();
        other.id = "web".parse().unwrap();
        other.device = false;
        config.clients.push(other);
    }));
    let browser = broker.browser();
    for (parameters, code) in [
        (&[("client_id", "")][..], "invalid_request"),
        (&[("client_id", "nobody")], "invalid_client"),
        (&[("client_id", "web")], "unauthorized_client"),
        (&[("client_id", "legacy")], "unauthorized_client"),
        (&[("client_secret", "guess")], "invalid_client"),
        (&[("scope", "admin")], "invalid_scope"),
        (&[("scope", "a  b")], "invalid_scope"),
        (&[("resource", "https://evil.example")], "invalid_target"),
        (&[("scope", "openid"), ("scope", "profile")], "invalid_request"),
    ] {
        assert_error(&ask(&broker, &browser, parameters).await, 400, code, parameters);
    }
    let at = broker.at(AUTHORIZATION);
    let json = browser.post_json(&at, &json!({ "client_id": "sample" }), &[]).await;
    assert_error(&json, 415, "unsupported_media_type", "JSON");
    let basic = [("authorization", "Basic c2FtcGxlOg==")];
    let basic = browser.post_form(&at, &[("client_id", "sample")], &basic).await;
    assert_error(&basic, 400, "invalid_request", "an Authorization header");
    assert_eq!(browser.get(&at, &[]).await.status, 405);
    let web = Device::start(&broker, &[]).await.poll_with(&broker, &[("client_id", "web")]).await;
    assert_error(&web, 400, "unauthorized_client", "a client that is no device");
}

#[actix_web::test]
async fn scope_and_resource_narrow_the_token() {
    const ORDERS: &str = "https://orders.example.com";
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.clients[0].audiences = format!("{ORDERS} https://stock.example.com").parse().unwrap();
    }));
    let browser = signed_in(&broker, "alice").await;
    let parameters = [("scope", "profile unknown"), ("resource", ORDERS)];
    let device = Device::start(&broker, &parameters).await;
    answer(&broker, &browser, &device.user_code(), "connect").await;
    let wide = device.poll_with(&broker, &[("resource", "https://evil.example")]).await;
    assert_error(&wide, 400, "invalid_target", "nothing is spent");
    let tokens = device.poll_later(&broker).await.json();
    assert_eq!(tokens["scope"], "profile");
    assert!(tokens.get("id_token").is_none() && tokens.get("refresh_token").is_none(), "{tokens}");
    let me = broker.call("/api/me", &text(&tokens, "access_token")).await.json();
    assert_eq!(me["token"]["audience"], json!([ORDERS]));
}

#[actix_web::test]
async fn who_polls_too_fast_is_told_to_slow_down_by_five_seconds_each_time() {
    for key_store in [None, Some(redis::url())] {
        let broker = TestBroker::with(Setup { key_store, ..Setup::default() });
        broker.ready().await;
        broker.stop_clock();
        let device = Device::start(&broker, &[]).await;
        for (seconds, code) in [
            (0, "authorization_pending"),
            (4, "slow_down"),
            (5, "slow_down"),
            (14, "slow_down"),
            (19, "slow_down"),
            (25, "authorization_pending"),
            (25, "authorization_pending"),
            (24, "slow_down"),
            (30, "authorization_pending"),
        ] {
            broker.advance(seconds);
            assert_error(&device.poll(&broker).await, 400, code, seconds);
        }
    }
}

#[actix_web::test]
async fn a_refusal_is_final() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    let page = device::enter(&broker, &browser, &device.user_code()).await;
    assert_page(&answer(&broker, &browser, &device.user_code(), "refuse").await, REFUSED);
    for _ in 0..2 {
        assert_error(&device.poll_later(&broker).await, 400, "access_denied", "refused");
    }
    // The question was asked before the refusal.
    let form =
        [("user_code", &*device.user_code()), ("question", &device::question(&page)), ("answer", "connect")];
    let late = device::post(&broker, &browser, &form).await;
    assert!(late.body.contains(device::USED), "{late:?}");
    assert_error(&device.poll_later(&broker).await, 400, "access_denied", "refused");
    let denied = broker.audited("device_denied").await;
    assert_eq!(denied.client.as_deref(), Some("sample"));
    assert!(denied.user.is_some());
}

#[actix_web::test]
async fn codes_expire_after_ten_minutes() {
    for key_store in [None, Some(redis::url())] {
        let broker = TestBroker::with(Setup { key_store, ..Setup::default() });
        let browser = signed_in(&broker, "alice").await;
        broker.stop_clock();
        let device = Device::start(&broker, &[]).await;
        broker.advance(599);
        assert_error(&device.poll(&broker).await, 400, "authorization_pending", "599 seconds");
        let page = device::enter(&broker, &browser, &device.user_code()).await;
        assert_page(&page, ASK);
        broker.advance(1);
        let late = device::enter(&broker, &browser, &device.user_code()).await;
        assert!(late.body.contains(device::UNKNOWN), "{late:?}");
        let form = [
            ("user_code", &*device.user_code()),
            ("question", &device::question(&page)),
            ("answer", "connect"),
        ];
        assert!(device::post(&broker, &browser, &form).await.body.contains(device::UNKNOWN));
        assert_error(&device.poll_later(&broker).await, 400, "expired_token", "605 seconds");
    }
}

#[actix_web::test]
async fn a_device_that_is_approved_at_the_last_moment_can_still_collect() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    broker.stop_clock();
    let device = Device::start(&broker, &[]).await;
    broker.advance(598);
    assert_page(&answer(&broker, &browser, &device.user_code(), "connect").await, CONNECTED);
    broker.advance(100);
    assert_eq!(device.poll(&broker).await.status, 200);
}

#[actix_web::test]
async fn a_device_code_is_redeemed_once_and_a_replay_ends_the_session() {
    for key_store in [None, Some(redis::url())] {
        let broker = TestBroker::with(Setup { key_store, ..Setup::default() });
        let browser = signed_in(&broker, "alice").await;
        let device = Device::start(&broker, &[]).await;
        answer(&broker, &browser, &device.user_code(), "connect").await;
        let token = text(&device.poll(&broker).await.json(), "access_token");
        assert_error(&device.poll_later(&broker).await, 400, "invalid_grant", "the same device, soon");
        assert_eq!(broker.call("/api/me", &token).await.status, 200);
        broker.advance(20);
        assert_error(&device.poll(&broker).await, 400, "invalid_grant", "later");
        assert_eq!(broker.call("/api/me", &token).await.status, 401, "the code was copied");
    }
}

#[actix_web::test]
async fn of_parallel_polls_one_gets_the_tokens() {
    for key_store in [None, Some(redis::url())] {
        let broker = TestBroker::with(Setup { key_store, ..Setup::default() });
        let browser = signed_in(&broker, "alice").await;
        let device = Device::start(&broker, &[]).await;
        answer(&broker, &browser, &device.user_code(), "connect").await;
        let answers = join_all((0..20).map(|_| device.poll(&broker))).await;
        let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(good.len(), 1, "{answers:?}");
        assert!(bad.iter().all(|answer| answer.error_code().as_deref() == Some("slow_down")), "{bad:?}");
    }
}

#[actix_web::test]
async fn a_device_code_is_of_no_use_to_another_client_or_as_another_credential() {
    let broker = TestBroker::with(setup());
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    answer(&broker, &browser, &device.user_code(), "connect").await;
    let code = text(&device.codes, "device_code");
    let as_code =
        [("grant_type", "authorization_code"), ("code", &*code), ("code_verifier", &"v".repeat(43))];
    for changed in [
        &[("client_id", "other")][..],
        &[("device_code", "tbd_short")],
        &[("device_code", &code.replace("tbd_", "tbo_"))],
        &[("device_code", &device.user_code())],
        &as_code,
    ] {
        assert_error(&device.poll_with(&broker, changed).await, 400, "invalid_grant", changed);
    }
    assert_error(&device.poll_with(&broker, &[("device_code", "")]).await, 400, "invalid_request", "none");
    assert_eq!(broker.call("/api/me", &code).await.status, 401);
    let key = broker.redeem(&broker.browser(), &code, &"v".repeat(43)).await;
    assert_error(&key, 400, "invalid_grant", "as a one-time key");
    assert_eq!(device.poll(&broker).await.status, 200, "nothing of this spent the code");
}

#[actix_web::test]
async fn a_device_has_a_session_of_its_own() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    answer(&broker, &browser, &device.user_code(), "connect").await;
    let token = text(&device.poll(&broker).await.json(), "access_token");
    let sessions = broker.call("/api/sessions", &token).await.json();
    let listed = sessions["sessions"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "{sessions}");
    assert_eq!((&listed[0]["current"], &listed[1]["current"]), (&json!(true), &json!(false)));
    assert_ne!(listed[0]["device"], listed[1]["device"], "the program and the browser: {sessions}");
    // It ends with the sign-in that it rests on.
    assert_eq!(listed[0]["expires_at"], listed[1]["expires_at"], "{sessions}");

    // The browser signs out: the device stays.
    let me = broker.at("/logout");
    let page = browser.navigate(&me).await;
    assert!(page.body.contains("Sign out?") || page.body.contains("Sign out of"), "{page:?}");
    let own = [("origin", &*broker.url), ("sec-fetch-site", "same-origin")];
    browser.post_form(&me, &[], &own).await;
    assert_eq!(broker.call("/api/me", &token).await.status, 200);

    // Everywhere includes the device.
    let elsewhere = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let everywhere = broker.post("/api/logout", &elsewhere, &json!({ "everywhere": true })).await;
    assert_eq!(everywhere.status, 200, "{everywhere:?}");
    assert_eq!(broker.call("/api/me", &token).await.status, 401);
}

#[actix_web::test]
async fn a_device_that_is_signed_out_before_it_collects_gets_a_dead_token() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    answer(&broker, &browser, &device.user_code(), "connect").await;
    let elsewhere = broker.sign_in(&broker.browser(), "dev", "alice").await;
    broker.post("/api/logout", &elsewhere, &json!({ "everywhere": true })).await;
    let token = text(&device.poll(&broker).await.json(), "access_token");
    assert_eq!(broker.call("/api/me", &token).await.status, 401);
}

#[actix_web::test]
async fn without_a_client_for_devices_there_is_nothing() {
    let broker = TestBroker::with(Setup::default().adjust(|config| config.clients[0].device = false));
    let browser = broker.browser();
    assert_eq!(ask(&broker, &browser, &[]).await.status, 404);
    for path in ["/device", "/device/sign_in"] {
        assert_eq!(browser.navigate(&broker.at(path)).await.status, 404, "{path}");
    }
    let metadata = browser.get(&broker.at("/.well-known/oauth-authorization-server"), &[]).await.json();
    assert!(metadata.get("device_authorization_endpoint").is_none(), "{metadata}");
    assert!(!metadata["grant_types_supported"].to_string().contains("device"), "{metadata}");
}

//! Native apps (RFC 8252): loopback addresses with any port, private-use schemes, and nothing else that is inexact.

use crate::support::broker::TestBroker;
use crate::support::browser::Answer;
use crate::support::oauth::{authorization, authorize, exchange, setup_with, text};
use token_broker::domain::client::RedirectUri;

const SCHEME: &str = "com.example.app:/signed-in";

fn broker(native: bool) -> TestBroker {
    TestBroker::with(setup_with(move |config| {
        let client = &mut config.clients[0];
        client.native = native;
        for uri in ["http://127.0.0.1/cb?app=1", "http://[::1]:8000/cb", "http://localhost:8000/cb", SCHEME] {
            client.redirect_uris.push(RedirectUri::native(uri).unwrap());
        }
    }))
}

fn location(back: &Answer) -> &str {
    back.header("location").unwrap_or_else(|| panic!("no redirect: {back:?}"))
}

#[actix_web::test]
async fn a_loopback_address_matches_with_any_port_and_gets_the_answer_there() {
    let broker = broker(true);
    for address in [
        "http://127.0.0.1/cb?app=1",
        "http://127.0.0.1:51004/cb?app=1",
        "http://127.0.0.1:1/cb?app=1",
        "http://[::1]:8000/cb",
        "http://[::1]:65535/cb",
        "http://localhost:8000/cb",
        SCHEME,
    ] {
        let login = authorize(&broker, &broker.browser(), &[("redirect_uri", address)]).await;
        let separator = if address.contains('?') { '&' } else { '?' };
        assert!(location(&login.back).starts_with(&format!("{address}{separator}code=")), "{:?}", login.back);
        // The port is a part of what the code is bound to.
        let other = address.replace("51004", "51005");
        if other != address {
            let answer = exchange(&broker, &login, &[("redirect_uri", &other)]).await;
            assert_eq!(answer.error_code().as_deref(), Some("invalid_grant"));
        }
        let answer = exchange(&broker, &login, &[("redirect_uri", address)]).await;
        assert_eq!(answer.status, 200, "{address}: {answer:?}");
    }
}

/// Any program on the device can pose as a native app: it gets no code from a session, and ends none.
#[actix_web::test]
async fn a_native_app_takes_no_part_in_the_browsers_session() {
    let broker = broker(true);
    let browser = broker.browser();
    let spa = [("client_id", "other")];
    let signed_in = authorize(&broker, &browser, &spa).await;
    let token = text(&exchange(&broker, &signed_in, &spa).await.json(), "access_token");
    let address = [("redirect_uri", "http://127.0.0.1:51004/cb?app=1")];
    let silent = [address.as_slice(), &[("prompt", "none")]].concat();
    let provider = browser.navigate(&authorization(&broker, &silent).url).await;
    assert!(location(&provider).contains("prompt=none"), "the provider is asked: {provider:?}");
    let login = authorize(&broker, &browser.copy(), &address).await;
    assert!(location(&login.back).contains("code="), "{:?}", login.back);
    assert_eq!(broker.call("/api/me", &token).await.status, 200, "the session of the SPA lives on");
    let again = browser.navigate(&authorization(&broker, &spa).url).await;
    assert!(again.parameter("code").is_some(), "the browser is still signed in: {again:?}");
}

#[actix_web::test]
async fn everything_but_the_port_matches_exactly() {
    let broker = broker(true);
    for bad in [
        "http://127.0.0.1:51004/cb",
        "http://127.0.0.1:51004/cb?app=2",
        "http://127.0.0.1:51004/cb?app=1#",
        "http://127.0.0.1:51004/cb/?app=1",
        "https://127.0.0.1:51004/cb?app=1",
        "http://127.0.0.2:51004/cb?app=1",
        "http://127.0.0.1:0/cb?app=1",
        "http://127.0.0.1:080/cb?app=1",
        "http://127.0.0.1:65536/cb?app=1",
        "http://127.0.0.1:/cb?app=1",
        "http://127.0.0.1:80@evil.example/cb?app=1",
        "http://127.0.0.1.evil.example/cb?app=1",
        "http://127.0.0.1:8000.evil.example/cb?app=1",
        // Names are not loopback addresses (RFC 8252 section 8.3).
        "http://localhost:8001/cb",
        "http://[::1]:8001/cb?",
        "com.example.app:/other",
        "com.example.app:/signed-in?x=1",
        "COM.example.app:/signed-in",
        "com.example.app://signed-in",
    ] {
        let url = authorization(&broker, &[("redirect_uri", bad)]).url;
        broker.browser().navigate(&url).await.assert_own_page(400, "invalid_request");
    }
}

#[actix_web::test]
async fn other_clients_match_byte_for_byte() {
    let broker = broker(false);
    let url = authorization(&broker, &[("redirect_uri", "http://127.0.0.1:51004/cb?app=1")]).url;
    broker.browser().navigate(&url).await.assert_own_page(400, "invalid_request");
    let exact = authorization(&broker, &[("redirect_uri", "http://127.0.0.1/cb?app=1")]).url;
    assert_eq!(broker.browser().navigate(&exact).await.status, 303);
}

#[actix_web::test]
async fn the_port_survives_at_login_too() {
    let broker = broker(true);
    broker.ready().await;
    let login = broker.login(&[("redirect_uri", "http://127.0.0.1:51004/cb?app=1")]);
    let login = broker.complete(&broker.browser(), login, "&user=alice").await;
    assert!(location(&login.back).starts_with("http://127.0.0.1:51004/cb?app=1&one_time_key="));
}

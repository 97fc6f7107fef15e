//! Real nginx and Caddy in front of the broker, with the examples of `deploy/`.

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Browser;
use crate::support::gateway::{Gateway, Kind};
use crate::support::log::Listener;
use crate::support::wait::until;

/// A sign-in and a call through the proxy. The broker gets the visitor's address, not what the visitor claims, and the
/// proxy's log has no query.
async fn signs_in_through(kind: Kind) {
    let trust = |config: &mut token_broker::config::Config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let broker = TestBroker::with(Setup::default().adjust(trust));
    broker.ready().await;
    let proxy = Gateway::in_front_of(kind, &broker.real_url).await;
    let browser = Browser::new();
    browser.route(&broker.url, &proxy.url);
    // Caddy asks /readyz first.
    until(async || {
        let answer = browser.get(&broker.at("/readyz"), &[]).await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?} {}", proxy.log())) }
    })
    .await;
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let log = Listener::start();
    let headers = [
        ("authorization", &*format!("Bearer {token}")),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-request-id", "mine"),
    ];
    let me = browser.get(&broker.at("/api/me"), &headers).await;
    assert_eq!(me.status, 200, "{kind:?}: {me:?}");
    let id = me.header("x-request-id").unwrap();
    let lines = log.of(id);
    assert_eq!(lines[0]["address"], "127.0.0.1", "{kind:?}: {lines:?}");
    if kind == Kind::Nginx {
        assert_eq!(id.len(), 32, "nginx's own id is in both logs: {id}");
        let written = proxy.file("token-broker.log");
        assert!(written.contains("GET /api/me") && written.contains(id), "{written}");
        assert!(!written.contains("one_time_key") && !written.contains('?'), "{written}");
    }
}

#[actix_web::test]
async fn nginx_in_front_of_the_broker() {
    signs_in_through(Kind::Nginx).await;
}

#[actix_web::test]
async fn caddy_in_front_of_the_broker() {
    signs_in_through(Kind::Caddy).await;
}

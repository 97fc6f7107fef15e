//! Tokens that are bound to a key: the gateway tells the broker which request the proof has to be for, whatever the visitor
//! says about it.

use reqwest::Method;

use super::{Arrived, Installation, with_orders_policy};
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Browser;
use crate::support::dpop::{AppKey, sign_in};
use crate::support::gateway::{Gateway, Kind};
use crate::support::upstream::Upstream;

pub async fn a_bound_token_needs_a_proof_for_the_visitors_request(kind: Kind) {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        with_orders_policy(config);
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    }));
    let api = Upstream::start();
    let gateway = Gateway::start(kind, &broker.real_url, api.addr).await;
    let installation = Installation { broker, api, gateway, visitor: Browser::new() };
    let (broker, key) = (&installation.broker, AppKey::generate());
    let token = sign_in(broker, &key).await;
    let authorization = format!("DPoP {token}");
    let at = |path: &str| format!("{}{path}", installation.gateway.url);
    let send = async |proof: &str, more: &[(&str, &str)]| {
        let own = [("authorization", &*authorization), ("dpop", proof)];
        installation.send(Method::PUT, "/api/y?page=2", &[&own, more].concat(), None).await
    };

    let good = key.proof(broker, "PUT", &at("/api/y")).token(&token).sign();
    let arrived = Arrived::of(&installation, &send(&good, &[]).await);
    assert!(arrived.headers("dpop").is_empty(), "{kind:?}: the API gets no proof");
    assert!(arrived.headers("authorization").is_empty(), "{kind:?}");

    let before = installation.api.requests();
    installation.assert_refused(&send(&good, &[]).await, 401, "invalid_dpop_proof", before);
    let spoofed = [
        ("x-forwarded-uri", "/other"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-host", "other.example"),
        ("x-forwarded-proto", "https"),
    ];
    for (method, url, more) in [
        ("PUT", at("/other"), &spoofed[..1]),
        ("GET", at("/api/y"), &spoofed[1..2]),
        ("PUT", "http://other.example/api/y".to_owned(), &spoofed[2..3]),
        ("PUT", at("/api/y").replacen("http:", "https:", 1), &spoofed[3..]),
        ("PUT", broker.at("/authz"), &[]),
    ] {
        let proof = key.proof(broker, method, &url).token(&token).sign();
        installation.assert_refused(&send(&proof, more).await, 401, "invalid_dpop_proof", before);
    }
    let stolen = format!("Bearer {token}");
    let bearer = installation.send(Method::PUT, "/api/y", &[("authorization", &stolen)], None).await;
    installation.assert_refused(&bearer, 401, "invalid_token", before);
}

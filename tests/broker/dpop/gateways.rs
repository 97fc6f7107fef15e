//! Bound tokens through gateways: the proof is for the visitor's request, which only a trusted gateway can name.

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::dpop::{AppKey, assert_refused, sign_in};
use crate::support::log::Listener;

/// The visitor's request.
const URL: &str = "https://api.example.com/orders/1?page=2";

/// What a gateway says about it.
const FORWARDED: [(&str, &str); 4] = [
    ("x-forwarded-method", "PUT"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "api.example.com"),
    ("x-forwarded-uri", "/orders/1?page=2"),
];

fn broker() -> TestBroker {
    TestBroker::with(Setup::default().adjust(|config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    }))
}

async fn ask(broker: &TestBroker, path: &str, token: &str, proof: &str, more: &[(&str, &str)]) -> Answer {
    let authorization = format!("DPoP {token}");
    let own = [("authorization", &*authorization), ("dpop", proof)];
    broker.browser().get(&broker.at(path), &[&own, more].concat()).await
}

#[actix_web::test]
async fn a_proof_for_the_visitors_request_is_accepted_once() {
    let (broker, key) = (broker(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    for path in ["/authz", "/authz/nginx", "/authz/traefik", "/authz/caddy/default"] {
        let proof = key.proof(&broker, "PUT", URL).token(&token).sign();
        let answer = ask(&broker, path, &token, &proof, &FORWARDED).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_ne!(answer.header("x-auth-user"), None);
        let again = ask(&broker, path, &token, &proof, &FORWARDED).await;
        assert_refused(&again, "invalid_dpop_proof", path);
    }
    let path = "/authz/envoy:default/api/me?x";
    let proof = key.proof(&broker, "GET", &format!("{}/api/me", broker.url)).token(&token).sign();
    let answer = ask(&broker, path, &token, &proof, &[("x-forwarded-proto", "http")]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[actix_web::test]
async fn a_proof_for_another_request_is_refused() {
    let (broker, key) = (broker(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    for (case, method, url) in [
        ("method", "GET", URL),
        ("path", "PUT", "https://api.example.com/orders/2"),
        ("host", "PUT", "https://evil.example.com/orders/1"),
        ("scheme", "PUT", "http://api.example.com/orders/1"),
        ("the gateway's own request", "GET", &broker.at("/authz")),
    ] {
        let proof = key.proof(&broker, method, url).token(&token).sign();
        assert_refused(&ask(&broker, "/authz", &token, &proof, &FORWARDED).await, "invalid_dpop_proof", case);
    }
    let proof = key.proof(&broker, "PUT", URL).token("tbk_other").sign();
    assert_refused(&ask(&broker, "/authz", &token, &proof, &FORWARDED).await, "invalid_dpop_proof", "ath");
    let other = AppKey::generate();
    let proof = other.proof(&broker, "PUT", URL).token(&token).sign();
    assert_refused(&ask(&broker, "/authz", &token, &proof, &FORWARDED).await, "invalid_token", "another key");
}

#[actix_web::test]
async fn a_bound_token_is_refused_if_the_visitors_request_is_not_known_and_the_log_says_why() {
    let (trusting, key) = (broker(), AppKey::generate());
    let token = sign_in(&trusting, &key).await;
    let distrusting = trusting.twin_with(|config| config.http.trusted_proxies.clear());
    distrusting.ready().await;
    let proof = || key.proof(&trusting, "PUT", URL).token(&token).sign();
    for (broker, headers, reason) in [
        (&distrusting, &FORWARDED[..], "trusted_proxies"),
        (&trusting, &FORWARDED[1..], "X-Forwarded-Method"),
        (&trusting, &[], "X-Forwarded-Method"),
    ] {
        let log = Listener::start();
        let answer = ask(broker, "/authz", &token, &proof(), headers).await;
        assert_refused(&answer, "invalid_dpop_proof", reason);
        let id = answer.header("x-request-id").unwrap();
        let lines = log.of(id);
        let error = lines.iter().find(|line| line["level"] == "ERROR").unwrap_or_else(|| panic!("{lines:?}"));
        assert!(error.to_string().contains(reason), "{error}");
    }
    // A bearer token does not need any of this.
    let bearer = trusting.sign_in(&trusting.browser(), "dev", "alice").await;
    assert_eq!(distrusting.call("/authz", &bearer).await.status, 200);
}

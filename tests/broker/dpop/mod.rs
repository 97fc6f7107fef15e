//! Tokens that are bound to a key (DPoP, RFC 9449): what a call needs, and what it is refused for.

mod gateways;
mod grants;
mod outages;

use std::num::NonZeroU32;

use serde_json::{Value, json};
use token_broker::domain::dpop::NonceDemand;
use token_broker::domain::dpop::nonce;
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};

use crate::support::api::Api;
use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
use crate::support::dpop::{AppKey, assert_refused, call, call_with, current_nonce, sign_in};
use crate::support::personal;
use crate::support::redis;
use crate::support::rows::{change, row_of};
use crate::support::wait::until;

const ME: &str = "/api/me";

/// Where a token can be presented: all endpoints of the broker that take one.
const SURFACES: [(&str, &str); 9] = [
    ("GET", "/api/me"),
    ("GET", "/api/permissions"),
    ("GET", "/api/sessions"),
    ("GET", "/api/personal_tokens"),
    ("GET", "/oauth2/userinfo"),
    ("DELETE", "/api/sessions"),
    ("DELETE", "/api/personal_tokens/7f8b1f5e-2a0e-4d3c-9d6a-1f1f1f1f1f1f"),
    ("POST", "/api/token/rotate"),
    ("POST", "/api/logout"),
];

/// Why tokens were refused, by name, oldest first, once there are `number` reasons.
async fn reasons(broker: &TestBroker, kind: &str, number: usize) -> Vec<String> {
    let storage = broker.storage();
    until(async || {
        let events = audit::newest(&storage, 1_000).await.into_iter().rev();
        let reasons: Vec<String> =
            events.filter(|event| event.kind == kind).filter_map(|event| event.reason).collect();
        if reasons.len() >= number { Ok(reasons) } else { Err(reasons) }
    })
    .await
}

fn always() -> Setup {
    Setup::default().adjust(|config| config.dpop_nonces = NonceDemand::Always)
}

#[actix_web::test]
async fn a_bound_token_is_accepted_everywhere_with_a_proof_of_its_key() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    for (method, path) in SURFACES {
        let answer = call_with(&broker, method, path, &token, &key).await;
        assert!(answer.status.is_success() || answer.status == 404, "{method} {path}: {answer:?}");
    }
    assert_refused(&call_with(&broker, "GET", ME, &token, &key).await, "invalid_token", "logged out");
}

#[actix_web::test]
async fn a_bound_token_is_refused_everywhere_as_a_bearer_token() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let bearer = format!("Bearer {token}");
    for (method, path) in SURFACES.into_iter().chain([("GET", "/authz"), ("GET", "/authz/nginx")]) {
        let send = async |headers: &[(&str, &str)]| {
            broker.browser().send(method.parse().unwrap(), &broker.at(path), headers, None).await
        };
        let alone = send(&[("authorization", &bearer)]).await;
        assert_refused(&alone, "invalid_token", (method, path));
        let proof = key.proof_with(&broker, method, path, &token);
        let downgraded = send(&[("authorization", &bearer), ("dpop", &proof)]).await;
        assert_refused(&downgraded, "invalid_token", (method, path));
    }
    assert_eq!(call_with(&broker, "GET", ME, &token, &key).await.status, 200, "nothing happened to it");
    let reasons = reasons(&broker, "token_refused", 1).await;
    assert!(reasons.iter().all(|reason| reason == "dpop_missing"), "{reasons:?}");
}

#[actix_web::test]
async fn every_endpoint_checks_the_proof() {
    let (broker, key, other) = (TestBroker::start(), AppKey::generate(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    for (method, path) in SURFACES {
        let wrong = call_with(&broker, method, path, &token, &other).await;
        assert_refused(&wrong, "invalid_token", (method, path));
        let elsewhere = key.proof_with(&broker, method, "/api/elsewhere", &token);
        let answer = call(&broker, method, path, &token, &elsewhere).await;
        assert_refused(&answer, "invalid_dpop_proof", (method, path));
    }
    assert_eq!(call_with(&broker, "GET", ME, &token, &key).await.status, 200);
}

#[actix_web::test]
async fn a_proof_that_is_not_for_this_request_is_refused() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let another = sign_in(&broker, &key).await;
    let good = || key.proof(&broker, "GET", &broker.at(ME)).token(&token);
    let private =
        json!({"jwk": {"kty": "EC", "crv": "P-256", "x": key.jwk["x"], "y": key.jwk["y"], "d": "AA"}});
    for (case, proof) in [
        ("htm", good().claims(json!({"htm": "POST"}))),
        ("htu", good().claims(json!({"htu": broker.at("/api/sessions")}))),
        ("htu of another host", good().claims(json!({"htu": "https://evil.example/api/me"}))),
        ("ath of another token", good().token(&another)),
        ("no ath", good().claims(json!({"ath": Value::Null}))),
        ("no jti", good().claims(json!({"jti": Value::Null}))),
        ("no iat", good().claims(json!({"iat": Value::Null}))),
        ("alg none", good().header(json!({"alg": "none"}))),
        ("alg HS256", good().header(json!({"alg": "HS256"}))),
        ("typ", good().header(json!({"typ": "JWT"}))),
        ("private key", good().header(private)),
        ("no key", good().header(json!({"jwk": Value::Null}))),
        ("another key than the one that signed", good().header(json!({"jwk": AppKey::generate().jwk}))),
    ] {
        let answer = call(&broker, "GET", ME, &token, &proof.sign()).await;
        assert_refused(&answer, "invalid_dpop_proof", case);
    }
    for text in ["", "x", "a.b.c", &"x".repeat(9000), &format!("{},{}", good().sign(), good().sign())] {
        let answer = call(&broker, "GET", ME, &token, text).await;
        assert_refused(&answer, "invalid_dpop_proof", text);
    }
    assert_eq!(call(&broker, "GET", ME, &token, &good().sign()).await.status, 200);
    let reasons = reasons(&broker, "token_refused", 1).await;
    assert!(reasons.iter().all(|reason| reason == "dpop_invalid"), "{reasons:?}");
}

#[actix_web::test]
async fn a_request_has_exactly_one_proof() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let authorization = format!("DPoP {token}");
    let proofs = [(); 2].map(|()| key.proof_with(&broker, "GET", ME, &token));
    let mut headers = vec![("authorization", &*authorization)];
    let none = broker.browser().get(&broker.at(ME), &headers).await;
    assert_refused(&none, "invalid_dpop_proof", "none");
    headers.extend(proofs.iter().map(|proof| ("dpop", proof.as_str())));
    let two = broker.browser().get(&broker.at(ME), &headers).await;
    assert_refused(&two, "invalid_dpop_proof", "two");
    assert_eq!(call(&broker, "GET", ME, &token, &proofs[0]).await.status, 200, "it was not used up");
}

#[actix_web::test]
async fn a_proof_is_accepted_once() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let proof = key.proof(&broker, "GET", &broker.at(ME)).token(&token);
    assert_eq!(call(&broker, "GET", ME, &token, &proof.sign()).await.status, 200);
    let again = call(&broker, "GET", ME, &token, &proof.sign()).await;
    assert_refused(&again, "invalid_dpop_proof", "the same jti, signed again");
    broker.advance(59);
    assert_refused(&call(&broker, "GET", ME, &token, &proof.sign()).await, "invalid_dpop_proof", "later");
}

/// Each used proof is remembered in the key store, which one user must not fill.
#[actix_web::test]
async fn calls_with_proofs_are_limited_per_user() {
    let setup = Setup::default().adjust(|config| config.limits.dpop_calls = NonZeroU32::new(3).unwrap());
    let (broker, key) = (TestBroker::with(setup), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    broker.stop_clock();
    for _ in 0..3 {
        // Refused proofs are not remembered, so they do not count.
        let refused = call_with(&broker, "GET", ME, &token, &AppKey::generate()).await;
        assert_refused(&refused, "invalid_token", "another key");
        assert_eq!(call_with(&broker, "GET", ME, &token, &key).await.status, 200);
    }
    let limited = call_with(&broker, "GET", ME, &token, &key).await;
    assert_eq!((limited.status.as_u16(), limited.error_code().as_deref()), (429, Some("rate_limited")));
    let bearer = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!(broker.call(ME, &bearer).await.status, 200, "bearer tokens are not limited");
    broker.advance(60);
    assert_eq!(call_with(&broker, "GET", ME, &token, &key).await.status, 200);
}

#[actix_web::test]
async fn a_proof_that_one_instance_has_seen_is_refused_by_the_other() {
    let setup = Setup { key_store: Some(redis::url()), ..Setup::default() };
    let (first, key) = (TestBroker::with(setup), AppKey::generate());
    let token = sign_in(&first, &key).await;
    let second = first.twin();
    second.ready().await;
    let proof = key.proof_with(&first, "GET", ME, &token);
    let with_nonce =
        key.proof(&first, "GET", &first.at(ME)).token(&token).nonce(&current_nonce(&first)).sign();
    for proof in [proof, with_nonce] {
        assert_eq!(call(&first, "GET", ME, &token, &proof).await.status, 200);
        assert_refused(&call(&second, "GET", ME, &token, &proof).await, "invalid_dpop_proof", "replay");
    }
    assert_eq!(call_with(&second, "GET", ME, &token, &key).await.status, 200);
}

/// The clock of a person's device may be wrong: the broker then offers a nonce, with which the time does not matter.
#[actix_web::test]
async fn a_proof_of_another_time_needs_a_nonce() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    broker.stop_clock();
    let now = broker.now().timestamp();
    let proof =
        |iat: i64| key.proof(&broker, "GET", &broker.at(ME)).token(&token).claims(json!({"iat": iat}));
    for iat in [now - 59, now + 59] {
        assert_eq!(call(&broker, "GET", ME, &token, &proof(iat).sign()).await.status, 200, "{}", iat - now);
    }
    for iat in [now - 62, now + 62, 0] {
        let answer = call(&broker, "GET", ME, &token, &proof(iat).sign()).await;
        assert_refused(&answer, "use_dpop_nonce", iat - now);
        let retry = proof(iat).nonce(answer.header("dpop-nonce").unwrap());
        assert_eq!(call(&broker, "GET", ME, &token, &retry.sign()).await.status, 200, "{}", iat - now);
    }
    let made_up = call_with(&broker, "GET", ME, "tbk_x", &key).await;
    assert_refused(&made_up, "invalid_token", "made up");
    // That is the first refusal that is recorded: asking for a nonce says nothing bad about a token.
    assert_eq!(reasons(&broker, "token_refused", 1).await, ["not_issued"]);
}

#[actix_web::test]
async fn only_a_current_nonce_of_the_broker_is_accepted() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    broker.stop_clock();
    let proof = |nonce: &str| key.proof(&broker, "GET", &broker.at(ME)).token(&token).nonce(nonce).sign();
    let other = ServerKey::new(KeyId(1), vec![9; 32]).unwrap();
    let other = nonce::issue(&KeyRing::new(KeyId(1), vec![other]).unwrap(), broker.now());
    for foreign in [other.as_str(), "", "x", "eyJ7S_zG.eyJH0-Z.HX4w-7v"] {
        let answer = call(&broker, "GET", ME, &token, &proof(foreign)).await;
        assert_refused(&answer, "use_dpop_nonce", foreign);
    }
    let nonce = current_nonce(&broker);
    broker.advance(299);
    assert_eq!(call(&broker, "GET", ME, &token, &proof(&nonce)).await.status, 200);
    broker.advance(1);
    assert_refused(&call(&broker, "GET", ME, &token, &proof(&nonce)).await, "use_dpop_nonce", "too old");
}

#[actix_web::test]
async fn nonces_can_be_demanded_for_every_proof() {
    let (broker, key) = (TestBroker::with(always()), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let proof = || key.proof(&broker, "GET", &broker.at(ME)).token(&token);
    let first = call(&broker, "GET", ME, &token, &proof().sign()).await;
    assert_refused(&first, "use_dpop_nonce", "no nonce");
    let twin = broker.twin();
    twin.ready().await;
    // The nonce of one instance works at the other, and every answer has one for the next call.
    let second =
        call(&twin, "GET", ME, &token, &proof().nonce(first.header("dpop-nonce").unwrap()).sign()).await;
    assert_eq!(second.status, 200, "{second:?}");
    let third =
        call(&broker, "GET", ME, &token, &proof().nonce(second.header("dpop-nonce").unwrap()).sign()).await;
    assert_eq!(third.status, 200, "{third:?}");
}

#[actix_web::test]
async fn a_token_that_is_not_bound_is_a_bearer_token_only() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let personal = personal::of(&broker, &token).await;
    for token in [&token, &personal] {
        assert_refused(&call_with(&broker, "GET", ME, token, &key).await, "invalid_token", "not bound");
        assert_eq!(broker.call(ME, token).await.status, 200);
    }
    let made_up = call_with(&broker, "GET", ME, "tbk_x", &key).await;
    assert_refused(&made_up, "invalid_token", "made up");
}

#[actix_web::test]
async fn a_personal_token_is_made_with_a_proof_and_is_not_bound() {
    let setup = Setup::default().adjust(|config| config.personal_tokens.enabled = true);
    let (broker, key) = (TestBroker::with(setup), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let proof = key.proof_with(&broker, "POST", "/api/personal_tokens", &token);
    let headers = [("authorization", &*format!("DPoP {token}")), ("dpop", &*proof)];
    let body = json!({"name": "script", "scope": "profile", "expires_in": 86400});
    let made = broker.browser().post_json(&broker.at("/api/personal_tokens"), &body, &headers).await;
    assert_eq!(made.status, 201, "{made:?}");
    let personal = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(broker.call(ME, &personal).await.status, 200);
}

#[actix_web::test]
async fn a_successor_is_bound_to_the_same_key() {
    let (broker, key, other) = (TestBroker::start(), AppKey::generate(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    const ROTATE: &str = "/api/token/rotate";
    let wrong = call_with(&broker, "POST", ROTATE, &token, &other).await;
    assert_refused(&wrong, "invalid_token", "another key");
    let rotated = call_with(&broker, "POST", ROTATE, &token, &key).await;
    assert_eq!((rotated.status.as_u16(), &rotated.json()["token_type"]), (200, &json!("DPoP")));
    let successor = rotated.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(call_with(&broker, "GET", ME, &successor, &key).await.status, 200);
    assert_refused(&call_with(&broker, "GET", ME, &successor, &other).await, "invalid_token", "another key");
    assert_refused(&broker.call(ME, &successor).await, "invalid_token", "as a bearer token");
}

/// A stolen token is useless, so presenting it must not sign its owner out either.
#[actix_web::test]
async fn a_rotated_token_without_its_key_does_not_end_the_session() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let rotated = call_with(&broker, "POST", "/api/token/rotate", &token, &key).await.json();
    let successor = rotated["access_token"].as_str().unwrap().to_owned();
    let api = Api::register(&broker, "orders", &broker.url).await;
    broker.advance(61);
    assert_eq!(api.introspect(&broker, &token).await.json(), json!({"active": false}));
    assert_refused(&broker.call(ME, &token).await, "invalid_token", "as a bearer token");
    let stolen = call_with(&broker, "GET", ME, &token, &AppKey::generate()).await;
    assert_refused(&stolen, "invalid_token", "with another key");
    assert_eq!(call_with(&broker, "GET", ME, &successor, &key).await.status, 200);
    assert_refused(&call_with(&broker, "GET", ME, &token, &key).await, "invalid_token", "with its key");
    assert_refused(&call_with(&broker, "GET", ME, &successor, &key).await, "invalid_token", "session ended");
}

/// Who has seen a request has its proof as well, but not the key.
#[actix_web::test]
async fn a_replayed_call_with_a_rotated_token_does_not_end_the_session() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let seen = key.proof(&broker, "GET", &broker.at(ME)).token(&token).nonce(&current_nonce(&broker)).sign();
    assert_eq!(call(&broker, "GET", ME, &token, &seen).await.status, 200);
    let rotated = call_with(&broker, "POST", "/api/token/rotate", &token, &key).await.json();
    let successor = rotated["access_token"].as_str().unwrap().to_owned();
    broker.advance(61);
    assert_refused(&call(&broker, "GET", ME, &token, &seen).await, "invalid_dpop_proof", "replayed");
    assert_eq!(call_with(&broker, "GET", ME, &successor, &key).await.status, 200);
    assert_refused(&call_with(&broker, "GET", ME, &token, &key).await, "invalid_token", "a new proof");
    assert_refused(&call_with(&broker, "GET", ME, &successor, &key).await, "invalid_token", "session ended");
}

#[actix_web::test]
async fn an_api_learns_the_key_and_judges_the_proof_itself() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let api = Api::register(&broker, "orders", &broker.url).await;
    let answer = api.introspect(&broker, &token).await.json();
    assert_eq!(answer["active"], true, "{answer}");
    assert_eq!(answer["token_type"], "DPoP");
    assert_eq!(answer["cnf"], json!({"jkt": key.jkt()}));
    let bearer = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let unbound = api.introspect(&broker, &bearer).await.json();
    assert_eq!((&unbound["token_type"], unbound.get("cnf")), (&json!("Bearer"), None));
    assert_eq!(api.revoke(&broker, &token).await.status, 200);
    assert_refused(&call_with(&broker, "GET", ME, &token, &key).await, "invalid_token", "revoked");
}

#[actix_web::test]
async fn no_one_can_unbind_or_rebind_a_token_in_the_database() {
    let (broker, key, other) = (TestBroker::start(), AppKey::generate(), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let row = row_of(&broker, &token);
    let set = |value: &str| {
        assert_eq!(change(&broker, &format!("UPDATE tokens SET dpop_jkt = {value} WHERE {row}")), 1);
    };
    set("NULL");
    assert_eq!(broker.call(ME, &token).await.status, 401);
    set(&format!("x'{}'", "ab".repeat(32)));
    for key in [&key, &other] {
        assert_refused(&call_with(&broker, "GET", ME, &token, key).await, "invalid_token", "forged");
    }
    assert_eq!(reasons(&broker, "token_forged", 3).await, ["forged"; 3]);
}

#[actix_web::test]
async fn the_challenge_without_a_token_names_both_schemes() {
    let broker = TestBroker::start();
    let answer = broker.browser().get(&broker.at(ME), &[]).await;
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges[0], r#"Bearer realm="token-broker""#);
    assert_eq!(challenges[1], r#"DPoP realm="token-broker", algs="ES256 ES384 Ed25519 EdDSA RS256 PS256""#);
    let other_errors = call(&broker, "GET", ME, "a b", "x").await;
    let challenge = other_errors.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with(r#"DPoP realm="token-broker", error="invalid_request", algs="#),
        "{challenge}"
    );
    let metadata = broker.browser().get(&broker.at("/.well-known/oauth-authorization-server"), &[]).await;
    assert_eq!(
        metadata.json()["dpop_signing_alg_values_supported"],
        json!(["ES256", "ES384", "Ed25519", "EdDSA", "RS256", "PS256"])
    );
}

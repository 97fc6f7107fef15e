//! The identity assertion: what an API behind a gateway can verify, and that it opens nothing.

use std::collections::BTreeSet;

use actix_web::http::header::HeaderName;
use serde_json::{Value, json};
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};
use token_broker::http::forward_auth::identity_headers::{Claim, IdentityHeaders};

use crate::gateways::with_orders_policy;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::jwt::{jwks, verifies};
use crate::support::oauth::decode;
use crate::support::personal;
use crate::support::rows::change;

const HEADER: &str = "x-auth-assertion";

const ORDERS: &str = "https://orders.example.com";

const ADDRESSES: [&str; 6] =
    ["/authz", "/authz/orders", "/authz/nginx", "/authz/traefik", "/authz/caddy", "/authz/envoy:default/x"];

/// Headers that tell this, and assert it.
fn headers(told: &[(Claim, &'static str)]) -> IdentityHeaders {
    let names = told.iter().chain(&[(Claim::Assertion, HEADER)]);
    let names = names.map(|(claim, name)| (*claim, HeaderName::from_static(name)));
    IdentityHeaders::new(names.collect(), false)
}

/// A broker that tells this, and asserts it.
fn telling(told: &'static [(Claim, &'static str)]) -> TestBroker {
    TestBroker::with(Setup::default().adjust(|config| {
        with_orders_policy(config);
        config.http.identity_headers = headers(told);
    }))
}

async fn sign_in(broker: &TestBroker) -> String {
    broker.sign_in(&broker.browser(), "dev", "alice").await
}

fn assertion(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header(HEADER).unwrap_or_else(|| panic!("no assertion: {answer:?}")).to_owned()
}

#[actix_web::test]
async fn every_positive_answer_has_an_assertion_for_the_api_of_the_policy() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        with_orders_policy(config);
        let orders = config.policies.iter_mut().find(|policy| policy.id.as_str() == "orders").unwrap();
        orders.audience = ORDERS.parse().unwrap();
        config.clients[0].audiences = format!("{} {ORDERS}", config.public_url).parse().unwrap();
        config.http.identity_headers = headers(&[]);
    }));
    broker.stop_clock();
    let session = sign_in(&broker).await;
    let tokens = [personal::of(&broker, &session).await, session];
    let (keys, now) = (jwks(&broker).await, broker.now().timestamp());
    let mut ids = Vec::new();
    for (token, path) in tokens.iter().flat_map(|token| ADDRESSES.map(|path| (token, path))) {
        let jwt = assertion(&broker.call(path, token).await);
        assert!(verifies(&jwt, &keys), "{path}");
        let (header, claims) = decode(&jwt);
        assert_eq!(header["typ"], "token-broker-assertion+jwt");
        let api = if path.ends_with("orders") { ORDERS } else { &*broker.url };
        let me = broker.call("/api/me", token).await.json();
        let mut scopes: Vec<_> = me["token"]["scope"].as_str().unwrap().split(' ').collect();
        scopes.sort_unstable();
        assert_eq!(
            claims,
            json!({
                "iss": broker.url,
                "aud": api,
                "sub": me["user"]["id"],
                "iat": now,
                "exp": now + 60,
                "jti": claims["jti"],
                "client_id": "sample",
                "scope": scopes.join(" "),
            })
        );
        ids.push(claims["jti"].to_string());
    }
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "no two have one id");
}

#[actix_web::test]
async fn it_says_what_the_headers_tell_and_nothing_else() {
    let told = [
        (Claim::Username, "x-auth-username"),
        (Claim::DisplayName, "x-auth-name"),
        (Claim::Email, "x-auth-email"),
        (Claim::EmailVerified, "x-auth-verified"),
        (Claim::Provider, "x-auth-provider"),
        (Claim::Groups, "x-auth-groups"),
        (Claim::Permissions, "x-auth-permissions"),
    ];
    let expected = [
        ("preferred_username", json!("alice")),
        ("name", json!("Alice Example")),
        ("email", json!("alice@example.com")),
        ("email_verified", json!(true)),
        ("provider", json!("dev")),
        ("groups", json!(["staff", "admins"])),
        ("permissions", json!(["report.read", "report.write", "user.manage"])),
    ];
    let always = ["aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub"];
    let first = telling(&[]);
    let token = sign_in(&first).await;
    let profile = async |told: &[(Claim, &'static str)]| {
        let twin = first.twin_with(|config| config.http.identity_headers = headers(told));
        let (_, mut claims) = decode(&assertion(&twin.call("/authz/orders", &token).await));
        always.iter().for_each(|name| assert!(claims.as_object_mut().unwrap().remove(*name).is_some()));
        claims
    };
    assert_eq!(profile(&[]).await, json!({}));
    assert_eq!(
        profile(&told).await,
        Value::Object(expected.iter().map(|(n, v)| ((*n).into(), v.clone())).collect())
    );
    for (told, (name, value)) in told.iter().zip(&expected) {
        assert_eq!(profile(&[*told]).await, json!({ *name: value }));
    }
    change(&first, "UPDATE identities SET email_verified = 0");
    assert_eq!(
        profile(&told[2..4]).await,
        json!({ "email_verified": false }),
        "unverified addresses are not told"
    );
}

#[actix_web::test]
async fn lists_that_make_it_too_long_are_left_out_as_a_whole() {
    let broker = telling(&[(Claim::Username, "x-auth-username"), (Claim::Groups, "x-auth-groups")]);
    let token = sign_in(&broker).await;
    for (count, is_told) in [(10, true), (40, false)] {
        let groups: Vec<_> = (0..count).map(|number| format!("{number}{}", "g".repeat(200))).collect();
        assert_eq!(change(&broker, &format!("UPDATE identities SET groups = '{}'", json!(groups))), 1);
        let jwt = assertion(&broker.call("/authz", &token).await);
        assert!(jwt.len() <= 6 * 1024, "{}", jwt.len());
        let claims = decode(&jwt).1;
        assert_eq!(claims["preferred_username"], "alice");
        assert_eq!(claims.get("groups"), is_told.then(|| json!(groups)).as_ref());
    }
}

#[actix_web::test]
async fn a_refusal_has_none_and_without_the_setting_there_is_none() {
    let broker = telling(&[]);
    let bob = broker.sign_in(&broker.browser(), "dev", "bob").await;
    for (path, token, status) in
        [("/authz/orders", &*bob, 403), ("/authz", "x", 401), ("/authz/other", &bob, 403)]
    {
        let answer = broker.call(path, token).await;
        assert_eq!((answer.status.as_u16(), answer.header(HEADER)), (status, None), "{path}");
    }
    let twin = broker.twin_with(|config| config.http.identity_headers = IdentityHeaders::default());
    assert_eq!(twin.call("/authz", &bob).await.header(HEADER), None);
}

#[actix_web::test]
async fn assertions_verify_before_during_and_after_a_rotation_of_the_server_keys() {
    let broker = telling(&[]);
    let instance = |issuing: u32, ids: &[u32]| {
        let key = |id: &u32| ServerKey::new(KeyId(*id), vec![*id as u8; 32]).unwrap();
        let ring = KeyRing::new(KeyId(issuing), ids.iter().map(key).collect()).unwrap();
        broker.twin_with(|config| config.server_keys = ring.into())
    };
    let steps = [instance(1, &[1]), instance(1, &[1, 2]), instance(2, &[1, 2])];
    let last = instance(2, &[2]);
    let token = sign_in(&steps[0]).await;
    let (mut assertions, mut sets) = (Vec::new(), Vec::new());
    for step in &steps {
        assertions.push(assertion(&step.call("/authz", &token).await));
        sets.push(jwks(step).await);
    }
    sets.push(jwks(&last).await);
    let verified: Vec<Vec<bool>> =
        assertions.iter().map(|jwt| sets.iter().map(|set| verifies(jwt, set)).collect()).collect();
    let (old, new) = (vec![true, true, true, false], vec![false, true, true, true]);
    assert_eq!(verified, [old.clone(), old, new]);
}

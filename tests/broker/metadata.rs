//! The metadata that client libraries configure themselves with, and the keys of ID tokens.

use serde_json::{Value, json};
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};

use crate::headers::described;
use crate::support::broker::{Setup, TestBroker};
use crate::support::jwt::{jwks, verifies};
use crate::support::oauth::{decode, setup, text, tokens};

async fn get(broker: &TestBroker, path: &str) -> Value {
    let answer = broker.browser().get(&broker.at(path), &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[actix_web::test]
async fn both_documents_are_the_same_and_name_endpoints_that_exist() {
    let broker = TestBroker::with(setup());
    let metadata = get(&broker, "/.well-known/oauth-authorization-server").await;
    assert_eq!(metadata, get(&broker, "/.well-known/openid-configuration").await);
    assert_eq!(metadata["issuer"], broker.url);
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    for (name, value) in [
        ("response_types_supported", json!(["code"])),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("token_endpoint_auth_methods_supported", json!(["none"])),
        (
            "introspection_endpoint_auth_methods_supported",
            json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]),
        ),
        (
            "revocation_endpoint_auth_methods_supported",
            json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]),
        ),
        (
            "grant_types_supported",
            json!(["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]),
        ),
        ("introspection_signing_alg_values_supported", json!(["ES256"])),
        ("id_token_signing_alg_values_supported", json!(["ES256"])),
        ("scopes_supported", json!(["email", "openid", "permissions", "profile"])),
        ("revocation_bound_seconds", json!(1)),
    ] {
        assert_eq!(metadata[name], value, "{name}");
    }
    let served = described(&broker, &broker.url).await;
    let endpoints = metadata.as_object().unwrap().iter();
    let endpoints = endpoints.filter(|(name, _)| name.ends_with("_endpoint") || name.ends_with("_uri"));
    let mut count = 0;
    for (name, url) in endpoints {
        let path = url.as_str().unwrap().strip_prefix(&broker.url).unwrap();
        assert!(served.iter().any(|(served, _)| served == path), "{name}: {url}");
        count += 1;
    }
    assert!(count >= 8, "{metadata}");
    let without = Setup::default().adjust(|config| config.clients[0].device = false);
    let without = get(&TestBroker::with(without), "/.well-known/openid-configuration").await;
    assert_eq!(without["grant_types_supported"], json!(["authorization_code"]));
}

#[actix_web::test]
async fn the_issuer_is_the_public_url_without_a_slash() {
    let broker = TestBroker::with(Setup::https());
    let metadata = get(&broker, "/.well-known/oauth-authorization-server").await;
    assert_eq!(metadata["issuer"], "https://auth.example.com");
    assert_eq!(metadata["token_endpoint"], "https://auth.example.com/oauth2/token");
}

#[actix_web::test]
async fn id_tokens_verify_before_during_and_after_a_rotation_of_the_server_keys() {
    let broker = TestBroker::with(setup());
    let ring = |issuing: u32, ids: &[u32]| {
        let key = |id: &u32| ServerKey::new(KeyId(*id), vec![*id as u8; 32]).unwrap();
        KeyRing::new(KeyId(issuing), ids.iter().map(key).collect()).unwrap()
    };
    let instance = |issuing: u32, ids: &'static [u32]| {
        let ring = ring(issuing, ids);
        broker.twin_with(|config| config.server_keys = ring.into())
    };
    // The new key is added, then issues, then the old one is removed.
    let steps = [instance(1, &[1]), instance(1, &[1, 2]), instance(2, &[1, 2]), instance(2, &[2])];
    let mut id_tokens = Vec::new();
    for step in &steps {
        id_tokens.push(text(&tokens(step, &[]).await, "id_token"));
    }
    let sets = [jwks(&steps[0]).await, jwks(&steps[1]).await, jwks(&steps[2]).await, jwks(&steps[3]).await];
    let seen: Vec<Vec<bool>> =
        id_tokens.iter().map(|token| sets.iter().map(|set| verifies(token, set)).collect()).collect();
    let (old, new) = (vec![true, true, true, false], vec![false, true, true, true]);
    assert_eq!(seen, [old.clone(), old, new.clone(), new]);
    assert_ne!(decode(&id_tokens[1]).0["kid"], decode(&id_tokens[2]).0["kid"]);
}

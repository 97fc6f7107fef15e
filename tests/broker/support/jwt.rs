//! JWTs of the broker, verified with the keys that it publishes.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::broker::TestBroker;
use super::oauth::decode;

/// The published keys.
pub async fn jwks(broker: &TestBroker) -> Value {
    let answer = broker.browser().get(&broker.at("/.well-known/jwks.json"), &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Whether the key of `set` that the JWT names has signed it.
pub fn verifies(jwt: &str, set: &Value) -> bool {
    let header = decode(jwt).0;
    assert_eq!(header["alg"], "ES256");
    let Some(key) = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]) else {
        return false;
    };
    assert_eq!((&key["kty"], &key["crv"], &key["use"]), (&json!("EC"), &json!("P-256"), &json!("sig")));
    assert!(key.get("d").is_none());
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).is_ok()
}

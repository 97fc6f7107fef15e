//! Real signing keys, and tokens with any header and claims.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::provider::signing;

/// A key pair of the fake provider.
pub struct SigningKey {
    pub algorithm: Algorithm,
    key: signing::SigningKey,
    /// The public half as the key set has it, with `kid` and `alg`.
    pub jwk: Value,
}

/// One RSA key for all tests: drawing one takes a while.
pub static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::rsa("rsa"));

impl SigningKey {
    /// An RSA key of 2048 bits.
    pub fn rsa(kid: &str) -> Self {
        Self::new(signing::SigningKey::rsa(kid).unwrap())
    }

    pub fn p256(kid: &str) -> Self {
        Self::new(signing::SigningKey::p256(kid).unwrap())
    }

    pub fn p384(kid: &str) -> Self {
        Self::new(signing::SigningKey::p384(kid).unwrap())
    }

    pub fn ed25519(kid: &str) -> Self {
        Self::new(signing::SigningKey::ed25519(kid).unwrap())
    }

    fn new(key: signing::SigningKey) -> Self {
        Self { algorithm: key.algorithm().parse().unwrap(), jwk: key.public_jwk(), key }
    }

    /// The public half with changes: `null` removes a member.
    pub fn jwk_with(&self, changes: Value) -> Value {
        changed(&self.jwk, changes)
    }

    /// A token with the key's own `kid` and algorithm.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(json!({}), &claims.to_string())
    }

    /// A token with another header and any text for claims: `null` removes a member of the header.
    pub fn sign_with(&self, header: Value, claims: &str) -> String {
        let own = json!({"typ": "JWT", "alg": self.algorithm, "kid": self.jwk["kid"]});
        self.sign_text(&changed(&own, header).to_string(), claims)
    }

    /// A token with any text for header and claims, signed with the key's own algorithm.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        self.sign_message(&message, self.algorithm)
    }

    /// Any message, signed with the key's own algorithm or, by an RSA key, with PS256.
    pub fn sign_message(&self, message: &str, algorithm: Algorithm) -> String {
        let signature = match algorithm {
            Algorithm::PS256 => self.key.sign_ps256(message.as_bytes()),
            _ => self.key.sign(message.as_bytes()),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
    }
}

/// `object` with `changes` laid on top: `null` removes a member.
pub fn changed(object: &Value, changes: Value) -> Value {
    let mut object = object.clone();
    for (name, value) in changes.as_object().unwrap().clone() {
        object.as_object_mut().unwrap().remove(&name);
        if !value.is_null() {
            object[name] = value;
        }
    }
    object
}

/// The claims that an ID token for `nonce` needs.
pub fn claims(issuer: &str, nonce: &str) -> Value {
    json!({
        "iss": issuer, "aud": super::CLIENT_ID, "sub": "alice-1", "nonce": nonce,
        "exp": super::NOW + 300, "iat": super::NOW,
    })
}

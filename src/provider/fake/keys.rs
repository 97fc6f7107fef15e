//! Real signing keys, and tokens with any header and claims one can think of.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use aws_lc_rs::{rsa, signature::EcdsaSigningAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

/// A key pair of the fake provider.
pub struct SigningKey {
    pub algorithm: Algorithm,
    private: EncodingKey,
    /// The public half as it stands in the key set, with `kid` and `alg`.
    pub jwk: Value,
}

/// One RSA key for all tests: making one takes a while.
pub static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::rsa("rsa"));

impl SigningKey {
    /// An RSA key of 2048 bits.
    pub fn rsa(kid: &str) -> Self {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let base64 = STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
        Self::new(kid, Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap())
    }

    pub fn p256(kid: &str) -> Self {
        Self::new(kid, Algorithm::ES256, ec(&ECDSA_P256_SHA256_FIXED_SIGNING))
    }

    pub fn p384(kid: &str) -> Self {
        Self::new(kid, Algorithm::ES384, ec(&ECDSA_P384_SHA384_FIXED_SIGNING))
    }

    pub fn ed25519(kid: &str) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        Self::new(kid, Algorithm::EdDSA, EncodingKey::from_ed_der(der.as_ref()))
    }

    fn new(kid: &str, algorithm: Algorithm, private: EncodingKey) -> Self {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&private, algorithm).unwrap()).unwrap();
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        Self { algorithm, private, jwk }
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

    /// Any message with a signature of any algorithm.
    pub fn sign_message(&self, message: &str, algorithm: Algorithm) -> String {
        format!("{message}.{}", crypto::sign(message.as_bytes(), &self.private, algorithm).unwrap())
    }
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> EncodingKey {
    let der = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    EncodingKey::from_ec_der(der.as_ref())
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

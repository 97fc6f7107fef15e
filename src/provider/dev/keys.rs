//! The signing keys: drawn once per process, so that a provider that is stopped and started again still has them.

use std::sync::OnceLock;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::provider::signing::SigningKey;

/// How an ID token is signed (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: what every OpenID provider must have.
    #[default]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SigningAlgorithm {
    /// Every algorithm, as announced.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name in a JOSE header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// `at_hash` of an access token (OpenID Connect Core section 3.1.3.6): the left half of the hash that the
    /// algorithm uses.
    pub(super) fn half_hash(self, token: &str) -> String {
        let hash = if self == Self::EdDsa { &digest::SHA512 } else { &digest::SHA256 };
        let hash = digest::digest(hash, token.as_bytes());
        URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
    }
}

/// One key per algorithm.
pub(super) struct KeySet {
    rsa: SigningKey,
    ec: SigningKey,
    ed: SigningKey,
}

impl KeySet {
    /// The keys of this process: the first set, or the one it rotates to. Each is the stranger to the other.
    #[expect(clippy::expect_used, reason = "a machine that cannot draw keys can run no part of this program")]
    pub(super) fn of_this_process(rotated: bool) -> &'static Self {
        static FIRST: OnceLock<KeySet> = OnceLock::new();
        static SECOND: OnceLock<KeySet> = OnceLock::new();
        let (set, generation) = if rotated { (&SECOND, "second") } else { (&FIRST, "first") };
        set.get_or_init(|| Self::generate(generation).expect("aws-lc draws keys"))
    }

    fn generate(generation: &'static str) -> Result<Self, Unspecified> {
        let key_id = |name: &str| format!("dev-{generation}-{name}");
        Ok(Self {
            rsa: SigningKey::rsa(key_id("rs256"))?,
            ec: SigningKey::p256(key_id("es256"))?,
            ed: SigningKey::ed25519(key_id("eddsa"))?,
        })
    }

    fn key(&self, algorithm: SigningAlgorithm) -> &SigningKey {
        match algorithm {
            SigningAlgorithm::Rs256 => &self.rsa,
            SigningAlgorithm::Es256 => &self.ec,
            SigningAlgorithm::EdDsa => &self.ed,
        }
    }

    /// The `kid` of the key for `algorithm`.
    pub(super) fn key_id(&self, algorithm: SigningAlgorithm) -> String {
        self.key(algorithm).key_id().to_owned()
    }

    /// Signs with the key for `algorithm`.
    pub(super) fn sign(&self, algorithm: SigningAlgorithm, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        self.key(algorithm).sign(message)
    }

    /// Signs with the RSA key, but with the padding of PS256.
    pub(super) fn sign_ps256(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        self.rsa.sign_ps256(message)
    }

    /// The RSA public key as DER: the secret of the classic attack with HS256.
    pub(super) fn rsa_public_der(&self) -> Result<Vec<u8>, Unspecified> {
        self.rsa.rsa_public_der()
    }

    /// The public key for `algorithm` as a JWK (RFC 7517).
    pub(super) fn jwk(&self, algorithm: SigningAlgorithm) -> Value {
        self.key(algorithm).public_jwk()
    }

    /// All public keys.
    pub(super) fn jwks(&self) -> Vec<Value> {
        SigningAlgorithm::ALL.map(|algorithm| self.jwk(algorithm)).into()
    }
}

/// HMAC-SHA-256, for the faults that sign with it.
pub(super) fn sign_hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

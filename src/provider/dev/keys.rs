//! The signing keys: drawn once per process, so that a provider that is stopped and started again still has
//! them.
//!
//! The signatures come straight from aws-lc-rs, not from the JWT library that the broker verifies with: what
//! both ends get wrong alike would otherwise go unnoticed.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

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
    /// Part of the key ids.
    generation: &'static str,
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
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
        Ok(Self {
            generation,
            rsa: RsaKeyPair::generate(KeySize::Rsa2048)?,
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            ed: Ed25519KeyPair::generate()?,
        })
    }

    /// The `kid` of the key for `algorithm`.
    pub(super) fn key_id(&self, algorithm: SigningAlgorithm) -> String {
        format!("dev-{}-{}", self.generation, algorithm.name().to_ascii_lowercase())
    }

    /// Signs with the key for `algorithm`.
    pub(super) fn sign(&self, algorithm: SigningAlgorithm, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match algorithm {
            SigningAlgorithm::Rs256 => self.sign_rsa(&RSA_PKCS1_SHA256, message),
            SigningAlgorithm::Es256 => Ok(self.ec.sign(&SystemRandom::new(), message)?.as_ref().to_vec()),
            SigningAlgorithm::EdDsa => Ok(self.ed.sign(message).as_ref().to_vec()),
        }
    }

    /// Signs with the RSA key, but with the padding of PS256.
    pub(super) fn sign_ps256(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        self.sign_rsa(&RSA_PSS_SHA256, message)
    }

    fn sign_rsa(
        &self,
        padding: &'static dyn aws_lc_rs::signature::RsaEncoding,
        message: &[u8],
    ) -> Result<Vec<u8>, Unspecified> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(padding, &SystemRandom::new(), message, &mut signature)?;
        Ok(signature)
    }

    /// The RSA public key as DER: what the classic HS256 attack uses as secret.
    pub(super) fn rsa_public_der(&self) -> Result<Vec<u8>, Unspecified> {
        let der: PublicKeyX509Der<'_> = self.rsa.public_key().as_der()?;
        Ok(der.as_ref().to_vec())
    }

    /// The public key for `algorithm` as a JWK (RFC 7517).
    pub(super) fn jwk(&self, algorithm: SigningAlgorithm) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match algorithm {
            SigningAlgorithm::Rs256 => {
                let key = self.rsa.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({
                    "kty": "RSA",
                    "n": text(n.big_endian_without_leading_zero()),
                    "e": text(e.big_endian_without_leading_zero()),
                })
            }
            SigningAlgorithm::Es256 => {
                // An uncompressed point: 0x04, then both coordinates (SEC 1 section 2.3.3).
                let point = self.ec.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..65])})
            }
            SigningAlgorithm::EdDsa => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(self.ed.public_key().as_ref())})
            }
        };
        jwk["use"] = "sig".into();
        jwk["alg"] = algorithm.name().into();
        jwk["kid"] = self.key_id(algorithm).into();
        jwk
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

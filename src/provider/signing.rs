//! Signing keys of the providers that come with this program: the development provider, and the fake provider of the
//! unit tests.
//!
//! The signatures come straight from aws-lc-rs, not from the JWT library that the broker verifies with: a mistake that
//! both ends share would otherwise go unnoticed.

#[cfg(feature = "demo")]
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A key pair with its `kid`.
pub(super) struct SigningKey {
    key_id: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    /// With the names of curve and algorithm, and the length of a coordinate.
    Ec(EcdsaKeyPair, &'static str, &'static str, usize),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Draws an RSA key of 2048 bits.
    pub(super) fn rsa(key_id: impl Into<String>) -> Result<Self, Unspecified> {
        let pair = Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?);
        Ok(Self { key_id: key_id.into(), pair })
    }

    /// Draws a key on the curve P-256.
    pub(super) fn p256(key_id: impl Into<String>) -> Result<Self, Unspecified> {
        Self::ec(key_id, &ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", "ES256", 32)
    }

    /// Draws a key on the curve P-384.
    #[cfg(test)]
    pub(super) fn p384(key_id: impl Into<String>) -> Result<Self, Unspecified> {
        Self::ec(key_id, &aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", "ES384", 48)
    }

    /// Draws an Ed25519 key.
    pub(super) fn ed25519(key_id: impl Into<String>) -> Result<Self, Unspecified> {
        let pair = Pair::Ed25519(Ed25519KeyPair::generate()?);
        Ok(Self { key_id: key_id.into(), pair })
    }

    fn ec(
        key_id: impl Into<String>,
        kind: &'static EcdsaSigningAlgorithm,
        curve: &'static str,
        algorithm: &'static str,
        coordinate: usize,
    ) -> Result<Self, Unspecified> {
        let pair = Pair::Ec(EcdsaKeyPair::generate(kind)?, curve, algorithm, coordinate);
        Ok(Self { key_id: key_id.into(), pair })
    }

    /// Its `kid`.
    #[cfg(feature = "demo")]
    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The name of its algorithm in a JOSE header (RFC 7518 section 3.1, RFC 8037).
    pub(super) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_, _, algorithm, _) => algorithm,
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// Signs with its algorithm.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match &self.pair {
            Pair::Rsa(pair) => sign_rsa(pair, &RSA_PKCS1_SHA256, message),
            Pair::Ec(pair, ..) => Ok(pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// Signs with the padding of PS256, which is not its own algorithm. Only an RSA key can.
    pub(super) fn sign_ps256(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match &self.pair {
            Pair::Rsa(pair) => sign_rsa(pair, &RSA_PSS_SHA256, message),
            _ => Err(Unspecified),
        }
    }

    /// The public key of an RSA key as DER: the secret of the classic attack with HS256.
    #[cfg(feature = "demo")]
    pub(super) fn rsa_public_der(&self) -> Result<Vec<u8>, Unspecified> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let der: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
                Ok(der.as_ref().to_vec())
            }
            _ => Err(Unspecified),
        }
    }

    /// The public key as a JWK (RFC 7517).
    pub(super) fn public_jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({
                    "kty": "RSA",
                    "n": text(n.big_endian_without_leading_zero()),
                    "e": text(e.big_endian_without_leading_zero()),
                })
            }
            Pair::Ec(pair, curve, _, coordinate) => {
                // An uncompressed point: 0x04, then both coordinates (SEC 1 section 2.3.3).
                let (x, y) = pair.public_key().as_ref()[1..].split_at(*coordinate);
                json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
        };
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().into();
        jwk["kid"] = self.key_id.as_str().into();
        jwk
    }
}

fn sign_rsa(
    pair: &RsaKeyPair,
    padding: &'static dyn RsaEncoding,
    message: &[u8],
) -> Result<Vec<u8>, Unspecified> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message, &mut signature)?;
    Ok(signature)
}

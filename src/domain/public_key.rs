//! Public keys that administrators register: as a JWK (RFC 7517), or as PEM (RFC 7468).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::{Map, Value};

/// The longest text of a key.
const LONGEST: usize = 8 * 1024;

/// The smallest RSA modulus, in bytes: 2048 bits (RFC 7518 section 3.3).
const RSA_BYTES: usize = 256;

/// An uncompressed point of P-256.
const P256_POINT: usize = 65;

/// A public key of Ed25519.
const ED25519_KEY: usize = 32;

/// A public key that verifies signatures.
#[derive(Clone)]
pub struct PublicKey {
    text: String,
    kind: KeyKind,
    key: DecodingKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    P256,
    Ed25519,
    Rsa,
}

/// Why a text is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// It is secret.
    #[error("is a private key: keep it at the API, and register its public half")]
    Private,
    /// It is something else.
    #[error("is neither a JWK nor a PEM block PUBLIC KEY of P-256, Ed25519 or RSA with at least 2048 bits")]
    Unsupported,
}

impl PublicKey {
    /// The text that is stored: a JWK without what is not part of the key, or the PEM block.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The digest of the text.
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, self.text.as_bytes()).as_ref());
        bytes
    }

    /// Whether `signature` over `message` is this key's. A key verifies only the algorithms of its own type (RFC 8725
    /// section 3.1).
    pub fn verifies(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        let fits = match self.kind {
            KeyKind::P256 => algorithm == Algorithm::ES256,
            KeyKind::Ed25519 => algorithm == Algorithm::EdDSA,
            KeyKind::Rsa => matches!(algorithm, Algorithm::RS256 | Algorithm::PS256),
        };
        fits && jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm)
            .unwrap_or(false)
    }

    fn from_jwk(text: &str) -> Result<Self, InvalidPublicKey> {
        let members: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| InvalidPublicKey::Unsupported)?;
        if ["d", "p", "q", "dp", "dq", "qi", "k"].iter().any(|secret| members.contains_key(*secret)) {
            return Err(InvalidPublicKey::Private);
        }
        let jwk: Jwk = serde_json::from_value(Value::Object(members.clone()))
            .map_err(|_| InvalidPublicKey::Unsupported)?;
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return Err(InvalidPublicKey::Unsupported);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| InvalidPublicKey::Unsupported)?;
        let kind = match (&jwk.algorithm, key.kind()) {
            (AlgorithmParameters::EllipticCurve(ec), _) if ec.curve == EllipticCurve::P256 => KeyKind::P256,
            (AlgorithmParameters::OctetKeyPair(pair), _) if pair.curve == EllipticCurve::Ed25519 => {
                KeyKind::Ed25519
            }
            (AlgorithmParameters::RSA(_), DecodingKeyKind::RsaModulusExponent { n, .. })
                if n.iter().skip_while(|byte| **byte == 0).count() >= RSA_BYTES =>
            {
                KeyKind::Rsa
            }
            _ => return Err(InvalidPublicKey::Unsupported),
        };
        let part = |name: &str| Some((name.to_owned(), members.get(name)?.clone()));
        let kept: Map<String, Value> =
            ["crv", "e", "kty", "n", "x", "y"].into_iter().filter_map(part).collect();
        Ok(Self { text: Value::Object(kept).to_string(), kind, key })
    }

    fn from_pem(text: &str) -> Result<Self, InvalidPublicKey> {
        if text.contains("PRIVATE KEY") {
            return Err(InvalidPublicKey::Private);
        }
        if !text.starts_with("-----BEGIN PUBLIC KEY-----") || text.matches("-----BEGIN").count() != 1 {
            return Err(InvalidPublicKey::Unsupported);
        }
        let length = |key: &DecodingKey| match key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => bytes.len(),
            DecodingKeyKind::RsaModulusExponent { n, .. } => n.len(),
        };
        let pem = text.as_bytes();
        let read = [
            (KeyKind::P256, DecodingKey::from_ec_pem(pem)),
            (KeyKind::Ed25519, DecodingKey::from_ed_pem(pem)),
            (KeyKind::Rsa, DecodingKey::from_rsa_pem(pem)),
        ];
        let fits = |kind: KeyKind, key: &DecodingKey| match kind {
            KeyKind::P256 => length(key) == P256_POINT,
            KeyKind::Ed25519 => length(key) == ED25519_KEY,
            // The modulus with its exponent and the frame of both.
            KeyKind::Rsa => length(key) > RSA_BYTES,
        };
        let found =
            read.into_iter().find_map(|(kind, key)| Some((kind, key.ok()?)).filter(|(k, key)| fits(*k, key)));
        let (kind, key) = found.ok_or(InvalidPublicKey::Unsupported)?;
        Ok(Self { text: text.to_owned(), kind, key })
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(InvalidPublicKey::Unsupported);
        }
        if text.starts_with('{') { Self::from_jwk(text) } else { Self::from_pem(text) }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("PublicKey").field(&self.text).finish()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PublicKey {}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"a","use":"sig"}"#;
    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const P256_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\nq9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n-----END PUBLIC KEY-----\n";

    #[test]
    fn a_jwk_is_stored_without_what_is_not_part_of_the_key() {
        let key: PublicKey = P256.parse().unwrap();
        assert_eq!(
            key.as_str(),
            r#"{"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#
        );
        assert_eq!(key.as_str().parse::<PublicKey>().unwrap().digest(), key.digest());
        assert!(ED25519.parse::<PublicKey>().is_ok());
        let pem: PublicKey = P256_PEM.parse().unwrap();
        assert_eq!(pem.as_str(), P256_PEM.trim());
    }

    #[test]
    fn private_keys_and_other_texts_are_refused() {
        let private = P256.replace("\"kid\"", "\"d\":\"AA\",\"kid\"");
        let pem = P256_PEM.replace("PUBLIC", "PRIVATE");
        for secret in [private.as_str(), &pem, r#"{"kty":"oct","k":"AAAA"}"#] {
            assert_eq!(secret.parse::<PublicKey>().unwrap_err(), InvalidPublicKey::Private);
        }
        let short = format!(r#"{{"kty":"RSA","e":"AQAB","n":"{}"}}"#, "A".repeat(340));
        for other in [
            "",
            "{}",
            "{",
            &short,
            &P256.replace("P-256", "P-384"),
            &P256.replace("\"sig\"", "\"enc\""),
            &P256_PEM.replace("MFkw", "MFkx"),
            &format!("{P256_PEM}{P256_PEM}"),
            &"-".repeat(9000),
        ] {
            assert_eq!(other.parse::<PublicKey>().unwrap_err(), InvalidPublicKey::Unsupported, "{other}");
        }
    }
}

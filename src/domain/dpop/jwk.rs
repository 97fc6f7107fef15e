//! The public key in the header of a proof.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::refusal::ProofRefused;
use super::thumbprint::Thumbprint;

/// The algorithms that proofs may use, by name: `dpop_signing_alg_values_supported` (RFC 9449 section 5.1). `Ed25519` is the
/// newer name of `EdDSA` (RFC 9864).
pub const ALGORITHMS: [&str; 6] = ["ES256", "ES384", "Ed25519", "EdDSA", "RS256", "PS256"];

/// The algorithm with this name, if proofs may use it.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "Ed25519" => Some(Algorithm::EdDSA),
        name if ALGORITHMS.contains(&name) => name.parse().ok(),
        _ => None,
    }
}

/// The size of an RSA modulus, in bytes: at least 2048 bits (RFC 7518 section 3.3), and no more than can be verified
/// quickly.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=512;

/// A JWK (RFC 7517), as it is written in the header. A member that appears twice is an error.
#[derive(Deserialize)]
pub(super) struct PresentedJwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    #[serde(default, deserialize_with = "present")]
    d: bool,
    #[serde(default, deserialize_with = "present")]
    p: bool,
    #[serde(default, deserialize_with = "present")]
    q: bool,
    #[serde(default, deserialize_with = "present")]
    dp: bool,
    #[serde(default, deserialize_with = "present")]
    dq: bool,
    #[serde(default, deserialize_with = "present")]
    qi: bool,
    #[serde(default, deserialize_with = "present")]
    oth: bool,
    #[serde(default, deserialize_with = "present")]
    k: bool,
}

/// Whether a member is there, whatever its value.
pub(super) fn present<'de, D: Deserializer<'de>>(input: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(input).map(|_| true)
}

/// A public key that can verify a proof.
pub(super) struct ProofKey {
    /// The key.
    pub(super) key: DecodingKey,
    /// Its thumbprint.
    pub(super) thumbprint: Thumbprint,
}

impl PresentedJwk {
    /// The key, if it is a public key for `algorithm`.
    pub(super) fn for_algorithm(&self, algorithm: Algorithm) -> Result<ProofKey, ProofRefused> {
        if self.d || self.p || self.q || self.dp || self.dq || self.qi || self.oth || self.k {
            return Err(ProofRefused::Invalid(
                "The jwk of the DPoP proof contains a private key. Replace that key.",
            ));
        }
        let unusable = || ProofRefused::Invalid("The jwk of the DPoP proof is not a public key for its alg.");
        let found = match (self.kty.as_str(), algorithm) {
            ("EC", Algorithm::ES256) => self.elliptic("P-256", 32),
            ("EC", Algorithm::ES384) => self.elliptic("P-384", 48),
            ("OKP", Algorithm::EdDSA) => self.edwards(),
            ("RSA", Algorithm::RS256 | Algorithm::PS256) => self.rsa(),
            _ => None,
        };
        let (key, canonical) = found.ok_or_else(unusable)?;
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest(&SHA256, canonical.as_bytes()).as_ref());
        Ok(ProofKey { key, thumbprint: Thumbprint::from_bytes(thumbprint) })
    }

    /// The key and its canonical form: the required members in the order of their names (RFC 7638 section 3.2).
    fn elliptic(&self, curve: &str, length: usize) -> Option<(DecodingKey, String)> {
        let (x, y) = (self.x.as_deref()?, self.y.as_deref()?);
        let fits = self.crv.as_deref() == Some(curve) && has_length(x, length) && has_length(y, length);
        let key = DecodingKey::from_ec_components(x, y).ok().filter(|_| fits)?;
        Some((key, format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#)))
    }

    fn edwards(&self) -> Option<(DecodingKey, String)> {
        let x = self.x.as_deref()?;
        let fits = self.crv.as_deref() == Some("Ed25519") && has_length(x, 32);
        let key = DecodingKey::from_ed_components(x).ok().filter(|_| fits)?;
        Some((key, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
    }

    fn rsa(&self) -> Option<(DecodingKey, String)> {
        let (n, e) = (self.n.as_deref()?, self.e.as_deref()?);
        let modulus = URL_SAFE_NO_PAD.decode(n).ok()?;
        // A first byte of 128 or more: the modulus has no leading zeros and all of its bits.
        let fits = RSA_MODULUS.contains(&modulus.len()) && modulus.first().is_some_and(|first| *first >= 128);
        let exponent = URL_SAFE_NO_PAD.decode(e).ok()?;
        let small = (1..=4).contains(&exponent.len()) && exponent.first() != Some(&0);
        let key = DecodingKey::from_rsa_components(n, e).ok().filter(|_| fits && small)?;
        Some((key, format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)))
    }
}

/// Whether a text is the base64url encoding of so many bytes. The decoder accepts the canonical encoding only, so that one
/// key has one thumbprint.
fn has_length(text: &str, length: usize) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == length)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The key of RFC 7638 section 3.1.
    fn rsa() -> Value {
        json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        })
    }

    /// The key of RFC 9449 section 4.1.
    fn p256() -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        })
    }

    fn thumbprint(jwk: Value, algorithm: Algorithm) -> Result<String, ProofRefused> {
        let jwk: PresentedJwk = serde_json::from_value(jwk).unwrap();
        jwk.for_algorithm(algorithm).map(|key| key.thumbprint.to_string())
    }

    #[test]
    fn the_thumbprints_of_the_standards_are_computed() {
        let expected = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(thumbprint(rsa(), Algorithm::RS256).unwrap(), expected);
        assert_eq!(thumbprint(rsa(), Algorithm::PS256).unwrap(), expected);
        // RFC 9449 section 6.1.
        let expected = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        assert_eq!(thumbprint(p256(), Algorithm::ES256).unwrap(), expected);
    }

    #[test]
    fn a_private_member_of_any_key_is_refused_whatever_its_value() {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            for value in [json!("AA"), Value::Null, json!([])] {
                let mut jwk = p256();
                jwk[member] = value;
                let refused = thumbprint(jwk, Algorithm::ES256).unwrap_err();
                assert!(refused.text().contains("private key"), "{member}");
            }
        }
    }

    #[test]
    fn a_key_that_does_not_fit_its_algorithm_is_refused() {
        let change = |mut jwk: Value, member: &str, value: Value| {
            jwk[member] = value;
            jwk
        };
        let short = URL_SAFE_NO_PAD.encode([255; 255]);
        let long = URL_SAFE_NO_PAD.encode([255; 513]);
        for (jwk, algorithm) in [
            (p256(), Algorithm::ES384),
            (p256(), Algorithm::RS256),
            (p256(), Algorithm::EdDSA),
            (rsa(), Algorithm::ES256),
            (change(p256(), "crv", json!("P-384")), Algorithm::ES256),
            (change(p256(), "crv", json!("secp256k1")), Algorithm::ES256),
            (change(p256(), "kty", json!("oct")), Algorithm::ES256),
            (change(p256(), "x", json!("AAAA")), Algorithm::ES256),
            (change(p256(), "y", Value::Null), Algorithm::ES256),
            // The same bytes in another encoding would have another thumbprint.
            (change(p256(), "x", json!("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFt")), Algorithm::ES256),
            (change(rsa(), "n", json!(short)), Algorithm::RS256),
            (change(rsa(), "n", json!(long)), Algorithm::RS256),
            (change(rsa(), "e", json!("")), Algorithm::RS256),
            (change(rsa(), "e", json!("AAEAAQ")), Algorithm::RS256),
        ] {
            let refused = thumbprint(jwk.clone(), algorithm);
            assert!(refused.is_err_and(|refused| refused.text().contains("not a public key")), "{jwk}");
        }
    }

    #[test]
    fn a_repeated_member_is_refused() {
        let text = r#"{"kty":"EC","crv":"P-256","x":"a","x":"b","y":"c"}"#;
        assert!(serde_json::from_str::<PresentedJwk>(text).is_err());
    }
}

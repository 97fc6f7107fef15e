//! The provider's signing keys (JWK Set, RFC 7517 section 5).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;
use url::Url;

use super::ProviderError;
use super::cached::with_retries;
use super::http_client::{Deadline, HttpClient, METADATA_LIMIT};
use super::json::Object;

/// The smallest RSA modulus, in bits (RFC 7518 section 3.3).
const RSA_BITS: usize = 2048;

/// The keys of a set that can verify signatures. All other entries are skipped.
pub(super) struct KeySet(Vec<VerificationKey>);

struct VerificationKey {
    key_id: Option<String>,
    /// The algorithm that the provider restricts the key to, if any (RFC 7517 section 4.4).
    restricted_to: Option<KeyAlgorithm>,
    key_type: KeyType,
    key: DecodingKey,
}

/// The type of a key, which decides the algorithms it can be used with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyType {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeySet {
    /// Fetches the set.
    pub(super) async fn fetch(
        http: &HttpClient,
        jwks_uri: &Url,
        deadline: Deadline,
    ) -> Result<Self, ProviderError> {
        let fetch = || http.send("JWKS", http.get(jwks_uri), METADATA_LIMIT, deadline);
        Self::read(&with_retries(fetch).await?.object()?)
    }

    /// Parses the set. Keys that are invalid, weak, of an unknown type or for another use are skipped, because a set can
    /// contain keys for other purposes and of future types (RFC 7517 section 5).
    pub(super) fn read(set: &Object) -> Result<Self, ProviderError> {
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err(ProviderError::Unusable("JWKS: the member keys is missing or not a list".to_owned()));
        };
        let keys = keys.iter().filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
        Ok(Self(keys.filter_map(|jwk| VerificationKey::read(&jwk)).collect()))
    }

    /// The keys that can verify a signature with this `kid` and algorithm.
    pub(super) fn candidates(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        self.0
            .iter()
            .filter(move |key| key_id.is_none() || key.key_id.as_deref() == key_id)
            .filter(move |key| key.supports(algorithm))
            .map(|key| &key.key)
    }
}

impl VerificationKey {
    fn read(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let operations = common.key_operations.as_ref();
        let for_verifying = operations.is_none_or(|listed| listed.contains(&KeyOperations::Verify));
        if !for_signatures || !for_verifying {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let key_type = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) if modulus_bits(&key) >= RSA_BITS => KeyType::Rsa,
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => KeyType::P256,
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => KeyType::P384,
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                KeyType::Ed25519
            }
            _ => return None,
        };
        Some(Self { key_id: common.key_id.clone(), restricted_to: common.key_algorithm, key_type, key })
    }

    fn supports(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let type_fits = match self.key_type {
            KeyType::Rsa => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            KeyType::P256 => algorithm == ES256,
            KeyType::P384 => algorithm == ES384,
            KeyType::Ed25519 => algorithm == EdDSA,
        };
        type_fits
            && self.restricted_to.is_none_or(|restricted_to| restricted_to == KeyAlgorithm::from(algorithm))
    }
}

fn modulus_bits(key: &DecodingKey) -> usize {
    let DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind() else { return 0 };
    let significant = n.iter().skip_while(|byte| **byte == 0);
    let bytes = significant.clone().count();
    let unused = significant.clone().next().map_or(0, |first| first.leading_zeros() as usize);
    bytes * 8 - unused
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::super::fake::keys::{RSA, SigningKey};
    use super::*;

    /// The number of these keys that can verify a signature of this algorithm.
    fn usable(keys: &[Value], algorithm: Algorithm) -> usize {
        let set = KeySet::read(json!({"keys": keys}).as_object().unwrap()).unwrap();
        set.candidates(None, algorithm).count()
    }

    #[test]
    fn rsa_keys_below_2048_bits_are_skipped() {
        let modulus = URL_SAFE_NO_PAD.decode(RSA.jwk["n"].as_str().unwrap()).unwrap();
        let with = |n: &[u8]| RSA.jwk_with(json!({"n": URL_SAFE_NO_PAD.encode(n)}));
        let mut short = modulus.clone();
        short[0] = 0x7f;
        let mut padded = vec![0; 128];
        padded.extend_from_slice(&modulus[..128]);
        assert_eq!(usable(&[with(&modulus)], Algorithm::RS256), 1);
        for bad in [short, modulus[..255].to_vec(), modulus[..128].to_vec(), padded, Vec::new()] {
            assert_eq!(usable(&[with(&bad)], Algorithm::RS256), 0, "{} bytes", bad.len());
        }
    }

    #[test]
    fn keys_for_other_uses_are_skipped() {
        let change = |changes| RSA.jwk_with(changes);
        for bad in [
            change(json!({"use": "enc"})),
            change(json!({"use": null, "key_ops": ["encrypt"]})),
            change(json!({"alg": "RSA-OAEP"})),
            change(json!({"alg": "unknown"})),
            change(json!({"kty": "unknown"})),
            change(json!({"n": "*"})),
            change(json!({"kid": 1})),
            json!({"kty": "oct", "k": "AAAA"}),
            json!("text"),
        ] {
            assert_eq!(usable(&[bad.clone(), RSA.jwk.clone()], Algorithm::RS256), 1, "{bad}");
        }
        assert_eq!(usable(&[change(json!({"use": null, "key_ops": ["verify"]}))], Algorithm::RS256), 1);
    }

    #[test]
    fn a_curve_supports_only_its_own_algorithm() {
        let keys = [SigningKey::p256("a").jwk, SigningKey::p384("b").jwk, SigningKey::ed25519("c").jwk];
        let unrestricted: Vec<Value> = keys
            .into_iter()
            .map(|mut key| {
                key.as_object_mut().unwrap().remove("alg");
                key
            })
            .collect();
        for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
            assert_eq!(usable(&unrestricted, algorithm), 1, "{algorithm:?}");
        }
        assert_eq!(usable(&unrestricted, Algorithm::RS256), 0);
    }

    #[test]
    fn a_document_without_a_list_of_keys_is_refused() {
        for bad in [json!({}), json!({"keys": {}}), json!({"keys": null})] {
            assert!(KeySet::read(bad.as_object().unwrap()).is_err(), "{bad}");
        }
        assert!(KeySet::read(json!({"keys": []}).as_object().unwrap()).is_ok());
    }
}

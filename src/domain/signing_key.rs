//! The keys that sign the broker's own JWTs: ES256 (RFC 7518 section 3.4), one for each server key.
//!
//! The private key is derived from the server key, so that there is no other secret to keep, and a rotation of the server
//! keys rotates these too: all keys of the ring are published, the issuing one signs. The `kid` is the RFC 7638 thumbprint
//! of the public key, so that two deployments never use one `kid` for two keys.
//!
//! Every JWT says by its `typ` what it is (RFC 8725 section 3.11), and none of them is accepted as a credential: the
//! broker reads no JWT of its own.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::key_ring::{KeyRing, Purpose, ServerKey};

/// The name of the algorithm in a JOSE header.
pub const ALGORITHM: &str = "ES256";

/// What a JWT of the broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtType {
    /// Tells a client who signed in. Without a `typ`, as most client libraries expect it.
    IdToken,
    /// Tells an API behind a gateway who the visitor is.
    Assertion,
    /// Tells a resource server about a token (RFC 9701 section 5).
    Introspection,
}

impl JwtType {
    /// The `typ` of the JOSE header (RFC 7515 section 4.1.9).
    pub fn typ(self) -> Option<&'static str> {
        match self {
            Self::IdToken => None,
            Self::Assertion => Some("token-broker-assertion+jwt"),
            Self::Introspection => Some("token-introspection+jwt"),
        }
    }
}

/// A key pair.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    key_id: String,
}

/// A public key as a JWK (RFC 7517, RFC 7518 section 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    /// Always `EC`.
    pub kty: &'static str,
    /// Always `P-256`.
    pub crv: &'static str,
    /// The x coordinate.
    pub x: String,
    /// The y coordinate.
    pub y: String,
    /// Always `ES256`.
    pub alg: &'static str,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// The id that tokens name.
    pub kid: String,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    typ: Option<&'a str>,
}

impl SigningKey {
    /// The key that is derived from `key`. `None` only if the cryptographic library fails.
    pub fn of(key: &ServerKey) -> Option<Self> {
        // A candidate is outside of the range of private keys with a probability of 2^-32: then the next one is taken
        // (FIPS 186-5 appendix A.2.2).
        let pair = (0..8u8).find_map(|candidate| {
            let scalar = key.derive_with(Purpose::Signing, &[candidate]);
            let public =
                PrivateKey::from_private_key(&ECDH_P256, scalar.as_ref()).ok()?.compute_public_key().ok()?;
            EcdsaKeyPair::from_private_key_and_public_key(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                scalar.as_ref(),
                public.as_ref(),
            )
            .ok()
        })?;
        let (x, y) = coordinates(&pair);
        let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let key_id = URL_SAFE_NO_PAD.encode(digest(&SHA256, thumbprint.as_bytes()));
        Some(Self { pair, key_id })
    }

    /// The public key.
    pub fn public_jwk(&self) -> PublicJwk {
        let (x, y) = coordinates(&self.pair);
        PublicJwk { kty: "EC", crv: "P-256", x, y, alg: ALGORITHM, usage: "sig", kid: self.key_id.clone() }
    }

    /// A JWT of these claims (RFC 7519). `None` only if the cryptographic library fails.
    pub fn sign(&self, jwt: JwtType, claims: &impl Serialize) -> Option<String> {
        let header = Header { alg: ALGORITHM, kid: &self.key_id, typ: jwt.typ() };
        let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
        let header = part(serde_json::to_vec(&header).ok()?);
        let text = format!("{header}.{}", part(serde_json::to_vec(claims).ok()?));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The signing keys of a ring, derived once: deriving one costs several times as much as signing with it.
pub struct SigningKeys {
    issuing: Option<SigningKey>,
    public: Vec<PublicJwk>,
}

impl SigningKeys {
    /// The keys that are derived from `ring`.
    pub fn of(ring: &KeyRing) -> Self {
        let public = ring.iter().filter_map(SigningKey::of).map(|key| key.public_jwk()).collect();
        Self { issuing: SigningKey::of(ring.issuing()), public }
    }

    /// The key that signs now. `None` only if the cryptographic library failed.
    pub fn issuing(&self) -> Option<&SigningKey> {
        self.issuing.as_ref()
    }

    /// The public keys: of the key that signs now, and of those that signed before or will sign next.
    pub fn public(&self) -> &[PublicJwk] {
        &self.public
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SigningKeys").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The coordinates of the uncompressed point: 0x04, x, y (SEC 1 section 2.3.3).
fn coordinates(pair: &EcdsaKeyPair) -> (String, String) {
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::super::key_ring::KeyId;
    use super::*;

    fn server_key(id: u32) -> ServerKey {
        ServerKey::new(KeyId(id), vec![id as u8; 32]).unwrap()
    }

    #[test]
    fn the_same_server_key_always_gives_the_same_signing_key_and_another_gives_another() {
        let [one, again, other] = [1, 1, 2].map(|id| SigningKey::of(&server_key(id)).unwrap().public_jwk());
        assert_eq!(one, again);
        assert!(one.kid != other.kid && one.x != other.x);
        assert_eq!(one.kid.len(), 43);
        // Changing the derivation would invalidate the published keys of every deployment.
        assert_eq!(one.kid, "cL_JXJpMyhFLdoN3KO1cO3zPXB-bN7CojIXzzlWTOfo");
    }

    #[test]
    fn every_key_of_the_ring_is_published() {
        let ring = KeyRing::new(KeyId(2), vec![server_key(1), server_key(2), server_key(3)]).unwrap();
        let keys = SigningKeys::of(&ring);
        let signing = keys.issuing().unwrap().public_jwk();
        assert_eq!(signing, SigningKey::of(ring.issuing()).unwrap().public_jwk());
        assert_eq!(keys.public().len(), 3);
        assert!(keys.public().contains(&signing));
        assert!(!format!("{keys:?}").contains("pair"), "no private key is printed");
    }

    #[test]
    fn no_two_kinds_of_jwt_have_one_typ() {
        let typs = [JwtType::IdToken, JwtType::Assertion, JwtType::Introspection].map(JwtType::typ);
        assert_eq!(std::collections::BTreeSet::from(typs).len(), 3);
    }

    #[test]
    fn the_signature_is_verified_by_the_published_key_and_by_no_other() {
        let [key, other] = [1, 2].map(|id| SigningKey::of(&server_key(id)).unwrap());
        let jwt = key.sign(JwtType::Assertion, &serde_json::json!({"sub": "alice"})).unwrap();
        let (text, signature) = jwt.rsplit_once('.').unwrap();
        let header = URL_SAFE_NO_PAD.decode(text.split_once('.').unwrap().0).unwrap();
        let expected =
            format!(r#"{{"alg":"ES256","kid":"{}","typ":"token-broker-assertion+jwt"}}"#, key.key_id);
        assert_eq!(String::from_utf8(header).unwrap(), expected);
        let verify = |key: &SigningKey| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref())
                .verify(text.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        };
        assert!(verify(&key).is_ok() && verify(&other).is_err());
    }
}

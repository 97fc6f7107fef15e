//! Resource servers: APIs that ask the broker about tokens (RFC 7662), each with a credential of its own.
//!
//! The secret is `tbs_` + 44 base62 characters + 6 of checksum: `tbs_[0-9A-Za-z]{50}`, 256 random bits. The
//! database holds a keyed digest of it (HMAC-SHA-256 under a server key, tied to the resource server's id), from
//! which nothing that works can be computed, and which works in no other resource server's row. Two secrets are
//! valid at a time, so that one can be replaced without downtime. Instead of a secret it can have public keys, and sign a
//! client assertion each time (`client_assertion.rs`).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use super::audience::Audience;
use super::clock::Timestamp;
use super::credential::{self, Malformed};
use super::entropy::{self, Entropy};
use super::ids::ResourceServerId;
use super::key_ring::{KeyId, KeyRing, Purpose, ServerKey};
use super::public_key::PublicKey;

/// The type prefix, for secret scanners.
pub const PREFIX: &str = "tbs_";

/// The public keys of a resource server that are valid at a time.
pub const KEYS: usize = 2;

/// The secrets of a resource server that are valid at a time.
pub const SECRETS: usize = 2;

const LENGTH: usize = 32;

/// A resource server's secret. Shown once, to the administrator who creates it.
pub struct ResourceServerSecret(Zeroizing<[u8; LENGTH]>);

impl ResourceServerSecret {
    /// Draws a secret.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(Zeroizing::new(entropy::bytes(entropy)))
    }

    /// Reads a presented text: form and checksum.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        credential::decode(PREFIX, text).map(Self)
    }

    /// The text, for the one answer that carries it.
    pub fn expose(&self) -> Zeroizing<String> {
        credential::encode(PREFIX, self.0.as_ref())
    }

    /// What the database knows of it.
    pub fn digest(&self, key: &ServerKey, owner: &ResourceServerId) -> SecretDigest {
        let bytes = key.mac(Purpose::ResourceServerSecret, &[owner.as_str().as_bytes(), self.0.as_ref()]);
        SecretDigest { key_id: key.id(), bytes }
    }
}

impl fmt::Debug for ResourceServerSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ResourceServerSecret(…)")
    }
}

/// A secret as stored in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest {
    /// The server key that made it; without that key the secret is refused.
    pub key_id: KeyId,
    /// The keyed digest.
    pub bytes: [u8; 32],
}

/// A stored secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its digest.
    pub digest: SecretDigest,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A stored public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The key.
    pub key: PublicKey,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// A registered resource server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceServer {
    /// Its name, with which it authenticates.
    pub id: ResourceServerId,
    /// Whose tokens it may ask about: those issued for this audience.
    pub audience: Audience,
    /// Whether it is told who the person is, beyond the local id.
    pub personal_data: bool,
    /// Whether it is told what the provider lets the person do.
    pub permissions: bool,
    /// When it was disabled; then none of its secrets is accepted.
    pub disabled_at: Option<Timestamp>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Its secrets, newest first; at most [`SECRETS`].
    pub secrets: Vec<StoredSecret>,
}

impl ResourceServer {
    /// The stored secret that a presented text is, if this resource server is enabled.
    ///
    /// Every stored secret is compared, in constant time, whichever matches. Where the answer's digest was made
    /// under another key than the one that issues, the caller holds what it takes to write it anew
    /// ([`ResourceServerSecret::digest`]), so that the older server key can go.
    pub fn verify(&self, presented: &ResourceServerSecret, ring: &KeyRing) -> Option<StoredSecret> {
        find(&self.id, &self.secrets, presented, ring).filter(|_| self.disabled_at.is_none())
    }

    /// Does for an id that is not registered what [`ResourceServer::verify`] does for one that is, so that the time of
    /// the answer does not tell which ids are registered.
    pub fn verify_unregistered(id: &ResourceServerId, presented: &ResourceServerSecret, ring: &KeyRing) {
        let digest = SecretDigest { key_id: ring.issuing().id(), bytes: [0; LENGTH] };
        let stored = StoredSecret { digest, created_at: Timestamp::default() };
        std::hint::black_box(find(id, &[stored], presented, ring));
    }
}

/// The stored secret that `presented` is.
fn find(
    owner: &ResourceServerId,
    secrets: &[StoredSecret],
    presented: &ResourceServerSecret,
    ring: &KeyRing,
) -> Option<StoredSecret> {
    let mut verified = None;
    for stored in secrets {
        let Some(key) = ring.get(stored.digest.key_id) else { continue };
        let digest = presented.digest(key, owner);
        if verify_slices_are_equal(&digest.bytes, &stored.digest.bytes).is_ok() {
            verified = Some(*stored);
        }
    }
    verified
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entropy::SeededEntropy;
    use super::*;

    fn ring(issuing: u32, ids: &[u32]) -> KeyRing {
        let keys = ids.iter().map(|id| ServerKey::new(KeyId(*id), vec![*id as u8; 32]).unwrap()).collect();
        KeyRing::new(KeyId(issuing), keys).unwrap()
    }

    fn secret(seed: u64) -> ResourceServerSecret {
        ResourceServerSecret::random(&SeededEntropy::new(seed))
    }

    /// One with these secrets, made under the ring's issuing key.
    fn server(id: &str, secrets: &[&ResourceServerSecret], ring: &KeyRing) -> ResourceServer {
        let id: ResourceServerId = id.parse().unwrap();
        let created_at = Timestamp::default();
        let stored = |secret: &&ResourceServerSecret| StoredSecret {
            digest: secret.digest(ring.issuing(), &id),
            created_at,
        };
        let secrets = secrets.iter().map(stored).collect();
        let audience = "https://api.example.com".parse().unwrap();
        ResourceServer {
            id,
            audience,
            personal_data: false,
            permissions: false,
            disabled_at: None,
            created_at,
            secrets,
        }
    }

    #[test]
    fn a_secret_has_256_random_bits_in_the_documented_form() {
        let text = secret(1).expose();
        let body = text.strip_prefix("tbs_").unwrap();
        assert!(body.len() == 50 && body.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{body}");
        assert_eq!(credential::decode::<32>(PREFIX, &text).unwrap().len() * 8, 256);
        assert_ne!(*text, *secret(2).expose());
        assert_eq!(*ResourceServerSecret::parse(&text).unwrap().expose(), *text);
    }

    #[test]
    fn both_secrets_work_and_no_other_text() {
        let ring = ring(1, &[1]);
        let (old, new) = (secret(1), secret(2));
        let server = server("orders", &[&new, &old], &ring);
        assert_eq!(server.verify(&old, &ring), Some(server.secrets[1]));
        assert_eq!(server.verify(&new, &ring), Some(server.secrets[0]));
        let dressed = credential::encode(PREFIX, &server.secrets[0].digest.bytes);
        for other in [secret(3), ResourceServerSecret::parse(&dressed).unwrap()] {
            assert_eq!(server.verify(&other, &ring), None);
        }
    }

    #[test]
    fn a_removed_secret_and_a_disabled_server_are_refused() {
        let ring = ring(1, &[1]);
        let (old, new) = (secret(1), secret(2));
        let mut server = server("orders", &[&new, &old], &ring);
        server.secrets.truncate(1);
        assert!(server.verify(&old, &ring).is_none());
        assert!(server.verify(&new, &ring).is_some());
        server.disabled_at = Some(Timestamp::default());
        assert!(server.verify(&new, &ring).is_none());
    }

    #[test]
    fn a_digest_works_in_no_other_row() {
        let ring = ring(1, &[1]);
        let secret = secret(1);
        let mut thief = server("thief", &[], &ring);
        thief.secrets = server("orders", &[&secret], &ring).secrets;
        assert!(thief.verify(&secret, &ring).is_none());
    }

    #[test]
    fn a_secret_outlives_a_rotation_of_server_keys_until_its_key_is_gone() {
        let secret = secret(1);
        let mut server = server("orders", &[&secret], &ring(1, &[1]));
        let both = ring(2, &[1, 2]);
        let verified = server.verify(&secret, &both).unwrap();
        assert_ne!(verified.digest.key_id, both.issuing().id());
        assert!(server.verify(&secret, &ring(2, &[2])).is_none(), "the key is gone");
        server.secrets[0].digest = secret.digest(both.issuing(), &server.id);
        assert!(server.verify(&secret, &ring(2, &[2])).is_some(), "written anew");
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_refused(text: String) {
            prop_assert!(ResourceServerSecret::parse(&text).is_err());
        }
    }

    #[test]
    fn debug_output_hides_the_secret() {
        assert_eq!(format!("{:?}", secret(1)), "ResourceServerSecret(…)");
    }
}

//! The session cookie of a browser. It can only be used to get a new token from `/login`.
//!
//! The cookie contains 256 random bits and the ids of the session and of the user, sealed with a server key. The
//! database stores a digest of the random bits. So a forged cookie is refused without a query. An attacker who can read
//! the database cannot create a valid cookie, and one who can write to it cannot move a session to another user or add
//! one. When a server key is removed from the ring, the cookies sealed with it become invalid.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::entropy::{self, Entropy};
use super::ids::{SessionId, UserId};
use super::key_ring::{KeyRing, Purpose};
use super::sealed::{Sealable, Sealed};

/// The random part of a session cookie: 256 bits, generated at each login at the provider.
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionSecret([u8; 32]);

impl SessionSecret {
    /// Generates a random secret.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy::bytes(entropy))
    }

    /// The digest that the database stores.
    pub fn digest(&self) -> SessionDigest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        SessionDigest(bytes)
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SessionSecret(…)")
    }
}

/// The SHA-256 digest of a session secret, by which the row of the session is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionDigest([u8; 32]);

impl SessionDigest {
    /// The digest as it is stored in the database.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The opened content of the cookie: the session, its user, and the secret that proves possession.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BrowserSession {
    /// The secret, which proves that this is the browser that signed in.
    pub secret: SessionSecret,
    /// The id of the session.
    pub session_id: SessionId,
    /// The id of the session's user.
    pub user_id: UserId,
}

impl Sealable for BrowserSession {
    const PURPOSE: Purpose = Purpose::BrowserSession;
}

impl BrowserSession {
    /// Seals the session into the value of the cookie.
    pub fn seal(&self, ring: &KeyRing, entropy: &dyn Entropy) -> String {
        Sealed::new(self, &[], ring, entropy).into()
    }

    /// Opens the value of the cookie. Returns `None` if it was not sealed by this broker, or if the key that sealed it was
    /// removed.
    pub fn open(value: &str, ring: &KeyRing) -> Option<Self> {
        Sealed::from_text(value).open(&[], ring)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entropy::SeededEntropy;
    use super::super::key_ring::{KeyId, ServerKey};
    use super::*;

    fn ring(issuing: u32, ids: &[u32]) -> KeyRing {
        let key = |id: &u32| ServerKey::new(KeyId(*id), vec![u8::try_from(*id).unwrap(); 32]).unwrap();
        KeyRing::new(KeyId(issuing), ids.iter().map(key).collect()).unwrap()
    }

    fn session(entropy: &SeededEntropy) -> BrowserSession {
        BrowserSession {
            secret: SessionSecret::random(entropy),
            session_id: SessionId::random(entropy),
            user_id: UserId::random(entropy),
        }
    }

    #[test]
    fn a_cookie_opens_only_with_the_key_that_sealed_it() {
        let entropy = SeededEntropy::new(1);
        let session = session(&entropy);
        let value = session.seal(&ring(1, &[1]), &entropy);
        assert!(value.len() < 200 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        let opened = BrowserSession::open(&value, &ring(2, &[1, 2])).unwrap();
        assert_eq!(opened.secret.digest(), session.secret.digest());
        assert_eq!((opened.session_id, opened.user_id), (session.session_id, session.user_id));
        assert!(BrowserSession::open(&value, &ring(2, &[2])).is_none(), "its key was removed from the ring");
        for other in ["", "x", &value[1..], &format!("{value}A"), &value.to_lowercase()] {
            assert!(BrowserSession::open(other, &ring(1, &[1])).is_none(), "{other}");
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        let printed = format!("{:?}", session(&SeededEntropy::new(2)));
        assert!(printed.contains("SessionSecret(…)"), "{printed}");
    }
}

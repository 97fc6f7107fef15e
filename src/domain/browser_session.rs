//! What a browser keeps of its session: a cookie that gets it a new token from `/login`, and nothing else.
//!
//! The cookie holds 256 random bits and says which session and user they are for, sealed under a server key. The
//! database holds a digest of the random bits. So a made-up cookie is refused without a query, a reader of the
//! database has nothing to present, a writer cannot move a session to another user or plant one, and a server
//! key that is removed from the ring takes its cookies with it.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::entropy::{self, Entropy};
use super::ids::{SessionId, UserId};
use super::key_ring::{KeyRing, Purpose};
use super::sealed::{Sealable, Sealed};

/// The random part of a session cookie: 256 bits, new with each login at the provider.
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionSecret([u8; 32]);

impl SessionSecret {
    /// Draws a secret.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy::bytes(entropy))
    }

    /// What the database keeps of it.
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

/// SHA-256 of a session's secret: how its row is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionDigest([u8; 32]);

impl SessionDigest {
    /// The digest as it stands in the database.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What the cookie says once it is opened: whose session, and the proof that it is this browser's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BrowserSession {
    /// Proves that the browser is the one that signed in.
    pub secret: SessionSecret,
    /// Which session it is.
    pub session_id: SessionId,
    /// Whose session it is.
    pub user_id: UserId,
}

impl Sealable for BrowserSession {
    const PURPOSE: Purpose = Purpose::BrowserSession;
}

impl BrowserSession {
    /// Seals it into the value of the cookie.
    pub fn seal(&self, ring: &KeyRing, entropy: &dyn Entropy) -> String {
        Sealed::new(self, &[], ring, entropy).into()
    }

    /// Opens the value of the cookie; nothing where anybody else made it, or the key that sealed it is gone.
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
    fn se_08_a_cookie_opens_under_the_key_that_sealed_it_and_no_other() {
        let entropy = SeededEntropy::new(1);
        let session = session(&entropy);
        let value = session.seal(&ring(1, &[1]), &entropy);
        assert!(value.len() < 200 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        let opened = BrowserSession::open(&value, &ring(2, &[1, 2])).unwrap();
        assert_eq!(opened.secret.digest(), session.secret.digest());
        assert_eq!((opened.session_id, opened.user_id), (session.session_id, session.user_id));
        assert!(BrowserSession::open(&value, &ring(2, &[2])).is_none(), "its key is gone from the ring");
        for other in ["", "x", &value[1..], &format!("{value}A"), &value.to_lowercase()] {
            assert!(BrowserSession::open(other, &ring(1, &[1])).is_none(), "{other}");
        }
    }

    #[test]
    fn er_03_the_secret_is_not_printed() {
        let printed = format!("{:?}", session(&SeededEntropy::new(2)));
        assert!(printed.contains("SessionSecret(…)"), "{printed}");
    }
}

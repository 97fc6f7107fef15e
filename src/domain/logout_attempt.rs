//! A logout that was redirected to the provider. Until the provider sends the browser back, it is kept in a sealed
//! cookie and not stored on the server.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::client::ShortDigest;
use super::client_text::ClientState;
use super::clock::Timestamp;
use super::entropy::Entropy;
use super::ids::{ClientId, SessionId};
use super::key_ring::{KeyRing, Purpose};
use super::lifetimes;
use super::login_attempt::State;
use super::sealed::{Sealable, Sealed};

/// Everything that `/logout` decides and `/logout/callback` relies on.
#[derive(Clone, Serialize, Deserialize)]
pub struct LogoutAttempt {
    /// The `state` of the logout request (RP-Initiated Logout 1.0 section 2).
    pub state: State,
    /// When the browser was sent to the provider.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub started_at: Timestamp,
    /// Where the browser is finally redirected: a client and one of its registered addresses. `None` for the broker's
    /// own page.
    pub target: Option<(ClientId, ShortDigest)>,
    /// The `state` of the SPA.
    pub client_state: Option<ClientState>,
}

impl Sealable for LogoutAttempt {
    const PURPOSE: Purpose = Purpose::LogoutAttempt;
}

impl LogoutAttempt {
    /// Whether the attempt has not expired and does not start too far in the future.
    pub fn is_live(&self, now: Timestamp) -> bool {
        (now - self.started_at).abs() < lifetimes::LOGOUT_ATTEMPT
    }

    /// Seals the attempt into the value of its cookie.
    pub fn seal(&self, ring: &KeyRing, entropy: &dyn Entropy) -> String {
        Sealed::new(self, &[], ring, entropy).into()
    }

    /// Opens the value of the cookie. Returns `None` if it was not sealed by this broker.
    pub fn open(value: &str, ring: &KeyRing) -> Option<Self> {
        Sealed::from_text(value).open(&[], ring)
    }
}

/// The maximum length of a stored ID token in bytes. It is limited because the token is sent in a URL.
const ID_TOKEN_LIMIT: usize = 4096;

/// Seals an ID token for the row of its session. Returns `None` if the token is too long.
pub fn seal_id_token(
    token: &SecretString,
    session: SessionId,
    ring: &KeyRing,
    entropy: &dyn Entropy,
) -> Option<Vec<u8>> {
    let token = token.expose_secret().as_bytes();
    let fits = token.len() <= ID_TOKEN_LIMIT;
    fits.then(|| ring.seal(Purpose::IdToken, session.as_uuid().as_bytes(), token, entropy))
}

/// Opens the ID token of a session. Returns `None` if it was sealed for another session.
pub fn open_id_token(sealed: &[u8], session: SessionId, ring: &KeyRing) -> Option<SecretString> {
    let opened = ring.open(Purpose::IdToken, session.as_uuid().as_bytes(), sealed)?;
    Some(std::str::from_utf8(&opened).ok()?.into())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::clock::{Clock, SystemClock};
    use super::super::entropy::SeededEntropy;
    use super::super::key_ring::{KeyId, ServerKey};
    use super::*;

    fn ring(secret: u8) -> KeyRing {
        KeyRing::new(KeyId(1), vec![ServerKey::new(KeyId(1), vec![secret; 32]).unwrap()]).unwrap()
    }

    fn attempt(entropy: &SeededEntropy, now: Timestamp) -> LogoutAttempt {
        LogoutAttempt {
            state: State::random(entropy),
            started_at: now,
            target: Some(("c".repeat(32).parse().unwrap(), ShortDigest::of("https://app.example.com/"))),
            client_state: Some("x".repeat(512).parse().unwrap()),
        }
    }

    #[test]
    fn a_logout_attempt_is_valid_for_ten_minutes_and_only_if_we_sealed_it() {
        let (entropy, now) = (SeededEntropy::new(1), SystemClock.now());
        let attempt = attempt(&entropy, now);
        let value = attempt.seal(&ring(1), &entropy);
        let opened = LogoutAttempt::open(&value, &ring(1)).unwrap();
        assert!(opened.state == attempt.state && opened.target == attempt.target);
        assert_eq!(opened.client_state, attempt.client_state);
        assert!(LogoutAttempt::open(&value, &ring(2)).is_none());
        assert!(LogoutAttempt::open(&value[1..], &ring(1)).is_none());
        for (seconds, live) in [(0, true), (599, true), (-599, true), (600, false), (-600, false)] {
            assert_eq!(opened.is_live(now + TimeDelta::seconds(seconds)), live, "{seconds}");
        }
    }

    #[test]
    fn the_longest_cookie_stays_below_one_kibibyte() {
        let entropy = SeededEntropy::new(2);
        let value = attempt(&entropy, SystemClock.now()).seal(&ring(1), &entropy);
        assert!("__Host-Http-tb_logout=".len() + value.len() < 1024, "{}", value.len());
    }

    #[test]
    fn an_id_token_opens_for_its_own_session_only_and_a_long_one_is_not_stored() {
        let (entropy, ring) = (SeededEntropy::new(3), ring(1));
        let [one, other] = [SessionId::random(&entropy), SessionId::random(&entropy)];
        let sealed = seal_id_token(&"a.b.c".into(), one, &ring, &entropy).unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"a.b.c"));
        assert_eq!(open_id_token(&sealed, one, &ring).unwrap().expose_secret(), "a.b.c");
        assert!(open_id_token(&sealed, other, &ring).is_none());
        let long = "x".repeat(ID_TOKEN_LIMIT + 1);
        assert!(seal_id_token(&long.as_str().into(), one, &ring, &entropy).is_none());
        assert!(seal_id_token(&long[1..].into(), one, &ring, &entropy).is_some());
    }
}

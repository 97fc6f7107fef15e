//! What travels with the sign-in for a page behind a gateway, and the cookie in which it ends. All of it is sealed.
//!
//! The attempt is in a cookie on the origin of the page, so that a sign-in can only be completed in the browser that
//! started it. The ticket is the `state` at `/login`: it proves that the broker itself started the login. A script of
//! the page therefore cannot start one with a verifier of its own, and never holds a token.

use serde::{Deserialize, Serialize};

use super::client::{Origin, ShortDigest};
use super::clock::Timestamp;
use super::entropy::{self, Entropy};
use super::ids::PolicyId;
use super::key_ring::{KeyRing, Purpose};
use super::lifetimes;
use super::login_attempt::{AttemptId, State};
use super::pages::callback_address;
use super::pkce::{CodeChallenge, CodeVerifier};
use super::sealed::{Sealable, Sealed};

/// A sign-in for a page, from the redirect away from it to the redirect back.
#[derive(Clone, Serialize, Deserialize)]
pub struct PageAttempt {
    /// Its random name.
    state: State,
    #[serde(with = "chrono::serde::ts_microseconds")]
    started_at: Timestamp,
    /// The policy that the gateway named.
    pub policy: PolicyId,
    /// Path and query of the page, as the browser sent them.
    pub target: String,
    verifier_seed: [u8; 32],
}

/// What `/login` gets to see of an attempt.
#[derive(Clone, Serialize, Deserialize)]
pub struct PageTicket {
    state: State,
    #[serde(with = "chrono::serde::ts_microseconds")]
    started_at: Timestamp,
    /// The policy whose pages the login is for.
    pub policy: PolicyId,
    redirect_uri: ShortDigest,
    challenge: CodeChallenge,
}

/// The content of the cookie of a page: the token of its internal client.
#[derive(Serialize, Deserialize)]
pub struct PageSession {
    /// The token.
    pub token: String,
}

impl Sealable for PageAttempt {
    const PURPOSE: Purpose = Purpose::PageAttempt;
}

impl Sealable for PageTicket {
    const PURPOSE: Purpose = Purpose::PageTicket;
}

impl Sealable for PageSession {
    const PURPOSE: Purpose = Purpose::PageSession;
}

/// Whether something that started at `started_at` can still be completed.
fn is_live(started_at: Timestamp, now: Timestamp) -> bool {
    let age = now - started_at;
    -lifetimes::LOGIN_ATTEMPT < age && age < lifetimes::LOGIN_ATTEMPT
}

/// What an attempt is bound to beside its content.
fn attempt_context(id: &AttemptId, origin: &Origin) -> Vec<u8> {
    format!("{} {origin}", id.as_str()).into_bytes()
}

impl PageAttempt {
    /// A new attempt to reach `target`.
    pub fn new(policy: &PolicyId, target: &str, now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self {
            state: State::random(entropy),
            started_at: now,
            policy: policy.clone(),
            target: target.to_owned(),
            verifier_seed: entropy::bytes(entropy),
        }
    }

    /// The id in the name of its cookie.
    pub fn id(&self) -> AttemptId {
        self.state.attempt_id()
    }

    /// When it was started.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The verifier with which the broker redeems the key.
    pub fn verifier(&self) -> CodeVerifier {
        CodeVerifier::from_seed(&self.verifier_seed)
    }

    /// Whether it can still be completed.
    pub fn is_live(&self, now: Timestamp) -> bool {
        is_live(self.started_at, now)
    }

    /// The ticket for `/login`.
    pub fn ticket(&self, origin: &Origin) -> PageTicket {
        PageTicket {
            state: self.state.clone(),
            started_at: self.started_at,
            policy: self.policy.clone(),
            redirect_uri: ShortDigest::of(&callback_address(origin)),
            challenge: self.verifier().challenge(),
        }
    }

    /// Seals the attempt into the value of its cookie on `origin`.
    pub fn seal(&self, origin: &Origin, ring: &KeyRing, entropy: &dyn Entropy) -> String {
        Sealed::new(self, &attempt_context(&self.id(), origin), ring, entropy).into()
    }

    /// Opens the value of the cookie with this id. `None` if this broker did not seal it for this cookie and origin.
    pub fn open(id: &AttemptId, origin: &Origin, value: &str, ring: &KeyRing) -> Option<Self> {
        let attempt: Self = Sealed::from_text(value).open(&attempt_context(id, origin), ring)?;
        (attempt.id() == *id).then_some(attempt)
    }
}

impl PageTicket {
    /// Seals the ticket into the `state` of `/login`.
    pub fn seal(&self, ring: &KeyRing, entropy: &dyn Entropy) -> String {
        Sealed::new(self, &[], ring, entropy).into()
    }

    /// Opens a `state`. `None` if this broker did not seal it.
    pub fn open(value: &str, ring: &KeyRing) -> Option<Self> {
        Sealed::from_text(value).open(&[], ring)
    }

    /// The id of the attempt that it belongs to.
    pub fn attempt_id(&self) -> AttemptId {
        self.state.attempt_id()
    }

    /// Whether it belongs to `attempt`.
    pub fn is_of(&self, attempt: &PageAttempt) -> bool {
        self.state == attempt.state && self.policy == attempt.policy
    }

    /// Whether it was made for a login with this challenge and redirect URI, not longer ago than an attempt lives.
    pub fn allows(&self, challenge: &CodeChallenge, redirect_uri: &str, now: Timestamp) -> bool {
        self.challenge == *challenge
            && self.redirect_uri == ShortDigest::of(redirect_uri)
            && is_live(self.started_at, now)
    }
}

impl PageSession {
    /// Seals the session into the cookie of a page: it opens for this policy and origin only.
    pub fn seal(&self, policy: &PolicyId, origin: &Origin, ring: &KeyRing, entropy: &dyn Entropy) -> String {
        Sealed::new(self, &session_context(policy, origin), ring, entropy).into()
    }

    /// Opens the cookie of a page. `None` unless this broker sealed it for this policy and origin.
    pub fn open(value: &str, policy: &PolicyId, origin: &Origin, ring: &KeyRing) -> Option<Self> {
        Sealed::from_text(value).open(&session_context(policy, origin), ring)
    }
}

/// No id of a policy contains a space.
fn session_context(policy: &PolicyId, origin: &Origin) -> Vec<u8> {
    format!("{policy} {origin}").into_bytes()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::entropy::SeededEntropy;
    use super::super::key_ring::{KeyId, ServerKey};
    use super::*;

    fn ring() -> KeyRing {
        KeyRing::new(KeyId(1), vec![ServerKey::new(KeyId(1), vec![1; 32]).unwrap()]).unwrap()
    }

    fn attempt(entropy: &dyn Entropy) -> PageAttempt {
        PageAttempt::new(&"tools".parse().unwrap(), "/a?b=c", Timestamp::UNIX_EPOCH, entropy)
    }

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn an_attempt_opens_only_under_its_own_name_and_on_its_own_origin() {
        let entropy = SeededEntropy::new(1);
        let (one, other) = (attempt(&entropy), attempt(&entropy));
        let here = origin("https://tools.example.com");
        let value = one.seal(&here, &ring(), &entropy);
        let opened = PageAttempt::open(&one.id(), &here, &value, &ring()).unwrap();
        assert_eq!((opened.target.as_str(), opened.policy.as_str()), ("/a?b=c", "tools"));
        assert!(one.ticket(&here).is_of(&opened) && !other.ticket(&here).is_of(&opened));
        assert!(PageAttempt::open(&other.id(), &here, &value, &ring()).is_none());
        let elsewhere = origin("https://other.example.com");
        assert!(PageAttempt::open(&one.id(), &elsewhere, &value, &ring()).is_none());
    }

    #[test]
    fn a_page_session_opens_for_its_own_policy_and_origin_only() {
        let entropy = SeededEntropy::new(2);
        let (tools, here) = ("tools".parse().unwrap(), origin("https://tools.example.com"));
        let value = PageSession { token: "tbk_x".to_owned() }.seal(&tools, &here, &ring(), &entropy);
        assert_eq!(PageSession::open(&value, &tools, &here, &ring()).unwrap().token, "tbk_x");
        for (policy, origin) in [
            ("other", here.clone()),
            ("tools", origin("https://other.example.com")),
            ("tools", origin("https://tools.example.com:8443")),
        ] {
            assert!(PageSession::open(&value, &policy.parse().unwrap(), &origin, &ring()).is_none());
        }
        assert!(PageTicket::open(&value, &ring()).is_none(), "a cookie is no ticket");
        assert!(super::super::browser_session::BrowserSession::open(&value, &ring()).is_none());
    }

    #[test]
    fn a_ticket_allows_the_login_that_it_was_made_for_and_fits_into_a_state() {
        let entropy = SeededEntropy::new(3);
        let attempt = PageAttempt { policy: "p".repeat(26).parse().unwrap(), ..attempt(&entropy) };
        let here = origin("https://tools.example.com");
        let ticket = attempt.ticket(&here).seal(&ring(), &entropy);
        assert!(ticket.len() <= 512 && ticket.bytes().all(|byte| byte.is_ascii_graphic()), "{ticket}");
        let ticket = PageTicket::open(&ticket, &ring()).unwrap();
        let (challenge, uri) = (attempt.verifier().challenge(), callback_address(&here));
        let now = Timestamp::UNIX_EPOCH;
        assert!(ticket.allows(&challenge, &uri, now));
        assert!(!ticket.allows(&CodeVerifier::random(&entropy).challenge(), &uri, now));
        assert!(!ticket.allows(&challenge, "https://other.example.com/_token-broker/callback", now));
        assert!(!ticket.allows(&challenge, &uri, now + TimeDelta::seconds(600)));
    }
}

//! A login attempt, from `/login` to the callback. It is sealed into a cookie of its own and not stored on the server.
//!
//! The cookie binds the login to the browser that started it (RFC 9700 section 4.7.1) and separates parallel tabs.
//! Because nothing is stored, a flood of `/login` requests cannot fill a store. Everything that the callback relies on
//! is sealed, so that no later parameter can change it.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::client::ShortDigest;
use super::client_text::ClientState;
use super::clock::Timestamp;
use super::dpop::thumbprint::Thumbprint;
use super::entropy::{self, Entropy};
use super::ids::{ClientId, ProviderId};
use super::key_ring::{KeyRing, Purpose};
use super::lifetimes;
use super::login_destination::LoginDestination;
use super::oauth_request::OAuthRequest;
use super::pkce::CodeVerifier;
use super::sealed::{self, Sealable, Sealed};

/// The `state` sent to the provider: 256 random bits (RFC 6749 section 10.12).
#[derive(Clone, Serialize, Deserialize)]
pub struct State([u8; 32]);

/// The text is not a `state` of this broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a state of this broker")]
pub struct InvalidState;

impl State {
    /// Generates a random state.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy::bytes(entropy))
    }

    /// The text of the parameter.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The id of the attempt, which is a part of the name of its cookie. The state cannot be computed from it.
    pub fn attempt_id(&self) -> AttemptId {
        AttemptId(URL_SAFE_NO_PAD.encode(&self.digest().as_ref()[..9]))
    }

    /// The name under which the callback marks the attempt as used.
    pub fn used_name(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.digest())
    }

    fn digest(&self) -> aws_lc_rs::digest::Digest {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.0)
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl FromStr for State {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidState)?;
        bytes.try_into().map(Self).map_err(|_| InvalidState)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("State(…)")
    }
}

/// The id of an attempt in the name of its cookie: twelve base64url characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptId(String);

impl AttemptId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AttemptId {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.len() == 12 && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidState)
        }
    }
}

/// The `nonce` that ties an ID token to its attempt (OpenID Connect Core section 3.1.2.1).
#[derive(Clone, Serialize, Deserialize)]
pub struct OidcNonce([u8; 32]);

impl OidcNonce {
    /// Generates a random nonce.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy::bytes(entropy))
    }

    /// The text of the parameter.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Compares the nonce with the claim of an ID token, in constant time.
    pub fn matches(&self, claim: &str) -> bool {
        verify_slices_are_equal(self.expose().as_bytes(), claim.as_bytes()).is_ok()
    }
}

impl fmt::Debug for OidcNonce {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OidcNonce(…)")
    }
}

/// Everything that `/login` decides and the callback relies on. It has no `Debug` because it contains secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct LoginAttempt {
    /// The `state` of the authorization request.
    pub state: State,
    /// When `/login` was called.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub started_at: Timestamp,
    /// The provider that the browser was sent to.
    pub provider: ProviderId,
    /// The issuer or authorization endpoint of the provider at that time, so that the attempt fails if the configuration
    /// has changed since.
    pub provider_identity: ShortDigest,
    /// Where the login leads back to.
    pub destination: LoginDestination,
    /// The nonce of the authorization request.
    pub nonce: OidcNonce,
    /// The seed of the code verifier that the broker sends to the provider.
    pub verifier_seed: [u8; 32],
    /// The requested `max_age` in seconds, which is checked against the ID token.
    pub max_age: Option<u32>,
}

/// The most bytes that a cookie may have, name and value (without attributes).
const COOKIE: usize = 1023;

/// The length of the name of an attempt's cookie and of the `=` after it.
const COOKIE_NAME: usize = "__Host-Http-tb_login_".len() + 12 + 1;

/// The most bytes that an attempt takes beside its client, its audiences, and what a client sends of its own: each of the
/// other parts at its longest.
const FIXED: usize = 198;

/// The bytes of one audience.
const AUDIENCE: usize = 8;

impl Sealable for LoginAttempt {
    const PURPOSE: Purpose = Purpose::LoginAttempt;
}

impl LoginAttempt {
    /// The code verifier that the broker sends to the provider.
    pub fn verifier(&self) -> CodeVerifier {
        CodeVerifier::from_seed(&self.verifier_seed)
    }

    /// Whether the attempt has not expired and does not start too far in the future. A clock that was set back by less
    /// than the lifetime is tolerated.
    pub fn is_live(&self, now: Timestamp) -> bool {
        let age = now - self.started_at;
        -lifetimes::LOGIN_ATTEMPT < age && age < lifetimes::LOGIN_ATTEMPT
    }

    /// Whether every attempt with these parts fits into its cookie.
    pub fn fits(
        client: &ClientId,
        client_state: Option<&ClientState>,
        oauth: Option<&OAuthRequest>,
        dpop_jkt: Option<&Thumbprint>,
        audiences: usize,
    ) -> bool {
        let parts = (client, client_state, oauth, dpop_jkt);
        let parts = postcard::to_allocvec(&parts).map(|parts| parts.len());
        let fits = |parts: usize| {
            let sealed = FIXED + AUDIENCE * audiences + parts + sealed::OVERHEAD;
            COOKIE_NAME + (sealed * 4).div_ceil(3) <= COOKIE
        };
        parts.is_ok_and(fits)
    }

    /// Seals the attempt into the value of its cookie.
    pub fn seal(&self, ring: &KeyRing, entropy: &dyn Entropy) -> String {
        Sealed::new(self, self.state.attempt_id().as_str().as_bytes(), ring, entropy).into()
    }

    /// Opens the value of the cookie with this id. Returns `None` if it was not sealed by this broker for this cookie.
    pub fn open(id: &AttemptId, value: &str, ring: &KeyRing) -> Option<Self> {
        let attempt: Self = Sealed::from_text(value).open(id.as_str().as_bytes(), ring)?;
        (attempt.state.attempt_id() == *id).then_some(attempt)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::audience::MOST_AUDIENCES;
    use super::super::clock::{Clock, SystemClock};
    use super::super::entropy::SeededEntropy;
    use super::super::key_ring::{KeyId, ServerKey};
    use super::super::login_destination::ClientLogin;
    use super::*;

    fn ring() -> KeyRing {
        KeyRing::new(KeyId(1), vec![ServerKey::new(KeyId(1), vec![1; 32]).unwrap()]).unwrap()
    }

    fn attempt(entropy: &SeededEntropy, client_state: Option<ClientState>) -> LoginAttempt {
        attempt_with(entropy, login(entropy, client_state))
    }

    fn login(entropy: &SeededEntropy, client_state: Option<ClientState>) -> ClientLogin {
        ClientLogin {
            client: "c".repeat(32).parse().unwrap(),
            redirect_uri: ShortDigest::of("https://app.example.com/signed-in"),
            port: Some(u16::MAX),
            challenge: Some(CodeVerifier::random(entropy).challenge()),
            client_state,
            audiences: vec![ShortDigest::of("https://api.example.com"); MOST_AUDIENCES],
            oauth: None,
            dpop_jkt: Some(Thumbprint::from_bytes([255; 32])),
        }
    }

    fn attempt_with(entropy: &SeededEntropy, login: ClientLogin) -> LoginAttempt {
        LoginAttempt {
            destination: LoginDestination::Client(Box::new(login)),
            state: State::random(entropy),
            started_at: SystemClock.now(),
            provider: "p".repeat(32).parse().unwrap(),
            provider_identity: ShortDigest::of("https://login.example.com"),
            nonce: OidcNonce::random(entropy),
            verifier_seed: entropy::bytes(entropy),
            max_age: Some(u32::MAX),
        }
    }

    proptest! {
        #[test]
        fn every_client_state_survives_the_seal(text in "[ -~]{1,512}", seed: u64) {
            let entropy = SeededEntropy::new(seed);
            let attempt = attempt(&entropy, Some(text.parse().unwrap()));
            let value = attempt.seal(&ring(), &entropy);
            let opened = LoginAttempt::open(&attempt.state.attempt_id(), &value, &ring()).unwrap();
            let LoginDestination::Client(login) = opened.destination else { panic!("not to a client") };
            let survived = login.client_state.unwrap();
            prop_assert_eq!(survived.as_str(), text);
        }
    }

    fn cookie_length(attempt: &LoginAttempt, entropy: &SeededEntropy) -> usize {
        let value = attempt.seal(&ring(), entropy);
        format!("__Host-Http-tb_login_{}={value}", attempt.state.attempt_id().as_str()).len()
    }

    fn fits(login: &ClientLogin) -> bool {
        let (state, oauth) = (login.client_state.as_ref(), login.oauth.as_ref());
        LoginAttempt::fits(&login.client, state, oauth, login.dpop_jkt.as_ref(), login.audiences.len())
    }

    /// A login with an unbound token, whose other parts are at their longest.
    fn login_of(client: usize, state: usize, nonce: usize, audiences: usize, scopes: &str) -> ClientLogin {
        let mut login = login(&SeededEntropy::new(1), "x".repeat(state).parse().ok());
        login.client = "c".repeat(client).parse().unwrap();
        login.audiences.truncate(audiences);
        login.dpop_jkt = None;
        let nonce = "x".repeat(nonce).parse().ok();
        let scopes = scopes.parse().unwrap();
        login.oauth = Some(OAuthRequest { named_redirect_uri: true, scopes, nonce });
        login
    }

    proptest! {
        #[test]
        fn what_fits_stays_under_one_kibibyte(
            client in 1usize..=32,
            state in 0usize..=512,
            nonce in 0usize..=512,
            audiences in 0usize..=MOST_AUDIENCES,
            scopes in "[a-z]{0,300}",
            bound: bool,
        ) {
            let mut login = login_of(client, state, nonce, audiences, &scopes);
            login.dpop_jkt = bound.then_some(Thumbprint::from_bytes([255; 32]));
            let fits = fits(&login);
            let entropy = SeededEntropy::new(1);
            let length = cookie_length(&attempt_with(&entropy, login), &entropy);
            prop_assert!(!fits || length <= COOKIE, "{}", length);
            // The estimate is not wasteful.
            prop_assert!(fits || length > COOKIE - 8, "{}", length);
        }
    }

    #[test]
    fn a_state_and_a_nonce_of_512_characters_together_fit() {
        let scopes = "email openid permissions profile";
        for (state, nonce) in [(512, 0), (469, 43), (256, 256), (1, 511)] {
            assert!(fits(&login_of(8, state, nonce, 1, scopes)), "{state} {nonce}");
        }
        assert!(!fits(&login_of(1, 512, 512, 0, "openid")));
        let mut login = login_of(32, 512, 0, 0, "");
        login.oauth = None;
        assert!(fits(&login), "/login has no nonce");
    }

    #[test]
    fn a_value_opens_only_under_its_own_name() {
        let entropy = SeededEntropy::new(2);
        let (one, other) = (attempt(&entropy, None), attempt(&entropy, None));
        let value = one.seal(&ring(), &entropy);
        assert!(LoginAttempt::open(&one.state.attempt_id(), &value, &ring()).is_some());
        assert!(LoginAttempt::open(&other.state.attempt_id(), &value, &ring()).is_none());
        assert!(LoginAttempt::open(&one.state.attempt_id(), "AAAA", &ring()).is_none());
    }
}

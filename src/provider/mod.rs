//! The identity provider as the broker sees it: authorization request, code exchange, profile.

pub mod dev;
pub mod settings;

use crate::domain::clock::Timestamp;
use crate::domain::login_attempt::{OidcNonce, State};
use crate::domain::pkce::{CodeChallenge, CodeVerifier};
use crate::domain::profile::Profile;
use crate::error::{Error, ErrorCode};

/// What `/login` puts into the authorization request (RFC 6749 section 4.1.1).
#[derive(Debug)]
pub struct AuthorizationRequest<'a> {
    /// Ties the callback to this attempt.
    pub state: &'a State,
    /// Ties the ID token to this attempt.
    pub nonce: &'a OidcNonce,
    /// The S256 challenge that the broker will prove.
    pub challenge: CodeChallenge,
    /// `prompt`, already checked.
    pub prompt: Option<&'a str>,
    /// `login_hint`, already checked.
    pub login_hint: Option<&'a str>,
    /// `max_age` in seconds.
    pub max_age: Option<u32>,
}

/// What the callback brings to the token request (RFC 6749 section 4.1.3).
#[derive(Debug)]
pub struct CodeExchange<'a> {
    /// The authorization code: 1 to 2048 characters of %x20-7E, already checked.
    pub code: &'a str,
    /// The verifier of the attempt.
    pub verifier: &'a CodeVerifier,
    /// The nonce of the attempt.
    pub nonce: &'a OidcNonce,
    /// The `max_age` that was asked for.
    pub max_age: Option<u32>,
}

/// Who signed in, as the provider says: the end of the provider's part.
#[derive(Debug)]
pub struct SignedInProfile {
    /// The mapped profile.
    pub profile: Profile,
    /// When the person last proved who they are, where the provider says so.
    pub auth_time: Option<Timestamp>,
}

/// Why a provider call failed. Holds nothing of the answer: no token, no body, no URL.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached, or says itself that it is down.
    #[error("the provider is unavailable: {0}")]
    Unavailable(String),
    /// It did not answer in time.
    #[error("the provider did not answer in time: {0}")]
    Timeout(String),
    /// It gave an answer that is not what the standards, or the configuration, ask for.
    #[error("the provider's answer is unusable: {0}")]
    Unusable(String),
    /// Its ID token was refused.
    #[error("the ID token was refused: {0}")]
    InvalidIdToken(String),
    /// The sign-in was older or weaker than asked for.
    #[error("the sign-in is not fresh or strong enough: {0}")]
    InsufficientAuthentication(String),
    /// The account may not sign in here.
    #[error("the account may not sign in: {0}")]
    AccessDenied(String),
    /// The callback came from another provider.
    #[error("the callback's issuer does not match")]
    IssuerMismatch,
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        let code = match &error {
            ProviderError::Unavailable(_) => ErrorCode::TemporarilyUnavailable,
            ProviderError::Timeout(_) => ErrorCode::ProviderTimeout,
            ProviderError::Unusable(_) => ErrorCode::ProviderError,
            ProviderError::InvalidIdToken(_) => ErrorCode::InvalidIdToken,
            ProviderError::InsufficientAuthentication(_) => ErrorCode::InsufficientUserAuthentication,
            ProviderError::AccessDenied(_) => ErrorCode::AccessDenied,
            ProviderError::IssuerMismatch => ErrorCode::IssuerMismatch,
        };
        Self::new(code).caused_by(error)
    }
}

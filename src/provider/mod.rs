//! The identity provider as the broker sees it: authorization request, code exchange, profile.
//!
//! [`Provider`] is all that the flow knows. Beneath it, `oidc` and `oauth2` are the two kinds; `discovery`,
//! `jwks`, `jwt`, `id_token`, `token_endpoint` and `claims` are the steps, each named after its standard term;
//! `http_client` is the only way out.

mod authorization;
mod cached;
mod claims;
#[cfg(feature = "demo")]
pub mod dev;
mod discovery;
mod end_session;
#[cfg(test)]
mod fake;
mod http_client;
mod id_token;
mod json;
mod jwks;
mod jwt;
mod logout_token;
mod oauth2;
mod oidc;
mod registry;
pub mod settings;
#[cfg(any(test, feature = "demo"))]
mod signing;
mod token_endpoint;

use secrecy::SecretString;
use url::Url;

pub use self::end_session::EndSessionRequest;
use self::http_client::{Deadline, HttpClient};
use self::id_token::IdToken;
use self::oauth2::OAuth2;
use self::oidc::Oidc;
pub use self::registry::{ProviderSettingsError, Providers};
use self::settings::ClientAuth;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProviderId;
use crate::domain::login_attempt::{OidcNonce, State};
use crate::domain::pkce::{CodeChallenge, CodeVerifier};
use crate::domain::profile::Profile;
use crate::error::{Error, ErrorCode};

/// One configured provider, of either kind.
pub struct Provider {
    registration: Registration,
    kind: Kind,
}

enum Kind {
    Oidc(Box<Oidc>),
    OAuth2(Box<OAuth2>),
}

/// The broker as the provider knows it, and the way to the provider: what both kinds need.
struct Registration {
    id: ProviderId,
    display_name: String,
    client_id: String,
    client_secret: SecretString,
    client_auth: ClientAuth,
    redirect_uri: Url,
    scope: String,
    allowed_email_domains: Vec<String>,
    http: HttpClient,
}

impl Registration {
    fn asks_for_openid(&self) -> bool {
        self.scope.split(' ').any(|scope| scope == "openid")
    }
}

/// What the code was exchanged for: opaque, good for [`Provider::profile`] only.
pub struct ExchangedGrant {
    access_token: SecretString,
    id_token: Option<IdToken>,
    deadline: Deadline,
}

impl std::fmt::Debug for ExchangedGrant {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ExchangedGrant(…)")
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Provider({})", self.registration.id)
    }
}

impl Provider {
    /// Its name in paths and configuration.
    pub fn id(&self) -> &ProviderId {
        &self.registration.id
    }

    /// What people call it.
    pub fn display_name(&self) -> &str {
        &self.registration.display_name
    }

    /// The issuer of an OpenID provider, the authorization endpoint of a plain OAuth 2 one (whether it has an
    /// issuer or not): pinned in the login attempt.
    pub fn identity(&self) -> &str {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.issuer(),
            Kind::OAuth2(oauth2) => oauth2.authorize_url().as_str(),
        }
    }

    /// Whether it can prove how long ago the person signed in, so that `max_age` may be asked of it: an ID token
    /// says so, plain OAuth 2 has nothing for it. A `/login` that asks nevertheless is an invalid request.
    pub fn supports_max_age(&self) -> bool {
        matches!(self.kind, Kind::Oidc(_))
    }

    /// Whether it answers `prompt=none` without showing a page: a part of OpenID Connect, unknown to plain OAuth 2.
    pub fn supports_prompt_none(&self) -> bool {
        matches!(self.kind, Kind::Oidc(_))
    }

    /// The path on which its callbacks arrive.
    pub fn callback_path(&self) -> &str {
        self.registration.redirect_uri.path()
    }

    /// Where to send the browser for a login (RFC 6749 section 4.1.1).
    ///
    /// # Errors
    ///
    /// Those of fetching the metadata; InsufficientAuthentication where `max_age` is asked of a provider without
    /// [`Self::supports_max_age`].
    pub async fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> Result<Url, ProviderError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.authorization_url(&self.registration, request).await,
            Kind::OAuth2(oauth2) => oauth2.authorization_url(&self.registration, request),
        }
    }

    /// Whether the `iss` of a callback is another issuer's: told without asking anybody. One that is missing although
    /// the metadata announces it is found by [`Self::check_issuer`].
    pub fn has_other_issuer(&self, iss: Option<&str>) -> bool {
        match &self.kind {
            Kind::Oidc(oidc) => iss.is_some_and(|iss| iss != oidc.issuer()),
            Kind::OAuth2(oauth2) => oauth2.check_issuer(iss).is_err(),
        }
    }

    /// Checks the `iss` of a callback (RFC 9207 section 2.4): compared character by character whenever it is
    /// there, and missed where the provider announces it.
    pub async fn check_issuer(&self, iss: Option<&str>) -> Result<(), ProviderError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.check_issuer(&self.registration, iss).await,
            Kind::OAuth2(oauth2) => oauth2.check_issuer(iss),
        }
    }

    /// Exchanges the code, once (RFC 6749 section 4.1.3). An OpenID provider's ID token is verified before
    /// anything comes back.
    ///
    /// Exchange and profile together take no longer than the configured total time.
    pub async fn exchange(&self, exchange: CodeExchange<'_>) -> Result<ExchangedGrant, ProviderError> {
        let deadline = self.registration.http.deadline();
        let (access_token, id_token) = match &self.kind {
            Kind::Oidc(oidc) => {
                let (access_token, id_token) = oidc.exchange(&self.registration, &exchange, deadline).await?;
                (access_token, Some(id_token))
            }
            Kind::OAuth2(oauth2) => (oauth2.exchange(&self.registration, &exchange, deadline).await?, None),
        };
        Ok(ExchangedGrant { access_token, id_token, deadline })
    }

    /// Who signed in: from the ID token and UserInfo, or from the profile documents.
    pub async fn profile(&self, grant: ExchangedGrant) -> Result<SignedInProfile, ProviderError> {
        let ExchangedGrant { access_token, id_token, deadline } = grant;
        let registration = &self.registration;
        match (&self.kind, id_token) {
            (Kind::Oidc(oidc), Some(id_token)) => {
                let auth_time = id_token.auth_time;
                let kept = id_token.kept.clone();
                let profile = oidc.profile(registration, &access_token, id_token, deadline).await?;
                Ok(SignedInProfile { profile, auth_time, id_token: kept })
            }
            (Kind::OAuth2(oauth2), None) => {
                let profile = oauth2.profile(registration, &access_token, deadline).await?;
                Ok(SignedInProfile { profile, auth_time: None, id_token: None })
            }
            _ => Err(ProviderError::Unusable("the grant is another provider's".to_owned())),
        }
    }

    /// Whether a login can begin: an OpenID provider's metadata is known or can be fetched.
    pub async fn ready(&self) -> Result<(), ProviderError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.ready(&self.registration).await,
            Kind::OAuth2(_) => Ok(()),
        }
    }
}

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

impl std::fmt::Debug for CodeExchange<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("CodeExchange(…)")
    }
}

/// Who signed in, as the provider says: the end of the provider's part.
#[derive(Debug)]
pub struct SignedInProfile {
    /// The mapped profile.
    pub profile: Profile,
    /// When the person last proved who they are, where the provider says so.
    pub auth_time: Option<Timestamp>,
    /// The verified ID token, where it is kept for the logout.
    pub id_token: Option<SecretString>,
}

/// Why a provider call failed. Holds nothing of the answer: no token, no body, no URL.
#[derive(Debug, Clone, thiserror::Error)]
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
    /// No key that is known verifies its token, and the keys were fetched anew too shortly before the token came: it
    /// may be signed with a newer one.
    #[error("no key of the provider verifies the token, and it is too soon to fetch them again")]
    KeyUnknownYet,
    /// Its ID token was refused.
    #[error("the ID token was refused: {0}")]
    InvalidIdToken(String),
    /// Its logout token was refused.
    #[error("the logout token was refused: {0}")]
    InvalidLogoutToken(String),
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
            // What is not verified is not believed. The SPA is told of both that it may try again.
            ProviderError::InvalidIdToken(_) | ProviderError::KeyUnknownYet => ErrorCode::InvalidIdToken,
            ProviderError::InvalidLogoutToken(_) => ErrorCode::InvalidRequest,
            ProviderError::InsufficientAuthentication(_) => ErrorCode::InsufficientUserAuthentication,
            ProviderError::AccessDenied(_) => ErrorCode::AccessDenied,
            ProviderError::IssuerMismatch => ErrorCode::IssuerMismatch,
        };
        Self::new(code).caused_by(error)
    }
}

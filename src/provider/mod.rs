//! Identity providers: authorization request, code exchange, profile and logout.
//!
//! Other modules use only [`Provider`] and [`Providers`]. The two kinds of providers are in `oidc` and `oauth2`. The
//! steps are in `discovery`, `jwks`, `jwt`, `id_token`, `token_endpoint` and `claims`, each named after the term of the
//! standard. All calls to a provider go through `http_client`.

mod authorization;
mod cached;
mod claims;
#[cfg(feature = "demo")]
pub mod dev;
pub mod dialect;
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

pub(crate) use self::authorization::{has_own_parameter, is_own_parameter};
pub use self::end_session::EndSessionRequest;
use self::http_client::{Deadline, HttpClient};
use self::id_token::IdToken;
use self::json::Object;
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

/// A configured provider of either kind.
pub struct Provider {
    registration: Registration,
    kind: Kind,
}

enum Kind {
    Oidc(Box<Oidc>),
    OAuth2(Box<OAuth2>),
}

/// The registration of the broker at the provider, and the HTTP client. Both kinds of providers need it.
struct Registration {
    id: ProviderId,
    display_name: String,
    client_id: String,
    client_secret: SecretString,
    client_auth: ClientAuth,
    redirect_uri: Url,
    scope: String,
    /// Further parameters of the authorization request.
    authorize_parameters: Vec<(String, String)>,
    /// Further parameters of the token request.
    token_parameters: Vec<(String, String)>,
    allowed_email_domains: Vec<String>,
    http: HttpClient,
}

impl Registration {
    fn requests_openid(&self) -> bool {
        self.scope.split(' ').any(|scope| scope == "openid")
    }
}

/// The result of the code exchange. It is opaque and can only be passed to [`Provider::profile`].
pub struct ExchangedGrant {
    access_token: SecretString,
    id_token: Option<IdToken>,
    /// What the token answer of a plain OAuth 2 provider says about the user.
    claims: Object,
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
    /// The id of the provider, as used in paths and in the configuration.
    pub fn id(&self) -> &ProviderId {
        &self.registration.id
    }

    /// The name that is shown to users.
    pub fn display_name(&self) -> &str {
        &self.registration.display_name
    }

    /// The issuer of an OpenID provider, or the authorization endpoint of a plain OAuth 2 provider (even if it has an
    /// issuer). It is stored in the login attempt to detect a change of the configuration.
    pub fn identity(&self) -> &str {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.issuer(),
            Kind::OAuth2(oauth2) => oauth2.authorize_url().as_str(),
        }
    }

    /// Whether the provider can prove how long ago the user signed in, which `max_age` requires. ID tokens contain that
    /// time; plain OAuth 2 does not have it.
    pub fn supports_max_age(&self) -> bool {
        matches!(self.kind, Kind::Oidc(_))
    }

    /// Whether the provider supports `prompt=none`, which is a part of OpenID Connect and not of plain OAuth 2.
    pub fn supports_prompt_none(&self) -> bool {
        matches!(self.kind, Kind::Oidc(_))
    }

    /// The path of the provider's callbacks.
    pub fn callback_path(&self) -> &str {
        self.registration.redirect_uri.path()
    }

    /// The parameter of the callback that contains the code.
    pub fn code_parameter(&self) -> &str {
        match &self.kind {
            Kind::Oidc(_) => "code",
            Kind::OAuth2(oauth2) => oauth2.code_parameter(),
        }
    }

    /// Whether a callback without a code and without `error` means that the user refused.
    pub fn refuses_without_error(&self) -> bool {
        match &self.kind {
            Kind::Oidc(_) => false,
            Kind::OAuth2(oauth2) => oauth2.refuses_without_error(),
        }
    }

    /// The URL to which the browser is redirected for a login (RFC 6749 section 4.1.1).
    ///
    /// # Errors
    ///
    /// Errors of fetching the metadata; InsufficientAuthentication if `max_age` is requested from a provider that does
    /// not support it ([`Self::supports_max_age`]).
    pub async fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> Result<Url, ProviderError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.authorization_url(&self.registration, request).await,
            Kind::OAuth2(oauth2) => oauth2.authorization_url(&self.registration, request),
        }
    }

    /// Whether the `iss` of a callback is that of another issuer, decided without using the network. A missing `iss` that
    /// the metadata announces is detected only by [`Self::check_issuer`].
    pub fn has_other_issuer(&self, iss: Option<&str>) -> bool {
        match &self.kind {
            Kind::Oidc(oidc) => iss.is_some_and(|iss| iss != oidc.issuer()),
            Kind::OAuth2(oauth2) => oauth2.check_issuer(self.id(), iss).is_err(),
        }
    }

    /// Checks the `iss` of a callback (RFC 9207 section 2.4). If it is present, it must be identical to the issuer. It
    /// must be present if the provider announces it.
    ///
    /// # Errors
    ///
    /// IssuerMismatch; errors of fetching the metadata.
    pub async fn check_issuer(&self, iss: Option<&str>) -> Result<(), ProviderError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.check_issuer(&self.registration, iss).await,
            Kind::OAuth2(oauth2) => oauth2.check_issuer(self.id(), iss),
        }
    }

    /// Exchanges the code (RFC 6749 section 4.1.3). The request is never retried. The ID token of an OpenID provider is
    /// verified before this returns.
    ///
    /// Exchange and profile together take no longer than the configured total timeout.
    ///
    /// # Errors
    ///
    /// The provider is unavailable, its response is unusable, or its ID token is invalid or insufficient.
    pub async fn exchange(&self, exchange: CodeExchange<'_>) -> Result<ExchangedGrant, ProviderError> {
        let deadline = self.registration.http.deadline();
        match &self.kind {
            Kind::Oidc(oidc) => {
                let (access_token, id_token) = oidc.exchange(&self.registration, &exchange, deadline).await?;
                let id_token = Some(id_token);
                Ok(ExchangedGrant { access_token, id_token, claims: Object::new(), deadline })
            }
            Kind::OAuth2(oauth2) => {
                let (access_token, claims) = oauth2.exchange(&self.registration, &exchange, deadline).await?;
                Ok(ExchangedGrant { access_token, id_token: None, claims, deadline })
            }
        }
    }

    /// The profile of the user who signed in: from the ID token and UserInfo, or from the profile documents.
    ///
    /// # Errors
    ///
    /// The provider is unavailable, its documents are unusable, or the account is not allowed to sign in.
    pub async fn profile(&self, grant: ExchangedGrant) -> Result<SignedInProfile, ProviderError> {
        let ExchangedGrant { access_token, id_token, claims, deadline } = grant;
        let registration = &self.registration;
        match (&self.kind, id_token) {
            (Kind::Oidc(oidc), Some(id_token)) => {
                let auth_time = id_token.auth_time;
                let kept = id_token.kept.clone();
                let profile = oidc.profile(registration, &access_token, id_token, deadline).await?;
                Ok(SignedInProfile { profile, auth_time, id_token: kept })
            }
            (Kind::OAuth2(oauth2), None) => {
                let profile = oauth2.profile(registration, &access_token, claims, deadline).await?;
                Ok(SignedInProfile { profile, auth_time: None, id_token: None })
            }
            _ => Err(ProviderError::Unusable("the grant belongs to another provider".to_owned())),
        }
    }

    /// Checks whether a login can start: the metadata of an OpenID provider is known or can be fetched.
    ///
    /// # Errors
    ///
    /// Errors of fetching the metadata.
    pub async fn ready(&self) -> Result<(), ProviderError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.ready(&self.registration).await,
            Kind::OAuth2(_) => Ok(()),
        }
    }
}

/// The parameters of an authorization request (RFC 6749 section 4.1.1).
#[derive(Debug)]
pub struct AuthorizationRequest<'a> {
    /// Ties the callback to this attempt.
    pub state: &'a State,
    /// Ties the ID token to this attempt.
    pub nonce: &'a OidcNonce,
    /// The S256 challenge of the broker.
    pub challenge: CodeChallenge,
    /// `prompt`, already validated.
    pub prompt: Option<&'a str>,
    /// `login_hint`, already validated.
    pub login_hint: Option<&'a str>,
    /// `max_age` in seconds.
    pub max_age: Option<u32>,
}

/// The parameters of a code exchange (RFC 6749 section 4.1.3).
pub struct CodeExchange<'a> {
    /// The authorization code: 1 to 2048 characters of %x20-7E, already validated.
    pub code: &'a str,
    /// The code verifier of the login attempt.
    pub verifier: &'a CodeVerifier,
    /// The nonce of the login attempt.
    pub nonce: &'a OidcNonce,
    /// The requested `max_age` in seconds.
    pub max_age: Option<u32>,
}

impl std::fmt::Debug for CodeExchange<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("CodeExchange(…)")
    }
}

/// The result of a sign-in at the provider.
#[derive(Debug)]
pub struct SignedInProfile {
    /// The mapped profile.
    pub profile: Profile,
    /// When the user last authenticated at the provider, if the provider reports it.
    pub auth_time: Option<Timestamp>,
    /// The verified ID token, if it is stored for the logout.
    pub id_token: Option<SecretString>,
}

/// Why a call to a provider failed. The error contains no part of the response: no token, no body, no URL.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProviderError {
    /// The provider cannot be reached, or reports that it is unavailable.
    #[error("the provider is unavailable: {0}")]
    Unavailable(String),
    /// The provider did not respond in time.
    #[error("the provider did not respond in time: {0}")]
    Timeout(String),
    /// The response is not what the standards or the configuration require.
    #[error("the provider's response is unusable: {0}")]
    Unusable(String),
    /// No known key verifies the token, and the keys were fetched so recently that they may not be fetched again yet.
    /// The token may be signed with a newer key.
    #[error("no known key of the provider verifies the token, and it is too soon to fetch the keys again")]
    KeyUnknownYet,
    /// The ID token was refused.
    #[error("the ID token was refused: {0}")]
    InvalidIdToken(String),
    /// The logout token was refused.
    #[error("the logout token was refused: {0}")]
    InvalidLogoutToken(String),
    /// The sign-in was older or weaker than requested.
    #[error("the sign-in is not recent or strong enough: {0}")]
    InsufficientAuthentication(String),
    /// The account is not allowed to sign in.
    #[error("the account is not allowed to sign in: {0}")]
    AccessDenied(String),
    /// The callback came from another provider.
    #[error("iss of the callback is not the issuer of the provider")]
    IssuerMismatch,
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        let code = match &error {
            ProviderError::Unavailable(_) => ErrorCode::TemporarilyUnavailable,
            ProviderError::Timeout(_) => ErrorCode::ProviderTimeout,
            ProviderError::Unusable(_) => ErrorCode::ProviderError,
            // A token that cannot be verified is treated as invalid. In both cases, the SPA is told that it can retry.
            ProviderError::InvalidIdToken(_) | ProviderError::KeyUnknownYet => ErrorCode::InvalidIdToken,
            ProviderError::InvalidLogoutToken(_) => ErrorCode::InvalidRequest,
            ProviderError::InsufficientAuthentication(_) => ErrorCode::InsufficientUserAuthentication,
            ProviderError::AccessDenied(_) => ErrorCode::AccessDenied,
            ProviderError::IssuerMismatch => ErrorCode::IssuerMismatch,
        };
        Self::new(code).caused_by(error)
    }
}

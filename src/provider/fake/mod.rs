//! What the unit tests of this module stand on: a scripted HTTP server, an OpenID provider on top of it, real
//! keys, and settings that fit.

pub(super) mod keys;
pub(super) mod oidc;
pub(super) mod server;

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use url::Url;

use super::dialect::Dialect;
use super::settings::{
    CaCertificates, ClaimMapping, ClientAuth, KindSettings, OAuth2Settings, OidcSettings, ProfileDocument,
    ProviderSettings, Timeouts,
};
use super::{AuthorizationRequest, CodeExchange, Provider, ProviderError, Providers, Registration};
use crate::domain::clock::{StoppedClock, Timestamp};
use crate::domain::entropy::SeededEntropy;
use crate::domain::login_attempt::{OidcNonce, State};
use crate::domain::pkce::CodeVerifier;

/// The `client_id` of the tests: its special characters must survive every encoding.
pub(super) const CLIENT_ID: &str = "broker:a b";

/// The client secret of the tests.
pub(super) const CLIENT_SECRET: &str = "s+e/c%r~et";

/// The time at which the stopped clock stands.
pub(super) const NOW: i64 = 1_800_000_000;

/// A clock that stands at [`NOW`].
pub(super) fn clock() -> Arc<StoppedClock> {
    Arc::new(StoppedClock::at(now()))
}

/// [`NOW`] as a timestamp.
pub(super) fn now() -> Timestamp {
    DateTime::from_timestamp(NOW, 0).unwrap()
}

/// Settings that suit a fake provider, of the given kind.
pub(super) fn settings(kind: KindSettings) -> ProviderSettings {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    ProviderSettings {
        id: "corp".parse().unwrap(),
        display_name: "Corporation".to_owned(),
        client_id: CLIENT_ID.to_owned(),
        client_secret: CLIENT_SECRET.into(),
        client_auth: ClientAuth::Basic,
        redirect_uri: url("https://auth.example.com/oauth2_callback/corp"),
        authorize_parameters: Vec::new(),
        token_parameters: Vec::new(),
        scope: if matches!(kind, KindSettings::Oidc(_)) { "openid email".to_owned() } else { String::new() },
        allowed_email_domains: Vec::new(),
        kind,
        timeouts: Timeouts { connect: Duration::from_secs(3), total: Duration::from_secs(10) },
        ca_certificates: CaCertificates::default(),
    }
}

/// Settings of an OpenID provider.
pub(super) fn oidc(issuer: &str) -> OidcSettings {
    use jsonwebtoken::Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
    OidcSettings {
        issuer: issuer.to_owned(),
        algorithms: vec![RS256, PS256, ES256, ES384, EdDSA],
        trusted_audiences: Vec::new(),
        acr_values: Vec::new(),
        userinfo: false,
        id_token_hint: false,
        claims: ClaimMapping::default(),
    }
}

/// Settings of a plain OAuth 2 provider with these profile documents (path, `into`); the subject is `$.name`.
pub(super) fn oauth2(base: &str, profile: &[(&str, Option<&str>)]) -> OAuth2Settings {
    let document = |(path, into): &(&str, Option<&str>)| ProfileDocument {
        url: url(&format!("{base}{path}")),
        into: into.map(str::to_owned),
        parameters: Vec::new(),
    };
    OAuth2Settings {
        authorize_url: url(&format!("{base}/authorize/")),
        token_url: url(&format!("{base}/token/")),
        end_session_url: None,
        issuer: None,
        profile: profile.iter().map(document).collect(),
        claims: ClaimMapping { subject: Some(path("$.name")), ..ClaimMapping::default() },
        dialect: Dialect::default(),
    }
}

/// The one provider of these settings, on a clock that stands still.
pub(super) fn provider(settings: ProviderSettings) -> Provider {
    provider_at(settings, clock())
}

/// The one provider of these settings, on a clock of the test's own.
pub(super) fn provider_at(settings: ProviderSettings, clock: Arc<StoppedClock>) -> Provider {
    Providers::new(vec![settings], clock).unwrap().into_only().unwrap()
}

/// The shared part of a provider that is never called.
pub(super) fn registration(change: impl FnOnce(&mut ProviderSettings)) -> Registration {
    let mut settings = settings(KindSettings::OAuth2(oauth2("http://127.0.0.1:1", &[("/profile", None)])));
    change(&mut settings);
    provider(settings).registration
}

pub(super) fn url(text: &str) -> Url {
    text.parse().unwrap()
}

pub(super) fn path(text: &str) -> serde_json_path::JsonPath {
    serde_json_path::JsonPath::parse(text).unwrap()
}

/// One login's random values, the same in every run.
pub(super) struct Attempt {
    pub(super) state: State,
    pub(super) nonce: OidcNonce,
    pub(super) verifier: CodeVerifier,
}

impl Attempt {
    pub(super) fn new() -> Self {
        let entropy = SeededEntropy::new(7);
        let (state, nonce) = (State::random(&entropy), OidcNonce::random(&entropy));
        Self { state, nonce, verifier: CodeVerifier::random(&entropy) }
    }

    pub(super) fn request(&self) -> AuthorizationRequest<'_> {
        AuthorizationRequest {
            state: &self.state,
            nonce: &self.nonce,
            challenge: self.verifier.challenge(),
            prompt: None,
            login_hint: None,
            max_age: None,
        }
    }

    pub(super) fn exchange(&self) -> CodeExchange<'_> {
        CodeExchange { code: "the code&=+", verifier: &self.verifier, nonce: &self.nonce, max_age: None }
    }
}

/// The kind of a failure, for comparing: the text is for the log.
pub(super) fn kind<T>(outcome: Result<T, ProviderError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(ProviderError::Unavailable(_)) => "unavailable",
        Err(ProviderError::Timeout(_)) => "timeout",
        Err(ProviderError::Unusable(_)) => "unusable",
        Err(ProviderError::KeyUnknownYet) => "key_unknown_yet",
        Err(ProviderError::InvalidIdToken(_)) => "invalid_id_token",
        Err(ProviderError::InvalidLogoutToken(_)) => "invalid_logout_token",
        Err(ProviderError::InsufficientAuthentication(_)) => "insufficient",
        Err(ProviderError::AccessDenied(_)) => "access_denied",
        Err(ProviderError::IssuerMismatch) => "issuer_mismatch",
    }
}

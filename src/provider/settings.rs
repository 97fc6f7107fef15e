//! What a provider needs to know of its configuration.

use std::time::Duration;

use secrecy::SecretString;
use serde_json_path::JsonPath;
use url::Url;

use crate::domain::ids::ProviderId;

/// One configured identity provider.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Its name in paths and configuration.
    pub id: ProviderId,
    /// What people call it; shown on the chooser page.
    pub display_name: String,
    /// The broker's `client_id` there.
    pub client_id: String,
    /// The broker's secret there.
    pub client_secret: SecretString,
    /// How the secret is sent to the token endpoint.
    pub client_auth: ClientAuth,
    /// The broker's callback, exactly as registered at the provider.
    pub redirect_uri: Url,
    /// The scopes that are asked for, space-separated; empty for none.
    pub scope: String,
    /// Addresses of other email domains may not sign in; empty for no limit.
    pub allowed_email_domains: Vec<String>,
    /// What only one kind of provider has.
    pub kind: KindSettings,
    /// How long one call may take to connect, and in all.
    pub timeouts: Timeouts,
    /// PEM of a private certificate authority to trust in addition to the system's.
    pub ca_certificates: Vec<u8>,
}

/// Bounds of every call to a provider.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To connect.
    pub connect: Duration,
    /// For the whole call.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), total: Duration::from_secs(10) }
    }
}

/// Client authentication at the token endpoint (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// In the `Authorization` header.
    #[default]
    Basic,
    /// In the body.
    Post,
}

/// What differs between the kinds of provider.
#[expect(clippy::large_enum_variant, reason = "a handful of them, read once at the start")]
#[derive(Debug, Clone)]
pub enum KindSettings {
    /// OpenID Connect: endpoints by discovery, identity from the ID token.
    Oidc(OidcSettings),
    /// Plain OAuth 2: endpoints by configuration, identity from JSON profile documents.
    OAuth2(OAuth2Settings),
}

/// An OpenID provider.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The issuer, exactly as in its metadata and ID tokens.
    pub issuer: String,
    /// Signature algorithms that are accepted: asymmetric ones only.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Other audiences that may stand in an ID token beside the broker's client id.
    pub trusted_audiences: Vec<String>,
    /// `acr_values` to ask for; the ID token's `acr` must then be one of them.
    pub acr_values: Vec<String>,
    /// Whether the UserInfo endpoint is asked in addition to the ID token.
    pub userinfo: bool,
    /// Whether the ID token is kept, sealed, so that the provider can be given it at the logout.
    pub id_token_hint: bool,
    /// Claims that are mapped otherwise than by their standard names.
    pub claims: ClaimMapping,
}

/// A plain OAuth 2 provider.
#[derive(Debug, Clone)]
pub struct OAuth2Settings {
    /// Where the browser is sent.
    pub authorize_url: Url,
    /// Where the code is exchanged.
    pub token_url: Url,
    /// Where the person signs out there, too.
    pub end_session_url: Option<Url>,
    /// Its issuer, where it sends `iss` in the callback (RFC 9207).
    pub issuer: Option<String>,
    /// The JSON documents about the person, merged in this order.
    pub profile: Vec<ProfileDocument>,
    /// Where in the merged document each claim stands; `subject` is there.
    pub claims: ClaimMapping,
}

/// One JSON profile endpoint.
#[derive(Debug, Clone)]
pub struct ProfileDocument {
    /// Its address.
    pub url: Url,
    /// The member under which its answer is put; merged into the top level where absent.
    pub into: Option<String>,
}

/// Where each claim stands, as JSONPath (RFC 9535). The first scalar that a path finds is taken.
#[derive(Debug, Clone, Default)]
pub struct ClaimMapping {
    /// The unchanging name of the person; required for plain OAuth 2.
    pub subject: Option<JsonPath>,
    /// The login name.
    pub username: Option<JsonPath>,
    /// The full name.
    pub display_name: Option<JsonPath>,
    /// The email address.
    pub email: Option<JsonPath>,
    /// Whether the provider vouches for the address.
    pub email_verified: Option<JsonPath>,
    /// All permissions.
    pub permissions: Option<JsonPath>,
    /// All groups.
    pub groups: Option<JsonPath>,
}

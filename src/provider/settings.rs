//! The settings of an identity provider.

use std::str::FromStr;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::SecretString;
use serde_json_path::JsonPath;
use url::Url;

use super::dialect::Dialect;
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
    /// The requested scopes, space-separated; empty for none.
    pub scope: String,
    /// Further parameters of the authorization request. `prompt` is sent unless the login asks for another one.
    pub authorize_parameters: Vec<(String, String)>,
    /// Further parameters of the token request.
    pub token_parameters: Vec<(String, String)>,
    /// If not empty, only users with an email address in one of these domains may sign in.
    pub allowed_email_domains: Vec<String>,
    /// The settings of its kind.
    pub kind: KindSettings,
    /// How long one call may take to connect, and in all.
    pub timeouts: Timeouts,
    /// Certificates of a private authority, trusted in addition to the system's.
    pub ca_certificates: CaCertificates,
}

/// Certificates of a private authority.
#[derive(Debug, Clone, Default)]
pub struct CaCertificates(pub(super) Vec<reqwest::Certificate>);

/// The text contains no certificates, or a broken one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must name a file with PEM certificates of a certificate authority")]
pub struct InvalidCertificates;

impl FromStr for CaCertificates {
    type Err = InvalidCertificates;

    /// Reads one or more certificates in PEM form.
    fn from_str(pem: &str) -> Result<Self, Self::Err> {
        let mut store = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|certificate| {
            let der = certificate.map_err(|_| InvalidCertificates)?;
            let parsed = reqwest::Certificate::from_der(&der).map_err(|_| InvalidCertificates)?;
            store.add(der).map_err(|_| InvalidCertificates)?;
            Ok(parsed)
        });
        let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() { Err(InvalidCertificates) } else { Ok(Self(certificates)) }
    }
}

/// Bounds of every call to a provider.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The time to connect.
    pub connect: Duration,
    /// The time for the whole call.
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
#[expect(clippy::large_enum_variant, reason = "there are few of them, and they are read once at the start")]
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
    /// The accepted signature algorithms: asymmetric ones only.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Further audiences that an ID token may have beside the broker's client id.
    pub trusted_audiences: Vec<String>,
    /// The requested `acr_values`; the ID token's `acr` must then be one of them.
    pub acr_values: Vec<String>,
    /// Whether the UserInfo endpoint is read in addition to the ID token.
    pub userinfo: bool,
    /// Whether the ID token is kept, sealed, to send it to the provider at the logout.
    pub id_token_hint: bool,
    /// Claims that are not found under their standard names.
    pub claims: ClaimMapping,
}

/// A plain OAuth 2 provider.
#[derive(Debug, Clone)]
pub struct OAuth2Settings {
    /// Where the browser is sent to sign in.
    pub authorize_url: Url,
    /// Where the code is exchanged.
    pub token_url: Url,
    /// Where the browser is sent to also sign out at the provider.
    pub end_session_url: Option<Url>,
    /// Its issuer, if it sends `iss` in the callback (RFC 9207).
    pub issuer: Option<String>,
    /// The JSON documents about the user, merged in this order.
    pub profile: Vec<ProfileDocument>,
    /// The claims in the merged document; `subject` is set.
    pub claims: ClaimMapping,
    /// What differs from the standard.
    pub dialect: Dialect,
}

/// One JSON profile endpoint.
#[derive(Debug, Clone)]
pub struct ProfileDocument {
    /// Its address.
    pub url: Url,
    /// The member under which its answer is put; `None` merges it into the top level.
    pub into: Option<String>,
    /// Query parameters, each with its place in the answer of the token endpoint.
    pub parameters: Vec<(String, JsonPath)>,
}

/// The JSONPath (RFC 9535) of each claim. The first scalar that a path finds is used.
#[derive(Debug, Clone, Default)]
pub struct ClaimMapping {
    /// The unchanging name of the user; required for plain OAuth 2.
    pub subject: Option<JsonPath>,
    /// The login name.
    pub username: Option<JsonPath>,
    /// The full name.
    pub display_name: Option<JsonPath>,
    /// The email address.
    pub email: Option<JsonPath>,
    /// Whether the provider vouches for the address.
    pub email_verified: Option<JsonPath>,
    /// Whether the text `true` vouches for the address as the boolean does.
    pub text_verifies_email: bool,
    /// All permissions.
    pub permissions: Option<JsonPath>,
    /// All groups.
    pub groups: Option<JsonPath>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_of_an_authority_are_accepted() {
        let truncated = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for bad in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n", truncated] {
            assert_eq!(bad.parse::<CaCertificates>().unwrap_err(), InvalidCertificates, "{bad}");
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
        assert_eq!(format!("{pem}\n{pem}").parse::<CaCertificates>().unwrap().0.len(), 2);
        assert!(format!("{pem}{truncated}").parse::<CaCertificates>().is_err());
    }
}

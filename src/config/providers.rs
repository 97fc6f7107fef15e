//! `[[providers]]`: the identity providers that people sign in at.

use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use url::Url;

use super::check::Check;
use super::claims::RawClaims;
use super::clients::scope;
use super::secret::Secret;
use super::source::list;
use crate::domain::ids::ProviderId;
use crate::provider::settings::{
    KindSettings, OAuth2Settings, OidcSettings, ProfileDocument, ProviderSettings, Timeouts,
};

/// Signatures that are accepted where nothing is configured: every asymmetric one (RFC 8725 section 3.2).
const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// The identity providers that people sign in at. At least one.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawProvider {
    /// Its name in paths: 1 to 32 characters of a-z, 0-9, `-` and `_`. Never change it: users belong to it.
    /// Required.
    id: Option<String>,
    /// `oidc`: OpenID Connect with discovery and ID tokens. `oauth2`: plain OAuth 2 with JSON profile documents.
    /// Required.
    kind: Option<String>,
    /// What people call it; shown on the chooser page. Default: the id.
    display_name: Option<String>,
    /// The broker's `client_id` there. Required.
    client_id: Option<String>,
    /// The broker's secret there. From the environment only. Required, here or as `client_secret_file`.
    client_secret: Option<Secret>,
    /// The file that holds the secret.
    client_secret_file: Option<PathBuf>,
    /// How the secret is sent to the token endpoint: `basic` or `post`.
    client_auth: String,
    /// The path of the callback, as registered there behind `public_url`: `/oauth2_callback/{id}`, or
    /// `/oauth2_callback` for one provider at most, each also with a slash at the end.
    callback_path: String,
    /// The scopes that are asked for, space-separated. Default: `openid profile email` for `oidc`, none for
    /// `oauth2`.
    scope: Option<String>,
    /// Only people with an email address in one of these domains may sign in. The provider must vouch for the address
    /// (`email_verified`); only of `oauth2` without `claims.email_verified` is it believed as it stands: use that only
    /// where people cannot set it themselves. Default: no limit.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    allowed_email_domains: Vec<String>,
    /// A PEM file of a private certificate authority to trust in addition to the system's.
    ca_file: Option<PathBuf>,
    /// Where each claim stands, as JSONPath (RFC 9535).
    #[serde(skip_serializing_if = "RawClaims::is_empty")]
    claims: RawClaims,
    /// `oidc`: the issuer, exactly as in its metadata. Required. `oauth2`: only where it sends `iss` in the
    /// callback (RFC 9207).
    issuer: Option<String>,
    /// `oidc`: signature algorithms that are accepted. Default: RS, PS and ES with 256 and 384 bits, RS and PS
    /// with 512, EdDSA.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    algorithms: Vec<String>,
    /// `oidc`: other audiences that may stand in an ID token beside the broker's `client_id`.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    trusted_audiences: Vec<String>,
    /// `oidc`: authentication classes to ask for; the sign-in must then have one of them.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    acr_values: Vec<String>,
    /// `oidc`: whether the UserInfo endpoint is asked in addition to the ID token. Default: true.
    userinfo: Option<bool>,
    /// `oidc`: whether the ID token is kept with the session, sealed, and given to the provider at the logout
    /// (`id_token_hint`), so that it need not ask the person. Default: false.
    id_token_hint: Option<bool>,
    /// `oauth2`: where the browser is sent. Required.
    authorize_url: Option<String>,
    /// `oauth2`: where the code is exchanged. Required.
    token_url: Option<String>,
    /// `oauth2`: where the browser is sent to sign out there, too. Default: nowhere.
    end_session_url: Option<String>,
    /// `oauth2`: the JSON documents about the person, merged in this order. Required.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    profile: Vec<RawDocument>,
}

/// One JSON document about the person.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
struct RawDocument {
    /// Its address. Required.
    url: Option<String>,
    /// The member under which its answer is put. Default: merged into the top level.
    into: Option<String>,
}

impl Default for RawProvider {
    fn default() -> Self {
        Self {
            id: None,
            kind: None,
            display_name: None,
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            client_auth: "basic".to_owned(),
            callback_path: "/oauth2_callback/{id}".to_owned(),
            scope: None,
            allowed_email_domains: Vec::new(),
            ca_file: None,
            claims: RawClaims::default(),
            issuer: None,
            algorithms: Vec::new(),
            trusted_audiences: Vec::new(),
            acr_values: Vec::new(),
            userinfo: None,
            id_token_hint: None,
            authorize_url: None,
            token_url: None,
            end_session_url: None,
            profile: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Oidc,
    OAuth2,
}

impl RawProvider {
    /// Puts in what follows from other settings, the address of the callback among it.
    pub(super) fn resolve(&mut self, checked: &ProviderSettings) {
        self.display_name = Some(checked.display_name.clone());
        self.callback_path = checked.redirect_uri.path().to_owned();
        self.scope = Some(checked.scope.clone()).filter(|scope| !scope.is_empty());
        if let KindSettings::Oidc(oidc) = &checked.kind {
            self.algorithms = oidc.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
            self.userinfo = Some(oidc.userinfo);
            self.id_token_hint = Some(oidc.id_token_hint);
        }
    }

    /// Checks the provider that stands at `key`.
    pub(super) fn check(
        mut self,
        key: &str,
        public_url: Option<&Url>,
        check: &mut Check,
    ) -> Option<ProviderSettings> {
        let id = check.required(&format!("{key}.id"), self.id.take(), "name the provider");
        let id: Option<ProviderId> = id.and_then(|id| check.parse(&format!("{key}.id"), &id));
        let client_id = self.client_id.take().filter(|id| !id.is_empty());
        let client_id = check.required(&format!("{key}.client_id"), client_id, "the provider gives it out");
        let client_secret = check.secret(
            &format!("{key}.client_secret"),
            self.client_secret.take(),
            self.client_secret_file.as_deref(),
        );
        let client_auth = check.choice(&format!("{key}.client_auth"), &self.client_auth);
        let path = id.as_ref().and_then(|id| callback_path(key, &self.callback_path, id, check));
        let ca_certificates = self.ca_certificates(key, check);
        self.check_email_domains(key, check);
        let display_name = self.display_name.take();
        let allowed_email_domains = std::mem::take(&mut self.allowed_email_domains);
        let kind = check.required(&format!("{key}.kind"), self.kind.take(), "write \"oidc\" or \"oauth2\"");
        let (scope, kind) = match check.choice(&format!("{key}.kind"), &kind?)? {
            Kind::Oidc => (self.scope(key, "openid profile email", check), self.oidc(key, check)),
            Kind::OAuth2 => (self.scope(key, "", check), self.oauth2(key, check)),
        };
        let id = id?;
        Some(ProviderSettings {
            display_name: display_name.unwrap_or_else(|| id.to_string()),
            id,
            client_id: client_id?,
            client_secret: client_secret?,
            client_auth: client_auth?,
            redirect_uri: public_url?.join(&path?).ok()?,
            scope,
            allowed_email_domains,
            kind: kind?,
            timeouts: Timeouts::default(),
            ca_certificates: ca_certificates?,
        })
    }

    fn scope(&self, key: &str, default: &str, check: &mut Check) -> String {
        let text = self.scope.as_deref().unwrap_or(default);
        let names: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if default.starts_with("openid") && !names.iter().any(|name| name == "openid") {
            check.problem(format!("{key}.scope"), "must contain openid, or there is no ID token");
        }
        scope(&format!("{key}.scope"), &names, check)
    }

    fn check_email_domains(&self, key: &str, check: &mut Check) {
        for (i, domain) in self.allowed_email_domains.iter().enumerate() {
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
            if domain.is_empty() || !domain.bytes().all(allowed) {
                let text = "must be a domain in lower-case ASCII, as in example.com";
                check.problem(format!("{key}.allowed_email_domains[{i}]"), text);
            }
        }
    }

    fn ca_certificates(&self, key: &str, check: &mut Check) -> Option<Vec<u8>> {
        let Some(file) = &self.ca_file else { return Some(Vec::new()) };
        let key = format!("{key}.ca_file");
        let pem = check.file(&key, file, false)?;
        if !pem.expose_secret().contains("-----BEGIN CERTIFICATE-----") {
            check.problem(key, "names a file without a PEM certificate");
            return None;
        }
        Some(pem.expose_secret().as_bytes().to_vec())
    }

    fn oidc(self, key: &str, check: &mut Check) -> Option<KindSettings> {
        for (name, set) in [
            ("authorize_url", self.authorize_url.is_some()),
            ("token_url", self.token_url.is_some()),
            ("end_session_url", self.end_session_url.is_some()),
            ("profile", !self.profile.is_empty()),
        ] {
            if set {
                check.problem(format!("{key}.{name}"), "is for kind = \"oauth2\": discovery says it here");
            }
        }
        let claims_key = format!("{key}.claims");
        if self.claims.subject.is_some() {
            check.problem(format!("{claims_key}.subject"), "is for kind = \"oauth2\": here it is always sub");
        }
        let issuer =
            check.required(&format!("{key}.issuer"), self.issuer, "the provider's documentation names it");
        let issuer = issuer.filter(|issuer| is_issuer(&format!("{key}.issuer"), issuer, check));
        let defaults = || ALGORITHMS.iter().map(|name| (*name).to_owned()).collect();
        let names = if self.algorithms.is_empty() { defaults() } else { self.algorithms };
        let names = names.iter().enumerate();
        let algorithms =
            names.filter_map(|(i, name)| algorithm(&format!("{key}.algorithms[{i}]"), name, check)).collect();
        Some(KindSettings::Oidc(OidcSettings {
            algorithms,
            trusted_audiences: self.trusted_audiences,
            acr_values: self.acr_values,
            userinfo: self.userinfo.unwrap_or(true),
            id_token_hint: self.id_token_hint.unwrap_or(false),
            claims: self.claims.check(&claims_key, check),
            issuer: issuer?,
        }))
    }

    fn oauth2(self, key: &str, check: &mut Check) -> Option<KindSettings> {
        for (name, set) in [
            ("algorithms", !self.algorithms.is_empty()),
            ("trusted_audiences", !self.trusted_audiences.is_empty()),
            ("acr_values", !self.acr_values.is_empty()),
            ("userinfo", self.userinfo.is_some()),
            ("id_token_hint", self.id_token_hint.is_some()),
        ] {
            if set {
                check.problem(format!("{key}.{name}"), "is for kind = \"oidc\"");
            }
        }
        let authorize_url = endpoint(&format!("{key}.authorize_url"), self.authorize_url, check);
        let token_url = endpoint(&format!("{key}.token_url"), self.token_url, check);
        let end_session_url = match self.end_session_url {
            Some(text) => check.url(&format!("{key}.end_session_url"), &text).map(Some),
            None => Some(None),
        };
        if let Some(issuer) = &self.issuer {
            is_issuer(&format!("{key}.issuer"), issuer, check);
        }
        if self.profile.is_empty() {
            let text = "is missing: name at least one JSON document about the person, as { url = \"…\" }";
            check.problem(format!("{key}.profile"), text);
        }
        let documents = self.profile.into_iter().enumerate();
        let profile = documents
            .filter_map(|(i, document)| {
                let url = endpoint(&format!("{key}.profile[{i}].url"), document.url, check)?;
                Some(ProfileDocument { url, into: document.into })
            })
            .collect();
        if self.claims.subject.is_none() {
            let text = "is missing: say where the person's unchanging name stands, as in \"$.id\"";
            check.problem(format!("{key}.claims.subject"), text);
        }
        let claims = self.claims.check(&format!("{key}.claims"), check);
        let issuer = self.issuer;
        Some(KindSettings::OAuth2(OAuth2Settings {
            authorize_url: authorize_url?,
            token_url: token_url?,
            end_session_url: end_session_url?,
            issuer,
            profile,
            claims,
        }))
    }
}

fn endpoint(key: &str, text: Option<String>, check: &mut Check) -> Option<Url> {
    let text = check.required(key, text, "the provider's documentation names it")?;
    check.url(key, &text)
}

/// An issuer is a URL without query and fragment (OpenID Connect Discovery section 4.1).
fn is_issuer(key: &str, text: &str, check: &mut Check) -> bool {
    let Some(url) = check.url(key, text) else { return false };
    if url.query().is_some() {
        check.problem(key, "must not contain a query ('?')");
    }
    url.query().is_none()
}

fn algorithm(key: &str, name: &str, check: &mut Check) -> Option<jsonwebtoken::Algorithm> {
    if !ALGORITHMS.contains(&name) {
        let known = ALGORITHMS.join(", ");
        check.problem(
            key,
            format_args!("must be one of {known}: only keys that the provider alone has can prove"),
        );
        return None;
    }
    check.choice(key, name)
}

/// The path of a provider's callback: one of four forms, so that it always leads to this provider.
fn callback_path(key: &str, text: &str, id: &ProviderId, check: &mut Check) -> Option<String> {
    let path = text.replace("{id}", id.as_str());
    let bare = path.strip_suffix('/').unwrap_or(&path);
    if bare == "/oauth2_callback" || bare.strip_prefix("/oauth2_callback/") == Some(id.as_str()) {
        return Some(path);
    }
    let text = "must be /oauth2_callback/{id} or /oauth2_callback, each also with a slash at the end";
    check.problem(format!("{key}.callback_path"), text);
    None
}

//! `kind = "oidc"`: OpenID Connect.

use serde::{Deserialize, Serialize};

use super::super::check::Check;
use super::super::source::list;
use super::claims::RawClaims;
use super::{issuer, scope};
use crate::provider::settings::{KindSettings, OidcSettings};

/// Every asymmetric signature algorithm (RFC 8725 section 3.2): only the provider has the key to sign with.
const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// OpenID Connect: the endpoints come from discovery, the identity from the ID token.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOidc {
    /// The issuer, exactly as in the metadata of the provider. Required.
    issuer: Option<String>,
    /// The requested scopes, space-separated, `openid` included.
    scope: String,
    /// The accepted signature algorithms of ID tokens and logout tokens.
    #[serde(deserialize_with = "list")]
    algorithms: Vec<String>,
    /// Further audiences that an ID token may have beside the broker's `client_id`.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    trusted_audiences: Vec<String>,
    /// The requested authentication classes; the sign-in must then have one of them.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    acr_values: Vec<String>,
    /// Whether the UserInfo endpoint is read in addition to the ID token.
    userinfo: bool,
    /// Whether the ID token is kept with the session, sealed, and sent to the provider at the logout
    /// (`id_token_hint`), so that the provider does not ask the user to confirm.
    id_token_hint: bool,
    #[serde(skip_serializing_if = "RawClaims::is_empty")]
    claims: RawClaims,
}

impl Default for RawOidc {
    fn default() -> Self {
        Self {
            issuer: None,
            scope: "openid profile email".to_owned(),
            algorithms: ALGORITHMS.iter().map(|name| (*name).to_owned()).collect(),
            trusted_audiences: Vec::new(),
            acr_values: Vec::new(),
            userinfo: true,
            id_token_hint: false,
            claims: RawClaims::default(),
        }
    }
}

impl RawOidc {
    /// The scope, and the settings of this kind.
    pub(super) fn check(self, key: &str, check: &mut Check) -> Option<(String, KindSettings)> {
        let scope_key = format!("{key}.scope");
        let scope = scope(&scope_key, &self.scope, check);
        if !scope.split(' ').any(|name| name == "openid") {
            check.problem(scope_key, "must contain openid; without it the provider issues no ID token");
        }
        let issuer_key = format!("{key}.issuer");
        let text = check.required(&issuer_key, self.issuer, "the provider's documentation names it");
        let issuer = text.and_then(|text| issuer(&issuer_key, text, check));
        if self.algorithms.is_empty() {
            check.problem(format!("{key}.algorithms"), "must name at least one signature algorithm");
        }
        let names = self.algorithms.iter().enumerate();
        let algorithms =
            names.filter_map(|(i, name)| algorithm(&format!("{key}.algorithms[{i}]"), name, check)).collect();
        if self.claims.subject.is_some() {
            let text = "cannot be set with kind = \"oidc\": the subject is always the claim sub";
            check.problem(format!("{key}.claims.subject"), text);
        }
        let settings = OidcSettings {
            algorithms,
            trusted_audiences: self.trusted_audiences,
            acr_values: self.acr_values,
            userinfo: self.userinfo,
            id_token_hint: self.id_token_hint,
            claims: self.claims.check(&format!("{key}.claims"), check),
            issuer: issuer?,
        };
        Some((scope, KindSettings::Oidc(settings)))
    }
}

fn algorithm(key: &str, name: &str, check: &mut Check) -> Option<jsonwebtoken::Algorithm> {
    if !ALGORITHMS.contains(&name) {
        let known = ALGORITHMS.join(", ");
        check.problem(key, format_args!("must be an asymmetric signature algorithm: one of {known}"));
        return None;
    }
    check.choice(key, name)
}

//! `kind = "oauth2"`: plain OAuth 2.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::super::check::Check;
use super::claims::{RawClaims, json_path};
use super::dialect::RawDialect;
use super::{issuer, scope};
use crate::provider::has_own_parameter;
use crate::provider::settings::{KindSettings, OAuth2Settings, ProfileDocument};

/// Plain OAuth 2: the endpoints are configured, the identity comes from JSON documents about the user.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOAuth2 {
    /// Where the browser is sent to sign in. Required.
    authorize_url: Option<String>,
    /// Where the authorization code is exchanged. Required.
    token_url: Option<String>,
    /// Where the browser is sent to sign out at the provider. Default: sign-out at the provider is not offered.
    end_session_url: Option<String>,
    /// The issuer, if the provider sends `iss` in the callback (RFC 9207).
    issuer: Option<String>,
    /// The requested scopes, space-separated. Default: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    /// The JSON documents about the user, merged in this order. Required.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    profile: Vec<RawDocument>,
    #[serde(skip_serializing_if = "RawClaims::is_empty")]
    claims: RawClaims,
    #[serde(skip_serializing_if = "RawDialect::is_standard")]
    dialect: RawDialect,
}

/// One JSON document about the user.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
struct RawDocument {
    /// Its address. Required.
    url: Option<String>,
    /// The member under which the document is put. Default: it is merged into the top level.
    #[serde(skip_serializing_if = "Option::is_none")]
    into: Option<String>,
    /// Query parameters of the request, each with the JSONPath of its value in the answer of the token endpoint.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, String>,
}

impl RawOAuth2 {
    /// The scope, and the settings of this kind.
    pub(super) fn check(self, key: &str, check: &mut Check) -> Option<(String, KindSettings)> {
        let authorize_key = format!("{key}.authorize_url");
        let authorize_url = endpoint(&authorize_key, self.authorize_url, check);
        if authorize_url.as_ref().is_some_and(has_own_parameter) {
            check.problem(authorize_key, "must not have a query with parameters that the broker sets itself");
        }
        let token_url = endpoint(&format!("{key}.token_url"), self.token_url, check);
        let end_session_url =
            self.end_session_url.and_then(|text| check.url(&format!("{key}.end_session_url"), &text));
        let issuer = self.issuer.and_then(|text| issuer(&format!("{key}.issuer"), text, check));
        if self.profile.is_empty() {
            let text = "is missing: name at least one JSON document about the user, as { url = \"…\" }";
            check.problem(format!("{key}.profile"), text);
        }
        let documents = self.profile.into_iter().enumerate();
        let profile = documents
            .filter_map(|(i, document)| {
                let key = format!("{key}.profile[{i}]");
                let parameters = document.parameters.into_iter().filter_map(|(name, path)| {
                    let path = json_path(&format!("{key}.parameters.{name}"), &path, check)?;
                    Some((name, path))
                });
                let parameters = parameters.collect();
                let url = endpoint(&format!("{key}.url"), document.url, check)?;
                Some(ProfileDocument { url, into: document.into, parameters })
            })
            .collect();
        if self.claims.subject.is_none() {
            let text = "is missing: write the JSONPath of the user's unchanging name, as in \"$.id\"";
            check.problem(format!("{key}.claims.subject"), text);
        }
        let scope = scope(&format!("{key}.scope"), &self.scope, check);
        let claims = self.claims.check(&format!("{key}.claims"), check);
        let dialect = self.dialect.check(&format!("{key}.dialect"), check);
        let settings = OAuth2Settings {
            authorize_url: authorize_url?,
            token_url: token_url?,
            end_session_url,
            issuer,
            profile,
            claims,
            dialect: dialect?,
        };
        Some((scope, KindSettings::OAuth2(settings)))
    }
}

fn endpoint(key: &str, text: Option<String>, check: &mut Check) -> Option<Url> {
    let text = check.required(key, text, "the provider's documentation names it")?;
    check.url(key, &text)
}

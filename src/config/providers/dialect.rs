//! `[providers.dialect]`: what differs between plain OAuth 2 providers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::check::Check;
use super::claims::json_path;
use crate::provider::dialect::{AccessTokenIn, Dialect, ParameterNames, RENAMABLE};

/// How a plain OAuth 2 provider deviates from RFC 6749 and RFC 6750. Default: not at all.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDialect {
    /// The provider's names of parameters of the authorization request, by the standard names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    authorize_names: BTreeMap<String, String>,
    /// The fragment that the authorization request must end with, without `#`.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorize_fragment: Option<String>,
    /// The parameter of the callback that contains the authorization code.
    code_parameter: String,
    /// Whether a callback without a code and without `error` means that the user refused.
    refusal_without_error: bool,
    /// The provider's names of parameters of the token request, by the standard names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    token_names: BTreeMap<String, String>,
    /// How the token request is sent: `form` (POST), `json` (POST) or `query` (GET; the secret is then part of a URL).
    token_request: String,
    /// What the token endpoint answers: `json`, `undeclared_json` (any media type, of profile documents also) or `form`.
    token_answer: String,
    /// JSONPath of the access token in that answer.
    access_token: String,
    /// Whether the answer may lack `token_type`.
    token_type_optional: bool,
    /// The member under which the claims find the answer of the token endpoint, without its credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_answer_into: Option<String>,
    /// The header that carries the access token to the profile documents. Default: `Authorization`, with `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token_header: Option<String>,
    /// The query parameter that carries the access token to the profile documents. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token_query: Option<String>,
}

impl Default for RawDialect {
    fn default() -> Self {
        Self {
            authorize_names: BTreeMap::new(),
            authorize_fragment: None,
            code_parameter: "code".to_owned(),
            refusal_without_error: false,
            token_names: BTreeMap::new(),
            token_request: "form".to_owned(),
            token_answer: "json".to_owned(),
            access_token: "$.access_token".to_owned(),
            token_type_optional: false,
            token_answer_into: None,
            access_token_header: None,
            access_token_query: None,
        }
    }
}

impl RawDialect {
    /// Whether it is the standard.
    pub(super) fn is_standard(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(self, key: &str, check: &mut Check) -> Option<Dialect> {
        let at = |name: &str| format!("{key}.{name}");
        let code_parameter = parameter(&at("code_parameter"), &self.code_parameter, check);
        let access_token_in = match (self.access_token_header, self.access_token_query) {
            (None, None) => Some(AccessTokenIn::Bearer),
            (Some(name), None) => header(&at("access_token_header"), name, check),
            (None, Some(name)) => {
                parameter(&at("access_token_query"), &name, check).map(AccessTokenIn::Query)
            }
            (Some(_), Some(_)) => {
                let text = "must not be set together with access_token_header: remove one";
                check.problem(at("access_token_query"), text);
                None
            }
        };
        let authorize_names = names(&at("authorize_names"), self.authorize_names, check);
        let token_names = names(&at("token_names"), self.token_names, check);
        let token_request = check.choice(&at("token_request"), &self.token_request);
        let token_answer = check.choice(&at("token_answer"), &self.token_answer);
        let access_token = json_path(&at("access_token"), &self.access_token, check);
        Some(Dialect {
            authorize_names,
            authorize_fragment: self.authorize_fragment,
            code_parameter: code_parameter?,
            refusal_without_error: self.refusal_without_error,
            token_names,
            token_request: token_request?,
            token_answer: token_answer?,
            access_token: access_token?,
            token_type_optional: self.token_type_optional,
            token_answer_into: self.token_answer_into,
            access_token_in: access_token_in?,
        })
    }
}

fn names(key: &str, names: BTreeMap<String, String>, check: &mut Check) -> ParameterNames {
    for (standard, name) in &names {
        let key = format!("{key}.{standard}");
        if !RENAMABLE.contains(&standard.as_str()) {
            check.problem(
                &key,
                format_args!("is not a parameter that can be renamed: {}", RENAMABLE.join(", ")),
            );
        }
        parameter(&key, name, check);
    }
    ParameterNames::new(names)
}

/// The name of a parameter: letters, digits, `-`, `_` and `.`.
fn parameter(key: &str, name: &str, check: &mut Check) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || !name.bytes().all(plain) {
        check.problem(key, "must be the name of a parameter: letters, digits, '-', '_' and '.'");
        return None;
    }
    Some(name.to_owned())
}

/// The name of a header that carries nothing else.
fn header(key: &str, name: String, check: &mut Check) -> Option<AccessTokenIn> {
    const RESERVED: [&str; 5] = ["accept", "authorization", "content-type", "cookie", "host"];
    let name = parameter(key, &name, check)?;
    if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        check.problem(key, "must be a header that is used for nothing else");
        return None;
    }
    Some(AccessTokenIn::Header(name))
}

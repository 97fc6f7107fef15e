//! What differs between plain OAuth 2 providers: the names of parameters, the form of the token request and of its
//! answer, and where the access token goes. The default is the standard (RFC 6749, RFC 6750).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::json::Object;

/// The deviations of one provider.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// Names of parameters of the authorization request.
    pub authorize_names: ParameterNames,
    /// The fragment that the authorization request ends with.
    pub authorize_fragment: Option<String>,
    /// The parameter of the callback that contains the code.
    pub code_parameter: String,
    /// Whether a callback without a code and without `error` is a refusal.
    pub refusal_without_error: bool,
    /// Names of parameters of the token request.
    pub token_names: ParameterNames,
    /// How the token request is sent.
    pub token_request: TokenRequest,
    /// What the answer of the token endpoint looks like.
    pub token_answer: TokenAnswer,
    /// Where the access token is in that answer.
    pub access_token: JsonPath,
    /// Whether the answer may lack `token_type`, which RFC 6749 section 5.1 requires.
    pub token_type_optional: bool,
    /// The member under which the claims are found that the answer of the token endpoint contains.
    pub token_answer_into: Option<String>,
    /// Where the access token goes in requests for profile documents.
    pub access_token_in: AccessTokenIn,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            authorize_names: ParameterNames::default(),
            authorize_fragment: None,
            code_parameter: "code".to_owned(),
            refusal_without_error: false,
            token_names: ParameterNames::default(),
            token_request: TokenRequest::default(),
            token_answer: TokenAnswer::default(),
            access_token: standard_access_token(),
            token_type_optional: false,
            token_answer_into: None,
            access_token_in: AccessTokenIn::default(),
        }
    }
}

#[expect(clippy::expect_used, reason = "the path is a constant")]
fn standard_access_token() -> JsonPath {
    JsonPath::parse("$.access_token").expect("the path is valid")
}

/// Other names of standard parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParameterNames(BTreeMap<String, String>);

/// The standard parameters that a provider may name differently.
pub const RENAMABLE: [&str; 9] = [
    "client_id",
    "client_secret",
    "code",
    "code_verifier",
    "grant_type",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
];

impl ParameterNames {
    /// The names for these standard names, each of which is one of [`RENAMABLE`].
    pub fn new(names: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(names.into_iter().collect())
    }

    /// The provider's name of a standard parameter.
    pub(super) fn of<'a>(&'a self, standard: &'a str) -> &'a str {
        self.0.get(standard).map_or(standard, String::as_str)
    }
}

/// How the parameters of the token request are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenRequest {
    /// `POST`, in a form, as RFC 6749 section 4.1.3 says.
    #[default]
    Form,
    /// `POST`, in a JSON object.
    Json,
    /// `GET`, in the query. The secret is then part of a URL, which the provider may log.
    Query,
}

/// What the answer of the token endpoint looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenAnswer {
    /// JSON, declared as such, as RFC 6749 section 5.1 says.
    #[default]
    Json,
    /// JSON under any media type, in profile documents also.
    UndeclaredJson,
    /// A form (`access_token=…&expires_in=…`), under any media type.
    Form,
}

impl TokenAnswer {
    /// Whether profile documents may have any media type.
    pub(super) fn accepts_undeclared_json(self) -> bool {
        self == Self::UndeclaredJson
    }
}

/// Where the access token goes in requests for profile documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AccessTokenIn {
    /// In the header `Authorization`, as `Bearer` (RFC 6750 section 2.1).
    #[default]
    Bearer,
    /// In a header of this name, by itself.
    Header(String),
    /// In a query parameter of this name (RFC 6750 section 2.3).
    Query(String),
}

/// Members of a token answer that are credentials: they are not among the claims.
const CREDENTIALS: [&str; 4] = ["access_token", "refresh_token", "id_token", "session_key"];

/// What a token answer says about the user, without the credentials.
pub(super) fn claims_of(mut answer: Object, access_token: &str) -> Object {
    answer.retain(|name, value| {
        !CREDENTIALS.contains(&name.as_str()) && value.as_str().is_none_or(|text| text != access_token)
    });
    answer
}

/// The only string or integer at a path, as text: a parameter of a request for a profile document.
pub(super) fn parameter(path: &JsonPath, answer: &Object) -> Option<String> {
    match path.query(&Value::Object(answer.clone())).all().as_slice() {
        [Value::String(text)] if !text.is_empty() => Some(text.clone()),
        [Value::Number(number)] if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::path;
    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_parameter_without_another_name_keeps_its_own() {
        let names = ParameterNames::new([("client_id".to_owned(), "appid".to_owned())]);
        assert_eq!((names.of("client_id"), names.of("client_secret")), ("appid", "client_secret"));
    }

    #[test]
    fn the_claims_of_a_token_answer_contain_no_credential() {
        let answer =
            json!({"accessToken": "at", "refresh_token": "rt", "id_token": "it", "uid": "1", "n": 2});
        assert_eq!(claims_of(object(answer), "at"), object(json!({"uid": "1", "n": 2})));
    }

    #[test]
    fn a_parameter_is_one_string_or_integer() {
        let answer = object(json!({"a": "x", "b": 7, "c": "", "d": 1.5, "e": ["x", "y"], "f": null}));
        let found = ["$.a", "$.b", "$.c", "$.d", "$.e", "$.f", "$.g", "$.e[*]"]
            .map(|at| parameter(&path(at), &answer));
        let expected = [Some("x"), Some("7"), None, None, None, None, None, None];
        assert_eq!(found.each_ref().map(Option::as_deref), expected);
    }
}

//! The provider's metadata (OpenID Connect Discovery 1.0 section 4, RFC 8414).

use serde_json::Value;
use url::Url;

use super::ProviderError;
use super::authorization::has_own_parameter;
use super::cached::with_retries;
use super::http_client::{Deadline, HttpClient, METADATA_LIMIT};
use super::json::Object;
use crate::domain::loopback::is_loopback_url;

/// The metadata that the broker needs.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The authorization endpoint, to which the browser is redirected.
    pub(super) authorization_endpoint: Url,
    /// The token endpoint, at which the code is exchanged.
    pub(super) token_endpoint: Url,
    /// The URL of the signing keys.
    pub(super) jwks_uri: Url,
    /// The UserInfo endpoint, which returns more claims.
    pub(super) userinfo_endpoint: Option<Url>,
    /// The endpoint at which the user signs out (RP-Initiated Logout 1.0).
    pub(super) end_session_endpoint: Option<Url>,
    /// Whether every callback contains `iss` (RFC 9207 section 3).
    pub(super) announces_iss: bool,
}

impl Metadata {
    /// Fetches the metadata of `issuer`.
    pub(super) async fn fetch(
        http: &HttpClient,
        issuer: &str,
        deadline: Deadline,
    ) -> Result<Self, ProviderError> {
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let address = Url::parse(&address).map_err(|_| unusable("the issuer is not a URL"))?;
        let fetch = || http.send("metadata", http.get(&address), METADATA_LIMIT, deadline);
        Self::read(&with_retries(fetch).await?.object()?, issuer)
    }

    /// Parses the document. Its `issuer` must be identical to the configured one, which prevents impersonation
    /// (RFC 8414 section 3.3).
    fn read(document: &Object, issuer: &str) -> Result<Self, ProviderError> {
        if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(unusable("issuer is not the configured issuer"));
        }
        let loopback = Url::parse(issuer).is_ok_and(|issuer| issuer.scheme() == "http");
        let optional = |name: &str, problem| match document.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => endpoint(text, loopback).map(Some).ok_or_else(|| unusable(problem)),
            Some(_) => Err(unusable(problem)),
        };
        let required = |name: &str, problem| optional(name, problem)?.ok_or_else(|| unusable(problem));
        let authorization_endpoint =
            required("authorization_endpoint", "authorization_endpoint is not a usable URL")?;
        if has_own_parameter(&authorization_endpoint) {
            return Err(unusable(
                "authorization_endpoint contains query parameters that the broker sets itself",
            ));
        }
        Ok(Self {
            authorization_endpoint,
            token_endpoint: required("token_endpoint", "token_endpoint is not a usable URL")?,
            jwks_uri: required("jwks_uri", "jwks_uri is not a usable URL")?,
            userinfo_endpoint: optional("userinfo_endpoint", "userinfo_endpoint is not a usable URL")?,
            end_session_endpoint: optional(
                "end_session_endpoint",
                "end_session_endpoint is not a usable URL",
            )?,
            announces_iss: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }
}

fn unusable(problem: &str) -> ProviderError {
    ProviderError::Unusable(format!("metadata: {problem}"))
}

fn endpoint(text: &str, loopback_issuer: bool) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    is_usable(&url, loopback_issuer).then_some(url)
}

/// Whether a URL of a provider can be used: https, or http on this machine if that is allowed, without credentials or a
/// fragment (RFC 6749 sections 3.1 and 3.2).
pub(super) fn is_usable(url: &Url, loopback_allowed: bool) -> bool {
    let safe = match url.scheme() {
        "https" => true,
        "http" => loopback_allowed && is_loopback_url(url),
        _ => false,
    };
    safe && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::keys::changed;
    use super::super::fake::{kind, url};
    use super::*;

    const ISSUER: &str = "https://login.example.com/realm";

    fn read(issuer: &str, changes: Value) -> Result<Metadata, ProviderError> {
        let document = json!({
            "issuer": issuer, "authorization_endpoint": "https://login.example.com/authorize",
            "token_endpoint": "https://login.example.com/token", "jwks_uri": "https://keys.example.com/jwks",
        });
        Metadata::read(changed(&document, changes).as_object().unwrap(), issuer)
    }

    #[test]
    fn the_issuer_must_be_identical() {
        assert_eq!(kind(read(ISSUER, json!({}))), "ok");
        let slash = format!("{ISSUER}/");
        for bad in [json!(null), json!(slash), json!("https://evil.example"), json!([ISSUER])] {
            assert_eq!(kind(read(ISSUER, json!({"issuer": bad}))), "unusable", "{bad}");
        }
    }

    #[test]
    fn required_endpoints_must_be_present() {
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            for bad in [json!(null), json!(1), json!(""), json!("/token")] {
                assert_eq!(kind(read(ISSUER, json!({name: bad}))), "unusable", "{name}: {bad}");
            }
        }
        for name in ["userinfo_endpoint", "end_session_endpoint"] {
            assert_eq!(kind(read(ISSUER, json!({name: null}))), "ok", "{name}");
            assert_eq!(kind(read(ISSUER, json!({name: 1}))), "unusable", "{name}");
        }
    }

    #[test]
    fn endpoints_are_https() {
        let bad = [
            "http://login.example.com/x",
            "http://127.0.0.1/x",
            "ftp://login.example.com/x",
            "file:///etc/passwd",
            "https://user:secret@login.example.com/x",
            "https://login.example.com/x#fragment",
        ];
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
            for bad in bad {
                assert_eq!(kind(read(ISSUER, json!({name: bad}))), "unusable", "{name}: {bad}");
            }
        }
    }

    #[test]
    fn http_is_for_a_loopback_issuer_on_loopback_names_only() {
        let at = |endpoint: &str| kind(read("http://localhost:9000", json!({"token_endpoint": endpoint})));
        assert_eq!(at("http://localhost:9000/token"), "ok");
        assert_eq!(at("http://[::1]:9000/token"), "ok");
        assert_eq!(at("http://login.example.com/token"), "unusable");
        assert_eq!(at("http://localhost.example.com/token"), "unusable");
        assert!(!is_usable(&url("http://127.0.0.1/"), false));
    }

    #[test]
    fn an_endpoint_must_not_set_parameters_of_the_request() {
        let at = |endpoint: &str| kind(read(ISSUER, json!({"authorization_endpoint": endpoint})));
        assert_eq!(at("https://login.example.com/authorize?tenant=1"), "ok");
        for name in ["state", "redirect_uri", "response_type", "scope", "code_challenge", "login_hint"] {
            assert_eq!(at(&format!("https://login.example.com/authorize?{name}=x")), "unusable", "{name}");
        }
    }

    #[test]
    fn only_the_boolean_true_announces_iss() {
        let announced = |value| {
            read(ISSUER, json!({"authorization_response_iss_parameter_supported": value}))
                .unwrap()
                .announces_iss
        };
        assert!(announced(json!(true)));
        assert!(!announced(json!(false)) && !announced(json!("true")) && !announced(json!(null)));
    }
}

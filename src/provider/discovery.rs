//! The provider's metadata (OpenID Connect Discovery 1.0 section 4, RFC 8414).

use serde_json::Value;
use url::Url;

use super::ProviderError;
use super::authorization::has_own_parameter;
use super::cached::with_retries;
use super::http_client::{Deadline, HttpClient, METADATA_LIMIT};
use super::json::Object;
use crate::domain::client::is_loopback;

/// What the broker needs to know of it.
#[derive(Debug)]
pub(super) struct Metadata {
    /// Where the browser is sent.
    pub(super) authorization_endpoint: Url,
    /// Where the code is exchanged.
    pub(super) token_endpoint: Url,
    /// Where the signing keys are.
    pub(super) jwks_uri: Url,
    /// Where more claims are.
    pub(super) userinfo_endpoint: Option<Url>,
    /// Where the person signs out (RP-Initiated Logout 1.0).
    pub(super) end_session_endpoint: Option<Url>,
    /// Whether every callback carries `iss` (RFC 9207 section 3).
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

    /// Reads the document; its `issuer` must be the configured one, character by character, so that nobody
    /// can pass for somebody else (RFC 8414 section 3.3).
    fn read(document: &Object, issuer: &str) -> Result<Self, ProviderError> {
        if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(unusable("issuer is not the configured one"));
        }
        let loopback = Url::parse(issuer).is_ok_and(|issuer| issuer.scheme() == "http");
        let optional = |name: &str, problem| match document.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => endpoint(text, loopback).map(Some).ok_or_else(|| unusable(problem)),
            Some(_) => Err(unusable(problem)),
        };
        let needed = |name: &str, problem| optional(name, problem)?.ok_or_else(|| unusable(problem));
        let authorization_endpoint =
            needed("authorization_endpoint", "authorization_endpoint is not a usable URL")?;
        if has_own_parameter(&authorization_endpoint) {
            return Err(unusable("authorization_endpoint has a query that the request needs itself"));
        }
        Ok(Self {
            authorization_endpoint,
            token_endpoint: needed("token_endpoint", "token_endpoint is not a usable URL")?,
            jwks_uri: needed("jwks_uri", "jwks_uri is not a usable URL")?,
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

/// Whether a provider's address may be called: https, or http on this machine where that is allowed, without
/// credentials or a fragment (RFC 6749 sections 3.1 and 3.2).
pub(super) fn is_usable(url: &Url, loopback_allowed: bool) -> bool {
    let safe = match url.scheme() {
        "https" => true,
        "http" => loopback_allowed && is_loopback(url),
        _ => false,
    };
    safe && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

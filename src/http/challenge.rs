//! The challenges: of endpoints that take a token (RFC 6750 section 3, RFC 9449 section 7.1, RFC 9470 section 3), and of
//! those that resource servers call (RFC 6749 section 5.2).

use std::fmt;

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::dpop_headers::{DPOP_NONCE, DpopHeaders};
use crate::domain::dpop::jwk::ALGORITHMS;
use crate::error::{Error, ErrorCode};

/// The challenge for a resource server that did not authenticate (RFC 7617 section 2).
pub const BASIC: &str = r#"Basic realm="token-broker""#;

/// An error while reading the credentials. The response always carries a challenge.
#[derive(Debug)]
pub struct BearerRefused(pub Error);

impl fmt::Display for BearerRefused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Adds the challenge. It has no error code if no token was presented.
pub fn challenge(response: &mut HttpResponse, error: &Error) {
    let code = match error.code() {
        ErrorCode::MissingToken => None,
        code @ (ErrorCode::InvalidToken
        | ErrorCode::InsufficientScope
        | ErrorCode::InsufficientUserAuthentication
        | ErrorCode::InvalidDpopProof
        | ErrorCode::UseDpopNonce) => Some(code.as_str()),
        _ => Some(ErrorCode::InvalidRequest.as_str()),
    };
    let mut challenge = BEARER.to_owned();
    let max_age = error.max_age().map(|seconds| seconds.to_string());
    for (name, value) in [("error", code), ("scope", error.missing_scope()), ("max_age", max_age.as_deref())]
    {
        if let Some(value) = value {
            challenge.push_str(&format!(r#", {name}="{value}""#));
        }
    }
    if error.dpop_is_asked_for() {
        challenge = as_dpop(&challenge);
    }
    if let Ok(value) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
}

const BEARER: &str = r#"Bearer realm="token-broker""#;

/// A challenge of the scheme `Bearer` as one of the scheme `DPoP`.
fn as_dpop(challenge: &str) -> String {
    format!(r#"{}, algs="{}""#, challenge.replacen("Bearer", "DPoP", 1), ALGORITHMS.join(" "))
}

/// Adds the challenge of the other scheme to the answer to a request without a token (RFC 9449 section 7.2).
pub fn offer_dpop(headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(as_dpop(BEARER)) {
        headers.append(WWW_AUTHENTICATE, value);
    }
}

/// Finishes the answer to a request with DPoP headers: its challenge has the scheme of the request, and it has a nonce for
/// the next proof where `nonce` makes one.
pub fn finish_dpop(headers: &mut HeaderMap, request: DpopHeaders, nonce: impl FnOnce() -> Option<String>) {
    let challenge = headers.get(WWW_AUTHENTICATE).and_then(|challenge| challenge.to_str().ok());
    let other_scheme = challenge.filter(|challenge| request.has_scheme && challenge.starts_with(BEARER));
    if let Some(value) = other_scheme.and_then(|bearer| HeaderValue::try_from(as_dpop(bearer)).ok()) {
        headers.insert(WWW_AUTHENTICATE, value);
    }
    if let Some(value) = nonce().and_then(|nonce| HeaderValue::try_from(nonce).ok()) {
        headers.insert(DPOP_NONCE, value);
    }
}

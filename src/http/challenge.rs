//! The challenges: of bearer endpoints (RFC 6750 section 3, RFC 9470 section 3), and of those that resource servers call
//! (RFC 6749 section 5.2).

use std::fmt;

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};

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
        | ErrorCode::InsufficientUserAuthentication) => Some(code.as_str()),
        _ => Some(ErrorCode::InvalidRequest.as_str()),
    };
    let mut challenge = r#"Bearer realm="token-broker""#.to_owned();
    let max_age = error.max_age().map(|seconds| seconds.to_string());
    for (name, value) in [("error", code), ("scope", error.missing_scope()), ("max_age", max_age.as_deref())]
    {
        if let Some(value) = value {
            challenge.push_str(&format!(r#", {name}="{value}""#));
        }
    }
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
}

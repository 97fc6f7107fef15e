//! The headers of DPoP (RFC 9449).

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};

/// The header of the proof (section 4.1).
pub const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The header of the nonce for the next proof (section 8.1).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Which of them a request has. Its answer depends on it.
#[derive(Debug, Clone, Copy)]
pub struct DpopHeaders {
    /// Whether its token has the scheme `DPoP`.
    pub has_scheme: bool,
    /// Whether it has a proof.
    pub has_proof: bool,
}

impl DpopHeaders {
    /// Those of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let authorization = headers.get(AUTHORIZATION).map_or(&[][..], |header| header.as_bytes());
        let scheme = authorization.split(|byte| *byte == b' ').next().unwrap_or_default();
        Self { has_scheme: scheme.eq_ignore_ascii_case(b"dpop"), has_proof: headers.contains_key(DPOP) }
    }
}

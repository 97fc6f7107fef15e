//! What requests the provider got, for tests that ask "was it called, how often, with what?". Holds no secret.

use std::collections::BTreeMap;

use serde_json::Value;

/// The most requests to the trap that are kept.
const TRAP_CAPACITY: usize = 100;

/// What happened so far.
#[derive(Debug, Clone, Default)]
pub struct RequestLog {
    counts: BTreeMap<String, u64>,
    /// The last request to a token endpoint.
    pub last_token_request: Option<TokenRequestSeen>,
    /// The claims of the last ID token that was issued, after its fault.
    pub last_id_token: Option<Value>,
    /// The requests to [`TRAP`](super::TRAP), which the broker must never call: redirect targets and addresses
    /// that stand in tokens and profiles.
    pub trapped: Vec<TrappedRequest>,
}

/// A request to a token endpoint, as far as it may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequestSeen {
    /// How the client authenticated.
    pub client_auth: ClientAuthSeen,
    /// The client that it said it was.
    pub client_id: Option<String>,
    /// Whether `code_verifier` matched the challenge of the login; nothing where there was no live code, or no
    /// challenge.
    pub verifier_matched: Option<bool>,
    /// The address had a query, where nothing of a token request belongs.
    pub had_query: bool,
    /// The media type, without parameters.
    pub content_type: String,
}

/// Client authentication as it was seen (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthSeen {
    /// No secret at all.
    None,
    /// The `Authorization` header.
    Basic,
    /// The body.
    Post,
    /// Both, which is not allowed.
    Both,
}

/// A request that should not have been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrappedRequest {
    /// Its method.
    pub method: String,
    /// It had an `Authorization` header.
    pub had_authorization: bool,
    /// The bytes of its body.
    pub body_bytes: usize,
}

impl RequestLog {
    /// How many requests the endpoint got, by its path: `/token`, `/o/token/`, `/jwks`.
    pub fn count(&self, path: &str) -> u64 {
        self.counts.get(path).copied().unwrap_or(0)
    }

    /// `path` is that of the route, so that the number of entries is bounded.
    pub(super) fn counted(&mut self, path: String) {
        *self.counts.entry(path).or_default() += 1;
    }

    pub(super) fn trapped(&mut self, request: TrappedRequest) {
        if self.trapped.len() < TRAP_CAPACITY {
            self.trapped.push(request);
        }
    }
}

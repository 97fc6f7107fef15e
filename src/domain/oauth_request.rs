//! What a client that speaks standard OAuth 2 or OpenID Connect asked for, from `/oauth2/authorize` to the answer.

use serde::{Deserialize, Serialize};

use super::client_text::ClientNonce;
use super::scope::ScopeSet;

/// The scope that asks for an ID token (OpenID Connect Core section 3.1.2.1).
pub const OPENID: &str = "openid";

/// The scope of the email address (OpenID Connect Core section 5.4).
pub const EMAIL: &str = "email";

/// The scope of who the person is (OpenID Connect Core section 5.4), which also opens `/api/me`.
pub const PROFILE: &str = "profile";

/// The parameters of an authorization request that `/login` does not have. They travel with the login attempt and decide
/// how it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuthRequest {
    /// Whether the request named its `redirect_uri`: then the token request must repeat it (RFC 6749 section 4.1.3).
    pub named_redirect_uri: bool,
    /// The scopes of the token.
    pub scopes: ScopeSet,
    /// The nonce of the ID token.
    pub nonce: Option<ClientNonce>,
}

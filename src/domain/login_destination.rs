//! Where a login leads back to. It is sealed into the login attempt, so no later parameter can change it.

use serde::{Deserialize, Serialize};

use super::client::ShortDigest;
use super::client_text::ClientState;
use super::device_code::UserCode;
use super::dpop::thumbprint::Thumbprint;
use super::ids::ClientId;
use super::oauth_request::OAuthRequest;
use super::pkce::CodeChallenge;

/// Where a login leads back to.
#[derive(Clone, Serialize, Deserialize)]
pub enum LoginDestination {
    /// To the client that started it, which gets a one-time key or a code.
    Client(Box<ClientLogin>),
    /// To the broker's page that connects devices, with the user code that its address named.
    DevicePage(Option<UserCode>),
}

/// What a client's login fixes about its end.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClientLogin {
    /// The client that started the login.
    pub client: ClientId,
    /// The registered redirect URI of the client to which the one-time key is delivered.
    pub redirect_uri: ShortDigest,
    /// The port of a native app's loopback address, if it is not the registered one (RFC 8252 section 7.3).
    pub port: Option<u16>,
    /// The S256 challenge of the SPA; `None` only for `legacy` clients.
    pub challenge: Option<CodeChallenge>,
    /// The `state` of the SPA.
    pub client_state: Option<ClientState>,
    /// The audiences that `resource` named (RFC 8707); empty for all of the client's.
    pub audiences: Vec<ShortDigest>,
    /// The rest of a request that came to `/oauth2/authorize`; `None` for `/login`.
    pub oauth: Option<OAuthRequest>,
    /// The key that the token is bound to (RFC 9449 section 10).
    pub dpop_jkt: Option<Thumbprint>,
}

//! A built-in identity provider for development and tests: on a loopback address, in memory, without passwords.
//!
//! Two providers live on one server:
//!
//! - **OpenID Connect** with the issuer [`DevProvider::issuer`]: discovery, PKCE, ID tokens, UserInfo, logout;
//! - **plain OAuth 2**: `/o/authorize/`, `/o/token/`, and two profile documents,
//!   `/public-api/current_user/base_info` (`name`, `email`, `name_cn`) and
//!   `/public-api/current_user/all_permissions` (`permissions`).
//!
//! The people are [`USERS`]. A browser sees a page with a link per person. A script takes the address that the
//! broker redirects to, appends its choice, and is sent straight back:
//!
//! ```text
//! curl -si "$AUTHORIZE_URL&user=alice"                     # as if clicked
//! curl -si "$AUTHORIZE_URL&user=bob&fault=wrong_nonce"     # and this login goes wrong
//! curl -si "$AUTHORIZE_URL&deny=1"
//! curl -s  -d jwks_500=on http://127.0.0.1:PORT/dev/faults # goes wrong for every login
//! ```
//!
//! With `prompt=none` there is no page and no choice: the browser's session at the provider decides. What can go
//! wrong in one login is [`Fault`], what on the whole server [`FaultSwitch`]. [`RequestLog`] tells which requests
//! came.
//!
//! It stands apart from the rest of [`provider`](super): what it shared with the broker's side, it could not
//! check.

mod authorize;
mod authorize_page;
mod backchannel;
mod broken;
mod callback;
mod expiring;
mod faults;
mod id_token;
mod keys;
mod oauth2;
mod oidc;
mod pages;
mod person;
mod request_log;
mod server;
mod shared;
mod token;
mod users;
mod weak_rsa;
mod web;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;

pub use self::faults::{Fault, FaultGroup, FaultSwitch, FaultSwitches};
pub use self::keys::SigningAlgorithm;
pub use self::request_log::{ClientAuthSeen, RequestLog, TokenRequestSeen, TrappedRequest};
use self::server::Running;
use self::shared::Shared;
pub use self::users::{USERS, User};
use crate::domain::clock::Clock;
use crate::domain::entropy::Entropy;

/// A path that remembers its visitors: redirects, `picture` and `jku` point there, which the broker must not follow.
pub const TRAP: &str = "/dev/trap";

/// What a provider starts with.
pub struct DevProviderSettings {
    /// Where it listens: a loopback address, port 0 for a free one.
    pub listen: SocketAddr,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where codes and tokens come from. (Signing keys come from the system, once per process.)
    pub entropy: Arc<dyn Entropy>,
    /// The registered clients.
    pub clients: Vec<DevClient>,
    /// Whether a client that is not registered may sign people in as well: with any secret, to any loopback
    /// address. For trying out an application of one's own.
    pub open_registration: bool,
}

/// A client of the development provider.
#[derive(Debug, Clone)]
pub struct DevClient {
    /// Its id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// Where it may have browsers sent, compared exactly.
    pub redirect_uris: Vec<String>,
}

/// A running development provider. It stops when it is dropped.
pub struct DevProvider {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: Option<Running>,
}

impl DevProvider {
    /// Starts it on a thread of its own. When this returns, the port is open.
    ///
    /// # Errors
    /// The address is not a loopback address, or cannot be listened on.
    pub fn start(settings: DevProviderSettings) -> io::Result<Self> {
        if !settings.listen.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the development provider listens on a loopback address only, such as 127.0.0.1",
            ));
        }
        let listener = TcpListener::bind(settings.listen)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(settings, address));
        Self::serve(listener, address, shared)
    }

    fn serve(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) -> io::Result<Self> {
        let server = server::run(listener, Arc::clone(&shared))?;
        Ok(Self { shared, address, server: Some(server) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base address, without a trailing slash: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The issuer of the OpenID provider.
    pub fn issuer(&self) -> String {
        self.shared.url.clone()
    }

    /// Registers a client, or replaces the one of that id: for a broker whose address is known only after the
    /// provider's.
    pub fn register(&self, client: DevClient) {
        self.shared.register(client);
    }

    /// From now on tells this client, at its `backchannel_logout_uri`, who has signed out here.
    pub fn tell_of_logouts(&self, client_id: &str, backchannel_logout_uri: String) {
        self.shared.tell_of_logouts(client_id, backchannel_logout_uri);
    }

    /// What goes wrong on the whole server.
    pub fn faults(&self) -> &FaultSwitches {
        &self.shared.switches
    }

    /// What happened so far.
    pub fn log(&self) -> RequestLog {
        self.shared.log().clone()
    }

    /// A JWT with any claims, signed with the current RS256 key: for logout tokens (`typ` is `logout+jwt`).
    ///
    /// # Errors
    /// Signing failed.
    pub fn sign(&self, typ: &str, claims: &Value) -> io::Result<String> {
        id_token::sign(&self.shared, typ, claims).map_err(|_| io::Error::other("signing failed"))
    }

    /// Stops it at once, requests in flight included; when this returns, the port is closed. What comes back
    /// can start it again.
    pub async fn stop(mut self) -> StoppedProvider {
        if let Some(server) = self.server.take() {
            server.handle.stop(false).await;
            // The sender is gone when the thread is, which is what we wait for.
            let _ = server.ended.await;
        }
        StoppedProvider { shared: Arc::clone(&self.shared), address: self.address }
    }
}

impl Drop for DevProvider {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // The order is given at once; only waiting for the end would need a runtime.
            drop(server.handle.stop(false));
        }
    }
}

impl fmt::Debug for DevProvider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("DevProvider").field("url", &self.shared.url).finish_non_exhaustive()
    }
}

/// A provider that was stopped: an outage.
pub struct StoppedProvider {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl StoppedProvider {
    /// Ends the outage: the same port, keys, clients, sessions, codes, tokens, switches and log.
    ///
    /// # Errors
    /// The port cannot be listened on.
    pub fn start_again(self) -> io::Result<DevProvider> {
        DevProvider::serve(TcpListener::bind(self.address)?, self.address, self.shared)
    }
}

impl fmt::Debug for StoppedProvider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StoppedProvider").field("url", &self.shared.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemClock;
    use crate::domain::entropy::SystemEntropy;

    #[test]
    fn listens_on_loopback_only() {
        let start = |listen: &str| {
            DevProvider::start(DevProviderSettings {
                listen: listen.parse().unwrap(),
                clock: Arc::new(SystemClock),
                entropy: Arc::new(SystemEntropy),
                clients: Vec::new(),
                open_registration: false,
            })
        };
        for outside in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:127.0.0.1]:0"] {
            assert_eq!(start(outside).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{outside}");
        }
        let provider = start("127.0.0.1:0").unwrap();
        assert!(provider.address().ip().is_loopback());
        assert_eq!(provider.url(), format!("http://{}", provider.address()));
    }
}

//! What a request may use: built once at start, shared by every worker, never global.
//!
//! TEMPORARY: the part that `http` reads, until the lead's file replaces it.

use std::sync::Arc;

use url::Url;

use crate::domain::client::Client;
use crate::domain::clock::Clock;
use crate::domain::entropy::Entropy;

/// Everything that a request may use.
pub struct Broker {
    /// The broker's own address.
    pub public_url: Url,
    /// Whether this is a development broker.
    pub mode_development: bool,
    /// Whether cookies are Secure and have the `__Host-Http-` prefix.
    pub secure_cookies: bool,
    /// The registered clients.
    pub clients: ClientRegistry,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The registered clients.
#[derive(Debug, Clone, Default)]
pub struct ClientRegistry(Vec<Client>);

impl ClientRegistry {
    /// The registry of these clients.
    pub fn new(clients: Vec<Client>) -> Self {
        Self(clients)
    }

    /// The client with this id.
    pub fn get(&self, id: &str) -> Option<&Client> {
        self.0.iter().find(|client| client.id.as_str() == id)
    }

    /// The only client there is.
    pub fn only(&self) -> Option<&Client> {
        if let [client] = self.0.as_slice() { Some(client) } else { None }
    }

    /// All clients.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.0.iter()
    }

    /// Whether any client has this origin.
    pub fn is_registered_origin(&self, origin: &str) -> bool {
        self.0.iter().any(|client| client.has_origin(origin))
    }
}

//! What a request may use: built once at start, shared by every worker, never global.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use url::Url;

use crate::domain::client::Client;
use crate::domain::clock::Clock;
use crate::domain::entropy::Entropy;
use crate::domain::ids::ClientId;
use crate::domain::key_ring::KeyRing;
use crate::flow::audit_trail::AuditTrail;
use crate::flow::limits::RateLimits;
use crate::key_store::KeyStore;
use crate::provider::Providers;
use crate::storage::Storage;

/// Everything a request may use.
pub struct Broker {
    /// The address under which browsers reach the broker: the only source of own absolute URLs.
    pub public_url: Url,
    /// Whether this is a development broker: sample page, cookies over plain http on loopback.
    pub development: bool,
    /// The registered clients.
    pub clients: ClientRegistry,
    /// The configured identity providers.
    pub providers: Providers,
    /// The database.
    pub storage: Storage,
    /// Where one-time keys wait.
    pub key_store: KeyStore,
    /// The server's own keys.
    pub keys: Arc<KeyRing>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// How long things live here; never longer than `domain::lifetimes` allows.
    pub lifetimes: Lifetimes,
    /// The live tokens a user can have.
    pub live_tokens_per_user: usize,
    /// What is remembered.
    pub audit: AuditTrail,
    /// Who is slowed down.
    pub limits: RateLimits,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Broker").field("public_url", &self.public_url.as_str()).finish_non_exhaustive()
    }
}

impl Broker {
    /// Whether cookies are `Secure` and named `__Host-…`: always, but for plain http on loopback.
    pub fn secure_cookies(&self) -> bool {
        self.public_url.scheme() == "https"
    }
}

/// The configured lifetimes.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Of a one-time key.
    pub one_time_key: TimeDelta,
    /// Of an API token.
    pub api_token: TimeDelta,
    /// Of a session.
    pub session: TimeDelta,
}

/// The registered clients. A disabled one is never found.
#[derive(Debug)]
pub struct ClientRegistry(BTreeMap<ClientId, Client>);

impl ClientRegistry {
    /// A registry of `clients`.
    pub fn new(clients: Vec<Client>) -> Self {
        Self(clients.into_iter().filter(|client| client.enabled).map(|c| (c.id.clone(), c)).collect())
    }

    /// The client with this id.
    pub fn get(&self, id: &ClientId) -> Option<&Client> {
        self.0.get(id)
    }

    /// The client whose id is this text.
    pub fn find(&self, id: &str) -> Option<&Client> {
        self.0.get(&id.parse().ok()?)
    }

    /// The single client, where there is just one.
    pub fn only(&self) -> Option<&Client> {
        let mut clients = self.0.values();
        clients.next().filter(|_| clients.next().is_none())
    }

    /// All clients.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.0.values()
    }

    /// Whether some client has this origin.
    pub fn is_registered_origin(&self, origin: &str) -> bool {
        self.iter().any(|client| client.has_origin(origin))
    }
}

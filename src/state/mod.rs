//! What a request may use: built once at start, shared by every worker, never global.
//!
//! The parts that remember something from one request to the next have a file each.

pub mod audit_trail;
pub mod health;
pub mod key_change;
pub mod last_use;
pub mod late_revocations;
pub mod limits;
pub mod server_keys;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use url::Url;

use self::audit_trail::AuditTrail;
use self::health::HealthMemory;
use self::last_use::LastUses;
use self::late_revocations::LateRevocations;
use self::limits::RateLimits;
use self::server_keys::ServerKeys;
use crate::domain::client::Client;
use crate::domain::clock::Clock;
use crate::domain::entropy::Entropy;
use crate::domain::ids::ClientId;
use crate::key_store::KeyStore;
use crate::provider::Providers;
use crate::storage::Storage;

/// Everything a request may use.
pub struct Broker {
    /// The address under which browsers reach the broker: the only source of own absolute URLs.
    pub public_url: Url,
    /// Whether this is a development broker: its description is public.
    pub development: bool,
    /// The registered clients.
    pub clients: ClientRegistry,
    /// The configured identity providers.
    pub providers: Providers,
    /// The database.
    pub storage: Storage,
    /// Where one-time keys wait.
    pub key_store: KeyStore,
    /// The server's own keys; a request takes one snapshot.
    pub keys: ServerKeys,
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
    /// When tokens were last used, waiting to be written.
    pub last_uses: LastUses,
    /// Sessions that end as soon as the database is back.
    pub late_revocations: LateRevocations,
    /// Who is slowed down.
    pub limits: RateLimits,
    /// What worked a moment ago.
    pub health: HealthMemory,
    /// Whether a signal has told this instance to stop.
    pub stopping: AtomicBool,
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

    /// From now on this instance says that it is not ready; what is under way is finished.
    pub fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether it is about to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
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

//! The shared state of the broker: built once at startup, shared by all workers, without global variables.
//!
//! Each part that keeps data between requests has its own file.

pub mod audit_trail;
pub mod gauges;
pub mod health;
pub mod key_change;
pub mod last_use;
pub mod late_revocations;
pub mod limits;
mod process;
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
use crate::domain::dpop::NonceDemand;
use crate::domain::entropy::Entropy;
use crate::domain::ids::ClientId;
use crate::domain::policy::Policies;
use crate::key_store::KeyStore;
use crate::provider::Providers;
use crate::storage::Storage;

/// The shared state that request handlers use.
pub struct Broker {
    /// The address under which browsers reach the broker. All absolute URLs of the broker are built from it.
    pub public_url: Url,
    /// Whether this is a development broker, which publishes its OpenAPI document.
    pub development: bool,
    /// The registered clients.
    pub clients: ClientRegistry,
    /// What gateways ask of tokens.
    pub policies: Policies,
    /// The configured identity providers.
    pub providers: Providers,
    /// The database.
    pub storage: Storage,
    /// The store of one-time keys.
    pub key_store: KeyStore,
    /// The server keys. Each step of a request uses one snapshot of them.
    pub keys: ServerKeys,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The source of random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// The configured lifetimes, never longer than `domain::lifetimes` allows.
    pub lifetimes: Lifetimes,
    /// The maximum number of live tokens per user.
    pub live_tokens_per_user: usize,
    /// What users may do with personal tokens.
    pub personal_tokens: PersonalTokenSettings,
    /// Which DPoP proofs need a nonce.
    pub dpop_nonces: NonceDemand,
    /// The queue of audit events.
    pub audit: AuditTrail,
    /// Last-use times of tokens that have not been written to the database yet.
    pub last_uses: LastUses,
    /// Sessions that will be ended as soon as the database is available.
    pub late_revocations: LateRevocations,
    /// The rate limits.
    pub limits: RateLimits,
    /// The cached result of the last health check.
    pub health: HealthMemory,
    /// Whether this instance has received a signal to stop.
    pub stopping: AtomicBool,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Broker").field("public_url", &self.public_url.as_str()).finish_non_exhaustive()
    }
}

impl Broker {
    /// Whether cookies are `Secure` and named `__Host-…`: always, except for plain http on loopback.
    pub fn secure_cookies(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// The broker's issuer identifier (RFC 8414 section 2): the public URL without a trailing slash.
    pub fn issuer(&self) -> &str {
        self.public_url.as_str().trim_end_matches('/')
    }

    /// Makes this instance report that it is not ready. Requests in progress are finished.
    pub fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether this instance is about to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// The configured lifetimes.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// The lifetime of a one-time key.
    pub one_time_key: TimeDelta,
    /// The lifetime of an API token.
    pub api_token: TimeDelta,
    /// The lifetime of a session.
    pub session: TimeDelta,
}

/// What users may do with personal tokens.
#[derive(Debug, Clone, Copy)]
pub struct PersonalTokenSettings {
    /// Whether users may make them.
    pub enabled: bool,
    /// The maximum lifetime of a new one.
    pub max_lifetime: TimeDelta,
    /// How long ago a user may have signed in to make one.
    pub fresh_sign_in: TimeDelta,
    /// How many live ones a user can have.
    pub per_user: usize,
}

/// The registered clients. Disabled clients are never found.
#[derive(Debug)]
pub struct ClientRegistry(BTreeMap<ClientId, Client>);

impl ClientRegistry {
    /// A registry of these clients, without the disabled ones.
    pub fn new(clients: Vec<Client>) -> Self {
        Self(clients.into_iter().filter(|client| client.enabled).map(|c| (c.id.clone(), c)).collect())
    }

    /// The client with this id.
    pub fn get(&self, id: &ClientId) -> Option<&Client> {
        self.0.get(id)
    }

    /// The client with this id; `None` if the text is not a valid id.
    pub fn find(&self, id: &str) -> Option<&Client> {
        self.0.get(&id.parse().ok()?)
    }

    /// The only client, if exactly one is registered.
    pub fn only(&self) -> Option<&Client> {
        let mut clients = self.0.values().filter(|client| client.pages_of.is_none());
        clients.next().filter(|_| clients.next().is_none())
    }

    /// All clients.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.0.values()
    }

    /// Whether this origin is registered for any client.
    pub fn is_registered_origin(&self, origin: &str) -> bool {
        self.iter().any(|client| client.has_origin(origin))
    }
}

//! The store of one-time keys that wait to be redeemed: process memory for a single instance, Redis for several.
//!
//! The store offers a few operations on opaque bytes; the callers decide what the bytes mean. Taking an entry is atomic
//! in every store: of any number of concurrent callers, exactly one gets the grant. All others, until the entry
//! expires, get the receipt and the redemption of the first one, so that a replay can be recognised.

mod address;
mod link;
mod memory;
mod redis;
mod servers;
mod settings;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::address::{Address, RedisAddress};
use self::memory::MemoryStore;
use self::redis::RedisStore;
pub use self::settings::{KeyStoreSettings, KeyStoreSettingsError, KeyStoreUrl};
use crate::domain::clock::{Clock, monotonic};
use crate::domain::metric;
use crate::domain::one_time_key::EntryName;

/// A new entry. The caller has sealed both parts.
#[derive(Debug)]
pub struct NewEntry {
    /// Returned to the first caller that takes the entry.
    pub grant: Vec<u8>,
    /// Returned to every later caller.
    pub receipt: Vec<u8>,
}

/// The result of taking an entry.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The caller is the first. The store has deleted the grant.
    First {
        /// The sealed grant.
        grant: Vec<u8>,
    },
    /// The entry was taken before.
    Again {
        /// The sealed receipt.
        receipt: Vec<u8>,
        /// The sealed redemption that the first caller left.
        redemption: Vec<u8>,
    },
    /// The entry does not exist or has expired.
    Nothing,
}

/// The store cannot answer. The error says nothing about the entry.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// It is unavailable or did not answer in time.
    #[error("the key store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is full, and no entry has expired.
    #[error("the key store is full")]
    Full,
}

// The values of the labels of the duration.
const PUT: &str = "put";
const TAKE: &str = "take";
const MARK_USED: &str = "mark_used";
const IS_USED: &str = "is_used";
const PING: &str = "ping";
const OPERATIONS: &[&str] = &[PUT, TAKE, MARK_USED, IS_USED, PING];
const OK: &str = "ok";
const UNAVAILABLE: &str = "unavailable";
const FULL: &str = "full";

/// The store of one-time keys. Clones share one store.
#[derive(Clone)]
pub struct KeyStore(Backend);

#[derive(Clone)]
enum Backend {
    Memory(Arc<MemoryStore>),
    Redis(Arc<RedisStore>),
}

impl KeyStore {
    /// The store that the settings name. It connects on first use, so that a broker can start before its Redis.
    pub fn new(settings: &KeyStoreSettings, clock: Arc<dyn Clock>) -> Result<Self, KeyStoreSettingsError> {
        if settings.command_timeout.is_zero() {
            return Err(KeyStoreSettingsError::Zero("command_timeout"));
        }
        if settings.capacity == 0 {
            return Err(KeyStoreSettingsError::Zero("capacity"));
        }
        for operation in OPERATIONS {
            for result in [OK, UNAVAILABLE, FULL] {
                // Named once, it is reported, with no observations.
                let _ = duration(operation, result);
            }
        }
        match settings.url.address() {
            Address::Memory => {
                Ok(Self(Backend::Memory(Arc::new(MemoryStore::new(settings.capacity, clock)))))
            }
            Address::Redis(address) => {
                let store = RedisStore::new(
                    RedisAddress::clone(address),
                    settings.key_prefix.clone(),
                    settings.command_timeout,
                )?;
                Ok(Self(Backend::Redis(Arc::new(store))))
            }
        }
    }

    /// Stores an entry that expires after `ttl`. Replaces an entry of the same name.
    pub async fn put(&self, name: &EntryName, entry: NewEntry, ttl: Duration) -> Result<(), KeyStoreError> {
        measured(PUT, async {
            match &self.0 {
                Backend::Memory(store) => store.put(name.as_str(), entry, ttl),
                Backend::Redis(store) => store.put(name.as_str(), &entry, ttl).await,
            }
        })
        .await
    }

    /// Takes an entry. In one atomic step, the first caller gets the grant and stores `redemption` for later callers.
    ///
    /// After an error, the entry may or may not have been taken. The store never retries the call.
    pub async fn take(&self, name: &EntryName, redemption: &[u8]) -> Result<Taken, KeyStoreError> {
        measured(TAKE, async {
            match &self.0 {
                Backend::Memory(store) => Ok(store.take(name.as_str(), redemption)),
                Backend::Redis(store) => store.take(name.as_str(), redemption).await,
            }
        })
        .await
    }

    /// Marks a name as used for `ttl`. Returns `true` to the first caller within that time and `false` to all others.
    ///
    /// After an error, the name may or may not have been marked.
    pub async fn mark_used(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        measured(MARK_USED, async {
            match &self.0 {
                Backend::Memory(store) => store.mark_used(name, ttl),
                Backend::Redis(store) => store.mark_used(name, ttl).await,
            }
        })
        .await
    }

    /// Whether a name is marked as used. Does not change the mark.
    pub async fn is_used(&self, name: &str) -> Result<bool, KeyStoreError> {
        measured(IS_USED, async {
            match &self.0 {
                Backend::Memory(store) => Ok(store.is_used(name)),
                Backend::Redis(store) => store.is_used(name).await,
            }
        })
        .await
    }

    /// Checks that the store answers.
    pub async fn ping(&self) -> Result<(), KeyStoreError> {
        measured(PING, async {
            match &self.0 {
                Backend::Memory(_) => Ok(()),
                Backend::Redis(store) => store.ping().await,
            }
        })
        .await
    }

    /// A description of the store without secrets, for logs and health reports.
    pub fn describe(&self) -> String {
        match &self.0 {
            Backend::Memory(store) => store.describe(),
            Backend::Redis(store) => store.describe().to_owned(),
        }
    }
}

/// Records how long an operation took.
async fn measured<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, KeyStoreError>>,
) -> Result<T, KeyStoreError> {
    let started = monotonic();
    let answer = work.await;
    let result = match &answer {
        Ok(_) => OK,
        Err(KeyStoreError::Unavailable(_)) => UNAVAILABLE,
        Err(KeyStoreError::Full) => FULL,
    };
    duration(operation, result).record(started.elapsed().as_secs_f64());
    answer
}

fn duration(operation: &'static str, result: &'static str) -> metrics::Histogram {
    metrics::histogram!(metric::KEY_STORE_DURATION.name, "operation" => operation, "result" => result)
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyStore({})", self.describe())
    }
}

impl From<KeyStoreError> for crate::error::Error {
    fn from(error: KeyStoreError) -> Self {
        Self::new(crate::error::ErrorCode::TemporarilyUnavailable).caused_by(error)
    }
}

//! Where one-time keys wait to be redeemed: in process memory for one machine, Redis for many.
//!
//! A few raw operations; what the bytes mean is decided above. Taking is one atomic step in every store:
//! of any number of parallel takers one gets the grant, and the rest of the entry's life recognises the others.

mod address;
mod link;
mod memory;
mod redis;
mod settings;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::address::{Address, RedisAddress};
use self::memory::MemoryStore;
use self::redis::RedisStore;
pub use self::settings::{KeyStoreSettings, KeyStoreSettingsError, KeyStoreUrl};
use crate::domain::clock::Clock;
use crate::domain::one_time_key::EntryName;

/// A new entry, both parts sealed by the caller.
#[derive(Debug)]
pub struct NewEntry {
    /// What the first taker gets.
    pub grant: Vec<u8>,
    /// What every later one gets.
    pub receipt: Vec<u8>,
}

/// What taking an entry gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The caller is the first: the grant is gone from the store now.
    First {
        /// The sealed grant.
        grant: Vec<u8>,
    },
    /// Somebody was first: what they left.
    Again {
        /// The sealed receipt.
        receipt: Vec<u8>,
        /// The sealed redemption of the first taker.
        redemption: Vec<u8>,
    },
    /// There is no such entry, or no more.
    Nothing,
}

/// The store cannot answer. Says nothing about the entry.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// It cannot be reached, or not in time.
    #[error("the key store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is full: every entry is live.
    #[error("the key store is full")]
    Full,
}

/// Where one-time keys wait. Clones share one store.
#[derive(Clone)]
pub struct KeyStore(Backend);

#[derive(Clone)]
enum Backend {
    Memory(Arc<MemoryStore>),
    Redis(Arc<RedisStore>),
}

impl KeyStore {
    /// The store that the settings name. Connects to nothing yet: a broker can start before its Redis.
    pub fn new(settings: &KeyStoreSettings, clock: Arc<dyn Clock>) -> Result<Self, KeyStoreSettingsError> {
        if settings.command_timeout.is_zero() {
            return Err(KeyStoreSettingsError::Zero("command_timeout"));
        }
        if settings.capacity == 0 {
            return Err(KeyStoreSettingsError::Zero("capacity"));
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

    /// Stores an entry for `ttl`.
    pub async fn put(&self, name: &EntryName, entry: NewEntry, ttl: Duration) -> Result<(), KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => store.put(name.as_str(), entry, ttl),
            Backend::Redis(store) => store.put(name.as_str(), &entry, ttl).await,
        }
    }

    /// Takes an entry: the first caller gets the grant and leaves `redemption` for the others, in one step.
    ///
    /// After an error the entry may have been taken; the call is never repeated here.
    pub async fn take(&self, name: &EntryName, redemption: &[u8]) -> Result<Taken, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.take(name.as_str(), redemption)),
            Backend::Redis(store) => store.take(name.as_str(), redemption).await,
        }
    }

    /// Marks a name as used for `ttl`: says `true` to the first caller within that time and `false` to every other.
    ///
    /// After an error the name may have been marked.
    pub async fn mark_used(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => store.mark_used(name, ttl),
            Backend::Redis(store) => store.mark_used(name, ttl).await,
        }
    }

    /// Whether a name is marked as used. Changes nothing, whenever it is answered.
    pub async fn is_used(&self, name: &str) -> Result<bool, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.is_used(name)),
            Backend::Redis(store) => store.is_used(name).await,
        }
    }

    /// Whether the store answers.
    pub async fn ping(&self) -> Result<(), KeyStoreError> {
        match &self.0 {
            Backend::Memory(_) => Ok(()),
            Backend::Redis(store) => store.ping().await,
        }
    }

    /// Which store this is, without secrets: for logs and health reports.
    pub fn describe(&self) -> String {
        match &self.0 {
            Backend::Memory(store) => store.describe(),
            Backend::Redis(store) => store.describe().to_owned(),
        }
    }
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

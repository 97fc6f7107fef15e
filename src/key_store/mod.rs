//! The store of one-time keys that wait to be redeemed: process memory for a single instance, Redis for several.
//!
//! Beside them are requests, which wait for an entry that answers them: anyone can make one, so they have room of their own
//! and cannot keep a key from being stored.
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

use chrono::TimeDelta;

use self::address::{Address, RedisAddress};
use self::memory::MemoryStore;
use self::redis::RedisStore;
pub use self::settings::{KeyStoreSettings, KeyStoreSettingsError, KeyStoreUrl};
use crate::domain::clock::{Clock, Timestamp};
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

/// How often a request may be asked about.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The current time of the caller.
    pub now: Timestamp,
    /// The time that must pass between two questions.
    pub interval: TimeDelta,
    /// How much the time grows with each question that comes too early.
    pub penalty: TimeDelta,
}

/// The result of asking about a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Paced {
    /// The sealed value of the request.
    InTime(Vec<u8>),
    /// The question came too early; the time between two questions has grown.
    TooEarly,
    /// There is no such request, or it has expired.
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
        match &self.0 {
            Backend::Memory(store) => store.put(name.as_str(), entry, ttl),
            Backend::Redis(store) => store.put(name.as_str(), &entry, ttl).await,
        }
    }

    /// Stores an entry that expires after `ttl`, unless there is one of the same name. Returns whether it did.
    ///
    /// After an error, the entry may or may not have been stored.
    pub async fn put_new(
        &self,
        name: &EntryName,
        entry: NewEntry,
        ttl: Duration,
    ) -> Result<bool, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => store.put_new(name.as_str(), entry, ttl),
            Backend::Redis(store) => store.put_new(name.as_str(), &entry, ttl).await,
        }
    }

    /// The receipt of an entry, whether it was taken or not. Changes nothing.
    pub async fn receipt(&self, name: &EntryName) -> Result<Option<Vec<u8>>, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.receipt(name.as_str())),
            Backend::Redis(store) => store.receipt(name.as_str()).await,
        }
    }

    /// Stores a request that expires after `ttl`, unless there is one of the same name. Returns whether it did.
    pub async fn add_request(
        &self,
        name: &EntryName,
        value: &[u8],
        ttl: Duration,
    ) -> Result<bool, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => store.add_request(name.as_str(), value, ttl),
            Backend::Redis(store) => store.add_request(name.as_str(), value, ttl).await,
        }
    }

    /// The value of a request. Changes nothing.
    pub async fn find_request(&self, name: &EntryName) -> Result<Option<Vec<u8>>, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.find_request(name.as_str())),
            Backend::Redis(store) => store.find_request(name.as_str()).await,
        }
    }

    /// The value of a request, unless it was asked for too short a time ago. Judges and remembers the question in one
    /// atomic step. The first question is never too early.
    pub async fn pace_request(&self, name: &EntryName, pace: Pace) -> Result<Paced, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.pace_request(name.as_str(), pace)),
            Backend::Redis(store) => store.pace_request(name.as_str(), pace).await,
        }
    }

    /// Takes an entry. In one atomic step, the first caller gets the grant and stores `redemption` for later callers.
    ///
    /// After an error, the entry may or may not have been taken. The store never retries the call.
    pub async fn take(&self, name: &EntryName, redemption: &[u8]) -> Result<Taken, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.take(name.as_str(), redemption)),
            Backend::Redis(store) => store.take(name.as_str(), redemption).await,
        }
    }

    /// Marks a name as used for `ttl`. Returns `true` to the first caller within that time and `false` to all others.
    ///
    /// After an error, the name may or may not have been marked.
    pub async fn mark_used(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => store.mark_used(name, ttl),
            Backend::Redis(store) => store.mark_used(name, ttl).await,
        }
    }

    /// Whether a name is marked as used. Does not change the mark.
    pub async fn is_used(&self, name: &str) -> Result<bool, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.is_used(name)),
            Backend::Redis(store) => store.is_used(name).await,
        }
    }

    /// Checks that the store answers.
    pub async fn ping(&self) -> Result<(), KeyStoreError> {
        match &self.0 {
            Backend::Memory(_) => Ok(()),
            Backend::Redis(store) => store.ping().await,
        }
    }

    /// A description of the store without secrets, for logs and health reports.
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

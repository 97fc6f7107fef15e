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
use crate::domain::clock::Clock;
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

/// The result of looking at an entry.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// It can be taken.
    Waiting {
        /// The sealed grant.
        grant: Vec<u8>,
    },
    /// It was taken before.
    Taken,
    /// It does not exist or has expired.
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

    /// Takes an entry. In one atomic step, the first caller gets the grant and stores `redemption` for later callers.
    ///
    /// After an error, the entry may still be taken, and is then put back: as soon as the store sees that its caller
    /// did not get the grant, which is at the latest when the servers answer again. It is not put back if the
    /// connection is lost after a server has executed the call. The store never retries the call.
    pub async fn take(&self, name: &EntryName, redemption: &[u8]) -> Result<Taken, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.take(name.as_str(), redemption)),
            Backend::Redis(store) => store.take(name.as_str(), redemption).await,
        }
    }

    /// Looks at an entry without taking it.
    pub async fn peek(&self, name: &EntryName) -> Result<Seen, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.peek(name.as_str())),
            Backend::Redis(store) => store.peek(name.as_str()).await,
        }
    }

    /// Marks the proof with this name as used for `ttl`, as [`Self::mark_used`] does. These marks are apart from the
    /// others: there can be one for each request, and in memory they must not fill the space of logins.
    pub async fn mark_proof(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => store.mark_proof(name, ttl),
            Backend::Redis(store) => store.mark_proof(name, ttl).await,
        }
    }

    /// Puts back an entry that was taken and not used, for the rest of its time. Does nothing if another take was
    /// first: `redemption` is what this one left.
    pub async fn put_back(
        &self,
        name: &EntryName,
        redemption: &[u8],
        grant: &[u8],
    ) -> Result<(), KeyStoreError> {
        match &self.0 {
            Backend::Memory(store) => {
                store.put_back(name.as_str(), redemption, grant);
                Ok(())
            }
            Backend::Redis(store) => store.put_back(name.as_str(), redemption, grant).await,
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

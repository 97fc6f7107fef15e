//! The store of one-time keys that wait to be redeemed: process memory for a single instance, Redis for several.
//!
//! Beside them are requests, which wait for an entry that answers them: anyone can make one, so they have room of their own
//! and cannot keep a key from being stored.
//!
//! The store offers a few operations on opaque bytes; the callers decide what the bytes mean. Taking an entry is atomic
//! in every store: of any number of concurrent callers, exactly one gets the grant. All others, until the entry
//! expires, get the receipt and the redemption of the first one, so that a replay can be recognised.

mod address;
mod contents;
mod late;
mod link;
mod memory;
mod redis;
mod servers;
mod settings;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::address::{Address, RedisAddress};
pub use self::contents::{NewEntry, Pace, Paced, Seen, Taken};
use self::memory::MemoryStore;
use self::redis::RedisStore;
pub use self::settings::{KeyStoreSettings, KeyStoreSettingsError, KeyStoreUrl};
use crate::domain::clock::{Clock, monotonic};
use crate::domain::metric;
use crate::domain::one_time_key::EntryName;
use crate::domain::shared_map::Share;

/// The store cannot answer. The error says nothing about the entry.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// It is unavailable or did not answer in time.
    #[error("the key store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is full, and no entry has expired: Redis at its `maxmemory`.
    #[error("the key store is full")]
    Full,
}

/// What the store can do at the moment.
#[derive(Debug)]
pub struct KeyStoreHealth {
    /// Whether it stores entries and marks.
    pub stores: Result<(), KeyStoreError>,
    /// Whether it gives out entries.
    pub takes: Result<(), KeyStoreError>,
}
// The values of the labels of the duration.
const PUT: &str = "put";
const PUT_NEW: &str = "put_new";
const RECEIPT: &str = "receipt";
const ADD_REQUEST: &str = "add_request";
const FIND_REQUEST: &str = "find_request";
const PACE_REQUEST: &str = "pace_request";
const TAKE: &str = "take";
const MARK_USED: &str = "mark_used";
const IS_USED: &str = "is_used";
const PEEK: &str = "peek";
const PUT_BACK: &str = "put_back";
const MARK_PROOF: &str = "mark_proof";
const PING: &str = "ping";
const OPERATIONS: &[&str] = &[
    PUT,
    PUT_NEW,
    RECEIPT,
    TAKE,
    PEEK,
    PUT_BACK,
    ADD_REQUEST,
    FIND_REQUEST,
    PACE_REQUEST,
    MARK_USED,
    MARK_PROOF,
    IS_USED,
    PING,
];
const OK: &str = "ok";
const UNAVAILABLE: &str = "unavailable";
const FULL: &str = "full";

/// The store of one-time keys. Clones share one store.
#[derive(Clone)]
pub struct KeyStore {
    backend: Backend,
    /// On whose behalf something is stored.
    share: Share,
}

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
                Ok(Backend::Memory(Arc::new(MemoryStore::new(settings.capacity, clock))).into())
            }
            Address::Redis(address) => {
                let store = RedisStore::new(
                    RedisAddress::clone(address),
                    settings.key_prefix.clone(),
                    settings.command_timeout,
                )?;
                Ok(Backend::Redis(Arc::new(store)).into())
            }
        }
    }

    /// The same store, for what this address causes to be stored: if the memory is full, the network with the most of it
    /// makes room. Redis has its own limit.
    pub fn on_behalf_of(&self, address: IpAddr) -> Self {
        Self { backend: self.backend.clone(), share: Some(address.into()) }
    }

    /// Stores an entry that expires after `ttl`. Replaces an entry of the same name.
    pub async fn put(&self, name: &EntryName, entry: NewEntry, ttl: Duration) -> Result<(), KeyStoreError> {
        measured(PUT, async {
            match &self.backend {
                Backend::Memory(store) => {
                    store.put(name.as_str(), entry, ttl, self.share);
                    Ok(())
                }
                Backend::Redis(store) => store.put(name.as_str(), &entry, ttl).await,
            }
        })
        .await
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
        measured(PUT_NEW, async {
            match &self.backend {
                Backend::Memory(store) => Ok(store.put_new(name.as_str(), entry, ttl, self.share)),
                Backend::Redis(store) => store.put_new(name.as_str(), &entry, ttl).await,
            }
        })
        .await
    }

    /// The receipt of an entry, whether it was taken or not. Changes nothing.
    pub async fn receipt(&self, name: &EntryName) -> Result<Option<Vec<u8>>, KeyStoreError> {
        measured(RECEIPT, async {
            match &self.backend {
                Backend::Memory(store) => Ok(store.receipt(name.as_str())),
                Backend::Redis(store) => store.receipt(name.as_str()).await,
            }
        })
        .await
    }

    /// Stores a request that expires after `ttl`, unless there is one of the same name. Returns whether it did.
    pub async fn add_request(
        &self,
        name: &EntryName,
        value: &[u8],
        ttl: Duration,
    ) -> Result<bool, KeyStoreError> {
        measured(ADD_REQUEST, async {
            match &self.backend {
                Backend::Memory(store) => store.add_request(name.as_str(), value, ttl),
                Backend::Redis(store) => store.add_request(name.as_str(), value, ttl).await,
            }
        })
        .await
    }

    /// The value of a request. Changes nothing.
    pub async fn find_request(&self, name: &EntryName) -> Result<Option<Vec<u8>>, KeyStoreError> {
        measured(FIND_REQUEST, async {
            match &self.backend {
                Backend::Memory(store) => Ok(store.find_request(name.as_str())),
                Backend::Redis(store) => store.find_request(name.as_str()).await,
            }
        })
        .await
    }

    /// The value of a request, unless it was asked for too short a time ago. Judges and remembers the question in one
    /// atomic step. The first question is never too early.
    pub async fn pace_request(&self, name: &EntryName, pace: Pace) -> Result<Paced, KeyStoreError> {
        measured(PACE_REQUEST, async {
            match &self.backend {
                Backend::Memory(store) => Ok(store.pace_request(name.as_str(), pace)),
                Backend::Redis(store) => store.pace_request(name.as_str(), pace).await,
            }
        })
        .await
    }

    /// Takes an entry. In one atomic step, the first caller gets the grant and stores `redemption` for later callers.
    ///
    /// After an error, the entry may still be taken, and is then put back: as soon as the store sees that its caller
    /// did not get the grant, which is at the latest when the servers answer again. Until then, this instance answers
    /// other takes of it with [`KeyStoreError::Unavailable`]. It is not put back if the connection is lost after a server
    /// has executed the call. The store never retries the call.
    pub async fn take(&self, name: &EntryName, redemption: &[u8]) -> Result<Taken, KeyStoreError> {
        measured(TAKE, async {
            match &self.backend {
                Backend::Memory(store) => Ok(store.take(name.as_str(), redemption)),
                Backend::Redis(store) => store.take(name.as_str(), redemption).await,
            }
        })
        .await
    }

    /// Looks at an entry without taking it.
    pub async fn peek(&self, name: &EntryName) -> Result<Seen, KeyStoreError> {
        measured(PEEK, async {
            match &self.backend {
                Backend::Memory(store) => Ok(store.peek(name.as_str())),
                Backend::Redis(store) => store.peek(name.as_str()).await,
            }
        })
        .await
    }

    /// Marks the proof with this name as used for `ttl`, as [`Self::mark_used`] does. These marks are apart from the
    /// others: there can be one for each request, and in memory they must not fill the space of logins. Nor may they fill
    /// that of the proofs of requests `for_tokens`, without which no one signs in.
    pub async fn mark_proof(
        &self,
        name: &str,
        for_tokens: bool,
        ttl: Duration,
    ) -> Result<bool, KeyStoreError> {
        measured(MARK_PROOF, async {
            match &self.backend {
                Backend::Memory(store) => store.mark_proof(name, for_tokens, ttl),
                Backend::Redis(store) => store.mark_proof(name, ttl).await,
            }
        })
        .await
    }

    /// Puts back an entry that was taken and not used, for the rest of its time. Does nothing if another take was
    /// first: `redemption` is what this one left.
    pub async fn put_back(
        &self,
        name: &EntryName,
        redemption: &[u8],
        grant: &[u8],
    ) -> Result<(), KeyStoreError> {
        measured(PUT_BACK, async {
            match &self.backend {
                Backend::Memory(store) => {
                    store.put_back(name.as_str(), redemption, grant);
                    Ok(())
                }
                Backend::Redis(store) => store.put_back(name.as_str(), redemption, grant).await,
            }
        })
        .await
    }

    /// Marks a name as used for `ttl`. Returns `true` to the first caller within that time and `false` to all others.
    ///
    /// After an error, the name may or may not have been marked.
    pub async fn mark_used(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        measured(MARK_USED, async {
            match &self.backend {
                Backend::Memory(store) => Ok(store.mark_used(name, ttl, self.share)),
                Backend::Redis(store) => store.mark_used(name, ttl).await,
            }
        })
        .await
    }

    /// Whether a name is marked as used. Does not change the mark.
    pub async fn is_used(&self, name: &str) -> Result<bool, KeyStoreError> {
        measured(IS_USED, async {
            match &self.backend {
                Backend::Memory(store) => Ok(store.is_used(name)),
                Backend::Redis(store) => store.is_used(name).await,
            }
        })
        .await
    }

    /// Stores, marks and takes something, and says what of it works. `name` is used by nothing else. Ends `within` this time.
    pub async fn check(&self, name: &str, within: Duration) -> KeyStoreHealth {
        match &self.backend {
            Backend::Memory(_) => KeyStoreHealth { stores: Ok(()), takes: Ok(()) },
            Backend::Redis(store) => store.check(name, within).await,
        }
    }

    /// Checks that the store answers.
    pub async fn ping(&self) -> Result<(), KeyStoreError> {
        measured(PING, async {
            match &self.backend {
                Backend::Memory(_) => Ok(()),
                Backend::Redis(store) => store.ping().await,
            }
        })
        .await
    }

    /// A description of the store without secrets, for logs and health reports.
    pub fn describe(&self) -> String {
        match &self.backend {
            Backend::Memory(store) => store.describe(),
            Backend::Redis(store) => store.describe().to_owned(),
        }
    }
}

impl From<Backend> for KeyStore {
    fn from(backend: Backend) -> Self {
        Self { backend, share: None }
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

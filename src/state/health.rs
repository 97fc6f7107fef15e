//! The health of this instance: whether it can log users in, redeem one-time keys and verify tokens at the moment.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use crate::domain::clock::{Moment, monotonic};
use crate::key_store::KeyStoreHealth;
use crate::state::Broker;
use crate::storage::StorageError;

/// How long a result is reused.
const FRESH: Duration = Duration::from_secs(1);

/// The time limit for the check of one part, so that the answer comes within a second. The stores report what is wrong
/// a little earlier.
const CHECK_TIMEOUT: Duration = Duration::from_millis(950);

/// The time limit for the key store.
const KEY_STORE_TIMEOUT: Duration = Duration::from_millis(850);

/// Which functions of the broker work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// A login can be completed at one or more providers.
    pub log_in: bool,
    /// A one-time key can be redeemed.
    pub redeem: bool,
    /// A token can be verified.
    pub verify: bool,
    /// The database has the schema of another version of this program. Other instances may work with it.
    pub other_schema: bool,
}

impl Readiness {
    /// Whether everything works.
    pub fn all(self) -> bool {
        self.log_in && self.redeem && self.verify
    }

    /// Whether a load balancer should send requests to this instance.
    ///
    /// If it requires nothing in particular: if anything works. Unavailable stores are a problem of all instances, so each
    /// does what still works. The schema of another version is a problem of this instance only: the others should get its
    /// requests.
    pub fn meets(self, required: &Required) -> bool {
        let works = |function: &Function| match function {
            Function::LogIn => self.log_in,
            Function::Redeem => self.redeem,
            Function::Verify => self.verify,
        };
        !self.other_schema
            && if required.0.is_empty() {
                self.log_in || self.redeem || self.verify
            } else {
                required.0.iter().all(works)
            }
    }
}

/// A function of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    LogIn,
    Redeem,
    Verify,
}

/// What has to work for an instance to be ready; nothing in particular by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Required(Vec<Function>);

/// The text is no list of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a list of log_in, redeem and verify, separated by commas")]
pub struct UnknownFunction;

impl FromStr for Required {
    type Err = UnknownFunction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let function = |name: &str| match name {
            "log_in" => Ok(Function::LogIn),
            "redeem" => Ok(Function::Redeem),
            "verify" => Ok(Function::Verify),
            _ => Err(UnknownFunction),
        };
        text.split(',').map(function).collect::<Result<_, _>>().map(Self)
    }
}

/// The health of every part, for operators only.
#[derive(Debug)]
pub struct Health {
    /// The checked parts.
    pub parts: Vec<Part>,
    /// What works, derived from the parts.
    pub readiness: Readiness,
}

/// A dependency or an internal part of the broker.
#[derive(Debug)]
pub struct Part {
    /// The name of the part.
    pub name: String,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

/// Which functions of the broker work at the moment.
pub async fn readiness(broker: &Broker) -> Readiness {
    health(broker).await.readiness
}

/// The health of every part; the result is at most a second old. An instance that is about to stop reports that nothing
/// works, so that it gets no new requests.
pub async fn health(broker: &Broker) -> Arc<Health> {
    if broker.is_stopping() {
        let problem = Some("is about to stop".to_owned());
        let parts = vec![Part { name: "this instance".to_owned(), problem }];
        let readiness = Readiness { log_in: false, redeem: false, verify: false, other_schema: false };
        return Arc::new(Health { parts, readiness });
    }
    let mut cached = broker.health.last.lock().await;
    if let Some((at, health)) = &*cached
        && at.elapsed() < FRESH
    {
        return health.clone();
    }
    let health = Arc::new(check(broker).await);
    *cached = Some((monotonic(), health.clone()));
    health
}

/// Caches the last result for a second, so that a flood of requests causes only one check per second.
#[derive(Debug, Default)]
pub struct HealthMemory {
    last: Mutex<Option<(Moment, Arc<Health>)>>,
    slow_provider: Notify,
}

/// Fetches the metadata of a provider that is too slow for the time limit of a check: for as long as the broker runs.
pub async fn wait_for_slow_providers(broker: &Broker) {
    loop {
        broker.health.slow_provider.notified().await;
        // An error is reported by the next check and by each login.
        let ready = broker.providers.iter().map(|provider| async { provider.ready().await.is_ok() });
        futures_util::future::join_all(ready).await;
    }
}

/// Checks all parts concurrently, with a time limit.
async fn check(broker: &Broker) -> Health {
    let providers = futures_util::future::join_all(broker.providers.iter().map(|provider| async move {
        let ready = tokio::time::timeout(CHECK_TIMEOUT, provider.ready()).await;
        let problem = match ready {
            Ok(ready) => ready.err().map(|error| error.to_string()),
            Err(_) => {
                broker.health.slow_provider.notify_one();
                Some("did not answer in time".to_owned())
            }
        };
        Part { name: format!("provider {}", provider.id()), problem }
    }));
    let (database, key_store, providers) = tokio::join!(database(broker), key_store(broker), providers);
    let log_in = database.writes && key_store.stores && providers.iter().any(Part::works);
    let readiness = Readiness {
        log_in,
        redeem: key_store.takes,
        verify: database.reads,
        other_schema: database.other_schema,
    };
    let server_keys = Part { name: "server keys".to_owned(), problem: broker.keys.file_problem() };
    let mut parts = vec![database.part, key_store.part, server_keys];
    parts.extend(providers);
    Health { parts, readiness }
}

/// Checks the database and the key store, without the providers.
pub async fn stores(broker: &Broker) -> [Part; 2] {
    let (database, key_store) = tokio::join!(database(broker), key_store(broker));
    [database.part, key_store.part]
}

struct DatabaseHealth {
    part: Part,
    reads: bool,
    writes: bool,
    other_schema: bool,
}

async fn database(broker: &Broker) -> DatabaseHealth {
    let answer = broker.storage.check().await;
    let part = Part { name: "database".to_owned(), problem: answer.as_ref().err().map(with_causes) };
    DatabaseHealth {
        part,
        reads: matches!(answer, Ok(()) | Err(StorageError::ReadOnly(_))),
        writes: answer.is_ok(),
        other_schema: matches!(answer, Err(StorageError::OtherSchema(_))),
    }
}

struct KeyStoreFunctions {
    part: Part,
    stores: bool,
    takes: bool,
}

async fn key_store(broker: &Broker) -> KeyStoreFunctions {
    let name = format!("check:{}", broker.clock.now().timestamp_micros());
    let KeyStoreHealth { stores, takes } = broker.key_store.check(&name, KEY_STORE_TIMEOUT).await;
    let problem = stores.as_ref().err().or(takes.as_ref().err()).map(with_causes);
    let part = Part { name: "key store".to_owned(), problem };
    KeyStoreFunctions { part, stores: stores.is_ok(), takes: takes.is_ok() }
}

/// An error with its causes: only operators read it.
fn with_causes<E: std::error::Error>(error: &E) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl Part {
    /// Whether it works.
    pub fn works(&self) -> bool {
        self.problem.is_none()
    }
}

//! The health of this instance: whether it can log users in, redeem one-time keys and verify tokens at the moment.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::domain::clock::{Moment, monotonic};
use crate::state::Broker;
use crate::storage::StorageError;

/// How long a result is reused.
const FRESH: Duration = Duration::from_secs(1);

/// The time limit for the check of one part. Longer than the 2.5 s after which the database pool reports that it has no
/// connection, so that this reason is reported instead of a timeout.
const CHECK_TIMEOUT: Duration = Duration::from_millis(2_700);

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

    /// Whether a load balancer should send requests to this instance: if anything works. Unavailable stores are a problem
    /// of all instances, so each does what still works. The schema of another version is a problem of this instance
    /// only: the others should get its requests.
    pub fn serves(self) -> bool {
        !self.other_schema && (self.log_in || self.redeem || self.verify)
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
    let mut cached = broker.health.0.lock().await;
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
pub struct HealthMemory(Mutex<Option<(Moment, Arc<Health>)>>);

/// Checks all parts concurrently, with a time limit.
async fn check(broker: &Broker) -> Health {
    let providers = futures_util::future::join_all(broker.providers.iter().map(|provider| async move {
        let problem = with_timeout(async { provider.ready().await.map_err(|error| error.to_string()) }).await;
        Part { name: format!("provider {}", provider.id()), problem }
    }));
    let ((database, other_schema), key_store, providers) =
        tokio::join!(database(broker), key_store(broker), providers);
    let (redeem, verify) = (key_store.works(), database.works());
    let log_in = redeem && verify && providers.iter().any(Part::works);
    let server_keys = Part { name: "server keys".to_owned(), problem: broker.keys.file_problem() };
    let mut parts = vec![database, key_store, server_keys];
    parts.extend(providers);
    Health { parts, readiness: Readiness { log_in, redeem, verify, other_schema } }
}

/// Checks the database, including its schema version, and the key store.
pub async fn stores(broker: &Broker) -> [Part; 2] {
    let ((database, _), key_store) = tokio::join!(database(broker), key_store(broker));
    [database, key_store]
}

/// The database, and whether its problem is that it has another schema.
async fn database(broker: &Broker) -> (Part, bool) {
    let mut other_schema = false;
    let problem = with_timeout(async {
        let answer = broker.storage.ping().await;
        other_schema = matches!(answer, Err(StorageError::OtherSchema(_)));
        answer.map_err(|error| error.to_string())
    });
    let problem = problem.await;
    (Part { name: "database".to_owned(), problem }, other_schema)
}

async fn key_store(broker: &Broker) -> Part {
    let problem = with_timeout(async { broker.key_store.ping().await.map_err(|error| error.to_string()) });
    Part { name: "key store".to_owned(), problem: problem.await }
}

impl Part {
    /// Whether it works.
    pub fn works(&self) -> bool {
        self.problem.is_none()
    }
}

async fn with_timeout(check: impl Future<Output = Result<(), String>>) -> Option<String> {
    match tokio::time::timeout(CHECK_TIMEOUT, check).await {
        Ok(outcome) => outcome.err(),
        Err(_) => Some("did not answer in time".to_owned()),
    }
}

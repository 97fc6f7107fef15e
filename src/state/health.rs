//! What this instance can do at the moment: log in, redeem, verify, each on its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::domain::clock::{Moment, monotonic};
use crate::state::Broker;

/// How long an examination counts.
const FRESH: Duration = Duration::from_secs(1);

/// How long one part may take to show that it works: longer than the database's own limit of 2.5 s for finding
/// that it has no connection, so that the reason is told.
const PATIENCE: Duration = Duration::from_millis(2_700);

/// What works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// A login can be completed at some provider.
    pub log_in: bool,
    /// A one-time key can be redeemed.
    pub redeem: bool,
    /// A token can be verified.
    pub verify: bool,
}

impl Readiness {
    /// Whether everything works.
    pub fn all(self) -> bool {
        self.log_in && self.redeem && self.verify
    }

    /// Whether anything works, so that requests should still come here.
    pub fn any(self) -> bool {
        self.log_in || self.redeem || self.verify
    }
}

/// What works, part by part; for operators only.
#[derive(Debug)]
pub struct Health {
    /// The parts.
    pub parts: Vec<Part>,
    /// What follows.
    pub readiness: Readiness,
}

/// Something that a broker needs.
#[derive(Debug)]
pub struct Part {
    /// What it is.
    pub name: String,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

/// What works at the moment.
pub async fn readiness(broker: &Broker) -> Readiness {
    health(broker).await.readiness
}

/// What works at the moment, part by part; at most a second old. An instance that is about to stop can do
/// nothing any more, so that nobody sends it anything new.
pub async fn health(broker: &Broker) -> Arc<Health> {
    if broker.is_stopping() {
        let problem = Some("is about to stop".to_owned());
        let parts = vec![Part { name: "this instance".to_owned(), problem }];
        let readiness = Readiness { log_in: false, redeem: false, verify: false };
        return Arc::new(Health { parts, readiness });
    }
    let mut memory = broker.health.0.lock().await;
    if let Some((at, health)) = &*memory
        && at.elapsed() < FRESH
    {
        return health.clone();
    }
    let health = Arc::new(examine(broker).await);
    *memory = Some((monotonic(), health.clone()));
    health
}

/// Remembers the last examination for a moment, so that a flood of questions is not one of examinations.
#[derive(Debug, Default)]
pub struct HealthMemory(Mutex<Option<(Moment, Arc<Health>)>>);

/// Asks every part, at the same time and for a bounded time.
async fn examine(broker: &Broker) -> Health {
    let providers = futures_util::future::join_all(broker.providers.iter().map(|provider| async move {
        let problem = bounded(async { provider.ready().await.map_err(|error| error.to_string()) }).await;
        Part { name: format!("provider {}", provider.id()), problem }
    }));
    let ([database, key_store], providers) = tokio::join!(stores(broker), providers);
    let (redeem, verify) = (key_store.works(), database.works());
    let log_in = redeem && verify && providers.iter().any(Part::works);
    let server_keys = Part { name: "server keys".to_owned(), problem: broker.keys.file_problem() };
    let mut parts = vec![database, key_store, server_keys];
    parts.extend(providers);
    Health { parts, readiness: Readiness { log_in, redeem, verify } }
}

/// The database, with the schema of this program, and the key store.
pub async fn stores(broker: &Broker) -> [Part; 2] {
    let database = bounded(async { broker.storage.ping().await.map_err(|error| error.to_string()) });
    let key_store = bounded(async { broker.key_store.ping().await.map_err(|error| error.to_string()) });
    let (database, key_store) = tokio::join!(database, key_store);
    [
        Part { name: "database".to_owned(), problem: database },
        Part { name: "key store".to_owned(), problem: key_store },
    ]
}

impl Part {
    /// Whether it works.
    pub fn works(&self) -> bool {
        self.problem.is_none()
    }
}

async fn bounded(check: impl Future<Output = Result<(), String>>) -> Option<String> {
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(outcome) => outcome.err(),
        Err(_) => Some("does not answer in time".to_owned()),
    }
}

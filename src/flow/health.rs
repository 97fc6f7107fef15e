//! What this instance can do at the moment: log in, redeem, verify, each on its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::clock::monotonic;
use crate::state::Broker;

/// How long an examination counts.
const FRESH: Duration = Duration::from_secs(1);

/// How long one part may take to show that it works.
const PATIENCE: Duration = Duration::from_secs(2);

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

/// What works, part by part, with what is wrong; for operators only.
#[derive(Debug)]
pub struct Health {
    /// The parts.
    pub parts: Vec<Part>,
    /// What follows.
    pub readiness: Readiness,
}

/// A part that the broker needs.
#[derive(Debug)]
pub struct Part {
    /// Which.
    pub name: String,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// Remembers the last examination for a moment, so that a flood of questions does not become one of examinations.
#[derive(Debug, Default)]
pub struct HealthMemory(Mutex<Option<(Instant, Arc<Health>)>>);

/// What works at the moment.
pub async fn readiness(broker: &Broker) -> Readiness {
    health(broker).await.readiness
}

/// What works at the moment, part by part; at most a second old.
pub async fn health(broker: &Broker) -> Arc<Health> {
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

/// Asks every part, at the same time and for a bounded time.
async fn examine(broker: &Broker) -> Health {
    let storage = bounded(async { broker.storage.ping().await.map_err(|error| error.to_string()) });
    let key_store = bounded(async { broker.key_store.ping().await.map_err(|error| error.to_string()) });
    let providers = futures_util::future::join_all(broker.providers.iter().map(|provider| async move {
        let problem = bounded(async { provider.ready().await.map_err(|error| error.to_string()) }).await;
        Part { name: format!("provider {}", provider.id()), problem }
    }));
    let (storage, key_store, providers) = tokio::join!(storage, key_store, providers);
    let (redeem, verify) = (key_store.is_none(), storage.is_none());
    let log_in = redeem && verify && providers.iter().any(|provider| provider.problem.is_none());
    let mut parts = vec![
        Part { name: "database".to_owned(), problem: storage },
        Part { name: "key store".to_owned(), problem: key_store },
    ];
    parts.extend(providers);
    Health { parts, readiness: Readiness { log_in, redeem, verify } }
}

async fn bounded(check: impl Future<Output = Result<(), String>>) -> Option<String> {
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(outcome) => outcome.err(),
        Err(_) => Some("does not answer in time".to_owned()),
    }
}

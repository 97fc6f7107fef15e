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

impl Part {
    /// Whether it works.
    pub fn works(&self) -> bool {
        self.problem.is_none()
    }
}

/// Remembers the last examination for a moment, so that a flood of questions does not become one of examinations.
#[derive(Debug, Default)]
pub struct HealthMemory(Mutex<Option<(Instant, Arc<Health>)>>);

/// What works at the moment.
pub async fn readiness(broker: &Broker) -> Readiness {
    health(broker).await.readiness
}

/// What works at the moment, part by part; at most a second old. An instance that is about to stop can do
/// nothing any more, so that nobody sends it anything new.
pub async fn health(broker: &Broker) -> Arc<Health> {
    if broker.is_stopping() {
        let part = Part { name: "this instance".to_owned(), problem: Some("is about to stop".to_owned()) };
        let readiness = Readiness { log_in: false, redeem: false, verify: false };
        return Arc::new(Health { parts: vec![part], readiness });
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

/// Asks every part, at the same time and for a bounded time.
async fn examine(broker: &Broker) -> Health {
    let providers = futures_util::future::join_all(broker.providers.iter().map(|provider| async move {
        let problem = bounded(async { provider.ready().await.map_err(|error| error.to_string()) }).await;
        Part { name: format!("provider {}", provider.id()), problem }
    }));
    let ([database, key_store], providers) = tokio::join!(stores(broker), providers);
    let (redeem, verify) = (key_store.works(), database.works());
    let log_in = redeem && verify && providers.iter().any(Part::works);
    let mut parts = vec![database, key_store];
    parts.extend(providers);
    Health { parts, readiness: Readiness { log_in, redeem, verify } }
}

/// The database, with the schema of this program, and the key store.
pub async fn stores(broker: &Broker) -> [Part; 2] {
    let database = bounded(async {
        match broker.storage.pending_migrations().await {
            Ok(missing) if missing.is_empty() => Ok(()),
            Ok(_) => Err("the schema is behind this program: run `token-broker migrate`".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    let key_store = bounded(async { broker.key_store.ping().await.map_err(|error| error.to_string()) });
    let (database, key_store) = tokio::join!(database, key_store);
    [
        Part { name: "database".to_owned(), problem: database },
        Part { name: "key store".to_owned(), problem: key_store },
    ]
}

async fn bounded(check: impl Future<Output = Result<(), String>>) -> Option<String> {
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(outcome) => outcome.err(),
        Err(_) => Some("does not answer in time".to_owned()),
    }
}

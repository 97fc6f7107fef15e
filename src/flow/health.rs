//! What this instance can do at the moment: log in, redeem, verify, each on its own.

use std::time::Duration;

use crate::state::Broker;

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

/// What works, part by part, with what is wrong; for operators only.
#[derive(Debug)]
pub struct Health {
    /// The parts: name, and what is wrong with it.
    pub parts: Vec<(String, Option<String>)>,
    /// What follows.
    pub readiness: Readiness,
}

/// What works at the moment.
pub async fn readiness(broker: &Broker) -> Readiness {
    health(broker).await.readiness
}

/// Asks every part, at the same time and for a bounded time.
pub async fn health(broker: &Broker) -> Health {
    let storage = bounded(async { broker.storage.ping().await.map_err(|error| error.to_string()) });
    let key_store = bounded(async { broker.key_store.ping().await.map_err(|error| error.to_string()) });
    let providers = futures_util::future::join_all(broker.providers.iter().map(|provider| async move {
        let name = format!("provider {}", provider.id());
        (name, bounded(async { provider.ready().await.map_err(|error| error.to_string()) }).await)
    }));
    let (storage, key_store, providers) = tokio::join!(storage, key_store, providers);
    let (redeem, verify) = (key_store.is_none(), storage.is_none());
    let log_in = redeem && verify && providers.iter().any(|(_, problem)| problem.is_none());
    let mut parts = vec![("database".to_owned(), storage), ("key store".to_owned(), key_store)];
    parts.extend(providers);
    Health { parts, readiness: Readiness { log_in, redeem, verify } }
}

async fn bounded(check: impl Future<Output = Result<(), String>>) -> Option<String> {
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(outcome) => outcome.err(),
        Err(_) => Some("does not answer in time".to_owned()),
    }
}

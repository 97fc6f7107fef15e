//! What the development provider remembers for a while by an unguessable name: codes, access tokens, sessions.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;

use crate::domain::clock::Timestamp;
use crate::domain::expiring::ExpiringMap;

/// How many entries are kept at most; the oldest goes first.
const CAPACITY: usize = 10_000;

/// A shared map whose entries live equally long.
#[derive(Debug)]
pub(super) struct Expiring<V> {
    lifetime: TimeDelta,
    entries: Mutex<ExpiringMap<V>>,
}

impl<V: Clone> Expiring<V> {
    pub(super) fn new(lifetime: TimeDelta) -> Self {
        Self { lifetime, entries: Mutex::new(ExpiringMap::new(CAPACITY)) }
    }

    pub(super) fn insert(&self, now: Timestamp, name: &str, value: V) {
        self.lock().insert_evicting(name, value, now, now + self.lifetime);
    }

    /// A copy of a live entry.
    pub(super) fn get(&self, now: Timestamp, name: &str) -> Option<V> {
        self.lock().get_mut(name, now).cloned()
    }

    /// Removes a live entry; of parallel calls one gets it.
    pub(super) fn take(&self, now: Timestamp, name: &str) -> Option<V> {
        self.lock().take(name, now)
    }

    fn lock(&self) -> MutexGuard<'_, ExpiringMap<V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A document of the provider that is fetched when first needed, shared and kept: metadata and key sets.
//!
//! Whoever needs a document while it is being fetched waits for that fetch and shares its outcome, good or
//! bad. A document that is too old is used on while the provider cannot give a new one: an outage must not
//! make what is known unknown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use backon::{ExponentialBuilder, Retryable};
use chrono::TimeDelta;
use tokio::sync::Mutex;

use super::ProviderError;
use super::http_client::Deadline;
use crate::domain::clock::{Clock, Timestamp};

/// How long a document is used without asking again.
const FRESH_FOR: TimeDelta = TimeDelta::hours(1);

/// How long after a fetch the next one may begin: for a document that is too old, and again, on its own, for
/// one that lacks something (a new signing key). Bounds what a flood of bad tokens costs the provider.
const FETCH_INTERVAL: TimeDelta = TimeDelta::seconds(60);

/// A document and when it was fetched.
pub(super) struct Entry<T> {
    /// The document.
    pub(super) document: Arc<T>,
    /// When it was fetched.
    pub(super) fetched_at: Timestamp,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { document: Arc::clone(&self.document), fetched_at: self.fetched_at }
    }
}

/// The document, once fetched.
pub(super) struct Cached<T> {
    what: &'static str,
    clock: Arc<dyn Clock>,
    entry: RwLock<Option<Entry<T>>>,
    fetch: Mutex<LastFetch<T>>,
    /// Counts the fetches that are over, so that a waiter can tell whether one ended while it waited.
    fetches: AtomicU64,
}

/// How the last fetch ended; locked while one is under way.
struct LastFetch<T> {
    outcome: Option<Result<Entry<T>, ProviderError>>,
    began_at: Option<Timestamp>,
    renewal_began_at: Option<Timestamp>,
}

/// Why a document is fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Age,
    Lack,
}

impl<T> Cached<T> {
    /// An empty place for the document that `what` names in errors.
    pub(super) fn new(what: &'static str, clock: Arc<dyn Clock>) -> Self {
        let fetch = Mutex::new(LastFetch { outcome: None, began_at: None, renewal_began_at: None });
        Self { what, clock, entry: RwLock::new(None), fetch, fetches: AtomicU64::new(0) }
    }

    /// The document, fetched by `fetch` where it is missing or older than an hour.
    pub(super) async fn get(
        &self,
        deadline: Deadline,
        fetch: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<Entry<T>, ProviderError> {
        let entry = self.entry();
        match entry {
            Some(entry) if self.clock.now() - entry.fetched_at < FRESH_FOR => Ok(entry),
            Some(stale) => Ok(self.fetched(Reason::Age, deadline, fetch).await.unwrap_or(stale)),
            None => self.fetched(Reason::Age, deadline, fetch).await,
        }
    }

    /// The document, fetched anew because it lacks something, but at most once a minute; within that minute
    /// the outcome of the last fetch.
    pub(super) async fn renew(
        &self,
        deadline: Deadline,
        fetch: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<Entry<T>, ProviderError> {
        self.fetched(Reason::Lack, deadline, fetch).await
    }

    /// Whether there is a document, however old.
    pub(super) fn is_there(&self) -> bool {
        self.entry().is_some()
    }

    fn entry(&self) -> Option<Entry<T>> {
        self.entry.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn fetched(
        &self,
        reason: Reason,
        deadline: Deadline,
        fetch: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<Entry<T>, ProviderError> {
        let fetches = self.fetches.load(Ordering::Acquire);
        let mut last = deadline.bound(self.what, self.fetch.lock()).await?;
        let now = self.clock.now();
        let shared = self.fetches.load(Ordering::Acquire) != fetches;
        let throttled = match reason {
            Reason::Age => self.entry().and(last.began_at),
            Reason::Lack => last.renewal_began_at,
        }
        .is_some_and(|began_at| (now - began_at).abs() < FETCH_INTERVAL);
        if let Some(outcome) = last.outcome.as_ref().filter(|_| shared || throttled) {
            return outcome.clone();
        }
        last.began_at = Some(now);
        if reason == Reason::Lack {
            last.renewal_began_at = Some(now);
        }
        let outcome = fetch.await.map(|document| Entry { document: Arc::new(document), fetched_at: now });
        match &outcome {
            Ok(entry) => {
                *self.entry.write().unwrap_or_else(PoisonError::into_inner) = Some(entry.clone());
            }
            Err(error) => tracing::warn!(%error, what = self.what, "a fetch from the provider failed"),
        }
        last.outcome = Some(outcome.clone());
        self.fetches.fetch_add(1, Ordering::Release);
        outcome
    }
}

/// Repeats a harmless GET twice, soon, where the provider could not be reached: a restart there must not fail a
/// login here.
pub(super) async fn with_retries<T, F>(fetch: impl FnMut() -> F) -> Result<T, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    let soon = std::time::Duration::from_millis(100);
    let twice = ExponentialBuilder::new().with_min_delay(soon).with_max_times(2);
    fetch.retry(twice).when(|error| matches!(error, ProviderError::Unavailable(_))).await
}

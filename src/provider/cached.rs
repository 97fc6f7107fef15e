//! A document of the provider that is fetched when first needed, shared and kept: metadata and key sets.
//!
//! Whoever needs a document while it is being fetched waits for that fetch and shares its outcome, good or
//! bad. A document that is too old is used on while the provider cannot give a new one: an outage must not
//! make what is known unknown, nor use up the time of a login.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

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

/// How long a new document is waited for where the old one would do.
const REFRESH_TIME: Duration = Duration::from_secs(1);

/// A document and the fetch that it comes from.
pub(super) struct Entry<T> {
    /// The document.
    pub(super) document: Arc<T>,
    /// Which fetch it comes from; compare with [`Cached::begun`].
    pub(super) fetch: u64,
    fetched_at: Timestamp,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { document: Arc::clone(&self.document), ..*self }
    }
}

/// The document, once fetched.
pub(super) struct Cached<T> {
    what: &'static str,
    clock: Arc<dyn Clock>,
    entry: RwLock<Option<Entry<T>>>,
    fetch: Mutex<LastFetch<T>>,
    /// Counts the fetches that have begun: their numbers.
    begun: AtomicU64,
    /// Counts the fetches that are over, so that a waiter can tell whether one ended while it waited.
    ended: AtomicU64,
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
        let (begun, ended) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { what, clock, entry: RwLock::new(None), fetch, begun, ended }
    }

    /// The document, fetched by `fetch` where it is missing or older than an hour. An old one is given out where
    /// the fetch fails or takes too long.
    pub(super) async fn get(
        &self,
        deadline: Deadline,
        fetch: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<Entry<T>, ProviderError> {
        let entry = self.entry();
        match entry {
            Some(entry) if is_recent(entry.fetched_at, self.clock.now(), FRESH_FOR) => Ok(entry),
            Some(stale) => {
                let deadline = deadline.at_most(REFRESH_TIME);
                Ok(self.fetched(Reason::Age, deadline, fetch).await.unwrap_or(stale))
            }
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

    /// How many fetches have begun: an entry with a higher number was fetched after this moment.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
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
        let ended = self.ended.load(Ordering::Acquire);
        let mut last = deadline.bound(self.what, self.fetch.lock()).await?;
        let now = self.clock.now();
        let shared = self.ended.load(Ordering::Acquire) != ended;
        let throttled = match reason {
            Reason::Age => self.entry().and(last.began_at),
            Reason::Lack => last.renewal_began_at,
        }
        .is_some_and(|began_at| is_recent(began_at, now, FETCH_INTERVAL));
        if let Some(outcome) = last.outcome.as_ref().filter(|_| shared || throttled) {
            return outcome.clone();
        }
        last.began_at = Some(now);
        if reason == Reason::Lack {
            last.renewal_began_at = Some(now);
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let fetched = deadline.bound(self.what, fetch).await.flatten();
        let outcome =
            fetched.map(|document| Entry { document: Arc::new(document), fetch: number, fetched_at: now });
        match &outcome {
            Ok(entry) => {
                *self.entry.write().unwrap_or_else(PoisonError::into_inner) = Some(entry.clone());
            }
            Err(error) => tracing::warn!(%error, what = self.what, "a fetch from the provider failed"),
        }
        last.outcome = Some(outcome.clone());
        self.ended.fetch_add(1, Ordering::Release);
        outcome
    }
}

/// Whether `then` is less than `span` ago. A time to come, left by a clock that was set back, is not recent: it
/// would stay so for as long as the clock needs to come back to it.
fn is_recent(then: Timestamp, now: Timestamp, span: TimeDelta) -> bool {
    (TimeDelta::zero()..span).contains(&(now - then))
}

/// Repeats a harmless GET twice, soon, where the provider could not be reached: a restart there must not fail a
/// login here.
pub(super) async fn with_retries<T, F>(fetch: impl FnMut() -> F) -> Result<T, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    let soon = Duration::from_millis(100);
    let twice = ExponentialBuilder::new().with_min_delay(soon).with_max_times(2);
    fetch.retry(twice).when(|error| matches!(error, ProviderError::Unavailable(_))).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::super::fake::{clock, kind};
    use super::super::http_client::HttpClient;
    use super::super::settings::{CaCertificates, Timeouts};
    use super::*;
    use crate::domain::clock::{StoppedClock, monotonic};

    /// A document that counts how often it was fetched, or fails.
    struct Source {
        clock: Arc<StoppedClock>,
        cached: Cached<usize>,
        fetches: AtomicUsize,
        http: HttpClient,
    }

    impl Source {
        fn new() -> Self {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let clock = clock();
            let cached = Cached::new("test", Arc::<StoppedClock>::clone(&clock));
            let http = HttpClient::new(Timeouts::default(), &CaCertificates::default(), &[]).unwrap();
            Self { clock, cached, fetches: AtomicUsize::new(0), http }
        }

        async fn fetch(&self, works: bool) -> Result<usize, ProviderError> {
            tokio::task::yield_now().await;
            let count = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
            if works { Ok(count) } else { Err(ProviderError::Unavailable("down".to_owned())) }
        }

        async fn get(&self, works: bool) -> Result<usize, ProviderError> {
            let entry = self.cached.get(self.http.deadline(), self.fetch(works)).await;
            entry.map(|entry| *entry.document)
        }

        async fn renew(&self, works: bool) -> Result<usize, ProviderError> {
            let entry = self.cached.renew(self.http.deadline(), self.fetch(works)).await;
            entry.map(|entry| *entry.document)
        }

        fn count(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_document_is_kept_for_an_hour() {
        let source = Source::new();
        assert!(!source.cached.is_there());
        assert_eq!(source.get(true).await.unwrap(), 1);
        source.clock.advance(TimeDelta::seconds(3599));
        assert_eq!(source.get(true).await.unwrap(), 1);
        source.clock.advance(TimeDelta::seconds(1));
        assert_eq!(source.get(true).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn pr_20_concurrent_fetches_share_one_call_and_its_outcome() {
        let source = Source::new();
        let outcomes = join_all((0..50).map(|_| source.get(false))).await;
        assert!(outcomes.into_iter().all(|outcome| kind(outcome) == "unavailable"));
        assert_eq!(source.count(), 1);
        let outcomes = join_all((0..50).map(|_| source.get(true))).await;
        assert!(outcomes.into_iter().all(|outcome| outcome.unwrap() == 2));
        let outcomes = join_all((0..50).map(|_| source.renew(true))).await;
        assert!(outcomes.into_iter().all(|outcome| outcome.unwrap() == 3));
    }

    #[tokio::test]
    async fn pr_20_a_renewal_happens_at_most_once_a_minute() {
        let source = Source::new();
        source.get(true).await.unwrap();
        assert_eq!(source.renew(true).await.unwrap(), 2);
        for _ in 0..5 {
            assert_eq!(source.renew(true).await.unwrap(), 2);
        }
        source.clock.advance(TimeDelta::seconds(59));
        assert_eq!(source.renew(true).await.unwrap(), 2);
        source.clock.advance(TimeDelta::seconds(1));
        assert_eq!(source.renew(true).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_failed_renewal_stays_an_outage_until_the_next() {
        let source = Source::new();
        source.get(true).await.unwrap();
        assert_eq!(kind(source.renew(false).await), "unavailable");
        assert_eq!(kind(source.renew(true).await), "unavailable");
        assert_eq!(source.count(), 2);
        assert_eq!(source.get(true).await.unwrap(), 1);
        source.clock.advance(TimeDelta::seconds(60));
        assert_eq!(source.renew(true).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn pr_22_an_old_document_is_used_on_while_there_is_no_new_one() {
        let source = Source::new();
        source.get(true).await.unwrap();
        source.clock.advance(TimeDelta::hours(2));
        for _ in 0..3 {
            assert_eq!(source.get(false).await.unwrap(), 1);
        }
        assert_eq!(source.count(), 2, "one try a minute");
        source.clock.advance(TimeDelta::seconds(60));
        assert_eq!(source.get(true).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn pr_22_a_hanging_fetch_costs_little_where_an_old_document_would_do() {
        let source = Source::new();
        source.get(true).await.unwrap();
        source.clock.advance(TimeDelta::hours(2));
        let began = monotonic();
        let hanging = source.cached.get(source.http.deadline(), std::future::pending());
        assert_eq!(*hanging.await.unwrap().document, 1);
        assert!(began.elapsed() < 6 * REFRESH_TIME, "{:?}", began.elapsed());
        source.clock.advance(TimeDelta::seconds(59));
        assert_eq!(source.get(true).await.unwrap(), 1, "no new try within a minute");
        source.clock.advance(TimeDelta::seconds(1));
        assert_eq!(source.get(true).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_keeps_nothing_fresh_and_blocks_no_fetch() {
        let source = Source::new();
        source.get(true).await.unwrap();
        assert_eq!(source.renew(true).await.unwrap(), 2);
        for step in [TimeDelta::seconds(-1), TimeDelta::minutes(-10), TimeDelta::days(-30)] {
            source.clock.advance(step);
            let before = source.count();
            assert_eq!(source.get(true).await.unwrap(), before + 1, "{step}");
            assert_eq!(source.renew(true).await.unwrap(), before + 2, "{step}");
            assert_eq!(source.get(true).await.unwrap(), before + 2, "{step}: and is fresh then");
        }
    }

    #[tokio::test]
    async fn a_failed_first_fetch_is_tried_again_at_once() {
        let source = Source::new();
        assert_eq!(kind(source.get(false).await), "unavailable");
        assert_eq!(source.get(true).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_fetch_that_is_abandoned_does_not_block_the_next() {
        let source = Source::new();
        let abandoned = source.cached.get(source.http.deadline(), std::future::pending());
        tokio::select! {
            biased;
            _ = abandoned => panic!("it never ends"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(source.get(true).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn only_outages_are_tried_again() {
        let tries = AtomicUsize::new(0);
        let failing = |error: fn(String) -> ProviderError| {
            tries.store(0, Ordering::SeqCst);
            let tries = &tries;
            with_retries(move || async move {
                tries.fetch_add(1, Ordering::SeqCst);
                Err::<(), _>(error(String::new()))
            })
        };
        assert_eq!(kind(failing(ProviderError::Unavailable).await), "unavailable");
        assert_eq!(tries.load(Ordering::SeqCst), 3);
        for error in [ProviderError::Unusable, ProviderError::Timeout] {
            assert!(failing(error).await.is_err());
            assert_eq!(tries.load(Ordering::SeqCst), 1);
        }
    }
}

//! A cache for a document of the provider (metadata or key set), which is fetched on first use.
//!
//! Callers that need a document while it is being fetched wait for that fetch and share its result, even if it fails.
//! An expired document is still used while the provider cannot deliver a new one: an outage must not fail logins that
//! could succeed with the old document, or use up their time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use chrono::TimeDelta;
use tokio::sync::Mutex;

use super::ProviderError;
use super::http_client::Deadline;
use crate::domain::clock::{Clock, Timestamp};

/// How long a document is used before it is fetched again.
const FRESH_FOR: TimeDelta = TimeDelta::hours(1);

/// The minimum time between two fetches, counted separately for documents that are too old and for documents that lack
/// something (a new signing key). It limits the load that a flood of invalid tokens causes at the provider.
const FETCH_INTERVAL: TimeDelta = TimeDelta::seconds(60);

/// How long to wait for a new document if an old one is available.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);

/// A document and the number of the fetch it comes from.
pub(super) struct Entry<T> {
    /// The document.
    pub(super) document: Arc<T>,
    /// The number of the fetch, to be compared with [`Cached::fetches_started`].
    pub(super) fetch: u64,
    fetched_at: Timestamp,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { document: Arc::clone(&self.document), ..*self }
    }
}

/// A cached document.
pub(super) struct Cached<T> {
    what: &'static str,
    clock: Arc<dyn Clock>,
    entry: RwLock<Option<Entry<T>>>,
    fetch: Mutex<LastFetch<T>>,
    /// The number of started fetches, from which the fetches are numbered.
    started: AtomicU64,
    /// The number of finished fetches, by which a waiting caller sees whether one finished while it waited.
    finished: AtomicU64,
}

/// The last fetch. Locked while a fetch is in progress.
struct LastFetch<T> {
    outcome: Option<Result<Entry<T>, ProviderError>>,
    started_at: Option<Timestamp>,
    renewal_started_at: Option<Timestamp>,
}

/// Why a document is fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// There is no document, or it is too old.
    Expired,
    /// The document lacks something.
    Incomplete,
}

impl<T> Cached<T> {
    /// An empty cache. `what` names the document in errors.
    pub(super) fn new(what: &'static str, clock: Arc<dyn Clock>) -> Self {
        let fetch = Mutex::new(LastFetch { outcome: None, started_at: None, renewal_started_at: None });
        let (started, finished) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { what, clock, entry: RwLock::new(None), fetch, started, finished }
    }

    /// Returns the document. Calls `fetch` if it is missing or older than an hour. If the fetch fails or takes too
    /// long, returns the old document.
    pub(super) async fn get(
        &self,
        deadline: Deadline,
        fetch: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<Entry<T>, ProviderError> {
        let entry = self.entry();
        match entry {
            Some(entry) if is_recent(entry.fetched_at, self.clock.now(), FRESH_FOR) => Ok(entry),
            Some(stale) => {
                let deadline = deadline.at_most(REFRESH_TIMEOUT);
                Ok(self.fetched(Reason::Expired, deadline, fetch).await.unwrap_or(stale))
            }
            None => self.fetched(Reason::Expired, deadline, fetch).await,
        }
    }

    /// Fetches the document again because it lacks something, but at most once per minute. Within that minute it
    /// returns the result of the last fetch.
    pub(super) async fn renew(
        &self,
        deadline: Deadline,
        fetch: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<Entry<T>, ProviderError> {
        self.fetched(Reason::Incomplete, deadline, fetch).await
    }

    /// The number of fetches that have started. An entry with a higher number was fetched after this call.
    pub(super) fn fetches_started(&self) -> u64 {
        self.started.load(Ordering::Acquire)
    }

    /// The cached document, however old it is.
    pub(super) fn cached(&self) -> Option<Arc<T>> {
        self.entry().map(|entry| entry.document)
    }

    /// Whether a document is cached, however old it is.
    pub(super) fn is_cached(&self) -> bool {
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
        let finished = self.finished.load(Ordering::Acquire);
        let mut last = deadline.bound(self.what, self.fetch.lock()).await?;
        let now = self.clock.now();
        let shared = self.finished.load(Ordering::Acquire) != finished;
        let throttled = match reason {
            Reason::Expired => self.entry().and(last.started_at),
            Reason::Incomplete => last.renewal_started_at,
        }
        .is_some_and(|started_at| is_recent(started_at, now, FETCH_INTERVAL));
        if let Some(outcome) = last.outcome.as_ref().filter(|_| shared || throttled) {
            return outcome.clone();
        }
        last.started_at = Some(now);
        if reason == Reason::Incomplete {
            last.renewal_started_at = Some(now);
        }
        let number = self.started.fetch_add(1, Ordering::AcqRel) + 1;
        let fetched = deadline.bound(self.what, fetch).await.flatten();
        let outcome =
            fetched.map(|document| Entry { document: Arc::new(document), fetch: number, fetched_at: now });
        match &outcome {
            Ok(entry) => {
                *self.entry.write().unwrap_or_else(PoisonError::into_inner) = Some(entry.clone());
            }
            Err(error) => tracing::warn!(%error, what = self.what, "cannot fetch from the provider"),
        }
        last.outcome = Some(outcome.clone());
        self.finished.fetch_add(1, Ordering::Release);
        outcome
    }
}

/// Whether `then` is less than `span` ago. A future time, which exists after the clock was set back, does not count as
/// recent: otherwise it would stay recent until the clock reaches it.
fn is_recent(then: Timestamp, now: Timestamp, span: TimeDelta) -> bool {
    (TimeDelta::zero()..span).contains(&(now - then))
}

/// Retries a GET request up to twice after short delays if the provider is unavailable, so that a restart of the
/// provider does not fail a login.
pub(super) async fn with_retries<T, F>(fetch: impl FnMut() -> F) -> Result<T, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    let delay = Duration::from_millis(100);
    let policy = ExponentialBuilder::new().with_min_delay(delay).with_max_times(2);
    fetch.retry(policy).when(|error| matches!(error, ProviderError::Unavailable(_))).await
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

    /// A source whose document is the number of fetches, or which fails.
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
            let http = HttpClient::new(
                &"corp".parse().unwrap(),
                Timeouts::default(),
                &CaCertificates::default(),
                &[],
            )
            .unwrap();
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
        assert!(!source.cached.is_cached());
        assert_eq!(source.get(true).await.unwrap(), 1);
        source.clock.advance(TimeDelta::seconds(3599));
        assert_eq!(source.get(true).await.unwrap(), 1);
        source.clock.advance(TimeDelta::seconds(1));
        assert_eq!(source.get(true).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn concurrent_fetches_share_one_call_and_its_result() {
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
    async fn a_renewal_happens_at_most_once_a_minute() {
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
    async fn a_failed_renewal_is_returned_until_the_next_one() {
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
    async fn an_old_document_is_used_while_there_is_no_new_one() {
        let source = Source::new();
        source.get(true).await.unwrap();
        source.clock.advance(TimeDelta::hours(2));
        for _ in 0..3 {
            assert_eq!(source.get(false).await.unwrap(), 1);
        }
        assert_eq!(source.count(), 2, "one retry per minute");
        source.clock.advance(TimeDelta::seconds(60));
        assert_eq!(source.get(true).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_hanging_fetch_is_cut_short_if_an_old_document_exists() {
        let source = Source::new();
        source.get(true).await.unwrap();
        source.clock.advance(TimeDelta::hours(2));
        let start = monotonic();
        let hanging = source.cached.get(source.http.deadline(), std::future::pending());
        assert_eq!(*hanging.await.unwrap().document, 1);
        assert!(start.elapsed() < 6 * REFRESH_TIMEOUT, "{:?}", start.elapsed());
        source.clock.advance(TimeDelta::seconds(59));
        assert_eq!(source.get(true).await.unwrap(), 1, "no retry within a minute");
        source.clock.advance(TimeDelta::seconds(1));
        assert_eq!(source.get(true).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_block_fetches() {
        let source = Source::new();
        source.get(true).await.unwrap();
        assert_eq!(source.renew(true).await.unwrap(), 2);
        for step in [TimeDelta::seconds(-1), TimeDelta::minutes(-10), TimeDelta::days(-30)] {
            source.clock.advance(step);
            let before = source.count();
            assert_eq!(source.get(true).await.unwrap(), before + 1, "{step}");
            assert_eq!(source.renew(true).await.unwrap(), before + 2, "{step}");
            assert_eq!(source.get(true).await.unwrap(), before + 2, "{step}: the renewed document is fresh");
        }
    }

    #[tokio::test]
    async fn a_failed_first_fetch_is_retried_at_once() {
        let source = Source::new();
        assert_eq!(kind(source.get(false).await), "unavailable");
        assert_eq!(source.get(true).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn an_abandoned_fetch_does_not_block_the_next_one() {
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
    async fn only_outages_are_retried() {
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

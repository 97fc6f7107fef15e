//! Diesel blocks; the servers' threads must not. Queries run on tokio's blocking threads, at most as many as
//! there are connections, and waiting for one, or for an answer, is limited in time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::StorageError;
use super::pool::{Pool, Turn};
use super::settings::{StorageSettings, StorageSettingsError, Target};
use super::{Backend, sqlite};
use crate::domain::clock::monotonic;
use crate::domain::metric;

/// Extra time for the pool and the database to report their own timeouts.
const GRACE: Duration = Duration::from_millis(500);

/// One of the databases.
pub enum Backends {
    Sqlite(Pool<sqlite::Db>),
    #[cfg(feature = "postgres")]
    Postgres(Pool<super::postgres::Db>),
}

/// What is bounded in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The whole query. If the database ends its transaction in favour of another one, for example in a deadlock with a
    /// migration, the query is run once more.
    Answer,
    /// The waiting for a connection only: a migration takes as long as it takes, and its caller runs it again.
    Connection,
}

/// Where queries run.
pub struct Workers {
    backends: Arc<Backends>,
    permits: Arc<Semaphore>,
    wait: Duration,
    answer: Duration,
    pool_size: u32,
}

/// Open connections, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Not in use.
    pub idle: u32,
    /// In use.
    pub busy: u32,
    /// How many there can be.
    pub limit: u32,
}

/// The groups of queries by which their durations are reported.
const GROUPS: &[&str] = &[
    "audit",
    "issuing",
    "live",
    "migrate",
    "personal_tokens",
    "purge",
    "resource_servers",
    "session_ending",
    "sessions",
    "sign_in",
    "tokens",
    "users",
];

const OK: &str = "ok";
const UNAVAILABLE: &str = "unavailable";
const FAILED: &str = "failed";

impl Workers {
    pub fn new(settings: &StorageSettings) -> Result<Self, StorageSettingsError> {
        let backends = match settings.target()? {
            Target::Sqlite(file) => Backends::Sqlite(Pool::new(settings, sqlite::opener(file, settings))),
            #[cfg(feature = "postgres")]
            Target::Postgres(url) => {
                Backends::Postgres(Pool::new(settings, super::postgres::opener(url, settings)))
            }
            #[cfg(not(feature = "postgres"))]
            Target::Postgres(_) => return Err(StorageSettingsError::NotCompiledIn),
        };
        for group in GROUPS {
            for result in [OK, UNAVAILABLE, FAILED] {
                // Named once, it is reported, with no observations.
                let _ = duration(group, result);
            }
        }
        Ok(Self {
            backends: Arc::new(backends),
            permits: Arc::new(Semaphore::new(settings.pool_size as usize)),
            wait: settings.wait,
            answer: settings.statement_timeout + GRACE,
            pool_size: settings.pool_size,
        })
    }

    pub fn backend(&self) -> Backend {
        match &*self.backends {
            Backends::Sqlite(_) => Backend::Sqlite,
            #[cfg(feature = "postgres")]
            Backends::Postgres(_) => Backend::Postgres,
        }
    }

    /// The connections that are open at the moment.
    pub fn connections(&self) -> Connections {
        let (open, idle) = match &*self.backends {
            Backends::Sqlite(pool) => pool.open_and_idle(),
            #[cfg(feature = "postgres")]
            Backends::Postgres(pool) => pool.open_and_idle(),
        };
        Connections { idle, busy: open.saturating_sub(idle), limit: self.pool_size }
    }

    /// As [`Self::run_unmeasured`]; records how long it took under the name of the group of queries.
    pub async fn run<T: Send + 'static>(
        &self,
        group: &'static str,
        bound: Bound,
        query: impl FnOnce(&Backends, Turn) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let started = monotonic();
        let answer = self.run_unmeasured(bound, query).await;
        let result = match &answer {
            Ok(_) => OK,
            Err(StorageError::Unexpected(_)) => FAILED,
            Err(_) => UNAVAILABLE,
        };
        duration(group, result).record(started.elapsed().as_secs_f64());
        answer
    }

    /// Runs `query` on a blocking thread, in the caller's log span. A caller that goes away, or gets no answer
    /// in time, does not stop it: it keeps its permit until the database has answered.
    async fn run_unmeasured<T: Send + 'static>(
        &self,
        bound: Bound,
        query: impl FnOnce(&Backends, Turn) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let deadline = Instant::from_std(monotonic()) + self.wait;
        let unavailable = |text: &str| StorageError::Unavailable(text.to_owned());
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(unavailable("every connection is busy")) };

        let (connected, connection) = oneshot::channel();
        let backends = Arc::clone(&self.backends);
        let span = tracing::Span::current();
        let once_more = bound == Bound::Answer;
        let task = spawn_blocking(move || {
            let _permit = permit;
            span.in_scope(|| query(&backends, Turn { deadline, connected, once_more }))
        });
        // An error here says that there is no connection; the task says why.
        let _ = timeout_at(deadline + GRACE, connection)
            .await
            .map_err(|_| unavailable("no connection could be opened or tested in time"))?;
        let answer = match bound {
            Bound::Connection => task.await,
            Bound::Answer => {
                timeout(self.answer, task).await.map_err(|_| unavailable("no answer in time"))?
            }
        };
        answer.unwrap_or_else(|_| Err(StorageError::Unexpected("a query panicked".to_owned())))
    }
}

fn duration(group: &'static str, result: &'static str) -> metrics::Histogram {
    metrics::histogram!(metric::DATABASE_DURATION.name, "group" => group, "result" => result)
}

impl fmt::Debug for Workers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = self.permits.available_permits();
        out.debug_struct("Workers").field("backend", &self.backend()).field("free", &free).finish()
    }
}

/// Runs the query `module::function(arguments)` on whichever database it is: the place where the two meet.
macro_rules! on_backend {
    ($storage:ident, $module:ident::$function:ident($($argument:expr),*)) => {
        on_backend!($storage, $crate::storage::blocking::Bound::Answer, $module::$function($($argument),*))
    };
    ($storage:ident, $bound:expr, $module:ident::$function:ident($($argument:expr),*)) => {
        $storage
            .workers
            .run(stringify!($module), $bound, move |backends, turn| match backends {
                $crate::storage::blocking::Backends::Sqlite(pool) => {
                    pool.with(turn, |db| $crate::storage::sqlite::queries::$module::$function(db, $($argument),*))
                }
                #[cfg(feature = "postgres")]
                $crate::storage::blocking::Backends::Postgres(pool) => {
                    pool.with(turn, |db| $crate::storage::postgres::queries::$module::$function(db, $($argument),*))
                }
            })
            .await
    };
}
pub(super) use on_backend;

//! Diesel blocks; the servers' threads must not. Queries run on tokio's blocking threads, at most as many as
//! there are connections, and waiting for one, or for an answer, is limited in time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use super::error::StorageError;
use super::places::Places;
use super::pool::{Pool, Turn};
use super::settings::{StorageSettings, StorageSettingsError, Target};
use super::{Backend, sqlite};
use crate::domain::clock::monotonic;
use crate::domain::metric;

/// The time limits of a health check, which together stay below a second.
const CHECK: Limits = Limits {
    wait: Duration::from_millis(600),
    grace: Duration::from_millis(100),
    answer: Duration::from_millis(200),
};

/// One of the databases.
pub enum Backends {
    Sqlite(Pool<sqlite::SqliteFile>),
    #[cfg(feature = "postgres")]
    Postgres(Pool<super::postgres::PostgresServer>),
}

impl Backends {
    fn suspect_all(&self) {
        match self {
            Self::Sqlite(pool) => pool.suspect_all(),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.suspect_all(),
        }
    }
}

/// How long the steps of a query may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Getting a place and a connection.
    wait: Duration,
    /// Extra time for the pool to report why there is no connection.
    grace: Duration,
    /// The query itself.
    answer: Duration,
}

/// What is bounded in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The whole query. If it changed nothing because its connection was lost, or because the database ended its
    /// transaction in favour of another one, for example in a deadlock with a migration, it is run once more.
    Answer,
    /// The same in less than a second, and beside the other queries: a check of health.
    Check,
    /// The waiting for a connection only: a migration takes as long as it takes, and its caller runs it again.
    Connection,
}

/// Where queries run.
pub struct Workers {
    backends: Arc<Backends>,
    places: Places,
    /// Health checks have places of their own, so that they report on the database and not on the load: one for those that
    /// are asked for, one for the task that watches.
    check_places: Places,
    limits: Limits,
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
            Target::Sqlite(file) => Backends::Sqlite(Pool::new(sqlite::SqliteFile::new(file, settings))),
            #[cfg(feature = "postgres")]
            Target::Postgres(url) => {
                Backends::Postgres(Pool::new(super::postgres::PostgresServer::new(url, settings)))
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
        // The pool and the database report their own timeouts; half a second is for that.
        let grace = Duration::from_millis(500);
        Ok(Self {
            backends: Arc::new(backends),
            places: Places::new(settings.pool_size as usize),
            check_places: Places::new(2),
            limits: Limits { wait: settings.wait, grace, answer: settings.statement_timeout + grace },
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

    /// The connections that are open at the moment, but for those that were given up.
    pub fn connections(&self) -> Connections {
        let idle = match &*self.backends {
            Backends::Sqlite(pool) => pool.unused(),
            #[cfg(feature = "postgres")]
            Backends::Postgres(pool) => pool.unused(),
        };
        let free = u32::try_from(self.places.free()).unwrap_or(u32::MAX);
        Connections { idle, busy: self.pool_size.saturating_sub(free), limit: self.pool_size }
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

    /// Runs `query` on a blocking thread, in the caller's log span. A caller that goes away does not stop it. After its
    /// time limit its place is freed, and its connection is closed whenever the database answers.
    async fn run_unmeasured<T: Send + 'static>(
        &self,
        bound: Bound,
        query: impl FnOnce(&Backends, Turn) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (places, limits) = match bound {
            Bound::Check => (&self.check_places, CHECK),
            Bound::Answer | Bound::Connection => (&self.places, self.limits),
        };
        let deadline = Instant::from_std(monotonic()) + limits.wait;
        let Some(place) = places.take(deadline).await else {
            return Err(unavailable("every connection is busy"));
        };
        let (connected, connection) = oneshot::channel();
        let backends = Arc::clone(&self.backends);
        let span = tracing::Span::current();
        let once_more = bound != Bound::Connection;
        let turn = Turn { deadline, connected, once_more, place: place.clone() };
        let task = spawn_blocking(move || span.in_scope(|| query(&backends, turn)));
        // A task of its own: a caller that goes away must not leave a place taken for ever.
        let backends = Arc::clone(&self.backends);
        let watched = tokio::spawn(async move {
            let answer = watch(task, connection, deadline, bound, limits).await;
            if answer.is_none() {
                place.give_up();
                // What does not answer here will not answer on the other connections either.
                spawn_blocking(move || backends.suspect_all());
            }
            answer
        });
        match watched.await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(unavailable("no answer in time")),
            Err(_) => Err(unavailable("the broker stops")),
        }
    }
}

/// Waits for the connection and for the answer; `None` if one of them does not come in time.
async fn watch<T>(
    task: JoinHandle<Result<T, StorageError>>,
    connection: oneshot::Receiver<()>,
    deadline: Instant,
    bound: Bound,
    limits: Limits,
) -> Option<Result<T, StorageError>> {
    // An error here says that there is no connection; the task says why.
    let _ = timeout_at(deadline + limits.grace, connection).await.ok()?;
    let answer = match bound {
        Bound::Connection => task.await,
        Bound::Answer => timeout_at(Instant::from_std(monotonic()) + limits.answer, task).await.ok()?,
        // The sum counts: a connection that came early leaves more time for the answer.
        Bound::Check => timeout_at(deadline + limits.grace + limits.answer, task).await.ok()?,
    };
    Some(answer.unwrap_or_else(|_| Err(StorageError::Unexpected("a query panicked".to_owned()))))
}

fn unavailable(text: &str) -> StorageError {
    StorageError::Unavailable(text.to_owned())
}

fn duration(group: &'static str, result: &'static str) -> metrics::Histogram {
    metrics::histogram!(metric::DATABASE_DURATION.name, "group" => group, "result" => result)
}

impl fmt::Debug for Workers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = self.places.free();
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

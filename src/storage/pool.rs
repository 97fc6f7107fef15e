//! Connections that are shared: found again after an outage without a restart, and never tested needlessly.

use std::time::Duration;

use diesel::r2d2::R2D2Connection;
use r2d2::{ManageConnection, NopErrorHandler};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::StorageError;
use super::settings::StorageSettings;
use crate::domain::clock::monotonic;

/// A connection that was idle for longer is tested before use; r2d2's own way, testing always, costs a third of
/// the throughput, and never testing keeps dead connections after a restart of the database.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// A connection cannot be opened. The text names no password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// A pool of connections of one kind.
pub struct Pool<C: R2D2Connection + Send + 'static>(r2d2::Pool<Manager<C>>);

struct Manager<C> {
    open: Box<dyn Fn() -> Result<C, OpenError> + Send + Sync>,
}

struct Pooled<C> {
    connection: C,
    used_at: Instant,
    failed: bool,
}

impl<C: R2D2Connection + Send + 'static> ManageConnection for Manager<C> {
    type Connection = Pooled<C>;
    type Error = OpenError;

    fn connect(&self) -> Result<Pooled<C>, OpenError> {
        let connection = (self.open)()?;
        Ok(Pooled { connection, used_at: Instant::from_std(monotonic()), failed: false })
    }

    fn is_valid(&self, pooled: &mut Pooled<C>) -> Result<(), OpenError> {
        if !pooled.failed && pooled.used_at.elapsed() < TRUSTED_FOR {
            return Ok(());
        }
        pooled.connection.ping().map_err(|_| OpenError("the connection was lost".to_owned()))
    }

    fn has_broken(&self, pooled: &mut Pooled<C>) -> bool {
        std::thread::panicking() || pooled.connection.is_broken()
    }
}

/// A caller's place in the queue for a connection.
pub struct Turn {
    /// Until when the caller waits for a connection.
    pub deadline: Instant,
    /// Told when the connection is there.
    pub connected: oneshot::Sender<()>,
    /// Whether to run the work once more if the database ended its transaction in favour of another one.
    pub once_more: bool,
}

impl<C: R2D2Connection + Send + 'static> Pool<C> {
    /// A pool whose connections are made by `open`, when they are needed: succeeds while the database is unavailable.
    pub fn new(
        settings: &StorageSettings,
        open: impl Fn() -> Result<C, OpenError> + Send + Sync + 'static,
    ) -> Self {
        let builder = r2d2::Pool::builder()
            .max_size(settings.pool_size)
            .min_idle(Some(0))
            // Half of it is the longest pause between two attempts to reach a database that is unavailable.
            .connection_timeout(settings.wait)
            // What went wrong is in the answer to the caller that waits.
            .error_handler(Box::new(NopErrorHandler));
        Self(builder.build_unchecked(Manager { open: Box::new(open) }))
    }

    /// How many connections are open, and how many of them are not in use.
    pub fn open_and_idle(&self) -> (u32, u32) {
        let state = self.0.state();
        (state.connections, state.idle_connections)
    }

    /// Runs `work` on a connection. Blocks the thread.
    pub fn with<T>(
        &self,
        turn: Turn,
        mut work: impl FnMut(&mut C) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let remaining = turn.deadline.saturating_duration_since(Instant::from_std(monotonic()));
        let opened = self.0.get_timeout(remaining);
        let mut pooled = opened.map_err(|error| StorageError::Unavailable(error.to_string()))?;
        // No one listens any more once the caller has given up; the work is done all the same.
        let _ = turn.connected.send(());
        let result = match work(&mut pooled.connection) {
            Err(error @ StorageError::Conflict(_)) if turn.once_more => {
                tracing::info!(%error, "trying the query once more");
                work(&mut pooled.connection)
            }
            result => result,
        };
        pooled.failed = result.is_err();
        pooled.used_at = Instant::from_std(monotonic());
        result
    }
}

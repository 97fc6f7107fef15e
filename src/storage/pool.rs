//! Connections that are shared: opened when they are needed, kept while they are good, and closed as soon as they may
//! not be.
//!
//! The number of connections is limited by the places of `places`, so the pool itself never waits for a free one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::r2d2::R2D2Connection;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::StorageError;
use super::places::Place;
use crate::domain::clock::monotonic;

/// A connection that was idle for longer is tested before use. Testing always would cost a third of the throughput.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// A connection that was idle for longer is closed.
const IDLE_FOR: Duration = Duration::from_secs(600);

/// An older connection is closed after its next use, so that none outlives a change of addresses or certificates.
const OLDEST: Duration = Duration::from_secs(1_800);

/// The first and the longest pause between two attempts to open a connection.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// How long a query whose connection was lost may wait for a new one.
const FRESH_WAIT: Duration = Duration::from_secs(1);

/// How often all connections are closed at most because one of them was lost or met the wrong server.
const SUSPECT_EVERY: Duration = Duration::from_secs(1);

/// A connection cannot be opened. The text names no password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// Opens connections and tells good ones from bad ones.
pub trait Connector: Send + Sync {
    /// A connection.
    type Connection: R2D2Connection + Send + 'static;

    /// Opens a connection.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self) -> Result<Self::Connection, OpenError>;

    /// Checks once, with two connections that are idle, that each of them is a session of its own.
    ///
    /// # Errors
    /// They share one, which the settings do not allow.
    fn compare(
        &self,
        _one: &mut Self::Connection,
        _other: &mut Self::Connection,
    ) -> Result<(), StorageError> {
        Ok(())
    }

    /// Whether two connections have to be compared.
    fn compares(&self) -> bool {
        false
    }

    /// Whether the connection is still to the database that its name leads to.
    fn is_current(&self) -> bool {
        true
    }

    /// Whether a connection can be used for another query after this error of a query.
    fn survives(&self, error: &StorageError) -> bool;
}

/// A pool of connections of one kind.
pub struct Pool<K: Connector> {
    connector: K,
    idle: Mutex<Idle<K::Connection>>,
    compared: Mutex<bool>,
}

struct Idle<C> {
    connections: Vec<Pooled<C>>,
    /// Connections that were opened before are not kept.
    good_since: Instant,
}

struct Pooled<C> {
    connection: C,
    opened_at: Instant,
    used_at: Instant,
}

/// A caller's turn to use a connection.
pub struct Turn {
    /// Until when the caller waits for a connection.
    pub deadline: Instant,
    /// Told when the connection is there.
    pub connected: oneshot::Sender<()>,
    /// Whether to run the work once more if it changed nothing because the connection was lost, or because the database
    /// ended its transaction in favour of another one.
    pub once_more: bool,
    /// Where the caller says that it waits no longer.
    pub place: Place,
}

impl<K: Connector> Pool<K> {
    /// A pool that opens connections when they are needed: succeeds while the database is unavailable.
    pub fn new(connector: K) -> Self {
        let idle = Mutex::new(Idle { connections: Vec::new(), good_since: now() });
        Self { connector, idle, compared: Mutex::new(false) }
    }

    /// How many open connections are not in use.
    pub fn unused(&self) -> u32 {
        u32::try_from(self.idle().connections.len()).unwrap_or(u32::MAX)
    }

    /// Runs `work` on a connection. Blocks the thread.
    pub fn with<T>(
        &self,
        turn: Turn,
        mut work: impl FnMut(&mut K::Connection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let Turn { deadline, connected, once_more, place } = turn;
        let mut pooled = self.take(deadline)?;
        if place.is_given_up() {
            // The caller was told that nothing happened.
            self.keep(pooled);
            return Err(StorageError::Unavailable("the connection came too late".to_owned()));
        }
        // No one listens any more if the caller itself is gone; the work is done all the same.
        let _ = connected.send(());
        let mut result = work(&mut pooled.connection);
        // Not if the caller was told meanwhile that there is no answer.
        match &result {
            Err(error @ StorageError::Conflict(_)) if once_more && !place.is_given_up() => {
                tracing::info!(%error, "trying the query once more");
                result = work(&mut pooled.connection);
            }
            Err(error @ (StorageError::Lost(_) | StorageError::ReadOnly(_)))
                if once_more && !place.is_given_up() && !self.connector.survives(error) =>
            {
                tracing::info!(%error, "trying the query once more on a new connection");
                drop(pooled);
                self.suspect_all();
                pooled = self.open(now() + FRESH_WAIT)?;
                result = work(&mut pooled.connection);
            }
            _ => {}
        }
        let survives = result.as_ref().err().is_none_or(|error| self.connector.survives(error));
        if survives && !place.is_given_up() && !pooled.connection.is_broken() {
            self.keep(pooled);
        }
        result
    }

    /// An idle connection that works, or a new one.
    fn take(&self, deadline: Instant) -> Result<Pooled<K::Connection>, StorageError> {
        if !self.connector.is_current() {
            self.close_all();
        }
        loop {
            let idle = self.idle().connections.pop();
            let Some(mut pooled) = idle else { return self.open_and_compare(deadline) };
            let trusted = pooled.used_at.elapsed() < TRUSTED_FOR;
            if trusted || pooled.connection.ping().is_ok() {
                return Ok(pooled);
            }
            // What closed this one has probably closed the others.
            self.suspect_all();
        }
    }

    fn open_and_compare(&self, deadline: Instant) -> Result<Pooled<K::Connection>, StorageError> {
        let mut pooled = self.open(deadline)?;
        if !self.connector.compares() {
            return Ok(pooled);
        }
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if !*compared {
            let mut other = self.open(deadline)?;
            self.connector.compare(&mut pooled.connection, &mut other.connection)?;
            *compared = true;
            self.keep(other);
        }
        Ok(pooled)
    }

    /// Opens a connection; tries again until the deadline.
    fn open(&self, deadline: Instant) -> Result<Pooled<K::Connection>, StorageError> {
        let (mut pause, longest) = PAUSES;
        loop {
            let opened_at = now();
            match self.connector.open() {
                Ok(connection) => return Ok(Pooled { connection, opened_at, used_at: now() }),
                Err(error) if now() + pause >= deadline => {
                    return Err(StorageError::Unavailable(error.to_string()));
                }
                Err(_) => std::thread::sleep(pause),
            }
            pause = longest.min(pause * 2);
        }
    }

    /// Keeps a connection for the next caller.
    fn keep(&self, mut pooled: Pooled<K::Connection>) {
        pooled.used_at = now();
        let mut idle = self.idle();
        if pooled.opened_at < idle.good_since || pooled.opened_at.elapsed() > OLDEST {
            drop(idle);
            return;
        }
        // The newest is used first, so the first of the list is the one that was idle for the longest time.
        let expired = idle.connections.first().is_some_and(|first| first.used_at.elapsed() > IDLE_FOR);
        let expired = expired.then(|| idle.connections.remove(0));
        idle.connections.push(pooled);
        drop(idle);
        drop(expired); // closing a connection can take a moment
    }

    /// Closes every idle connection, and those in use after their query.
    fn close_all(&self) {
        let mut idle = self.idle();
        idle.good_since = now();
        let closed = std::mem::take(&mut idle.connections);
        drop(idle);
        drop(closed);
    }

    /// The same after a query met a lost connection, the wrong server or no answer, but not for every single one of such
    /// queries.
    pub fn suspect_all(&self) {
        if self.idle().good_since.elapsed() >= SUSPECT_EVERY {
            self.close_all();
        }
    }

    // A panic while the lock is held leaves the list as it was.
    fn idle(&self) -> MutexGuard<'_, Idle<K::Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Instant {
    Instant::from_std(monotonic())
}

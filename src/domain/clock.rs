//! The only module that reads the time.
//!
//! Code that checks whether something has expired gets a [`Clock`], so that tests can move the clock instead of sleeping.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A point in time in UTC, in whole microseconds, which is the resolution of both databases.
pub type Timestamp = DateTime<Utc>;

/// A source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// The current time, truncated to microseconds.
    fn now(&self) -> Timestamp;
}

/// A point in monotonic time.
pub type Moment = Instant;

/// The current monotonic time, which is not affected when the system clock is set. Used to measure and limit durations,
/// never for the expiry of stored data.
#[expect(clippy::disallowed_methods, reason = "this is the module that reads the time")]
pub fn monotonic() -> Moment {
    Instant::now()
}

/// The system clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads the time")]
    fn now(&self) -> Timestamp {
        Utc::now().trunc_subsecs(6)
    }
}

/// A clock that can be moved and stopped, for tests of expiry.
#[derive(Debug, Default)]
pub struct MovableClock(Mutex<Mode>);

#[derive(Debug)]
enum Mode {
    /// Ahead of the system clock by this much.
    Running(TimeDelta),
    Stopped(Timestamp),
}

impl Default for Mode {
    fn default() -> Self {
        Self::Running(TimeDelta::zero())
    }
}

impl MovableClock {
    /// A clock that shows the system time until it is moved.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock; a negative step moves it back.
    pub fn advance(&self, by: TimeDelta) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Mode::Running(ahead) => *ahead += by,
            Mode::Stopped(at) => *at += by,
        }
    }

    /// Stops the clock at `moment`. It shows that time until it is moved, however long the test takes.
    pub fn stand_at(&self, moment: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Mode::Stopped(moment.trunc_subsecs(6));
    }
}

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Mode::Running(ahead) => SystemClock.now() + ahead,
            Mode::Stopped(at) => at,
        }
    }
}

/// A clock that is stopped and changes only when it is moved, for tests that depend on exact times.
#[derive(Debug)]
pub struct StoppedClock {
    micros: AtomicI64,
}

impl StoppedClock {
    /// A clock that is stopped at this time.
    pub fn at(at: Timestamp) -> Self {
        Self { micros: AtomicI64::new(at.timestamp_micros()) }
    }

    /// Moves the clock; a negative step moves it back.
    pub fn advance(&self, by: TimeDelta) {
        let micros = by.num_microseconds().unwrap_or(i64::MAX);
        self.micros.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        DateTime::from_timestamp_micros(self.micros.load(Ordering::SeqCst)).unwrap_or_default()
    }
}

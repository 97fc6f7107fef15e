//! The one place where the time is read.
//!
//! Everything that asks "is it still valid?" is given a [`Clock`], so that a test moves the time instead of
//! sleeping.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A point in time, UTC, in whole microseconds: the finest grain that both databases keep.
pub type Timestamp = DateTime<Utc>;

/// Where the current time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The current time, truncated to microseconds.
    fn now(&self) -> Timestamp;
}

/// A point of the monotonic time.
pub type Moment = Instant;

/// The monotonic time, which no step of a clock touches: for how long work may take or took, never for the life
/// of anything that is kept.
#[expect(clippy::disallowed_methods, reason = "this is the module that reads the time")]
pub fn monotonic() -> Moment {
    Instant::now()
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads the time")]
    fn now(&self) -> Timestamp {
        Utc::now().trunc_subsecs(6)
    }
}

/// A clock that can be moved and stopped: for tests of expiry.
#[derive(Debug, Default)]
pub struct MovableClock(Mutex<Hands>);

#[derive(Debug)]
enum Hands {
    /// So far ahead of the machine's clock.
    Running(TimeDelta),
    Standing(Timestamp),
}

impl Default for Hands {
    fn default() -> Self {
        Self::Running(TimeDelta::zero())
    }
}

impl MovableClock {
    /// A clock that shows the machine's time until it is moved.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock; a negative step moves it back.
    pub fn advance(&self, by: TimeDelta) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Hands::Running(ahead) => *ahead += by,
            Hands::Standing(at) => *at += by,
        }
    }

    /// Sets the clock to `moment`, where it stands still until it is moved: what a test then does takes no time,
    /// however slow the machine is.
    pub fn stand_at(&self, moment: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Hands::Standing(moment.trunc_subsecs(6));
    }
}

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Hands::Running(ahead) => SystemClock.now() + ahead,
            Hands::Standing(at) => at,
        }
    }
}

/// A clock that stands still until it is moved: for tests that must hit a second exactly.
#[derive(Debug)]
pub struct StoppedClock {
    micros: AtomicI64,
}

impl StoppedClock {
    /// A clock that stands at `at`.
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

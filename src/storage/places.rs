//! The places at the database: how many queries run at once.
//!
//! A blocking call to a database that stopped answering cannot be interrupted: it ends when the operating system or the
//! database ends the connection, which can take for ever. So a caller that gives up frees the place, and the thread closes its
//! connection whenever it comes back. The number of such threads is limited: beyond it, places stay taken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// How many threads may hang behind few places.
const LEAST_HANGING: usize = 4;

/// A number of places.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    /// How many threads hang behind a place that was freed.
    hanging: Arc<AtomicUsize>,
    most_hanging: usize,
}

/// A place that is taken. Clones are the same place: one is with the thread that works, one with the caller that waits.
#[derive(Debug, Clone)]
pub struct Place(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    hanging: Arc<AtomicUsize>,
    most_hanging: usize,
}

#[derive(Debug)]
enum State {
    /// The caller waits.
    Taken(OwnedSemaphorePermit),
    /// The caller has given up, and the place is free again.
    GivenUp,
    /// The caller has given up, but too many threads hang already: the place is free when the thread comes back.
    Stuck(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit),
}

impl Places {
    /// So many places. Twice as many threads may hang, or a few if that is less.
    pub fn new(number: usize) -> Self {
        let hanging = Arc::new(AtomicUsize::new(0));
        Self {
            free: Arc::new(Semaphore::new(number)),
            hanging,
            most_hanging: (2 * number).max(LEAST_HANGING),
        }
    }

    /// Takes a place; `None` if none becomes free before the deadline.
    pub async fn take(&self, deadline: Instant) -> Option<Place> {
        let permit = timeout_at(deadline, Arc::clone(&self.free).acquire_owned()).await.ok()?.ok()?;
        let (hanging, most_hanging) = (Arc::clone(&self.hanging), self.most_hanging);
        Some(Place(Arc::new(Shared { state: Mutex::new(State::Taken(permit)), hanging, most_hanging })))
    }

    /// How many places are free.
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }
}

impl Place {
    /// The caller waits no longer.
    pub fn give_up(&self) {
        let mut state = self.0.state();
        let State::Taken(_) = &*state else { return };
        let one_more = |hanging: usize| (hanging < self.0.most_hanging).then_some(hanging + 1);
        let counted = self.0.hanging.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        *state = match std::mem::replace(&mut *state, State::GivenUp) {
            State::Taken(permit) if !counted => State::Stuck(permit),
            _ => State::GivenUp,
        };
    }

    /// Whether the caller waits no longer.
    pub fn is_given_up(&self) -> bool {
        !matches!(&*self.0.state(), State::Taken(_))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if matches!(&*self.state(), State::GivenUp) {
            self.hanging.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::clock::monotonic;

    async fn take(places: &Places) -> Option<Place> {
        places.take(Instant::from_std(monotonic()) + Duration::from_millis(20)).await
    }

    #[tokio::test]
    async fn a_place_that_was_given_up_is_free_while_its_thread_hangs() {
        let places = Places::new(1);
        let mut hanging = Vec::new();
        for _ in 0..=LEAST_HANGING {
            let place = take(&places).await.unwrap();
            assert!(take(&places).await.is_none());
            place.give_up();
            assert!(place.is_given_up());
            hanging.push(place);
        }
        assert_eq!(places.free(), 0, "not any number of threads may hang");
        drop(hanging);
        assert_eq!((places.free(), places.hanging.load(Ordering::Relaxed)), (1, 0));
        let place = take(&places).await.unwrap();
        assert!(!place.is_given_up());
    }
}

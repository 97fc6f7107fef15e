//! Short-lived things by an unguessable name: codes, access tokens, provider sessions. Bounded in number and
//! in time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;

use crate::domain::clock::Timestamp;

/// The most things that are kept; the oldest goes first.
const CAPACITY: usize = 10_000;

/// A map whose entries live equally long.
#[derive(Debug)]
pub(super) struct Expiring<V> {
    lifetime: TimeDelta,
    kept: Mutex<Kept<V>>,
}

#[derive(Debug)]
struct Kept<V> {
    entries: HashMap<String, (Timestamp, V)>,
    /// Names by age; may still hold names of entries that were taken.
    by_age: VecDeque<String>,
}

impl<V: Clone> Expiring<V> {
    pub(super) fn new(lifetime: TimeDelta) -> Self {
        Self { lifetime, kept: Mutex::new(Kept { entries: HashMap::new(), by_age: VecDeque::new() }) }
    }

    pub(super) fn insert(&self, now: Timestamp, name: String, value: V) {
        let mut kept = self.lock();
        while kept.by_age.front().is_some_and(|oldest| match kept.entries.get(oldest) {
            Some((until, _)) => *until <= now || kept.by_age.len() >= CAPACITY,
            None => true,
        }) {
            if let Some(oldest) = kept.by_age.pop_front() {
                kept.entries.remove(&oldest);
            }
        }
        kept.by_age.push_back(name.clone());
        kept.entries.insert(name, (now + self.lifetime, value));
    }

    /// A copy of what is still alive.
    pub(super) fn get(&self, now: Timestamp, name: &str) -> Option<V> {
        let kept = self.lock();
        kept.entries.get(name).filter(|(until, _)| now < *until).map(|(_, value)| value.clone())
    }

    /// Removes it; of parallel calls one gets it.
    pub(super) fn take(&self, now: Timestamp, name: &str) -> Option<V> {
        let taken = self.lock().entries.remove(name);
        taken.filter(|(until, _)| now < *until).map(|(_, value)| value)
    }

    fn lock(&self) -> MutexGuard<'_, Kept<V>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, StoppedClock};

    #[test]
    fn things_expire_and_are_taken_once() {
        let clock = StoppedClock::at(Timestamp::UNIX_EPOCH);
        let codes = Expiring::new(TimeDelta::seconds(60));
        codes.insert(clock.now(), "a".into(), 1);
        codes.insert(clock.now(), "b".into(), 2);
        assert_eq!(codes.get(clock.now(), "a"), Some(1));
        assert_eq!(codes.take(clock.now(), "a"), Some(1));
        assert_eq!(codes.take(clock.now(), "a"), None);
        clock.advance(TimeDelta::seconds(59));
        assert_eq!(codes.get(clock.now(), "b"), Some(2));
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(codes.take(clock.now(), "b"), None);
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let now = Timestamp::UNIX_EPOCH;
        let codes = Expiring::new(TimeDelta::seconds(60));
        for number in 0..=CAPACITY {
            codes.insert(now, number.to_string(), number);
        }
        assert_eq!(codes.get(now, "0"), None);
        assert_eq!(codes.get(now, "1"), Some(1));
        assert_eq!(codes.lock().entries.len(), CAPACITY);
        codes.insert(now + TimeDelta::seconds(60), "later".into(), 0);
        assert_eq!(codes.lock().entries.len(), 1);
        assert_eq!(codes.lock().by_age.len(), 1);
    }
}

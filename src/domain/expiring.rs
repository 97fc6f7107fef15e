//! A bounded map whose entries expire, each at its own time. Time is passed in; nothing runs in the background.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::clock::Timestamp;

/// The map holds as many live entries as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the map is full")]
pub struct Full;

/// Entries by name, and beside them the names in the order in which they expire.
#[derive(Debug)]
pub struct ExpiringMap<V> {
    values: HashMap<Arc<str>, (Timestamp, V)>,
    expiries: BTreeSet<(Timestamp, Arc<str>)>,
    capacity: usize,
}

impl<V> ExpiringMap<V> {
    /// An empty map for at most `capacity` live entries.
    pub fn new(capacity: usize) -> Self {
        Self { values: HashMap::new(), expiries: BTreeSet::new(), capacity }
    }

    /// How many entries there are, live or expired.
    pub fn len(&self) -> usize {
        debug_assert_eq!(self.values.len(), self.expiries.len());
        self.values.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an entry and returns `true`; if the name is taken, nothing changes.
    ///
    /// # Errors
    /// The map is full.
    pub fn insert(
        &mut self,
        name: &str,
        value: V,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<bool, Full> {
        self.purge(now);
        if self.values.contains_key(name) {
            return Ok(false);
        }
        if self.values.len() >= self.capacity {
            return Err(Full);
        }
        let name: Arc<str> = name.into();
        self.expiries.insert((expires_at, Arc::clone(&name)));
        self.values.insert(name, (expires_at, value));
        Ok(true)
    }

    /// Adds an entry; if the map is full, the one that expires first makes room.
    pub fn insert_evicting(&mut self, name: &str, value: V, now: Timestamp, expires_at: Timestamp) {
        self.purge(now);
        self.remove(name);
        if self.values.len() >= self.capacity
            && let Some((_, first)) = self.expiries.pop_first()
        {
            self.values.remove(&first);
        }
        let name: Arc<str> = name.into();
        self.expiries.insert((expires_at, Arc::clone(&name)));
        self.values.insert(name, (expires_at, value));
    }

    /// A live entry.
    pub fn get_mut(&mut self, name: &str, now: Timestamp) -> Option<&mut V> {
        self.purge(now);
        self.values.get_mut(name).map(|(_, value)| value)
    }

    /// Removes an entry, live or expired, and returns its value if it was live at `now`.
    pub fn take(&mut self, name: &str, now: Timestamp) -> Option<V> {
        self.purge(now);
        self.remove(name)
    }

    /// Removes an entry.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        let (name, (expires_at, value)) = self.values.remove_entry(name)?;
        self.expiries.remove(&(expires_at, name));
        Some(value)
    }

    /// Removes what has expired; each entry is looked at once in its life.
    fn purge(&mut self, now: Timestamp) {
        while self.expiries.first().is_some_and(|(expires_at, _)| *expires_at <= now) {
            if let Some((_, name)) = self.expiries.pop_first() {
                self.values.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn entries_expire_at_their_own_time_and_make_room() {
        let mut map = ExpiringMap::new(2);
        assert_eq!(map.insert("a", 1, at(0), at(10)), Ok(true));
        assert_eq!(map.insert("a", 2, at(0), at(99)), Ok(false));
        assert_eq!(map.insert("b", 2, at(0), at(20)), Ok(true));
        assert_eq!(map.insert("c", 3, at(9), at(30)), Err(Full));
        assert_eq!(map.get_mut("a", at(9)), Some(&mut 1));
        assert_eq!(map.get_mut("a", at(10)), None);
        assert_eq!(map.insert("c", 3, at(10), at(30)), Ok(true));
        assert_eq!(map.take("b", at(19)), Some(2));
        assert_eq!(map.take("b", at(19)), None);
        assert_eq!(map.take("c", at(30)), None);
    }

    #[test]
    fn the_entry_that_expires_first_makes_room_if_asked_to() {
        let mut map = ExpiringMap::new(2);
        map.insert_evicting("a", 1, at(0), at(20));
        map.insert_evicting("b", 2, at(0), at(10));
        map.insert_evicting("a", 3, at(0), at(20));
        assert_eq!(map.get_mut("b", at(0)), Some(&mut 2), "replacing needs no room");
        map.insert_evicting("c", 4, at(0), at(30));
        assert_eq!(map.get_mut("b", at(0)), None);
        assert_eq!(map.take("a", at(0)), Some(3));
    }
}

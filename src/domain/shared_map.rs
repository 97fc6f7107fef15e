//! A bounded map whose entries expire and belong to networks. If it is full, the network with the most entries makes room,
//! so that no one can fill it at the cost of others.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::address_prefix::AddressPrefix;
use super::clock::Timestamp;

/// Whose entry it is: the network of a caller, or no one's in particular.
pub type Share = Option<AddressPrefix>;

/// When an entry expires, and its name: entries in this order.
type Expiry = (Timestamp, Arc<str>);

/// Entries by name, in the order in which they expire, and by share.
#[derive(Debug)]
pub struct SharedMap<V> {
    values: HashMap<Arc<str>, Held<V>>,
    expiries: BTreeSet<Expiry>,
    shares: HashMap<Share, BTreeSet<Expiry>>,
    /// How many entries each share has; the largest is the last.
    sizes: BTreeSet<(usize, Share)>,
    capacity: usize,
}

#[derive(Debug)]
struct Held<V> {
    value: V,
    expires_at: Timestamp,
    share: Share,
}

impl<V> SharedMap<V> {
    /// An empty map for at most `capacity` live entries.
    pub fn new(capacity: usize) -> Self {
        let (values, shares) = (HashMap::new(), HashMap::new());
        Self { values, expiries: BTreeSet::new(), shares, sizes: BTreeSet::new(), capacity }
    }

    /// How many entries there are, live or expired.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an entry and returns `true`; if the name is taken, nothing changes. If the map is full, of the share with the
    /// most entries the one that expires first is removed.
    pub fn insert(
        &mut self,
        name: &str,
        value: V,
        share: Share,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> bool {
        self.purge(now);
        if self.values.contains_key(name) {
            return false;
        }
        if self.values.len() >= self.capacity {
            self.make_room();
        }
        let name: Arc<str> = name.into();
        let expiry = (expires_at, Arc::clone(&name));
        self.expiries.insert(expiry.clone());
        self.change_share(share, |entries| entries.insert(expiry));
        self.values.insert(name, Held { value, expires_at, share });
        true
    }

    /// A live entry.
    pub fn get_mut(&mut self, name: &str, now: Timestamp) -> Option<&mut V> {
        self.purge(now);
        self.values.get_mut(name).map(|held| &mut held.value)
    }

    /// Removes an entry.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        let (name, held) = self.values.remove_entry(name)?;
        let expiry = (held.expires_at, name);
        self.expiries.remove(&expiry);
        self.change_share(held.share, |entries| entries.remove(&expiry));
        Some(held.value)
    }

    fn make_room(&mut self) {
        let largest = self.sizes.last().and_then(|(_, share)| self.shares.get(share));
        if let Some((_, name)) = largest.and_then(BTreeSet::first).cloned() {
            self.remove(&name);
        }
    }

    /// Removes what has expired; each entry is looked at once in its life.
    fn purge(&mut self, now: Timestamp) {
        while let Some((_, name)) =
            self.expiries.first().filter(|(expires_at, _)| *expires_at <= now).cloned()
        {
            self.remove(&name);
        }
    }

    fn change_share(&mut self, share: Share, change: impl FnOnce(&mut BTreeSet<Expiry>) -> bool) {
        let entries = self.shares.entry(share).or_default();
        self.sizes.remove(&(entries.len(), share));
        change(entries);
        let size = entries.len();
        if size == 0 {
            self.shares.remove(&share);
        } else {
            self.sizes.insert((size, share));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn share(network: u8) -> Share {
        Some(IpAddr::from(Ipv4Addr::new(10, 0, network, 1)).into())
    }

    fn add(map: &mut SharedMap<u8>, name: &str, network: u8) -> bool {
        map.insert(name, network, share(network), at(0), at(10))
    }

    #[test]
    fn entries_expire_at_their_own_time_and_names_are_taken_once() {
        let mut map = SharedMap::new(2);
        assert!(map.insert("a", 1, None, at(0), at(10)) && map.insert("b", 2, None, at(0), at(20)));
        assert!(!map.insert("a", 3, None, at(9), at(99)));
        assert_eq!(map.get_mut("a", at(9)), Some(&mut 1));
        assert_eq!(map.get_mut("a", at(10)), None);
        assert_eq!((map.len(), map.remove("b"), map.remove("b")), (1, Some(2), None));
        assert!(map.is_empty() && map.expiries.is_empty() && map.shares.is_empty() && map.sizes.is_empty());
    }

    /// However many networks take part in a flood, a network with one entry keeps it while others have more.
    #[test]
    fn the_largest_share_makes_room() {
        let mut map = SharedMap::new(100);
        assert!(add(&mut map, "honest", 255));
        for flood in 0..1_000 {
            assert!(add(&mut map, &format!("flood {flood}"), u8::try_from(flood % 42).unwrap()));
        }
        assert!(add(&mut map, "late", 254));
        assert_eq!(map.len(), 100);
        assert_eq!(map.get_mut("honest", at(0)), Some(&mut 255));
        assert_eq!(map.get_mut("late", at(0)), Some(&mut 254));
        assert_eq!(map.get_mut("flood 0", at(0)), None);
        assert_eq!(map.get_mut("flood 999", at(0)), Some(&mut 33), "the oldest go first");
        assert_eq!(map.sizes.len(), 44);
        assert!(map.sizes.iter().all(|(size, share)| map.shares[share].len() == *size && *size <= 3));
    }
}

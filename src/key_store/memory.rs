//! The key store of a single process: bounded maps behind one lock.
//!
//! Each operation first removes expired values, by the clock that is passed in. There is no background task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;

use super::{KeyStoreError, NewEntry, Pace, Paced, Seen, Taken};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::expiring::{ExpiringMap, Full};
use crate::domain::shared_map::{Share, SharedMap};

/// Entries, requests and marks of used names in memory. Each kind has its own capacity, so that one cannot fill the space of
/// the others. If the entries or the marks are full, the network with the most of them loses its oldest.
pub(super) struct MemoryStore {
    clock: Arc<dyn Clock>,
    capacity: usize,
    maps: Mutex<Maps>,
}

struct Maps {
    entries: SharedMap<Entry>,
    /// Not shared: limits on those who make them keep their number far below the capacity.
    requests: ExpiringMap<Request>,
    used: SharedMap<()>,
    /// Not shared: a proof that loses its mark could be used again.
    proofs: ExpiringMap<()>,
    /// Those of requests for tokens: calls with tokens cannot fill their space.
    grant_proofs: ExpiringMap<()>,
}

struct Request {
    value: Vec<u8>,
    asked_at: Option<Timestamp>,
    /// What earlier questions have added to the time between two of them.
    penalty: TimeDelta,
}

enum Entry {
    Waiting(NewEntry),
    Taken { receipt: Vec<u8>, redemption: Vec<u8> },
}

impl MemoryStore {
    /// A store for at most `capacity` live entries and, separately, as many requests and as many marks of each kind.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let maps = Maps {
            entries: SharedMap::new(capacity),
            requests: ExpiringMap::new(capacity),
            used: SharedMap::new(capacity),
            proofs: ExpiringMap::new(capacity),
            grant_proofs: ExpiringMap::new(capacity),
        };
        Self { clock, capacity, maps: Mutex::new(maps) }
    }

    pub fn put(&self, name: &str, entry: NewEntry, ttl: Duration, share: Share) {
        let now = self.clock.now();
        let mut maps = self.lock();
        maps.entries.remove(name);
        maps.entries.insert(name, Entry::Waiting(entry), share, now, expiry(now, ttl));
    }

    pub fn put_new(&self, name: &str, entry: NewEntry, ttl: Duration, share: Share) -> bool {
        let now = self.clock.now();
        self.lock().entries.insert(name, Entry::Waiting(entry), share, now, expiry(now, ttl))
    }

    pub fn receipt(&self, name: &str) -> Option<Vec<u8>> {
        match self.lock().entries.get_mut(name, self.clock.now())? {
            Entry::Waiting(NewEntry { receipt, .. }) | Entry::Taken { receipt, .. } => Some(receipt.clone()),
        }
    }

    pub fn add_request(&self, name: &str, value: &[u8], ttl: Duration) -> Result<bool, KeyStoreError> {
        let now = self.clock.now();
        let request = Request { value: value.to_vec(), asked_at: None, penalty: TimeDelta::zero() };
        let added = self.lock().requests.insert(name, request, now, expiry(now, ttl));
        added.map_err(|Full| KeyStoreError::Full)
    }

    pub fn find_request(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.lock().requests.get_mut(name, self.clock.now())?.value.clone())
    }

    pub fn pace_request(&self, name: &str, pace: Pace) -> Paced {
        let mut maps = self.lock();
        let Some(request) = maps.requests.get_mut(name, self.clock.now()) else { return Paced::Nothing };
        let since = request.asked_at.replace(pace.now).map(|asked_at| pace.now - asked_at);
        // A clock that was set back makes no question too early.
        let too_early = |since| TimeDelta::zero() <= since && since < pace.interval + request.penalty;
        if since.is_some_and(too_early) {
            request.penalty += pace.penalty;
            return Paced::TooEarly;
        }
        Paced::InTime(request.value.clone())
    }

    pub fn take(&self, name: &str, redemption: &[u8]) -> Taken {
        let now = self.clock.now();
        let mut maps = self.lock();
        let Some(entry) = maps.entries.get_mut(name, now) else { return Taken::Nothing };
        match entry {
            Entry::Waiting(waiting) => {
                let grant = std::mem::take(&mut waiting.grant);
                let receipt = std::mem::take(&mut waiting.receipt);
                *entry = Entry::Taken { receipt, redemption: redemption.to_vec() };
                Taken::First { grant }
            }
            Entry::Taken { receipt, redemption } => {
                Taken::Again { receipt: receipt.clone(), redemption: redemption.clone() }
            }
        }
    }

    pub fn peek(&self, name: &str) -> Seen {
        let now = self.clock.now();
        match self.lock().entries.get_mut(name, now) {
            Some(Entry::Waiting(waiting)) => Seen::Waiting { grant: waiting.grant.clone() },
            Some(Entry::Taken { .. }) => Seen::Taken,
            None => Seen::Nothing,
        }
    }

    pub fn mark_proof(&self, name: &str, for_tokens: bool, ttl: Duration) -> Result<bool, KeyStoreError> {
        let now = self.clock.now();
        let mut maps = self.lock();
        let proofs = if for_tokens { &mut maps.grant_proofs } else { &mut maps.proofs };
        proofs.insert(name, (), now, expiry(now, ttl)).map_err(|Full| KeyStoreError::Full)
    }

    pub fn put_back(&self, name: &str, redemption: &[u8], grant: &[u8]) {
        let now = self.clock.now();
        let mut maps = self.lock();
        let Some(entry) = maps.entries.get_mut(name, now) else { return };
        if let Entry::Taken { receipt, redemption: left } = entry
            && left == redemption
        {
            let receipt = std::mem::take(receipt);
            *entry = Entry::Waiting(NewEntry { grant: grant.to_vec(), receipt });
        }
    }

    pub fn mark_used(&self, name: &str, ttl: Duration, share: Share) -> bool {
        let now = self.clock.now();
        self.lock().used.insert(name, (), share, now, expiry(now, ttl))
    }

    pub fn is_used(&self, name: &str) -> bool {
        self.lock().used.get_mut(name, self.clock.now()).is_some()
    }

    pub fn describe(&self) -> String {
        format!("memory (at most {} keys)", self.capacity)
    }

    // A panic in the middle of an operation can at worst leave an expiry without its value, which `purge` tolerates.
    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When an entry expires that lives for `ttl` from `now` on.
fn expiry(now: Timestamp, ttl: Duration) -> Timestamp {
    let ttl = TimeDelta::from_std(ttl).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(ttl).unwrap_or(Timestamp::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::StoppedClock;

    const TTL: Duration = Duration::from_secs(120);

    fn store(capacity: usize) -> (MemoryStore, Arc<StoppedClock>) {
        let clock = Arc::new(StoppedClock::at(Timestamp::UNIX_EPOCH));
        (MemoryStore::new(capacity, clock.clone()), clock)
    }

    fn entry() -> NewEntry {
        NewEntry { grant: b"grant".to_vec(), receipt: b"receipt".to_vec() }
    }

    #[test]
    fn an_entry_is_valid_for_119_seconds_and_not_for_121() {
        let (store, clock) = store(10);
        store.put("a", entry(), TTL, None);
        store.put("b", entry(), TTL, None);
        clock.advance(TimeDelta::seconds(119));
        assert!(matches!(store.take("a", b""), Taken::First { .. }));
        clock.advance(TimeDelta::seconds(2));
        assert_eq!(store.take("b", b""), Taken::Nothing);
    }

    #[test]
    fn the_receipt_expires_together_with_the_key() {
        let (store, clock) = store(10);
        store.put("a", entry(), TTL, None);
        clock.advance(TimeDelta::seconds(100));
        store.take("a", b"first");
        clock.advance(TimeDelta::seconds(19));
        let replay = Taken::Again { receipt: b"receipt".to_vec(), redemption: b"first".to_vec() };
        assert_eq!(store.take("a", b"second"), replay);
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(store.take("a", b"third"), Taken::Nothing);
    }

    fn share(network: u8) -> Share {
        Some(std::net::IpAddr::from([10, 0, network, 1]).into())
    }

    #[test]
    fn a_flood_costs_the_keys_of_its_own_network() {
        let (store, clock) = store(50);
        store.put("honest", entry(), TTL, share(1));
        for flood in 0..500 {
            clock.advance(TimeDelta::milliseconds(1)); // the oldest is the one that expires first
            store.put(&flood.to_string(), entry(), TTL, share(2));
        }
        store.put("late", entry(), TTL, share(3));
        assert!(matches!(store.take("honest", b""), Taken::First { .. }));
        assert!(matches!(store.take("late", b""), Taken::First { .. }));
        assert_eq!(store.take("0", b""), Taken::Nothing);
        assert!(matches!(store.take("499", b""), Taken::First { .. }));
    }

    #[test]
    fn marks_of_proofs_have_a_capacity_of_their_own_and_are_never_given_up() {
        let (store, clock) = store(1);
        assert!(store.mark_proof("a", false, TTL).unwrap());
        assert!(!store.mark_proof("a", false, TTL).unwrap());
        assert!(matches!(store.mark_proof("b", false, TTL), Err(KeyStoreError::Full)));
        store.put("a", entry(), TTL, share(1));
        assert!(store.mark_used("a", TTL, share(1)));
        assert!(!store.mark_proof("a", false, TTL).unwrap());
        clock.advance(TimeDelta::seconds(120));
        assert!(store.mark_proof("b", false, TTL).unwrap());
    }

    #[test]
    fn calls_with_proofs_do_not_fill_the_space_of_sign_ins() {
        let (store, _) = store(1);
        assert!(store.mark_proof("a", false, TTL).unwrap());
        assert!(matches!(store.mark_proof("b", false, TTL), Err(KeyStoreError::Full)));
        assert!(store.mark_proof("c", true, TTL).unwrap());
        assert!(!store.mark_proof("c", true, TTL).unwrap());
        assert!(matches!(store.mark_proof("d", true, TTL), Err(KeyStoreError::Full)));
    }

    #[test]
    fn looking_at_an_entry_does_not_take_it() {
        let (store, clock) = store(10);
        assert_eq!(store.peek("a"), Seen::Nothing);
        store.put("a", entry(), TTL, share(1));
        for _ in 0..2 {
            assert_eq!(store.peek("a"), Seen::Waiting { grant: b"grant".to_vec() });
        }
        assert!(matches!(store.take("a", b"first"), Taken::First { .. }));
        assert_eq!(store.peek("a"), Seen::Taken);
        clock.advance(TimeDelta::seconds(120));
        assert_eq!(store.peek("a"), Seen::Nothing);
    }

    #[test]
    fn marks_and_entries_have_separate_capacities_and_never_run_out() {
        let (store, _) = store(50);
        store.put("a", entry(), TTL, share(1));
        assert!(store.mark_used("a", TTL, share(1)));
        for flood in 0..500 {
            assert!(store.mark_used(&flood.to_string(), TTL, share(2)));
        }
        assert!(!store.mark_used("a", TTL, share(1)), "another network's flood does not remove the mark");
        assert!(matches!(store.take("a", b""), Taken::First { .. }), "nor the entry");
    }

    #[test]
    fn requests_have_their_own_capacity_and_cannot_keep_a_key_out() {
        let (store, clock) = store(1);
        assert!(store.add_request("a", b"value", TTL).unwrap());
        assert!(!store.add_request("a", b"other", TTL).unwrap(), "the name is taken");
        assert!(matches!(store.add_request("b", b"value", TTL), Err(KeyStoreError::Full)));
        store.put("a", entry(), TTL, None);
        assert_eq!(store.find_request("a").unwrap(), b"value");
        clock.advance(TimeDelta::seconds(120));
        assert_eq!(store.find_request("a"), None);
    }

    #[test]
    fn a_name_can_be_used_again_once_its_mark_has_expired() {
        let (store, clock) = store(10);
        assert!(store.mark_used("a", TTL, None));
        clock.advance(TimeDelta::seconds(60));
        assert!(!store.mark_used("a", TTL, None) && store.is_used("a"));
        clock.advance(TimeDelta::seconds(60));
        assert!(!store.is_used("a"), "is_used does not mark the name");
        assert!(store.mark_used("a", TTL, None));
    }

    #[test]
    fn expired_values_are_removed_from_both_maps() {
        let (store, clock) = store(1_000);
        for i in 0..1_000 {
            store.put(&i.to_string(), entry(), TTL, None);
            store.put(&i.to_string(), entry(), TTL + TTL, None);
        }
        clock.advance(TimeDelta::seconds(240));
        assert_eq!(store.take("0", b""), Taken::Nothing);
        let maps = store.lock();
        assert_eq!(maps.entries.len(), 0);
    }
}

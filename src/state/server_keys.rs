//! The server's own keys while the broker runs: they can be replaced, and nobody notices.
//!
//! A request takes one snapshot with [`ServerKeys::current`] and goes by it to its end. Whoever reads the keys
//! file says [`ServerKeys::replace`], or, with a file that cannot be used, [`ServerKeys::refuse`]: then the ring
//! that was known before stays in effect.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::domain::key_ring::{KeyId, KeyRing};

/// The ring in effect.
#[derive(Debug)]
pub struct ServerKeys {
    ring: ArcSwap<KeyRing>,
    problem: Mutex<Option<String>>,
}

/// Which keys a ring has; says nothing about their secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKeys {
    /// The key that makes everything new.
    pub issuing: KeyId,
    /// All keys whose work is accepted, the issuing one among them.
    pub known: Vec<KeyId>,
}

impl KnownKeys {
    fn of(ring: &KeyRing) -> Self {
        Self { issuing: ring.issuing().id(), known: ring.ids().collect() }
    }
}

impl ServerKeys {
    /// Begins with this ring.
    pub fn new(ring: Arc<KeyRing>) -> Self {
        count(None, &KnownKeys::of(&ring));
        Self { ring: ArcSwap::new(ring), problem: Mutex::default() }
    }

    /// The ring as it is now. Whoever needs it twice for one thing takes it once.
    pub fn current(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Which keys are known now.
    pub fn known(&self) -> KnownKeys {
        KnownKeys::of(&self.current())
    }

    /// From now on this ring is in effect. What a key that is gone has made is refused at once.
    pub fn replace(&self, ring: Arc<KeyRing>) {
        let (before, after) = (self.known(), KnownKeys::of(&ring));
        self.ring.store(ring);
        *self.problem() = None;
        metrics::gauge!("token_broker_server_keys_file_unusable").set(0);
        count(Some(&before), &after);
        tracing::info!(issuing = after.issuing.0, known = ?ids(&after.known), "the server keys were read");
    }

    /// The keys file cannot be used, and why: the ring stays as it is.
    pub fn refuse(&self, problem: String) {
        let KnownKeys { issuing, known } = self.known();
        metrics::gauge!("token_broker_server_keys_file_unusable").set(1);
        tracing::error!(
            problem,
            issuing = issuing.0,
            known = ?ids(&known),
            "the server keys file cannot be used: the keys that were known stay in effect; mend the file, it is \
             read again within seconds"
        );
        *self.problem() = Some(problem);
    }

    /// What is wrong with the keys file at the moment.
    pub fn file_problem(&self) -> Option<String> {
        self.problem().clone()
    }

    fn problem(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ids(keys: &[KeyId]) -> Vec<u32> {
    keys.iter().map(|id| id.0).collect()
}

/// So that an operator sees that every instance has a new key before it issues.
fn count(before: Option<&KnownKeys>, after: &KnownKeys) {
    let gone = before.into_iter().flat_map(|before| &before.known).filter(|id| !after.known.contains(id));
    for id in gone.chain(&after.known) {
        let (known, issues) = (after.known.contains(id), after.issuing == *id);
        let id = id.to_string();
        metrics::gauge!("token_broker_server_key_known", "key" => id.clone()).set(f64::from(u8::from(known)));
        metrics::gauge!("token_broker_server_key_issues", "key" => id).set(f64::from(u8::from(issues)));
    }
}

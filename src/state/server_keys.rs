//! The server keys of a running broker, which can be replaced without downtime.
//!
//! A request takes one snapshot with [`ServerKeys::current`] and uses it to its end. The task that watches the keys file
//! calls [`ServerKeys::replace`] with the new ring, or [`ServerKeys::refuse`] if the file cannot be used. In that case
//! the previous ring stays in effect. The keys that sign JWTs are derived when a ring is loaded, not for each signature.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::domain::key_ring::{KeyId, KeyRing};
use crate::domain::metric;
use crate::domain::signing_key::{JwtType, SigningKeys};
use crate::error::{Error, ErrorCode, Result};

/// The key ring in effect, and the keys that are derived from it.
#[derive(Debug)]
pub struct ServerKeys {
    loaded: ArcSwap<Loaded>,
    problem: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Loaded {
    ring: Arc<KeyRing>,
    signing: Arc<SigningKeys>,
}

impl Loaded {
    fn new(ring: Arc<KeyRing>) -> Arc<Self> {
        let signing = Arc::new(SigningKeys::of(&ring));
        Arc::new(Self { ring, signing })
    }
}

/// The ids of the keys in a ring, without their secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKeys {
    /// The key that issues all new credentials.
    pub issuing: KeyId,
    /// All keys whose credentials are accepted, including the issuing key.
    pub known: Vec<KeyId>,
}

impl KnownKeys {
    fn from_ring(ring: &KeyRing) -> Self {
        Self { issuing: ring.issuing().id(), known: ring.ids().collect() }
    }
}

impl ServerKeys {
    /// Starts with this ring.
    pub fn new(ring: Arc<KeyRing>) -> Self {
        metrics::gauge!(metric::SERVER_KEYS_FILE_UNUSABLE.name).set(0);
        report_metrics(None, &KnownKeys::from_ring(&ring));
        Self { loaded: ArcSwap::new(Loaded::new(ring)), problem: Mutex::default() }
    }

    /// The current ring. A request calls this once and uses the same snapshot throughout.
    pub fn current(&self) -> Arc<KeyRing> {
        self.loaded.load().ring.clone()
    }

    /// The keys that sign JWTs, of the current ring.
    pub fn signing(&self) -> Arc<SigningKeys> {
        self.loaded.load().signing.clone()
    }

    /// Signs a JWT with the issuing key.
    ///
    /// # Errors
    /// `server_error` if the cryptographic library fails.
    pub fn sign(&self, jwt: JwtType, claims: &impl Serialize) -> Result<String> {
        let keys = self.signing();
        let signed = keys.issuing().and_then(|key| key.sign(jwt, claims));
        signed.ok_or_else(|| Error::new(ErrorCode::ServerError).caused_by("a JWT is not signed"))
    }

    /// The ids of the current keys.
    pub fn known(&self) -> KnownKeys {
        KnownKeys::from_ring(&self.current())
    }

    /// Makes this ring the current one. Credentials issued by a removed key are refused at once.
    pub fn replace(&self, ring: Arc<KeyRing>) {
        let (before, after) = (self.known(), KnownKeys::from_ring(&ring));
        self.loaded.store(Loaded::new(ring));
        *self.problem() = None;
        metrics::gauge!(metric::SERVER_KEYS_FILE_UNUSABLE.name).set(0);
        report_metrics(Some(&before), &after);
        tracing::info!(issuing = after.issuing.0, known = ?ids(&after.known), "server keys loaded");
    }

    /// Reports that the keys file cannot be used and why. The current ring stays in effect.
    pub fn refuse(&self, problem: String) {
        let KnownKeys { issuing, known } = self.known();
        metrics::gauge!(metric::SERVER_KEYS_FILE_UNUSABLE.name).set(1);
        tracing::error!(
            problem,
            issuing = issuing.0,
            known = ?ids(&known),
            "the server keys file cannot be used; keeping the previous keys. Fix the file; it is read again within \
             seconds"
        );
        *self.problem() = Some(problem);
    }

    /// What is wrong with the keys file, if it cannot be used at the moment.
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

/// Updates the metrics, which show an operator whether every instance knows a new key before it issues.
fn report_metrics(before: Option<&KnownKeys>, after: &KnownKeys) {
    let removed = before.into_iter().flat_map(|before| &before.known).filter(|id| !after.known.contains(id));
    for id in removed.chain(&after.known) {
        let (known, issues) = (after.known.contains(id), after.issuing == *id);
        let id = id.to_string();
        metrics::gauge!(metric::SERVER_KEY_KNOWN.name, "key" => id.clone()).set(f64::from(u8::from(known)));
        metrics::gauge!(metric::SERVER_KEY_ISSUES.name, "key" => id).set(f64::from(u8::from(issues)));
    }
}

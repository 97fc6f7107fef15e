//! The only module that generates random bytes.

use std::sync::Mutex;

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};
use uuid::Uuid;

/// A source of random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `target` with random bytes.
    fn fill(&self, target: &mut [u8]);
}

/// Generates `N` random bytes.
pub fn bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut drawn = [0; N];
    entropy.fill(&mut drawn);
    drawn
}

/// Generates a random identifier (UUID version 4). Its 122 random bits make ids unguessable.
pub fn uuid(entropy: &dyn Entropy) -> Uuid {
    uuid::Builder::from_random_bytes(bytes(entropy)).into_uuid()
}

/// The random generator of the operating system, the only source that a running broker uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(
        clippy::expect_used,
        reason = "without the random generator of the system, nothing that this program issues is secure"
    )]
    fn fill(&self, target: &mut [u8]) {
        SysRng.try_fill_bytes(target).expect("the random generator of the operating system works");
    }
}

/// A deterministic generator, so that a failing test can be reproduced.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    /// A generator that produces the same bytes for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, target: &mut [u8]) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill_bytes(target);
    }
}

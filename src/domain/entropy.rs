//! The one place where random bytes are drawn.

use std::sync::Mutex;

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};
use uuid::Uuid;

/// Where random bytes come from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `target` with random bytes.
    fn fill(&self, target: &mut [u8]);
}

/// Draws `N` random bytes.
pub fn bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut drawn = [0; N];
    entropy.fill(&mut drawn);
    drawn
}

/// Draws a random identifier (UUID version 4: 122 random bits, so that ids cannot be guessed).
pub fn uuid(entropy: &dyn Entropy) -> Uuid {
    uuid::Builder::from_random_bytes(bytes(entropy)).into_uuid()
}

/// The operating system's generator: the only source in a running broker.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(
        clippy::expect_used,
        reason = "without the system's generator nothing this program issues is safe"
    )]
    fn fill(&self, target: &mut [u8]) {
        SysRng.try_fill_bytes(target).expect("the operating system's random generator answers");
    }
}

/// A repeatable generator, so that a failing test run can be run again.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    /// The generator that always starts the same way for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, target: &mut [u8]) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill_bytes(target);
    }
}

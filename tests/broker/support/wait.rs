//! Waiting for what comes in its own time: as long as it takes, also on a machine that is slow or busy.

use std::fmt::Debug;
use std::time::Duration;

use token_broker::domain::clock::monotonic;
use tokio::time::sleep;

/// When a test gives up. No promise of the broker's: those are measured, see [`super::outage`].
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until there is what the test waits for; gives that. What was seen last is the message of
/// a test that waited in vain.
pub async fn until<T, E: Debug>(mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let begun = monotonic();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(begun.elapsed() < PATIENCE, "waited in vain: {seen:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The same for what is only true or not.
pub async fn until_true(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    until(async || if holds().await { Ok(()) } else { Err(what) }).await;
}

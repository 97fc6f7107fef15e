//! Waits for asynchronous effects, also on a slow or busy machine.

use std::fmt::Debug;
use std::time::Duration;

use token_broker::domain::clock::monotonic;
use tokio::time::sleep;

/// When a test gives up. This is not a promised time of the broker; those are measured in [`super::outage`].
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until the expected value is found and returns it. If the time is over, the test fails with the last
/// observation.
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

/// The same for a condition.
pub async fn until_true(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    until(async || if holds().await { Ok(()) } else { Err(what) }).await;
}

//! Rate limits per address, in this process: a flood from one address does not reach the stores and does not
//! slow anybody else down.
//!
//! A failed redemption or token check is judged first and counted after, so that somebody behind the same
//! address with a good key or token is never locked out by a guesser.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::domain::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::Caller;

/// After so many new checks the limiter forgets addresses that have been quiet.
const SWEEP_EVERY: usize = 10_000;

/// How many requests one address may make in a minute.
#[derive(Debug, Clone, Copy)]
pub struct LimitSettings {
    /// Logins begun.
    pub logins: NonZeroU32,
    /// Callbacks.
    pub callbacks: NonZeroU32,
    /// Redemptions that failed.
    pub failed_redemptions: NonZeroU32,
    /// Token checks that failed.
    pub failed_tokens: NonZeroU32,
}

/// The limits of one process.
pub struct RateLimits {
    logins: Limit,
    callbacks: Limit,
    failed_redemptions: Limit,
    failed_tokens: Limit,
}

impl RateLimits {
    /// Limits that start empty.
    pub fn new(settings: LimitSettings, clock: &Arc<dyn Clock>) -> Self {
        let limit = |per_minute| Limit::new(per_minute, LimitClock::new(clock.clone()));
        Self {
            logins: limit(settings.logins),
            callbacks: limit(settings.callbacks),
            failed_redemptions: limit(settings.failed_redemptions),
            failed_tokens: limit(settings.failed_tokens),
        }
    }

    pub(super) fn login(&self, caller: &Caller) -> Result<()> {
        self.logins.count(caller)
    }

    pub(super) fn callback(&self, caller: &Caller) -> Result<()> {
        self.callbacks.count(caller)
    }

    pub(super) fn failed_redemption(&self, caller: &Caller) -> Result<()> {
        self.failed_redemptions.count(caller)
    }

    pub(super) fn failed_token(&self, caller: &Caller) -> Result<()> {
        self.failed_tokens.count(caller)
    }
}

impl std::fmt::Debug for RateLimits {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("RateLimits")
    }
}

type Limiter = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, LimitClock, NoOpMiddleware<Nanos>>;

struct Limit {
    limiter: Limiter,
    clock: LimitClock,
    checks: AtomicUsize,
}

impl Limit {
    fn new(per_minute: NonZeroU32, clock: LimitClock) -> Self {
        let limiter = RateLimiter::dashmap_with_clock(Quota::per_minute(per_minute), clock.clone());
        Self { limiter, clock, checks: AtomicUsize::new(0) }
    }

    fn count(&self, caller: &Caller) -> Result<()> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&network(caller.address)).map_err(|denied| {
            let wait = denied.wait_time_from(self.clock.now());
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            Error::new(ErrorCode::RateLimited).retry_after(seconds)
        })
    }
}

/// An IPv6 customer has a whole /64: it counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// Lets the limiter read the broker's clock.
#[derive(Clone)]
struct LimitClock {
    clock: Arc<dyn Clock>,
    start: Timestamp,
}

impl LimitClock {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let start = clock.now();
        Self { clock, start }
    }
}

impl GovernorClock for LimitClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        // A clock that was set back before the start counts as the start.
        let since = (self.clock.now() - self.start).to_std().unwrap_or_default();
        Nanos::from(since)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::clock::MovableClock;

    fn caller(address: &str) -> Caller {
        let address = address.parse().unwrap();
        Caller { request_id: "r".into(), address, user_agent: None, origin: None }
    }

    #[test]
    fn ls_11_an_address_is_slowed_down_and_no_other() {
        let clock = Arc::new(MovableClock::new());
        let per_minute = NonZeroU32::new(3).unwrap();
        let limit = Limit::new(per_minute, LimitClock::new(clock.clone()));
        for _ in 0..3 {
            limit.count(&caller("2001:db8::1")).unwrap();
        }
        let refused = limit.count(&caller("2001:db8::2")).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::RateLimited);
        assert!(refused.retry_after_seconds().is_some_and(|seconds| (1..=21).contains(&seconds)));
        limit.count(&caller("2001:db8:0:1::1")).unwrap();
        limit.count(&caller("192.0.2.1")).unwrap();
        clock.advance(TimeDelta::seconds(60));
        limit.count(&caller("2001:db8::1")).unwrap();
    }
}

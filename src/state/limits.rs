//! Rate limits per address, in this process: a flood from one address does not reach the stores and slows down no one
//! else.
//!
//! Keys, tokens and secrets are checked first, and only the failures are counted, so that another user behind the same
//! address with a good one is not locked out by a guesser. What a guesser can cost the key store is bounded by the limit
//! on all redemptions, which is far above what users need.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::{ResourceServerId, UserId};
use crate::error::{Error, ErrorCode, Result};
use crate::state::Broker;
use crate::state::audit_trail::Event;

/// Number of checks after which addresses without recent requests are removed.
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
    /// Made-up or mistyped tokens that were presented.
    pub failed_tokens: NonZeroU32,
    /// Logout tokens that were refused.
    pub failed_logout_tokens: NonZeroU32,
    /// Resource servers that failed to authenticate.
    pub failed_resource_servers: NonZeroU32,
    /// Calls with tokens that are bound to a key, of one user instead of one address.
    pub dpop_calls: NonZeroU32,
    /// Devices that ask to be connected, and user codes that are entered, each; of the codes, also those of one user.
    pub devices: NonZeroU32,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// A login that begins.
    Login,
    /// A callback.
    Callback,
    /// A redemption, whatever comes of it.
    Redemption,
    /// A redemption that failed.
    FailedRedemption,
    /// A text that is not a token of this broker was presented as one.
    FailedToken,
    /// A provider's logout token that was refused.
    FailedLogoutToken,
    /// A wrong id or secret of a resource server.
    FailedResourceServer,
    /// A device that asks to be connected.
    Device,
    /// A user code that is entered, right or wrong: it is short, so what counts is how often anyone may guess.
    UserCode,
}

/// How many devices, and how many user codes, are allowed in all for each that one address is allowed. This bounds the
/// entries of the key store, and how soon many addresses together guess a code.
const DEVICES_IN_ALL: NonZeroU32 = NonZeroU32::new(50).unwrap();

/// The key of a limit on all addresses together.
const EVERYONE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// How many redemptions per address are allowed for each failed one that is allowed: many users can share an address.
const REDEMPTIONS_PER_FAILURE: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// The limits of one process.
pub struct RateLimits {
    logins: Limit,
    callbacks: Limit,
    redemptions: Limit,
    failed_redemptions: Limit,
    failed_tokens: Limit,
    failed_logout_tokens: Limit,
    failed_resource_servers: Limit,
    devices: Limit,
    all_devices: Limit,
    user_codes: Limit,
    all_user_codes: Limit,
    user_codes_of_user: Limit<UserId>,
    holder_refusals: Limit,
    gateway_refusals: Limit,
    resource_server_refusals: Limit<ResourceServerId>,
    dpop_calls: Limit<UserId>,
    notices: Limit,
}

impl RateLimits {
    /// Limits that start empty.
    pub fn new(settings: LimitSettings, clock: &Arc<dyn Clock>) -> Self {
        let limit = |per_minute| Limit::new(per_minute, LimitClock::new(clock.clone()));
        let failed = settings.failed_redemptions;
        Self {
            logins: limit(settings.logins),
            callbacks: limit(settings.callbacks),
            redemptions: limit(failed.saturating_mul(REDEMPTIONS_PER_FAILURE)),
            failed_redemptions: limit(failed),
            failed_tokens: limit(settings.failed_tokens),
            failed_logout_tokens: limit(settings.failed_logout_tokens),
            failed_resource_servers: limit(settings.failed_resource_servers),
            devices: limit(settings.devices),
            all_devices: limit(settings.devices.saturating_mul(DEVICES_IN_ALL)),
            user_codes: limit(settings.devices),
            all_user_codes: limit(settings.devices.saturating_mul(DEVICES_IN_ALL)),
            user_codes_of_user: Limit::new(settings.devices, LimitClock::new(clock.clone())),
            holder_refusals: limit(settings.failed_tokens),
            gateway_refusals: limit(settings.failed_tokens),
            notices: limit(NonZeroU32::MIN),
            resource_server_refusals: Limit::new(settings.failed_tokens, LimitClock::new(clock.clone())),
            dpop_calls: Limit::new(settings.dpop_calls, LimitClock::new(clock.clone())),
        }
    }

    fn of(&self, counted: Counted) -> &Limit {
        match counted {
            Counted::Login => &self.logins,
            Counted::Callback => &self.callbacks,
            Counted::Redemption => &self.redemptions,
            Counted::FailedRedemption => &self.failed_redemptions,
            Counted::FailedToken => &self.failed_tokens,
            Counted::FailedLogoutToken => &self.failed_logout_tokens,
            Counted::FailedResourceServer => &self.failed_resource_servers,
            Counted::Device => &self.devices,
            Counted::UserCode => &self.user_codes,
        }
    }

    /// The limit on all addresses together, for what has one.
    fn in_all(&self, counted: Counted) -> Option<&Limit> {
        match counted {
            Counted::Device => Some(&self.all_devices),
            Counted::UserCode => Some(&self.all_user_codes),
            _ => None,
        }
    }
}

/// Counts a request against its limit.
///
/// # Errors
/// `rate_limited`. If an address keeps exceeding the limit, one refusal per minute is recorded: a flood must not push other
/// events out of the audit trail.
pub(crate) fn count(broker: &Broker, caller: &Caller, counted: Counted) -> Result<()> {
    let address = network(caller.address);
    let in_all = || broker.limits.in_all(counted).map_or(Ok(()), |limit| limit.count(&EVERYONE));
    // In this order, so that one address that exceeds its own limit uses up nothing of the others'.
    let counted = broker.limits.of(counted).count(&address).and_then(|()| in_all());
    counted.inspect_err(|refused| notice(broker, caller, refused))
}

/// Counts a user code that a signed-in user enters, against the limit of this user first: one account must not use up what
/// all of them together may try.
///
/// # Errors
/// As [`count`].
pub(crate) fn count_user_code(broker: &Broker, caller: &Caller, user: UserId) -> Result<()> {
    let of_user = broker.limits.user_codes_of_user.count(&user);
    of_user.inspect_err(|refused| notice(broker, caller, refused))?;
    count(broker, caller, Counted::UserCode)
}

fn notice(broker: &Broker, caller: &Caller, refused: &Error) {
    if broker.limits.notices.count(&network(caller.address)).is_ok() {
        Event::new(broker, caller, AuditKind::RateLimited).reason(refused.code()).record();
    }
}

/// Counts a call of this user whose proof has to be remembered: one user must not fill the key store, on which the logins of
/// all depend.
///
/// # Errors
/// `rate_limited`.
pub(crate) fn count_proof(broker: &Broker, user: UserId) -> Result<()> {
    broker.limits.dpop_calls.count(&user)
}

/// Whether one more refused token of this resource server is recorded. However many dead tokens it asks about, it gets
/// its answers, but it does not push other events out of the audit trail.
pub(crate) fn records_refusal_of_api(broker: &Broker, id: &ResourceServerId) -> bool {
    broker.limits.resource_server_refusals.count(id).is_ok()
}

/// Whether one more refusal of a token that this broker issued is recorded. Such a refusal is no guess, so it never
/// slows its address down; but a flood of them must not push other events out of the audit trail either.
pub(crate) fn records_refusal(broker: &Broker, caller: &Caller) -> bool {
    broker.limits.holder_refusals.count(&network(caller.address)).is_ok()
}

/// Whether one more refused token that came through this gateway is recorded. The gateway always gets its answer, but
/// anyone can send made-up tokens through it.
pub(crate) fn records_refusal_of_gateway(broker: &Broker, caller: &Caller) -> bool {
    broker.limits.gateway_refusals.count(&network(caller.address)).is_ok()
}

impl std::fmt::Debug for RateLimits {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("RateLimits")
    }
}

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, LimitClock, NoOpMiddleware<Nanos>>;

struct Limit<K: Hash + Eq + Clone = IpAddr> {
    limiter: Limiter<K>,
    clock: LimitClock,
    checks: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(per_minute: NonZeroU32, clock: LimitClock) -> Self {
        let limiter = RateLimiter::dashmap_with_clock(Quota::per_minute(per_minute), clock.clone());
        Self { limiter, clock, checks: AtomicUsize::new(0) }
    }

    fn count(&self, key: &K) -> Result<()> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|denied| {
            let wait = denied.wait_time_from(self.clock.now());
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            Error::new(ErrorCode::RateLimited).retry_after(seconds)
        })
    }
}

/// An IPv6 customer has a whole /64: it counts as one address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// Lets the limiter read the broker's clock, as far as it goes forward: a clock that was set back would
/// otherwise lock everyone out until it is where it was.
#[derive(Clone)]
struct LimitClock {
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<(Timestamp, Duration)>>,
}

impl LimitClock {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let seen = Arc::new(Mutex::new((clock.now(), Duration::ZERO)));
        Self { clock, seen }
    }
}

impl GovernorClock for LimitClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let now = self.clock.now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, elapsed) = &mut *seen;
        *elapsed += (now - *last).to_std().unwrap_or_default();
        *last = now;
        Nanos::from(*elapsed)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use uuid::Uuid;

    use super::*;
    use crate::domain::clock::MovableClock;
    use crate::domain::request_id::RequestId;
    use crate::state::testing;

    fn caller(address: &str) -> IpAddr {
        network(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_slowed_down_and_no_other() {
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

    #[test]
    fn user_codes_are_limited_by_user_by_address_and_in_all() {
        let limits = LimitSettings { devices: NonZeroU32::MIN, ..testing::limits() };
        let broker = testing::broker();
        let broker = Broker { limits: RateLimits::new(limits, &broker.clock.clone()), ..broker };
        let enter = |user: u128, last: u8| {
            let caller = Caller {
                request_id: RequestId::random(&*broker.entropy),
                address: [192, 0, 2, last].into(),
                user_agent: None,
                origin: None,
            };
            count_user_code(&broker, &caller, Uuid::from_u128(user).into()).is_ok()
        };
        assert!(enter(0, 0));
        assert!(!enter(0, 1), "the user");
        assert!(!enter(1, 0), "the address");
        // Neither refusal was counted against the others.
        assert_eq!((2..=250).filter(|other| enter(u128::from(*other), *other)).count(), 49, "all");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_no_one_out() {
        let clock = Arc::new(MovableClock::new());
        let limit = Limit::new(NonZeroU32::new(1).unwrap(), LimitClock::new(clock.clone()));
        limit.count(&caller("192.0.2.1")).unwrap();
        clock.advance(TimeDelta::hours(-2));
        assert!(limit.count(&caller("192.0.2.1")).is_err());
        clock.advance(TimeDelta::seconds(60));
        limit.count(&caller("192.0.2.1")).unwrap();
    }
}

//! How many sign-ins one browser can have open at the same time.

use crate::domain::clock::Timestamp;
use crate::domain::login_attempt::AttemptId;
use crate::flow::AttemptCookie;

/// Sign-ins that one browser can have open at the same time; beyond that the oldest is dropped.
const OPEN_ATTEMPTS: usize = 5;

/// The attempts to delete so that the browser holds no more than it may once it has begun another one: those of which
/// `started` returns `None` because they cannot be completed any more, and the oldest.
pub(super) fn surplus(
    cookies: &[AttemptCookie],
    started: impl Fn(&AttemptCookie) -> Option<Timestamp>,
) -> Vec<AttemptId> {
    let mut by_age: Vec<(Option<Timestamp>, &AttemptId)> =
        cookies.iter().map(|cookie| (started(cookie), &cookie.id)).collect();
    by_age.sort_by_key(|(started, _)| std::cmp::Reverse(*started));
    let dead_or_old = |(at, (started, _)): &(usize, &(Option<Timestamp>, &AttemptId))| {
        started.is_none() || *at >= OPEN_ATTEMPTS - 1
    };
    by_age.iter().enumerate().filter(dead_or_old).map(|(_, (_, id))| (*id).clone()).collect()
}

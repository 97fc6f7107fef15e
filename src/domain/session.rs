//! Sessions: one browser's sign-in, from the login to logout, revocation or thirty days.

use std::net::IpAddr;

use chrono::TimeDelta;

use super::address_prefix::AddressPrefix;
use super::clock::Timestamp;
use super::ids::{IdentityId, SessionId};
use super::lifetimes::SIGN_IN_AHEAD;
use super::profile::ProfileText;
use super::user::User;

/// A session as its owner may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id; does not authenticate anything.
    pub id: SessionId,
    /// When the login was.
    pub created_at: Timestamp,
    /// When it ends, at the latest.
    pub expires_at: Timestamp,
    /// When the person last authenticated at the provider, if it says so.
    pub auth_time: Option<Timestamp>,
}

impl Session {
    /// Whether the person signed in at most `limit` before `now`.
    ///
    /// What counts is when the person authenticated at the provider. A provider that could say so, but did not
    /// (`provable`), proves nothing. One that never can, because it is plain OAuth 2, is trusted to have asked: then the
    /// login counts. A time that is further ahead than clocks differ means that the broker's clock was set back.
    pub fn is_fresh(&self, provable: bool, limit: TimeDelta, now: Timestamp) -> bool {
        let signed_in = if provable { self.auth_time } else { self.auth_time.or(Some(self.created_at)) };
        signed_in.is_some_and(|at| now - at <= limit && at - now <= SIGN_IN_AHEAD)
    }
}

/// A session with what decides whether it is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    /// The session.
    pub session: Session,
    /// When it was ended.
    pub revoked_at: Option<Timestamp>,
    /// When any of its tokens was last used, accurate to
    /// [`LAST_USE_GRAIN`](crate::domain::lifetimes::LAST_USE_GRAIN); `None` before the first use.
    pub last_used_at: Option<Timestamp>,
}

/// A stored session, live or not, with its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The session.
    pub state: SessionState,
    /// The identity that signed in.
    pub identity_id: IdentityId,
    /// The browser that signed in.
    pub browser: Browser,
    /// The user, with the profile of that identity.
    pub user: User,
    /// When the user was disabled.
    pub user_disabled_at: Option<Timestamp>,
}

/// What is kept of the browser that signed in, so that its owner can tell sessions apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browser {
    /// The `User-Agent` header, cleaned and capped.
    pub user_agent: Option<ProfileText>,
    /// The network of the address.
    pub address_prefix: AddressPrefix,
}

impl Browser {
    /// What is kept of an address and a `User-Agent` header.
    pub fn new(address: IpAddr, user_agent: Option<&str>) -> Self {
        Self { user_agent: user_agent.and_then(ProfileText::clean), address_prefix: address.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entropy::SeededEntropy;
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn session(auth_time: Option<i64>) -> Session {
        Session {
            id: SessionId::random(&SeededEntropy::new(1)),
            created_at: at(1000),
            expires_at: at(9000),
            auth_time: auth_time.map(at),
        }
    }

    #[test]
    fn a_sign_in_is_fresh_until_the_limit_and_not_far_in_the_future() {
        let limit = TimeDelta::seconds(100);
        for (auth_time, provable, now, fresh) in [
            (Some(500), true, 600, true),
            (Some(500), true, 601, false),
            (Some(500), false, 601, false),
            (Some(560), true, 500, true),
            (Some(561), true, 500, false),
            (None, true, 1000, false),
            (None, false, 1100, true),
            (None, false, 1101, false),
            (None, false, 939, false),
        ] {
            let found = session(auth_time).is_fresh(provable, limit, at(now));
            assert_eq!(found, fresh, "{auth_time:?} {provable} {now}");
        }
    }
}

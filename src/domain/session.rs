//! Sessions: one browser's sign-in, from the login to logout, revocation or thirty days.

use std::net::IpAddr;

use super::address_prefix::AddressPrefix;
use super::clock::Timestamp;
use super::ids::{IdentityId, SessionId};
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

//! Sessions: one browser's sign-in, from the login to logout, revocation or thirty days.

use std::net::IpAddr;

use super::clock::Timestamp;
use super::ids::SessionId;
use super::profile::ProfileText;

/// A session as its owner may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id; does not authenticate anything.
    pub id: SessionId,
    /// When the login was.
    pub created_at: Timestamp,
    /// When it ends, at the latest.
    pub expires_at: Timestamp,
    /// When the person last proved who they are at the provider, where it says so.
    pub auth_time: Option<Timestamp>,
}

/// What is kept of the browser that signed in, so that its owner can tell sessions apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browser {
    /// The `User-Agent` header, cleaned and capped.
    pub user_agent: Option<ProfileText>,
    /// The network of the address: /24 of IPv4, /48 of IPv6.
    pub address_prefix: String,
}

impl Browser {
    /// What is kept of an address and a `User-Agent` header.
    pub fn new(address: IpAddr, user_agent: Option<&str>) -> Self {
        Self { user_agent: user_agent.and_then(ProfileText::clean), address_prefix: prefix(address) }
    }
}

fn prefix(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_as_networks_only() {
        assert_eq!(prefix("192.0.2.77".parse().unwrap()), "192.0.2.0/24");
        assert_eq!(prefix("::ffff:192.0.2.77".parse().unwrap()), "192.0.2.0/24");
        assert_eq!(prefix("2001:db8:1:2::3".parse().unwrap()), "2001:db8:1::/48");
    }
}

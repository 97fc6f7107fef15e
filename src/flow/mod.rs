//! What happens, in order: the product. One file per step; whoever reads them knows the broker.
//!
//! A step takes the [`Broker`](crate::state::Broker), the [`Caller`] and a request in plain words, and gives an
//! answer in plain words. It knows no HTTP framework; the transport beside it has a file of the same name.

pub mod administration;
pub mod audit_trail;
pub mod authenticate;
pub mod backchannel_logout;
pub mod browser_logout;
pub mod browser_session;
pub mod callback;
mod continue_session;
mod hand_over;
pub mod health;
mod issue;
pub mod key_change;
pub mod last_use;
pub mod late_revocations;
pub mod limits;
pub mod login;
pub mod logout;
pub mod permissions;
pub mod redeem;
pub mod rotate;
pub mod server_keys;
pub mod sessions;

use std::net::IpAddr;

use crate::domain::login_attempt::AttemptId;
use crate::domain::one_time_key::BrowserPrint;
use crate::domain::session::Browser;

pub use issue::IssuedToken;

/// Who is asking, as far as a request tells.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Links answers, log lines and audit events.
    pub request_id: String,
    /// The peer, or the first untrusted hop behind the trusted proxies.
    pub address: IpAddr,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The `Origin` header.
    pub origin: Option<String>,
}

impl Caller {
    /// What is kept of the browser with its session.
    fn browser(&self) -> Browser {
        Browser::new(self.address, self.user_agent.as_deref())
    }

    /// What tells a double submit from a foreign replay.
    fn print(&self) -> BrowserPrint {
        BrowserPrint::of(&self.address.to_string(), self.user_agent.as_deref().unwrap_or_default())
    }
}

/// The cookie of one login attempt.
#[derive(Clone)]
pub struct AttemptCookie {
    /// Which attempt.
    pub id: AttemptId,
    /// The sealed attempt.
    pub value: String,
}

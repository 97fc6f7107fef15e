//! Who calls: what a request tells of where it comes from.

use std::net::IpAddr;

use super::one_time_key::BrowserPrint;
use super::request_id::RequestId;
use super::session::Browser;

/// Who is asking, as far as a request tells.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Links answers, log lines and audit events.
    pub request_id: RequestId,
    /// The peer, or the first untrusted hop behind the trusted proxies.
    pub address: IpAddr,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The `Origin` header.
    pub origin: Option<String>,
}

impl Caller {
    /// What is kept of the browser with its session.
    pub fn browser(&self) -> Browser {
        Browser::new(self.address, self.user_agent.as_deref())
    }

    /// What tells a double submit from a foreign replay.
    pub fn print(&self) -> BrowserPrint {
        BrowserPrint::of(&self.address.to_string(), self.user_agent.as_deref().unwrap_or_default())
    }
}

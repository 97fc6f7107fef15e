//! The caller of a request, as far as the request identifies it.

use std::net::IpAddr;

use super::one_time_key::BrowserPrint;
use super::request_id::RequestId;
use super::session::Browser;

/// The caller of a request.
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

    /// A fingerprint of the browser, to tell a double submit from a replay by someone else.
    pub fn print(&self) -> BrowserPrint {
        BrowserPrint::of(&self.address.to_string(), self.user_agent.as_deref().unwrap_or_default())
    }
}

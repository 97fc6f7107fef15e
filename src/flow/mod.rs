//! What happens, in order. TEMPORARY signatures, until the lead's modules replace them.

#![allow(missing_docs, reason = "temporary")]

use std::net::IpAddr;

pub mod authenticate;
pub mod callback;
pub mod health;
pub mod login;
pub mod logout;
pub mod redeem;
pub mod rotate;

#[derive(Debug, Clone)]
pub struct Caller {
    pub request_id: String,
    pub address: IpAddr,
    pub user_agent: Option<String>,
    pub origin: Option<String>,
}

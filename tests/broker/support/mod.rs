//! Test support: private servers, a broker for one test, a browser.

pub mod administration;
pub mod api;
pub mod audit;
pub mod broker;
pub mod browser;
pub mod certificates;
pub mod device;
pub mod dpop;
pub mod dump;
pub mod gateway;
pub mod jwt;
pub mod log;
pub mod oauth;
pub mod outage;
pub mod personal;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
pub mod production;
pub mod program;
pub mod raw;
pub mod redis;
#[cfg(all(feature = "redis-sentinel", feature = "redis-cluster"))]
pub mod redis_groups;
pub mod rows;
pub mod secrets;
#[cfg(feature = "postgres")]
pub mod silent_link;
pub mod storage;
pub mod story;
#[cfg(feature = "postgres")]
pub mod stub;
pub mod tls_front;
pub mod upstream;
pub mod visits;
pub mod wait;
pub mod yaml;

/// Installs aws-lc-rs as the TLS provider of this program, as `main` does for the broker.
pub fn install_tls_provider() {
    // Only the first call of the program can succeed; all calls install the same provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

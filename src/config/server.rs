//! `[server]`: where the broker listens and whom it believes.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::source::list;

/// `[server]`, validated.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where browsers and APIs reach the broker.
    pub listen: SocketAddr,
    /// Where metrics, detailed health and API documents are, unless that listener is off.
    pub admin_listen: Option<SocketAddr>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Host names that the listeners answer for, besides their own.
    pub host_names: Vec<String>,
    /// Worker threads; one per processor where absent.
    pub workers: Option<usize>,
    /// Connections that may be open at once, in the whole process.
    pub max_connections: usize,
    /// How long requests in flight may go on after a stop signal, in seconds.
    pub shutdown_timeout_seconds: u32,
}

/// Where the broker listens and whom it believes.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawServer {
    /// Address and port for browsers and APIs. `0.0.0.0:8080` in a container.
    listen: String,
    /// Address and port for metrics, detailed health and API documents. Without it there is no such listener.
    /// Keep it off the internet.
    admin_listen: Option<String>,
    /// Networks of the reverse proxies whose `X-Forwarded-For` is believed. Without the right ones every user
    /// seems to come from the proxy, and shares its rate limits.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    trusted_proxies: Vec<String>,
    /// Further host names that the listeners answer for, such as the one that a metrics scraper uses. Loopback is
    /// answered anyway; so are, on `listen`, the host of `public_url`, and every name for `/healthz` and `/readyz`;
    /// on `admin_listen`, every bare address.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    host_names: Vec<String>,
    /// Worker threads, 1 to 512. Default: one per processor.
    workers: Option<usize>,
    /// Connections that may be open at once, 10 to 1000000.
    max_connections: usize,
    /// Seconds that requests in flight have to finish after a stop signal, 1 to 30.
    shutdown_timeout_seconds: u32,
}

impl Default for RawServer {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            admin_listen: None,
            trusted_proxies: Vec::new(),
            host_names: Vec::new(),
            workers: None,
            max_connections: 20_000,
            shutdown_timeout_seconds: 30,
        }
    }
}

impl RawServer {
    pub(super) fn check(self, check: &mut Check) -> Option<ServerConfig> {
        let listen = address("server.listen", &self.listen, check);
        let admin_listen =
            self.admin_listen.as_deref().and_then(|text| address("server.admin_listen", text, check));
        if admin_listen.is_some() && admin_listen == listen {
            check.problem("server.admin_listen", "must differ from server.listen");
        }
        if admin_listen.is_some_and(|address| !address.ip().is_loopback()) {
            check.warn("server.admin_listen", "can be reached from other machines: keep it off the internet");
        }
        let proxies = self.trusted_proxies.iter().enumerate();
        let trusted_proxies = proxies
            .filter_map(|(i, text)| network(&format!("server.trusted_proxies[{i}]"), text, check))
            .collect();
        let workers = self.workers.and_then(|workers| check.within("server.workers", workers, 1..=512));
        Some(ServerConfig {
            listen: listen?,
            admin_listen,
            trusted_proxies,
            host_names: self.host_names,
            workers,
            max_connections: check.within("server.max_connections", self.max_connections, 10..=1_000_000)?,
            shutdown_timeout_seconds: check.within(
                "server.shutdown_timeout_seconds",
                self.shutdown_timeout_seconds,
                1..=30,
            )?,
        })
    }
}

fn address(key: &str, text: &str, check: &mut Check) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        check.problem(key, "must be an address and a port, as in 127.0.0.1:8080 or [::]:8080");
    }
    address
}

fn network(key: &str, text: &str, check: &mut Check) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
    match network {
        None => check.problem(key, "must be a network, as in 10.0.0.0/8, or an address"),
        Some(network) if network.prefix_len() == 0 => {
            check.problem(key, "must not be every address: anybody could then pretend to be anywhere");
        }
        Some(_) => return network,
    }
    None
}

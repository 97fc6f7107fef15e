//! `[server]`: the listeners, and the proxies and host names that they trust.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::source::list;
use crate::http::HttpSettings;

/// The most that draining and finishing requests may take together, in seconds. What is left of the 30 seconds that
/// an orchestrator usually waits is for the last rows.
const LONGEST_STOP: u32 = 25;

/// The listeners.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Where browsers and APIs reach the broker.
    pub listen: SocketAddr,
    /// Where metrics, detailed health and API documents are served; `None` if nowhere.
    pub admin_listen: Option<SocketAddr>,
    /// Where gateways ask, and nothing else is served; `None` if that is on the public listener.
    pub gateway_listen: Option<SocketAddr>,
    /// Worker threads; `None` means one per processor.
    pub workers: Option<usize>,
    /// Connections that may be open at once, in the whole process.
    pub max_connections: usize,
    /// How many of them one address may have, unless it is a trusted proxy.
    pub max_connections_per_address: usize,
    /// How long a connection may be idle between two requests.
    pub keep_alive: Duration,
    /// How long the listener still serves after a stop signal, while it reports that it is not ready.
    pub drain: Duration,
    /// How long requests in flight may take after that.
    pub shutdown_timeout: Duration,
}

/// The listeners, and the proxies and host names that they trust.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawServer {
    /// Address and port for browsers and APIs. `0.0.0.0:8080` in a container.
    listen: String,
    /// Address and port for metrics, detailed health and API documents. If it is not set, there is no such listener.
    /// Do not expose it to the internet.
    admin_listen: Option<String>,
    /// Address and port for gateways alone: `/authz`, the sign-in to pages, and `/healthz`. If it is set, `listen` does not
    /// answer these. Default: `listen` does.
    gateway_listen: Option<String>,
    /// Networks of the reverse proxies whose `X-Forwarded-For` and `X-Request-Id` are trusted, and of the gateways that may
    /// say which page is visited (`X-Forwarded-Proto`, `-Host`, `-Uri` and `-Method`). If they are wrong, all
    /// users seem to come from the proxy and share its rate limits.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    trusted_proxies: Vec<String>,
    /// Further host names that the listeners accept, such as the internal name by which an API or a metrics scraper calls
    /// the broker; others get 421. Loopback names are always accepted. `listen` also accepts the host of `public_url`, and
    /// any name for `/healthz`, `/readyz` and `/authz`; `admin_listen` also accepts any IP address.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    host_names: Vec<String>,
    /// Worker threads, 1 to 512. Default: one per processor.
    workers: Option<usize>,
    /// Connections that may be open at once, 10 to 1000000.
    max_connections: usize,
    /// How many of them one address may have, 1 to 1000000; an IPv6 /64 counts as one. Default: a quarter. Does not apply to
    /// `trusted_proxies`, whose connections are those of all users: limit connections per address at the proxy.
    max_connections_per_address: Option<usize>,
    /// Seconds that a connection may be idle between two requests, 1 to 300. Keep it longer than a reverse proxy keeps
    /// its idle connections, so that no request meets a connection that is being closed.
    keep_alive_seconds: u32,
    /// Seconds after a stop signal in which everything is still served, but `/readyz` answers 503, 0 to 20: time for a
    /// load balancer to send its requests elsewhere.
    drain_seconds: u32,
    /// Seconds that requests in flight may then take to finish, 1 to 20.
    shutdown_timeout_seconds: u32,
}

impl Default for RawServer {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            admin_listen: None,
            gateway_listen: None,
            trusted_proxies: Vec::new(),
            host_names: Vec::new(),
            workers: None,
            max_connections: 20_000,
            max_connections_per_address: None,
            keep_alive_seconds: 75,
            drain_seconds: 5,
            shutdown_timeout_seconds: 15,
        }
    }
}

impl RawServer {
    /// The settings of the listeners, and those of the requests; `docs_public` is the key of `[docs]`.
    pub(super) fn check(
        self,
        docs_public: bool,
        check: &mut Check,
    ) -> Option<(ServerSettings, HttpSettings)> {
        let listen = address("server.listen", &self.listen, check);
        let admin_listen =
            self.admin_listen.as_deref().and_then(|text| address("server.admin_listen", text, check));
        if admin_listen.is_some() && admin_listen == listen {
            check.problem("server.admin_listen", "must differ from server.listen");
        }
        let gateway_listen =
            self.gateway_listen.as_deref().and_then(|text| address("server.gateway_listen", text, check));
        if gateway_listen.is_some() && [listen, admin_listen].contains(&gateway_listen) {
            check.problem("server.gateway_listen", "must differ from server.listen and server.admin_listen");
        }
        if admin_listen.is_some_and(|address| !address.ip().is_loopback()) {
            check.warn(
                "server.admin_listen",
                "is reachable from other machines: do not expose it to the internet",
            );
        }
        let proxies = self.trusted_proxies.iter().enumerate();
        let trusted_proxies = proxies
            .filter_map(|(i, text)| network(&format!("server.trusted_proxies[{i}]"), text, check))
            .collect();
        let workers = self.workers.and_then(|workers| check.within("server.workers", workers, 1..=512));
        let max_connections = check.within("server.max_connections", self.max_connections, 10..=1_000_000);
        let per_address = self.max_connections_per_address.unwrap_or(self.max_connections.div_ceil(4));
        let per_address = check.within("server.max_connections_per_address", per_address, 1..=1_000_000);
        let shutdown = check.within("server.shutdown_timeout_seconds", self.shutdown_timeout_seconds, 1..=20);
        let keep_alive = check.within("server.keep_alive_seconds", self.keep_alive_seconds, 1..=300);
        let drain = check.within("server.drain_seconds", self.drain_seconds, 0..=20);
        if shutdown.zip(drain).is_some_and(|(shutdown, drain)| shutdown + drain > LONGEST_STOP) {
            check
                .problem("server.drain_seconds", "must be at most 25 together with shutdown_timeout_seconds");
        }
        let server = ServerSettings {
            listen: listen?,
            admin_listen,
            gateway_listen,
            workers,
            max_connections: max_connections?,
            max_connections_per_address: per_address?,
            keep_alive: Duration::from_secs(keep_alive?.into()),
            drain: Duration::from_secs(drain?.into()),
            shutdown_timeout: Duration::from_secs(shutdown?.into()),
        };
        let host_names = self.host_names;
        let gateways_elsewhere = gateway_listen.is_some();
        let http = HttpSettings {
            trusted_proxies,
            host_names,
            docs_public,
            gateways_elsewhere,
            ..HttpSettings::default()
        };
        Some((server, http))
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
            check.problem(key, "must not cover all addresses: any caller could then fake its address");
        }
        Some(_) => return network,
    }
    None
}

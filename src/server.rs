//! From a configuration to a running broker: used by `serve`, by `demo` and by every test.
//!
//! The broker starts without its database, key store and providers: an unreachable one is reported, and used as soon
//! as it can be reached.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{rt, web};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::config::{Config, Mode};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::entropy::{Entropy, SystemEntropy};
use crate::domain::policy::Policies;
use crate::http::Listener;
use crate::http::connection::Refusals;
use crate::http::{self, HttpSettings, Sample};
use crate::key_store::KeyStore;
use crate::listener::{self, ListenerSettings};
use crate::provider::Providers;
use crate::service_manager::Sockets;
use crate::state::audit_trail::{AuditTrail, audit_trail, register_provider};
use crate::state::health::HealthMemory;
use crate::state::last_use::LastUses;
use crate::state::late_revocations::LateRevocations;
use crate::state::limits::RateLimits;
use crate::state::server_keys::ServerKeys;
use crate::state::{Broker, ClientRegistry};
use crate::stop::{self, StopSignals};
use crate::storage::Storage;
use crate::tasks::Tasks;
use crate::telemetry::metrics;

/// Connections to the admin listener that may be open at once.
const ADMIN_CONNECTIONS: usize = 100;

/// The setting of the public listener's address.
const LISTEN: &str = "server.listen";

/// The setting of the admin listener's address.
const ADMIN_LISTEN: &str = "server.admin_listen";

/// The setting of the address of the listener for gateways.
const GATEWAY_LISTEN: &str = "server.gateway_listen";

/// The sources of time and randomness.
#[derive(Clone)]
pub struct Environment {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random generator.
    pub entropy: Arc<dyn Entropy>,
}

impl Environment {
    /// The machine's clock and the operating system's generator.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }
}

/// Why the broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another program listens on the address, or this machine does not have it.
    #[error("{key}: cannot listen on {address}: {cause}")]
    Listen {
        /// The setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// A part cannot be built from its settings.
    #[error("{key}: {cause}")]
    Setting {
        /// The section of the configuration.
        key: &'static str,
        /// What is wrong.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A broker that listens.
pub struct Server {
    public: actix_web::dev::Server,
    gateway: Option<actix_web::dev::Server>,
    admin: Option<actix_web::dev::Server>,
    addr: SocketAddr,
    gateway_addr: Option<SocketAddr>,
    admin_addr: Option<SocketAddr>,
    broker: web::Data<Broker>,
    tasks: Tasks,
    signals: StopSignals,
    drain: Duration,
}

impl Server {
    /// The address of the public listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the listener for gateways, if there is one.
    pub fn gateway_addr(&self) -> Option<SocketAddr> {
        self.gateway_addr
    }

    /// The address of the admin listener, if there is one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Stops the broker from another thread; requests in flight are finished.
    pub fn handle(&self) -> ServerHandle {
        self.public.handle()
    }

    /// Serves until a signal or the handle stops it.
    ///
    /// After SIGTERM the broker reports for the drain time that it is not ready, then takes no more connections and
    /// finishes the requests in flight. SIGINT, or a second signal, ends it at once. Whatever hangs, this returns within
    /// 30 seconds of SIGTERM.
    ///
    /// # Errors
    /// A listener failed.
    pub async fn run(self) -> std::io::Result<()> {
        let Self { public, gateway, admin, broker, tasks, signals, drain, .. } = self;
        let tasks = tasks.spawn();
        let stop = rt::spawn(stop::on_signal(signals, public.handle(), broker, drain));
        let [gateway, admin] = [gateway, admin].map(|listener| listener.map(spawned));
        let outcome = public.await;
        if let Some(gateway) = gateway {
            // The drain time is over; what is in flight are short questions, for each of which a gateway waits.
            let _ = tokio::time::timeout(stop::SIDE_TIME, gateway.stop(true)).await;
        }
        if let Some(admin) = admin {
            // Its requests are probes and scrapes: none is worth waiting for.
            let _ = tokio::time::timeout(stop::SIDE_TIME, admin.stop(false)).await;
        }
        stop.abort();
        tasks.finish().await;
        outcome
    }
}

/// Serves a listener beside the public one.
fn spawned(listener: actix_web::dev::Server) -> ServerHandle {
    let handle = listener.handle();
    rt::spawn(async move {
        if let Err(error) = listener.await {
            tracing::error!(%error, "a listener beside the public one ended; restart the broker");
        }
    });
    handle
}

/// Builds the parts and binds the sockets; connects to nothing yet.
///
/// # Errors
/// A part cannot be built from its settings, or a listener cannot bind its address.
pub async fn build(config: Config, environment: Environment) -> Result<Server, StartError> {
    let signals = StopSignals::listen();
    // First of all: what is recorded before that is lost.
    let recorder = metrics::recorder();
    let mut sockets = Sockets::from_service_manager();
    let mut bind = |key, address| bind(&mut sockets, key, address);
    let (public, addr) = bind(LISTEN, config.server.listen)?;
    let gateway = config.server.gateway_listen.map(|address| bind(GATEWAY_LISTEN, address)).transpose()?;
    let admin = config.server.admin_listen.map(|address| bind(ADMIN_LISTEN, address)).transpose()?;
    sockets.close_unused();
    let address_of = |bound: &Option<(TcpListener, SocketAddr)>| bound.as_ref().map(|(_, address)| *address);
    let (gateway_addr, admin_addr) = (address_of(&gateway), address_of(&admin));
    let (audit, audit_writer) = audit_trail();
    config.providers.iter().for_each(|provider| register_provider(&provider.id));
    let broker = web::Data::new(broker(&config, &environment, audit)?);
    let settings = web::Data::new(http_settings(&config));
    let public =
        serve_public(&config, broker.clone(), settings.clone(), public).map_err(unusable(LISTEN, addr))?;
    let gateway = match gateway {
        Some((socket, address)) => {
            let gateway = serve_gateways(&config, broker.clone(), settings.clone(), socket);
            Some(gateway.map_err(unusable(GATEWAY_LISTEN, address))?)
        }
        None => None,
    };
    let admin = match admin {
        Some((socket, address)) => {
            let admin = serve_admin(&config, broker.clone(), settings, recorder, socket);
            Some(admin.map_err(unusable(ADMIN_LISTEN, address))?)
        }
        None => None,
    };
    let tasks = Tasks::new(&config, broker.clone(), audit_writer);
    let drain = config.server.drain;
    Ok(Server { public, gateway, admin, addr, gateway_addr, admin_addr, broker, tasks, signals, drain })
}

fn serve_public(
    config: &Config,
    broker: web::Data<Broker>,
    settings: web::Data<HttpSettings>,
    socket: TcpListener,
) -> std::io::Result<actix_web::dev::Server> {
    let (listener, refusals) = (busy_listener(config), Refusals::new(&broker, Listener::Public));
    listener::serve(listener, refusals, socket, move || http::public_app(broker.clone(), settings.clone()))
}

fn serve_gateways(
    config: &Config,
    broker: web::Data<Broker>,
    settings: web::Data<HttpSettings>,
    socket: TcpListener,
) -> std::io::Result<actix_web::dev::Server> {
    let (listener, refusals) = (busy_listener(config), Refusals::new(&broker, Listener::Gateways));
    listener::serve(listener, refusals, socket, move || http::gateway_app(broker.clone(), settings.clone()))
}

fn busy_listener(config: &Config) -> ListenerSettings {
    let server = &config.server;
    ListenerSettings {
        workers: server.workers.unwrap_or_else(cores),
        max_connections: server.max_connections,
        per_address: server.max_connections_per_address,
        proxies: config.http.trusted_proxies.clone(),
        keep_alive: server.keep_alive,
        shutdown_timeout: server.shutdown_timeout,
    }
}

fn serve_admin(
    config: &Config,
    broker: web::Data<Broker>,
    settings: web::Data<HttpSettings>,
    recorder: PrometheusHandle,
    socket: TcpListener,
) -> std::io::Result<actix_web::dev::Server> {
    let metrics = web::Data::new(recorder);
    let listener = ListenerSettings {
        workers: 1,
        max_connections: ADMIN_CONNECTIONS,
        per_address: ADMIN_CONNECTIONS,
        proxies: Vec::new(),
        keep_alive: config.server.keep_alive,
        shutdown_timeout: config.server.shutdown_timeout,
    };
    let refusals = Refusals::new(&broker, Listener::Admin);
    listener::serve(listener, refusals, socket, move || {
        http::admin_app(broker.clone(), settings.clone(), metrics.clone())
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn broker(config: &Config, environment: &Environment, audit: AuditTrail) -> Result<Broker, StartError> {
    let Environment { clock, entropy } = environment.clone();
    let setting = |key| move |cause: Cause| StartError::Setting { key, cause };
    Ok(Broker {
        public_url: config.public_url.clone(),
        development: config.mode == Mode::Development,
        clients: ClientRegistry::new(config.clients.clone()),
        policies: Policies::new(config.policies.clone()),
        providers: Providers::new(config.providers.clone(), clock.clone())
            .map_err(|cause| setting("providers")(cause.into()))?,
        storage: Storage::new(&config.database).map_err(|cause| setting("database")(cause.into()))?,
        key_store: KeyStore::new(&config.key_store, clock.clone())
            .map_err(|cause| setting("key_store")(cause.into()))?,
        keys: ServerKeys::new(config.server_keys.ring.clone()),
        lifetimes: config.lifetimes,
        live_tokens_per_user: config.live_tokens_per_user,
        personal_tokens: config.personal_tokens,
        dpop_nonces: config.dpop_nonces,
        audit,
        last_uses: LastUses::default(),
        late_revocations: LateRevocations::default(),
        health: HealthMemory::default(),
        limits: RateLimits::new(config.limits, &clock),
        stopping: AtomicBool::new(false),
        clock,
        entropy,
    })
}

fn http_settings(config: &Config) -> HttpSettings {
    HttpSettings { sample: sample(config), ..config.http.clone() }
}

fn sample(config: &Config) -> Option<Sample> {
    let client = config.sample.client_id.as_ref()?;
    let providers =
        config.providers.iter().map(|provider| (provider.id.as_str(), provider.display_name.as_str()));
    let demo_users = config.mode == Mode::Development;
    Some(Sample::new(client, providers, demo_users, config.sample.folder.clone()))
}

/// The socket and its address, whose port the system has chosen if the setting says 0.
fn bind(
    sockets: &mut Sockets,
    key: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let socket = sockets.listen(address).map_err(unusable(key, address))?;
    let bound = socket.local_addr().map_err(unusable(key, address))?;
    Ok((socket, bound))
}

fn unusable(key: &'static str, address: SocketAddr) -> impl Fn(std::io::Error) -> StartError {
    move |cause| StartError::Listen { key, address, cause }
}

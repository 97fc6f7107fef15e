//! The connection to the Redis servers: made when first needed, shared by all operations, replaced once lost.
//!
//! The same for a single server, behind sentinels and for a cluster. Nothing is repeated that may have been
//! carried out: a repeated `take` would give the first taker the answer for a replay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue, PushInfo,
    PushKind, RedisError, RedisResult, ServerErrorKind, TlsCertificates, TlsMode,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout_at};

use super::address::{RedisAddress, Sentinels, Topology};
use super::{KeyStoreError, KeyStoreSettingsError};
use crate::domain::clock::monotonic;

/// How long to wait before a command is repeated that the server has declined to carry out.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection that mends itself.
pub(super) struct Link {
    slot: Mutex<Slot>,
    timeout: Duration,
    description: String,
    passwords: Vec<SecretString>,
}

struct Slot {
    servers: Servers,
    session: Option<Session>,
}

enum Servers {
    Single(Box<Client>),
    Sentinels(Box<SentinelClient>),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
struct Session {
    connection: Connection,
    lost: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// A link to these servers; connects when it is first used.
    pub fn new(address: RedisAddress, timeout: Duration) -> Result<Self, KeyStoreSettingsError> {
        let passwords = address.passwords();
        let description = address.description.clone();
        // What can fail without any connection are the certificates; the rest was checked with the URL.
        let servers = Servers::new(address, timeout).map_err(|_| KeyStoreSettingsError::Certificates)?;
        Ok(Self { slot: Mutex::new(Slot { servers, session: None }), timeout, description, passwords })
    }

    /// Which servers, without credentials.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Sends a command and waits for its answer, at most the link's timeout, connecting included.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, KeyStoreError> {
        let deadline = monotonic() + self.timeout;
        loop {
            let session = match timeout_at(deadline, self.session()).await {
                Ok(session) => session.map_err(|error| self.failure(&error))?,
                Err(_) => return Err(self.overdue("connecting took")),
            };
            let Ok(answer) = timeout_at(deadline, session.send(command)).await else {
                // The other end may be gone without a word: do not wait for it again.
                session.lose();
                return Err(self.overdue("the answer took"));
            };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            session.lose_after(&error);
            if !is_declined(&error) || monotonic() + PAUSE >= deadline {
                return Err(self.failure(&error));
            }
            sleep(PAUSE).await;
        }
    }

    /// The live connection, or a new one. Of many callers one connects and the others wait for it.
    async fn session(&self) -> RedisResult<Session> {
        let mut slot = self.slot.lock().await;
        if let Some(session) = &slot.session
            && !session.lost.load(Ordering::Relaxed)
        {
            return Ok(session.clone());
        }
        slot.session = None;
        let session = slot.servers.connect().await?;
        tracing::info!(key_store = self.description, "connected");
        Ok(slot.session.insert(session).clone())
    }

    fn overdue(&self, what: &str) -> KeyStoreError {
        unavailable(format!("{what} more than {:?}", self.timeout))
    }

    /// The failure with the server's words for it, in which an old server may repeat what it was sent.
    fn failure(&self, error: &RedisError) -> KeyStoreError {
        let text = error.to_string();
        if text.contains("command not allowed when used memory") {
            return KeyStoreError::Full;
        }
        let passwords = self.passwords.iter().map(ExposeSecret::expose_secret);
        unavailable(passwords.fold(text, |text, password| text.replace(password, "…")))
    }
}

fn unavailable(cause: String) -> KeyStoreError {
    KeyStoreError::Unavailable(cause.into())
}

/// Whether the server says that it has not carried the command out, and that another try can end differently.
fn is_declined(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    matches!(
        error.kind(),
        ErrorKind::Server(Ask | BusyLoading | ClusterDown | MasterDown | Moved | ReadOnly | TryAgain)
    )
}

impl Session {
    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self.connection.clone() {
            Connection::Node(mut node) => command.query_async(&mut node).await,
            Connection::Cluster(mut cluster) => command.query_async(&mut cluster).await,
        }
    }

    fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Gives the connection up after an error, unless it was only an answer: a cluster's client learns from a
    /// declined command where the key is, and a full server stays full.
    fn lose_after(&self, error: &RedisError) {
        let learns = matches!(self.connection, Connection::Cluster(_)) && is_declined(error);
        if !learns && error.kind() != ErrorKind::Extension {
            self.lose();
        }
    }
}

impl Servers {
    fn new(address: RedisAddress, timeout: Duration) -> RedisResult<Self> {
        let RedisAddress { topology, mut servers, certificates, .. } = address;
        match topology {
            Topology::Single => {
                let server = servers.swap_remove(0);
                let client = match certificates {
                    Some(certificates) => Client::build_with_tls(server, certificates)?,
                    None => Client::open(server)?,
                };
                Ok(Self::Single(Box::new(client)))
            }
            Topology::Sentinel(sentinels) => {
                Ok(Self::Sentinels(Box::new(sentinel_client(sentinels, &servers, certificates)?)))
            }
            Topology::Cluster => {
                // Finding the cluster waits for silent nodes twice: when asking for its map and when joining it.
                let mut builder = ClusterClient::builder(servers)
                    .retries(0)
                    .connection_timeout(timeout / 3)
                    .response_timeout(timeout);
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                Ok(Self::Cluster(Box::new(builder.build()?)))
            }
        }
    }

    async fn connect(&mut self) -> RedisResult<Session> {
        let lost = Arc::new(AtomicBool::new(false));
        let config = AsyncConnectionConfig::new()
            // The callers' deadline is the only limit.
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(tells_loss(Arc::clone(&lost)));
        let connection = match self {
            Self::Single(client) => {
                Connection::Node(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Self::Sentinels(client) => {
                Connection::Node(client.get_async_connection_with_config(&config).await?)
            }
            Self::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        };
        Ok(Session { connection, lost })
    }
}

fn sentinel_client(
    sentinels: Sentinels,
    servers: &[ConnectionInfo],
    certificates: Option<TlsCertificates>,
) -> RedisResult<SentinelClient> {
    let addresses = servers.iter().map(|server| server.addr().clone());
    let login = servers[0].redis_settings();
    let mut builder = SentinelClientBuilder::new(addresses, sentinels.service, SentinelServerType::Master)?
        .set_client_to_redis_protocol(login.protocol())
        .set_client_to_redis_db(login.db());
    if let Some(user) = login.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = login.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = sentinels.user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = sentinels.password {
        builder = builder.set_client_to_sentinel_password(password.expose_secret());
    }
    if matches!(servers[0].addr(), ConnectionAddr::TcpTls { .. }) {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build()
}

/// Notes the end of an idle connection, so that no command is sent into it.
fn tells_loss(lost: Arc<AtomicBool>) -> impl Fn(PushInfo) -> Result<(), std::convert::Infallible> {
    move |push| {
        if push.kind == PushKind::Disconnection {
            lost.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

//! The Redis servers of a URL, and the ways to connect to them: one server, the primary that sentinels name, or a cluster.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
#[cfg(feature = "redis-cluster")]
use redis::cluster::ClusterClient;
#[cfg(feature = "redis-cluster")]
use redis::cluster_async::ClusterConnection;
#[cfg(feature = "redis-sentinel")]
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Client, RedisResult};

use super::address::{RedisAddress, Topology};

/// The servers of a URL.
pub(super) enum Servers {
    Single(Box<Client>),
    #[cfg(feature = "redis-sentinel")]
    Sentinels(Box<SentinelClient>),
    #[cfg(feature = "redis-cluster")]
    Cluster(Box<ClusterClient>),
}

/// A connection to the servers.
#[derive(Clone)]
pub(super) enum Connection {
    Node(MultiplexedConnection),
    #[cfg(feature = "redis-cluster")]
    Cluster(ClusterConnection),
}

impl Connection {
    /// Whether the client asks another server if one declines a command.
    pub(super) fn is_of_a_cluster(&self) -> bool {
        match self {
            Self::Node(_) => false,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(_) => true,
        }
    }
}

impl Servers {
    /// Connects to nothing. `timeout` is how long a command may take, connecting included.
    pub(super) fn new(address: RedisAddress, timeout: Duration) -> RedisResult<Self> {
        #[cfg(not(feature = "redis-cluster"))]
        let _ = timeout;
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
            #[cfg(feature = "redis-sentinel")]
            Topology::Sentinel(sentinels) => {
                Ok(Self::Sentinels(Box::new(sentinel::client(sentinels, &servers, certificates)?)))
            }
            #[cfg(feature = "redis-cluster")]
            Topology::Cluster => {
                // Connecting to a cluster can wait for unresponsive nodes twice: for the cluster map and for the
                // connections to its nodes.
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

    /// Opens a connection.
    pub(super) async fn connect(&mut self, config: &AsyncConnectionConfig) -> RedisResult<Connection> {
        Ok(match self {
            Self::Single(client) => {
                Connection::Node(client.get_multiplexed_async_connection_with_config(config).await?)
            }
            #[cfg(feature = "redis-sentinel")]
            Self::Sentinels(client) => {
                Connection::Node(client.get_async_connection_with_config(config).await?)
            }
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

#[cfg(feature = "redis-sentinel")]
mod sentinel {
    use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
    use redis::{ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates, TlsMode};
    use secrecy::ExposeSecret;

    use crate::key_store::address::Sentinels;

    pub(super) fn client(
        sentinels: Sentinels,
        servers: &[ConnectionInfo],
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<SentinelClient> {
        let addresses = servers.iter().map(|server| server.addr().clone());
        let login = servers[0].redis_settings();
        let mut builder =
            SentinelClientBuilder::new(addresses, sentinels.service, SentinelServerType::Master)?
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
}

//! Redis servers that work together: a cluster, and a primary with a replica and a sentinel.

use std::thread::sleep;
use std::time::Duration;

use redis::cmd;

use super::process::free_port;
use super::redis::RedisServer;

const SLOTS: u16 = 16_384;

/// A cluster of three servers.
pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts a cluster; waits until every node is ready for every key.
    pub fn start() -> Self {
        let mut cluster = Self { nodes: Vec::new() };
        for _ in 0..3 {
            let bus = free_port().to_string();
            let node = RedisServer::start(&[
                "cluster-enabled yes",
                &format!("cluster-port {bus}"),
                "cluster-node-timeout 2000",
            ]);
            if let Some(first) = cluster.nodes.first() {
                let meet = cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(node.port()).arg(&bus).to_owned();
                first.ask::<()>(&meet);
            }
            cluster.nodes.push(node);
        }
        for (i, node) in (0..).zip(&cluster.nodes) {
            let (from, until) = (SLOTS / 3 * i, if i == 2 { SLOTS } else { SLOTS / 3 * (i + 1) });
            node.ask::<()>(cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(from).arg(until - 1));
        }
        for node in &cluster.nodes {
            until("the cluster is ready", || {
                let info: String = node.ask(cmd("CLUSTER").arg("INFO"));
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            });
        }
        cluster
    }

    /// A URL that names two of the three nodes.
    pub fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", self.nodes[0].port(), self.nodes[1].port())
    }

    /// Moves the slot of a key that does not exist yet to another node.
    pub fn move_slot_of(&self, key: &str) {
        let slot: u16 = self.nodes[0].ask(cmd("CLUSTER").arg("KEYSLOT").arg(key));
        let owner = usize::from((slot / (SLOTS / 3)).min(2));
        let target = (owner + 1) % 3;
        let id: String = self.nodes[target].ask(cmd("CLUSTER").arg("MYID"));
        for node in [target, owner, (owner + 2) % 3] {
            self.nodes[node].ask::<()>(cmd("CLUSTER").arg("SETSLOT").arg(slot).arg("NODE").arg(&id));
        }
    }
}

/// A primary, a replica and the sentinel that decides which of them leads.
pub struct RedisSentinel {
    pub primary: RedisServer,
    pub replica: RedisServer,
    sentinel: RedisServer,
}

impl RedisSentinel {
    /// Starts the three; waits until the sentinel knows the replica.
    pub fn start() -> Self {
        let secured = ["requirepass data-password", "masterauth data-password"];
        let primary = RedisServer::start(&secured);
        let port = primary.port();
        let replica = RedisServer::start(&[secured[0], secured[1], &format!("replicaof 127.0.0.1 {port}")]);
        let sentinel = launch_sentinel(port);
        let group = Self { primary, replica, sentinel };
        until("the sentinel knows the replica", || {
            let replicas: Vec<redis::Value> = group.sentinel.ask(cmd("SENTINEL").arg("REPLICAS").arg("main"));
            replicas.len() == 1
        });
        group
    }

    /// Waits until the replica has all data of the primary.
    pub fn wait_for_replica(&self) {
        until("the replica has caught up", || {
            let offset = |server: &RedisServer, field: &str| {
                server.ask::<redis::InfoDict>(cmd("INFO").arg("replication")).get::<u64>(field)
            };
            offset(&self.replica, "slave_repl_offset") == offset(&self.primary, "master_repl_offset")
        });
    }

    /// A second sentinel, which watches the same primary.
    pub fn another_sentinel(&self) -> RedisServer {
        launch_sentinel(self.primary.port())
    }

    /// A URL that names an unreachable sentinel and the running one.
    pub fn url(&self) -> String {
        self.url_by_way_of(free_port())
    }

    /// A URL that names a sentinel at `first` and then the running one.
    pub fn url_by_way_of(&self, first: u16) -> String {
        format!(
            "redis+sentinel://:data-password@127.0.0.1:{first},127.0.0.1:{}/main/1?sentinel_password=sentinel-password",
            self.sentinel.port()
        )
    }
}

fn launch_sentinel(primary: u16) -> RedisServer {
    let mut sentinel = RedisServer::prepare_sentinel(&[
        "requirepass sentinel-password",
        &format!("sentinel monitor main 127.0.0.1 {primary} 1"),
        "sentinel auth-pass main data-password",
        "sentinel down-after-milliseconds main 1500",
        "sentinel failover-timeout main 2000",
    ]);
    sentinel.launch();
    sentinel
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("waited in vain until {what}");
}

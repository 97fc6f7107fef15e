//! Private Redis servers: one shared by all tests, and separate ones for tests that stop or block them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, InfoDict, RedisResult};

use super::process::{ServerProcess, free_port};

/// A separate database on the shared server, for one test.
pub fn url() -> String {
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    static DATABASES: AtomicU16 = AtomicU16::new(0);
    let server = SERVER.get_or_init(|| RedisServer::start(&["databases 10000"]));
    format!("{}/{}", server.url(), DATABASES.fetch_add(1, Ordering::Relaxed))
}

/// A Redis server, or a sentinel, on a loopback port.
pub struct RedisServer {
    port: u16,
    folder: PathBuf,
    settings: Vec<String>,
    sentinel: bool,
    process: Option<ServerProcess>,
}

impl RedisServer {
    /// Starts a server without persistence, with these lines in its configuration; waits until it answers.
    pub fn start(settings: &[&str]) -> Self {
        let mut server = Self::prepare(settings);
        server.launch();
        server
    }

    /// A server with a port and a folder that is started later.
    pub fn prepare(settings: &[&str]) -> Self {
        let mut server = Self::prepare_sentinel(settings);
        server.sentinel = false;
        server.set("save \"\"");
        server
    }

    /// A sentinel that is started later.
    pub fn prepare_sentinel(settings: &[&str]) -> Self {
        let found = Command::new("redis-server").arg("--version").output();
        assert!(found.is_ok(), "redis-server is missing: install the Debian package redis-server");
        let folder = tempfile::tempdir().unwrap().keep();
        let settings = settings.iter().map(|&line| line.to_owned()).collect();
        Self { port: free_port(), folder, settings, sentinel: true, process: None }
    }

    /// Adds a line to the configuration of a server that is to be launched.
    pub fn set(&mut self, line: &str) {
        self.settings.push(line.to_owned());
    }

    /// Starts it, or starts it again; waits until it answers.
    pub fn launch(&mut self) {
        std::fs::create_dir_all(&self.folder).unwrap();
        let config = self.folder.join("redis.conf");
        let config_name = config.to_str().unwrap();
        let folder = self.folder.to_str().unwrap();
        let settings = self.settings.join("\n");
        std::fs::write(&config, format!("port {}\nbind 127.0.0.1\ndir {folder}\n{settings}\n", self.port))
            .unwrap();
        let mut arguments = vec![config_name.to_owned()];
        arguments.extend(self.sentinel.then(|| "--sentinel".to_owned()));
        let process = ServerProcess::start(&self.folder, "redis-server".as_ref(), &arguments);
        for _ in 0..6_000 {
            // A server of another program could have taken this port first: check which one responds.
            let about = self.try_ask::<InfoDict>(redis::cmd("INFO").arg("server"));
            if about.is_ok_and(|about| about.get::<String>("config_file").as_deref() == Some(config_name)) {
                self.process = Some(process);
                return;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not answer at port {}:\n{}", self.port, process.log());
    }

    /// Stops the server; its data is lost.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Suspends the server until the guard is dropped: it keeps its connections but does not respond.
    pub fn freeze(&self) -> Frozen {
        let pid: u32 = self.ask::<InfoDict>(redis::cmd("INFO").arg("server")).get("process_id").unwrap();
        signal("-STOP", pid);
        Frozen(pid)
    }

    /// The URL of the server, with its password if it has one.
    pub fn url(&self) -> String {
        let password = self.settings.iter().find_map(|line| line.strip_prefix("requirepass "));
        let login = password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{login}127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder; removed when it stops.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Sends a command to the server directly.
    pub fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.try_ask(command).unwrap()
    }

    fn try_ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        ask(&self.url(), command)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.process = None;
        // A server that was prepared but never started still has its folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Sends a command to the server at `url`.
pub fn ask<T: FromRedisValue>(url: &str, command: &Cmd) -> RedisResult<T> {
    let mut connection = redis::Client::open(url)?.get_connection_with_timeout(Duration::from_secs(5))?;
    command.query(&mut connection)
}

/// Keeps a server suspended.
pub struct Frozen(u32);

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("-CONT", self.0);
    }
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("sh").args(["-c", "kill \"$@\"", "sh", name, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

//! An administrator's shell: runs commands of the program on the database and server keys of a running broker.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;
use token_broker::config::KeysFile;
use token_broker::domain::client::Client;
use token_broker::domain::clock::{Clock, SystemClock};
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::request_id::RequestId;
use token_broker::flow::administration::Administration;
use token_broker::state::ClientRegistry;

use super::broker::TestBroker;
use super::dump::{self, Dump};
use super::program::Ended;

/// An administrator with the configuration, the keys and the clock of an instance.
pub fn administrator(broker: &TestBroker) -> Administration {
    Administration {
        storage: broker.storage(),
        clients: ClientRegistry::new(broker.config.clients.clone()),
        keys: broker.config.server_keys.ring.clone(),
        clock: broker.clock.clone(),
        entropy: Arc::new(SystemEntropy),
        audit_kept: TimeDelta::days(90),
        actor: None,
        run_id: RequestId::with_prefix("cli", &SystemEntropy),
    }
}

/// A folder with the configuration of a broker's database, in which commands are run.
pub struct Desk {
    folder: TempDir,
}

impl Desk {
    /// For the database of this broker.
    pub fn of(broker: &TestBroker) -> Self {
        let (rest, _) = CONFIG.split_once("[[clients]]").unwrap();
        let config = format!("{rest}{}", clients_of(broker));
        Self::with(broker.config.database.url.expose_secret(), &broker.server_keys(), &config)
    }

    /// For a database that no broker uses.
    pub fn at(database: &str) -> Self {
        let keys = KeysFile::fresh(&SystemEntropy, SystemClock.now());
        Self::with(database, keys.text().expose_secret(), CONFIG)
    }

    fn with(database: &str, server_keys: &str, config: &str) -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        desk.file("database_url", database);
        desk.file("server_keys.toml", server_keys);
        desk.file("secret", "a-secret-of-the-tests-only");
        desk.file("token-broker.toml", config);
        desk
    }

    /// The folder in which commands are run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file that only its owner can read.
    pub fn file(&self, name: &str, text: &str) {
        let path = self.folder().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs a command without a terminal, like a script.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "")
    }

    /// The same, with this on its standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ended {
        let mut child = Command::new(env!("CARGO_BIN_EXE_token-broker"))
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("TOKEN_BROKER_CONFIG", "token-broker.toml")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may have exited already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let ended = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) }
    }

    /// Runs a command that must succeed; returns its output.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.out
    }

    /// Runs a command with `--json` that must succeed; returns its JSON value.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let out = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Runs a command that must fail with this exit code; returns its error output.
    #[track_caller]
    pub fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{arguments:?}: {ended:?}");
        ended.err
    }
}

/// The configuration of a desk. Its listener and its provider do not exist.
pub const CONFIG: &str = r#"
public_url = "https://auth.example.com"
[database]
url_file = "database_url"
[key_store]
url = "memory:"
[server_keys]
file = "server_keys.toml"
[[providers]]
id = "ops"
kind = "oauth2"
authorize_url = "https://ops.example.com/o/authorize/"
token_url = "https://ops.example.com/o/token/"
client_id = "token-broker"
client_secret_file = "secret"
profile = [{ url = "https://ops.example.com/public-api/current_user/base_info" }]
claims = { subject = "$.name" }
[[clients]]
id = "web"
redirect_uris = ["https://app.example.com/signed-in"]
"#;

/// The clients of a broker, as far as they decide about tokens: administrators use its configuration.
fn clients_of(broker: &TestBroker) -> String {
    let one = |client: &Client| {
        let inactivity =
            client.inactivity.map(|limit| format!("inactivity_seconds = {}\n", limit.num_seconds()));
        format!(
            "[[clients]]\nid = \"{}\"\nredirect_uris = [\"https://{}.example.com/\"]\nenabled = {}\n{}",
            client.id,
            client.id,
            client.enabled,
            inactivity.unwrap_or_default()
        )
    };
    broker.config.clients.iter().map(one).collect()
}

/// Everything in the broker's database.
pub fn dump_of(broker: &TestBroker) -> Dump {
    let url = broker.config.database.url.expose_secret();
    #[cfg(feature = "postgres")]
    if !url.starts_with("sqlite:") {
        return dump::postgres(url);
    }
    dump::sqlite(url)
}

/// Whether any value of a dump contains this text.
pub fn holds(dump: &Dump, text: &str) -> bool {
    dump.values.iter().any(|value| String::from_utf8_lossy(value).contains(text))
}

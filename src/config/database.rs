//! `[database]`: users, sessions and tokens.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::secret::{Secret, masked_url};
use super::store_url::{is_local, parameter, scheme};

/// `[database]`, validated.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `sqlite:…` or `postgres://…`.
    pub url: SecretString,
    /// Connections, and statements that can run at once.
    pub pool_size: u32,
    /// Whether SQLite waits for the disk at every commit.
    pub synchronous_full: bool,
}

/// Users, sessions and tokens.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDatabase {
    /// `sqlite:/path/to/file` for one machine, `postgres://user@host/database?sslmode=verify-full` for more.
    /// With a password only from the environment. Required, here or as `url_file`.
    #[serde(serialize_with = "masked_url")]
    url: Option<Secret>,
    /// The file that holds the URL.
    url_file: Option<PathBuf>,
    /// Connections kept open, 1 to 200.
    pool_size: u32,
    /// SQLite only: wait for the disk at every commit, so that no logout is lost when the power fails.
    synchronous_full: bool,
}

impl Default for RawDatabase {
    fn default() -> Self {
        Self { url: None, url_file: None, pool_size: 10, synchronous_full: true }
    }
}

impl RawDatabase {
    /// Puts in what follows from files.
    pub(super) fn resolve(&mut self, checked: &DatabaseConfig) {
        self.url = Some(Secret(checked.url.clone()));
    }

    pub(super) fn check(self, check: &mut Check) -> Option<DatabaseConfig> {
        let pool_size = check.within("database.pool_size", self.pool_size, 1..=200);
        let url = check.secret("database.url", self.url, self.url_file.as_deref())?;
        check_url(url.expose_secret(), check);
        Some(DatabaseConfig { url, pool_size: pool_size?, synchronous_full: self.synchronous_full })
    }
}

fn check_url(url: &str, check: &mut Check) {
    let key = "database.url";
    match scheme(url) {
        "sqlite" if url.contains(":memory:") => {
            check.problem(key, "must name a file: everybody would be signed out at every start");
        }
        "sqlite" if check.production() => {
            check.warn(key, "names SQLite, which suits one machine; use PostgreSQL for several");
        }
        "sqlite" => {}
        "postgres" | "postgresql" if cfg!(feature = "postgres") => {
            let verified = matches!(parameter(url, "sslmode"), Some("verify-full" | "verify-ca"));
            if !verified && !is_local(url) {
                check.warn(key, "goes to another machine without verified TLS: add sslmode=verify-full");
            }
        }
        "postgres" | "postgresql" => check.problem(
            key,
            "is PostgreSQL, which this program was built without: cargo build --release --features postgres",
        ),
        _ => check.problem(key, "must begin with sqlite:, postgres:// or postgresql://"),
    }
}

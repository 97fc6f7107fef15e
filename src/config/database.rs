//! `[database]`: the database of users, sessions and tokens.

use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::secret::Secret;
use super::store_url::{is_local, masked_url, parameter, scheme};
use crate::storage::{DatabaseUrl, StorageSettings};

const KEY: &str = "database.url";

/// The database of users, sessions and tokens.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDatabase {
    /// `sqlite:/path/to/file` for one machine, `postgres://user@host/database?sslmode=verify-full` for more.
    /// A URL with a password is accepted from the environment only. Required, here or as `url_file`.
    #[serde(serialize_with = "masked_url")]
    url: Option<Secret>,
    /// A file that contains the URL.
    url_file: Option<PathBuf>,
    /// Connections that are open at most, 1 to 200, and two for health checks.
    pool_size: u32,
    /// PostgreSQL only: `transaction` if the URL leads to a pooler that gives a session to another connection after each
    /// transaction, such as PgBouncer with `pool_mode = transaction`; `none` otherwise. A pooler in transaction mode is
    /// refused without this setting.
    pooler: String,
    /// SQLite only: wait for the disk at every commit, so that a power failure does not lose a logout.
    synchronous_full: bool,
}

impl Default for RawDatabase {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            pool_size: StorageSettings::POOL_SIZE,
            pooler: "none".to_owned(),
            synchronous_full: true,
        }
    }
}

impl RawDatabase {
    /// Fills in what was read from files.
    pub(super) fn resolve(&mut self, checked: &StorageSettings) {
        self.url = Some(Secret(checked.url.expose_secret().into()));
    }

    pub(super) fn check(self, check: &mut Check) -> Option<StorageSettings> {
        let pool_size = check.within("database.pool_size", self.pool_size, 1..=200);
        let pooler = check.choice("database.pooler", &self.pooler);
        let text = check.secret(KEY, self.url, self.url_file.as_deref())?;
        let url: DatabaseUrl = check.parse(KEY, text.expose_secret())?;
        warn(text.expose_secret(), check);
        let synchronous_full = self.synchronous_full;
        let (pool_size, pooler) = (pool_size?, pooler?);
        Some(StorageSettings { pool_size, pooler, synchronous_full, ..StorageSettings::new(url) })
    }
}

/// Warns about a URL that works, but not well.
fn warn(url: &str, check: &mut Check) {
    if scheme(url) == "sqlite" {
        if check.production() {
            check.warn(KEY, "names SQLite, which is for a single machine; use PostgreSQL for several");
        }
    } else if !matches!(parameter(url, "sslmode"), Some("verify-full" | "verify-ca")) && !is_local(url) {
        check.warn(KEY, "connects to another machine without verified TLS: add sslmode=verify-full");
    }
}

//! `[key_store]`: where one-time keys wait to be redeemed.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::secret::{Secret, masked_url};
use super::store_url::{is_local, scheme};

/// `[key_store]`, validated.
#[derive(Debug, Clone)]
pub struct KeyStoreConfig {
    /// `memory:` or one of Redis.
    pub url: SecretString,
    /// What the names of all entries in Redis begin with.
    pub key_prefix: String,
    /// Entries that `memory:` holds at most.
    pub capacity: usize,
}

/// Where one-time keys wait to be redeemed.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawKeyStore {
    /// `rediss://host:6380/0` (TLS), `redis://…`, `redis+sentinel://host1,host2/service`,
    /// `redis+cluster://host1,host2` (both also with `rediss+`), or `memory:` for a single process.
    /// With a password only from the environment. Required, here or as `url_file`.
    #[serde(serialize_with = "masked_url")]
    url: Option<Secret>,
    /// The file that holds the URL.
    url_file: Option<PathBuf>,
    /// What the names of all entries in Redis begin with: 1 to 64 characters of A-Z, a-z, 0-9, `:`, `_`, `-`.
    key_prefix: String,
    /// Entries that `memory:` holds at most, 100 to 10000000.
    capacity: usize,
}

impl Default for RawKeyStore {
    fn default() -> Self {
        Self { url: None, url_file: None, key_prefix: "token-broker:".to_owned(), capacity: 100_000 }
    }
}

impl RawKeyStore {
    /// Puts in what follows from files.
    pub(super) fn resolve(&mut self, checked: &KeyStoreConfig) {
        self.url = Some(Secret(checked.url.clone()));
    }

    pub(super) fn check(self, check: &mut Check) -> Option<KeyStoreConfig> {
        let capacity = check.within("key_store.capacity", self.capacity, 100..=10_000_000);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-');
        if !(1..=64).contains(&self.key_prefix.len()) || !self.key_prefix.bytes().all(allowed) {
            check.problem(
                "key_store.key_prefix",
                "must be 1 to 64 characters of A-Z, a-z, 0-9, ':', '_' and '-'",
            );
        }
        let url = check.secret("key_store.url", self.url, self.url_file.as_deref())?;
        check_url(url.expose_secret(), check);
        Some(KeyStoreConfig { url, key_prefix: self.key_prefix, capacity: capacity? })
    }
}

fn check_url(url: &str, check: &mut Check) {
    let key = "key_store.url";
    match scheme(url) {
        "memory" if check.production() => {
            check.warn(key, "is memory:, which suits a single process; use Redis for several");
        }
        "memory" | "rediss" | "rediss+sentinel" | "rediss+cluster" => {}
        "redis" | "redis+sentinel" | "redis+cluster" => {
            if !is_local(url) {
                check.warn(key, "goes to another machine without TLS: use rediss://");
            }
        }
        _ => check.problem(
            key,
            "must begin with memory:, redis://, rediss://, redis+sentinel://, rediss+sentinel://, \
             redis+cluster:// or rediss+cluster://",
        ),
    }
}

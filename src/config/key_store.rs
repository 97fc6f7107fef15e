//! `[key_store]`: the store of one-time keys.

use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::secret::Secret;
use super::store_url::{is_local, masked_url, scheme};
use crate::key_store::{KeyStoreSettings, KeyStoreUrl};

const KEY: &str = "key_store.url";

/// The store of one-time keys.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawKeyStore {
    /// `rediss://host:6380/0` (TLS), `redis://…`, `redis+sentinel://host1,host2/service`,
    /// `redis+cluster://host1,host2` (both also with `rediss+`, and in a program that was built with the feature
    /// `redis-sentinel` or `redis-cluster`), or `memory:` for a single process.
    /// A URL with a password is accepted from the environment only. Required, here or as `url_file`.
    #[serde(serialize_with = "masked_url")]
    url: Option<Secret>,
    /// A file that contains the URL.
    url_file: Option<PathBuf>,
    /// Redis with TLS only: certificates (PEM) to trust instead of the system's.
    ca_file: Option<PathBuf>,
    /// The prefix of all names in Redis: 1 to 64 characters of A-Z, a-z, 0-9, `:`, `_`, `-`.
    key_prefix: String,
    /// The maximum number of one-time keys in `memory:`, and of marks of used logins, 100 to 10000000. Each takes about 600
    /// bytes. If one of them is full, the network that has stored the most loses its oldest.
    capacity: usize,
}

impl Default for RawKeyStore {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            ca_file: None,
            key_prefix: KeyStoreSettings::KEY_PREFIX.to_owned(),
            capacity: KeyStoreSettings::CAPACITY,
        }
    }
}

impl RawKeyStore {
    /// Fills in what was read from files.
    pub(super) fn resolve(&mut self, checked: &KeyStoreSettings) {
        self.url = Some(Secret(checked.url.expose_secret().into()));
    }

    pub(super) fn check(self, check: &mut Check) -> Option<KeyStoreSettings> {
        let capacity = check.within("key_store.capacity", self.capacity, 100..=10_000_000);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-');
        if !(1..=64).contains(&self.key_prefix.len()) || !self.key_prefix.bytes().all(allowed) {
            check.problem(
                "key_store.key_prefix",
                "must be 1 to 64 characters of A-Z, a-z, 0-9, ':', '_' and '-'",
            );
        }
        let text = check.secret(KEY, self.url, self.url_file.as_deref())?;
        let mut url: KeyStoreUrl = check.parse(KEY, text.expose_secret())?;
        if let Some(file) = &self.ca_file {
            let with_file = url.with_ca_file(&check.path(file));
            url = with_file.map_err(|error| check.problem("key_store.ca_file", error)).ok()?;
        }
        warn(text.expose_secret(), check);
        let (key_prefix, capacity) = (self.key_prefix, capacity?);
        Some(KeyStoreSettings { key_prefix, capacity, ..KeyStoreSettings::new(url) })
    }
}

/// Warns about a URL that works, but not well.
fn warn(url: &str, check: &mut Check) {
    let scheme = scheme(url).to_ascii_lowercase();
    if scheme == "memory" {
        if check.production() {
            check.warn(KEY, "is memory:, which is for a single process; use Redis for several");
        }
    } else if !scheme.starts_with("rediss") && !is_local(url) {
        check.warn(KEY, "connects to another machine without TLS: use rediss://");
    }
}

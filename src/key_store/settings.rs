//! The settings of the key store, and what can be wrong with them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use super::address::Address;

/// The settings of the key store.
#[derive(Debug, Clone)]
pub struct KeyStoreSettings {
    /// Which store it is.
    pub url: KeyStoreUrl,
    /// What every name in Redis begins with, so that several brokers can share a server.
    pub key_prefix: String,
    /// How long one operation may take, connecting included.
    pub command_timeout: Duration,
    /// How many one-time keys the memory store holds at most; Redis has its own limit, `maxmemory`.
    pub capacity: usize,
}

impl KeyStoreSettings {
    /// What every name in Redis begins with, if the configuration says nothing.
    pub const KEY_PREFIX: &str = "token-broker:";

    /// How many one-time keys the memory store holds at most, if the configuration says nothing.
    pub const CAPACITY: usize = 100_000;

    /// The defaults for a URL: an operation may take one second.
    pub fn new(url: KeyStoreUrl) -> Self {
        Self {
            url,
            key_prefix: Self::KEY_PREFIX.to_owned(),
            command_timeout: Duration::from_secs(1),
            capacity: Self::CAPACITY,
        }
    }
}

/// The URL of a key store, one of:
/// - `memory:`: in this process; for development and for one machine.
/// - `redis://[user:password@]host[:port][/database]`, with TLS `rediss://…`.
/// - `redis+sentinel://[user:password@]host[:port],…/service[/database]`, with TLS `rediss+sentinel://…`; the
///   sentinels' own credentials as `?sentinel_user=…&sentinel_password=…`.
/// - `redis+cluster://[user:password@]host[:port],…`, with TLS `rediss+cluster://…`.
///
/// With TLS, `?ca_file=…` names the certificates to trust instead of the system's, and `cert_file` with `key_file` the
/// certificate to present; all PEM. The files are read when the URL is parsed.
#[derive(Clone)]
pub struct KeyStoreUrl {
    text: SecretString,
    address: Address,
}

impl KeyStoreUrl {
    /// The same URL with the certificates of this file, PEM, to trust instead of the system's.
    ///
    /// # Errors
    /// The file cannot be used, the URL names one already, or its servers do not use TLS.
    pub fn with_ca_file(self, file: &Path) -> Result<Self, KeyStoreSettingsError> {
        let text = self.text.expose_secret();
        let separator = if text.contains('?') { '&' } else { '?' };
        let file = utf8_percent_encode(&file.to_string_lossy(), NON_ALPHANUMERIC).to_string();
        let address = Address::parse(&format!("{text}{separator}ca_file={file}"))?;
        Ok(Self { text: self.text, address })
    }

    /// The servers that the URL names.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }
}

impl FromStr for KeyStoreUrl {
    type Err = KeyStoreSettingsError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        Ok(Self { text: url.into(), address: Address::parse(url)? })
    }
}

impl ExposeSecret<str> for KeyStoreUrl {
    fn expose_secret(&self) -> &str {
        self.text.expose_secret()
    }
}

impl fmt::Debug for KeyStoreUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let description = match &self.address {
            Address::Memory => "memory:",
            Address::Redis(address) => &address.description,
        };
        write!(out, "KeyStoreUrl({description})")
    }
}

/// What is wrong with the settings. Never repeats the URL: any part of a mistyped one can be a piece of the password.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreSettingsError {
    /// The scheme is unknown.
    #[error(
        "must begin with memory:, redis://, rediss://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or \
         rediss+cluster://"
    )]
    UnknownScheme,
    /// The URL names a kind of Redis that this build leaves out, by the name of its feature.
    #[error(
        "names a kind of Redis that this build does not support; build it with `cargo build --release --features {0}` \
         and the other features that you use"
    )]
    NotCompiledIn(&'static str),
    /// The URL cannot be parsed.
    #[error("is malformed: {0}")]
    Malformed(&'static str),
    /// A file that the URL names cannot be read.
    #[error("the file of its parameter {parameter} cannot be read: {cause}")]
    File {
        /// Which one.
        parameter: &'static str,
        /// Why.
        cause: std::io::Error,
    },
    /// The files that the URL names contain no certificates.
    #[error("the files of its parameters contain no usable certificates (PEM)")]
    Certificates,
    /// A limit of zero.
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
}

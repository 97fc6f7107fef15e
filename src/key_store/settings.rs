//! The section `key_store` of the configuration, and what can be wrong with it.

use std::time::Duration;

use secrecy::SecretString;

/// Where the key store is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct KeyStoreSettings {
    /// One of:
    /// - `memory:`: in this process; for development and for one machine.
    /// - `redis://[user:password@]host[:port][/database]`, with TLS `rediss://…`.
    /// - `redis+sentinel://[user:password@]host[:port],…/service[/database]`, with TLS `rediss+sentinel://…`; the
    ///   sentinels' own credentials as `?sentinel_user=…&sentinel_password=…`.
    /// - `redis+cluster://[user:password@]host[:port],…`, with TLS `rediss+cluster://…`.
    ///
    /// With TLS, `?ca_file=…` names the certificates to trust instead of the system's, and `cert_file` with
    /// `key_file` the certificate to present; all PEM.
    pub url: SecretString,
    /// What every name in Redis begins with, so that several brokers can share a server.
    pub key_prefix: String,
    /// How long one operation can take, connecting included.
    pub command_timeout: Duration,
    /// How many one-time keys the memory store holds at most; Redis has its own limit, `maxmemory`.
    pub capacity: usize,
}

impl KeyStoreSettings {
    /// The defaults for a URL.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            key_prefix: "token-broker:".to_owned(),
            command_timeout: Duration::from_secs(1),
            capacity: 100_000,
        }
    }
}

/// What is wrong with the settings. Repeats nothing of the URL.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreSettingsError {
    /// The URL begins with nothing known.
    #[error(
        "key_store.url has an unknown scheme; known are memory:, redis://, rediss://, redis+sentinel://, \
         rediss+sentinel://, redis+cluster://, rediss+cluster://"
    )]
    UnknownScheme,
    /// The URL cannot be read.
    #[error("key_store.url is malformed: {0}")]
    Malformed(&'static str),
    /// A file that the URL names cannot be read.
    #[error("key_store.url: the file of its parameter {parameter} cannot be read: {cause}")]
    File {
        /// Which one.
        parameter: &'static str,
        /// Why.
        cause: std::io::Error,
    },
    /// The files that the URL names hold no certificates.
    #[error("key_store.url: the files of its parameters hold no usable certificates (PEM)")]
    Certificates,
    /// A limit that nothing could pass.
    #[error("key_store.{0} must be greater than zero")]
    Zero(&'static str),
}

//! The configuration: a TOML file, overridden by the environment, with secrets from files. All of it is checked
//! before anything starts.
//!
//! Each section is a file with the written form: its keys, their documentation and defaults. Its `check` returns the
//! settings type of the part that uses them, so that a setting is parsed once and checked once. Unknown keys are
//! refused, and everything that is wrong is reported in one run, by key, with what to write instead.
//! `docs/configuration.md` is generated from the written forms.

mod check;
mod clients;
mod database;
#[cfg(feature = "demo")]
mod development;
mod docs;
mod dpop;
mod forward_auth;
mod key_store;
mod keys_file;
mod limits;
mod log;
mod personal_tokens;
mod policies;
mod policy_pages;
mod providers;
mod purge;
#[cfg(test)]
mod reference;
mod sample;
mod secret;
mod server;
mod server_keys;
mod source;
mod store_url;
#[cfg(test)]
mod tests;
mod tokens;

use std::path::{Path, PathBuf};

use ::config::Value;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use self::check::Check;
pub use self::check::{Problem, Problems};
#[cfg(feature = "demo")]
pub use self::development::{DevelopmentSetup, development};
pub use self::keys_file::{KeyEntry, KeysFile, KeysFileError};
pub use self::purge::PurgeSettings;
pub use self::sample::SampleSettings;
pub use self::server::ServerSettings;
pub use self::server_keys::{ServerKeysConfig, ServerKeysFile};
use crate::domain::client::Client;
use crate::domain::dpop::NonceDemand;
use crate::domain::policy::Policy;
use crate::http::HttpSettings;
use crate::key_store::KeyStoreSettings;
use crate::provider::settings::ProviderSettings;
use crate::state::limits::LimitSettings;
use crate::state::{Lifetimes, PersonalTokenSettings};
use crate::storage::StorageSettings;
use crate::telemetry::LogSettings;

/// Which rules apply. The command decides, never a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `serve`: development settings are refused.
    Production,
    /// `demo` and tests: plain http on this machine is allowed.
    Development,
}

/// The checked settings of every part of a broker.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which rules apply.
    pub mode: Mode,
    /// Where browsers reach the broker: scheme, host and port; the path is `/`.
    pub public_url: Url,
    /// The listeners.
    pub server: ServerSettings,
    /// What every request is judged by; its `sample` is built at the start from [`Config::sample`].
    pub http: HttpSettings,
    /// The database.
    pub database: StorageSettings,
    /// The store of one-time keys.
    pub key_store: KeyStoreSettings,
    /// The server's own keys, and the file that they came from.
    pub server_keys: ServerKeysConfig,
    /// The identity providers, in the order of the chooser page; at least one.
    pub providers: Vec<ProviderSettings>,
    /// The registered clients, at least one of which is enabled, and the internal ones of policies with pages.
    pub clients: Vec<Client>,
    /// What gateways ask of tokens; `default` is always among them.
    pub policies: Vec<Policy>,
    /// The lifetimes of one-time keys, tokens and sessions.
    pub lifetimes: Lifetimes,
    /// The maximum number of live tokens of one user; the oldest are revoked beyond it.
    pub live_tokens_per_user: usize,
    /// What users may do with personal tokens.
    pub personal_tokens: PersonalTokenSettings,
    /// Which DPoP proofs need a nonce.
    pub dpop_nonces: NonceDemand,
    /// The rate limits per address.
    pub limits: LimitSettings,
    /// What is logged.
    pub log: LogSettings,
    /// When expired rows are deleted.
    pub purge: PurgeSettings,
    /// Whether the sample app is served at `/`.
    pub sample: SampleSettings,
}

/// A usable configuration, and what an operator should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works but should be known; logged at the start.
    pub warnings: Vec<Problem>,
    /// The configuration in effect as TOML: with defaults and derived settings, secrets masked.
    pub effective: String,
}

/// Top-level settings.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    /// Where browsers reach the broker, as in `https://auth.example.com`. Required.
    public_url: Option<String>,
    server: server::RawServer,
    database: database::RawDatabase,
    key_store: key_store::RawKeyStore,
    server_keys: server_keys::RawServerKeys,
    tokens: tokens::RawTokens,
    personal_tokens: personal_tokens::RawPersonalTokens,
    dpop: dpop::RawDpop,
    limits: limits::RawLimits,
    log: log::RawLog,
    docs: docs::RawDocs,
    purge: purge::RawPurge,
    sample: sample::RawSample,
    /// Read on its own, because the keys of a provider depend on its kind.
    #[serde(deserialize_with = "ignored")]
    #[cfg_attr(test, schemars(skip))]
    providers: Vec<providers::RawProvider>,
    clients: Vec<clients::RawClient>,
    forward_auth: forward_auth::RawForwardAuth,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<policies::RawPolicy>,
}

/// Names the key, so that it is known, but reads nothing: see [`providers::take`].
fn ignored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<providers::RawProvider>, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| Vec::new())
}

/// Reads the file at `path`, overrides it with `environment` and checks everything by the rules of `mode`.
///
/// # Errors
///
/// Everything that has to be fixed, by key.
pub fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    mode: Mode,
) -> Result<Loaded, Problems> {
    let (raw, check) = read(path, environment, mode)?;
    validate(raw, check)
}

/// The written form of the file at `path` and the environment, with the check that knows what was not readable.
fn read(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    mode: Mode,
) -> Result<(Option<RawConfig>, Check), Problems> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Problems::one(&path.display().to_string(), &unreadable(&error)))?;
    let mut check = Check::new(mode, path.parent().unwrap_or(Path::new("")));
    let tree = source::read(&text, environment, &mut check);
    let raw = tree.and_then(|tree| RawConfig::read(tree, &mut check));
    Ok((raw, check))
}

/// Why the configuration file cannot be read, and what to do.
fn unreadable(error: &std::io::Error) -> String {
    let fix = match error.kind() {
        std::io::ErrorKind::NotFound => "start from token-broker.example.toml",
        _ => "it must be readable by the user that runs this",
    };
    format!("cannot be read: {error}: {fix}")
}

/// The path of the keys file that the configuration at `path` names. No other setting is checked, because keys may
/// have to be replaced in a hurry.
///
/// # Errors
/// The configuration cannot be read, or names no keys file.
pub fn server_keys_file(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<PathBuf, Problems> {
    // The rules of production would refuse settings that do not matter to this command.
    let (raw, check) = read(path, environment, Mode::Development)?;
    match raw {
        Some(raw) => raw.server_keys.file.map(|file| check.path(&file)).ok_or_else(|| {
            Problems::one("server_keys.file", "is missing: name the keys file there, or with --file")
        }),
        None => {
            check.finish()?;
            Err(Problems::one("the configuration", "cannot be read"))
        }
    }
}

/// The database that the configuration at `path` names, by the rules of production. No other section is checked and no other
/// secret is read: for commands that need the database alone.
///
/// # Errors
/// Everything in this section that has to be fixed.
pub fn database(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<StorageSettings, Problems> {
    let (raw, mut check) = read(path, environment, Mode::Production)?;
    let database = raw.and_then(|raw| raw.database.check(&mut check));
    check.finish()?;
    database.ok_or_else(|| Problems::one("database", "is incomplete"))
}

/// The environment of the process, as [`load`] takes it.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Checks what was read; problems that `check` already knows count too.
fn validate(raw: Option<RawConfig>, mut check: Check) -> Result<Loaded, Problems> {
    let written = raw.clone();
    let config = raw.and_then(|raw| raw.check(&mut check));
    let warnings = check.finish()?;
    let incomplete = || Problems::one("the configuration", "is incomplete");
    let config = config.ok_or_else(incomplete)?;
    let effective = written.map(|raw| raw.effective(&config)).unwrap_or_default();
    Ok(Loaded { config, warnings, effective })
}

impl RawConfig {
    /// The written form of a tree of settings. Values that do not fit are reported in `check` and left out.
    fn read(mut tree: Value, check: &mut Check) -> Option<Self> {
        let providers = providers::take(&mut tree, check);
        Some(Self { providers, ..source::section(tree, "", check)? })
    }

    /// The settings in effect, as TOML: what was written, completed by defaults and derived settings.
    fn effective(mut self, config: &Config) -> String {
        self.database.resolve(&config.database);
        self.key_store.resolve(&config.key_store);
        self.server_keys.resolve(&config.server_keys.ring);
        self.providers.iter_mut().zip(&config.providers).for_each(|(raw, checked)| raw.resolve(checked));
        self.clients.iter_mut().zip(&config.clients).for_each(|(raw, checked)| raw.resolve(checked));
        self.policies.iter_mut().zip(&config.policies).for_each(|(raw, checked)| raw.resolve(checked));
        toml::to_string(&self).unwrap_or_default()
    }

    /// Checks every section before any is used, so that one run finds every problem.
    fn check(self, check: &mut Check) -> Option<Config> {
        let public_url = public_url(self.public_url, check);
        let server = self.server.check(self.docs.public, check);
        let database = self.database.check(check);
        let key_store = self.key_store.check(check);
        let server_keys = self.server_keys.check(check);
        let tokens = self.tokens.check(check);
        let personal_tokens = self.personal_tokens.check(check);
        let dpop_nonces = self.dpop.check(check);
        let limits = self.limits.check(check);
        let log = self.log.check(check);
        let purge = self.purge.check(check);
        let providers = providers::check(self.providers, public_url.as_ref(), check);
        let clients = clients::check(self.clients, public_url.as_ref(), check);
        let identity_headers = self.forward_auth.check(check);
        let surroundings = policy_pages::Surroundings {
            public_url: public_url.as_ref(),
            clients: &clients,
            trusts_a_proxy: server.as_ref().is_none_or(|(_, http)| !http.trusted_proxies.is_empty()),
        };
        let policies = policies::check(self.policies, surroundings, check);
        let sample = self.sample.check(public_url.as_ref(), &clients, check);
        let (policies, page_clients) = policies?;
        let (server, http) = server?;
        let (lifetimes, live_tokens_per_user) = tokens?;
        Some(Config {
            mode: check.mode,
            public_url: public_url?,
            server,
            http: HttpSettings { identity_headers: identity_headers?, ..http },
            database: database?,
            key_store: key_store?,
            server_keys: server_keys?,
            providers,
            clients: clients.into_iter().chain(page_clients).collect(),
            policies,
            lifetimes,
            live_tokens_per_user,
            personal_tokens: personal_tokens?,
            dpop_nonces: dpop_nonces?,
            limits: limits?,
            log: log?,
            purge: purge?,
            sample,
        })
    }
}

/// The broker's cookies and routes need a host of its own, so the URL has no path.
fn public_url(text: Option<String>, check: &mut Check) -> Option<Url> {
    let key = "public_url";
    let text =
        check.required(key, text, "write the address of the broker, as in https://auth.example.com")?;
    let url = check.url(key, &text)?;
    if url.path() != "/" || url.query().is_some() {
        check.problem(key, "must be scheme, host and port alone, as in https://auth.example.com");
    }
    Some(url)
}

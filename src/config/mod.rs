//! The configuration: a TOML file, over it the environment, secrets from files; validated whole before anything
//! starts.
//!
//! Each section is a file with a raw form (what may be written, with its documentation and defaults) and a
//! checked one (what the program uses). Unknown keys are refused, and everything that is wrong is reported at
//! once, by key, with what to write instead. `docs/configuration.md` is generated from the raw forms.

mod check;
mod claims;
mod clients;
mod database;
#[cfg(feature = "demo")]
mod development;
mod docs;
mod key_store;
mod keys_file;
mod limits;
mod log;
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

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use self::check::Check;
pub use self::check::{Problem, Problems};
pub use self::database::DatabaseConfig;
#[cfg(feature = "demo")]
pub use self::development::{DevelopmentSetup, development};
pub use self::docs::DocsConfig;
pub use self::key_store::KeyStoreConfig;
pub use self::keys_file::{KeyEntry, KeysFile, KeysFileError};
pub use self::limits::LimitsConfig;
pub use self::log::{LogConfig, LogFormat};
pub use self::purge::PurgeConfig;
pub use self::sample::SampleConfig;
pub use self::server::ServerConfig;
pub use self::server_keys::{ServerKeysConfig, ServerKeysFile};
pub use self::tokens::TokensConfig;
use crate::domain::client::Client;
use crate::provider::settings::ProviderSettings;

/// Which rules hold. The command decides, never a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `serve`: anything that is for trying out stops the start.
    Production,
    /// `demo` and tests: plain http on this machine is allowed.
    Development,
}

/// Everything a broker must know to start, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which rules hold.
    pub mode: Mode,
    /// Where browsers reach the broker: scheme, host and port; the path is `/`.
    pub public_url: Url,
    /// Where it listens.
    pub server: ServerConfig,
    /// Users, sessions and tokens.
    pub database: DatabaseConfig,
    /// Where one-time keys wait.
    pub key_store: KeyStoreConfig,
    /// The server's own keys, and the file that they came from.
    pub server_keys: ServerKeysConfig,
    /// The identity providers, in the order of the chooser page; at least one.
    pub providers: Vec<ProviderSettings>,
    /// The registered clients; at least one is enabled.
    pub clients: Vec<Client>,
    /// How long things live.
    pub tokens: TokensConfig,
    /// How often one address may ask.
    pub limits: LimitsConfig,
    /// What is logged.
    pub log: LogConfig,
    /// Who may read the API documents.
    pub docs: DocsConfig,
    /// When rows that are over are deleted.
    pub purge: PurgeConfig,
    /// Whether the sample app is at `/`.
    pub sample: SampleConfig,
}

/// A configuration that can be used, and what an operator should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works, but should be known; to be logged at start.
    pub warnings: Vec<Problem>,
    /// The configuration in effect as TOML: defaults and what follows from other settings included, secrets masked.
    pub effective: String,
}

/// What stands outside of any section.
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
    limits: limits::RawLimits,
    log: log::RawLog,
    docs: DocsConfig,
    purge: purge::RawPurge,
    sample: sample::RawSample,
    providers: Vec<providers::RawProvider>,
    clients: Vec<clients::RawClient>,
}

/// Reads the file at `path`, lays `environment` over it and checks everything by the rules of `mode`.
///
/// # Errors
///
/// Everything that has to be mended, by key.
pub fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    mode: Mode,
) -> Result<Loaded, Problems> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Problems::one(&path.display().to_string(), &unreadable(&error)))?;
    let mut check = Check::new(mode, path.parent().unwrap_or(Path::new("")));
    let raw = source::read(&text, environment, &mut check);
    validate(raw, check)
}

/// Why the configuration file cannot be read, and what to do.
fn unreadable(error: &std::io::Error) -> String {
    let mend = match error.kind() {
        std::io::ErrorKind::NotFound => "start from token-broker.example.toml",
        _ => "it must be readable by the user that runs this",
    };
    format!("cannot be read: {error}: {mend}")
}

/// Where the keys file is that the configuration at `path` names: of the other settings none is checked, since keys
/// may have to be replaced in a hurry.
///
/// # Errors
/// The configuration cannot be read, or names no keys file.
pub fn server_keys_file(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<PathBuf, Problems> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Problems::one(&path.display().to_string(), &unreadable(&error)))?;
    // The rules of production would refuse what is none of this command's business.
    let mut check = Check::new(Mode::Development, path.parent().unwrap_or(Path::new("")));
    match source::read(&text, environment, &mut check) {
        Some(raw) => raw.server_keys.file.map(|file| check.path(&file)).ok_or_else(|| {
            Problems::one("server_keys.file", "is missing: name the keys file there, or with --file")
        }),
        None => {
            check.finish()?;
            Err(Problems::one("the configuration", "cannot be read"))
        }
    }
}

/// The process's environment, as [`load`] takes it.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Checks what was read, if anything was; whatever `check` knows already counts too.
fn validate(raw: Option<RawConfig>, mut check: Check) -> Result<Loaded, Problems> {
    let written = raw.clone();
    let config = raw.and_then(|raw| sections(raw, &mut check));
    let warnings = check.finish()?;
    let incomplete = || Problems::one("the configuration", "is incomplete");
    let config = config.ok_or_else(incomplete)?;
    let effective = written.map(|raw| raw.effective(&config)).unwrap_or_default();
    Ok(Loaded { config, warnings, effective })
}

impl RawConfig {
    /// What is in effect, as TOML: what was written, and for what was not, what holds instead.
    fn effective(mut self, config: &Config) -> String {
        self.database.resolve(&config.database);
        self.key_store.resolve(&config.key_store);
        self.server_keys.resolve(&config.server_keys.ring);
        self.providers.iter_mut().zip(&config.providers).for_each(|(raw, checked)| raw.resolve(checked));
        self.clients.iter_mut().zip(&config.clients).for_each(|(raw, checked)| raw.resolve(checked));
        toml::to_string(&self).unwrap_or_default()
    }
}

/// Checks every section, so that one run finds every problem; only then is the whole put together.
fn sections(raw: RawConfig, check: &mut Check) -> Option<Config> {
    let public_url = public_url(raw.public_url, check);
    let server = raw.server.check(check);
    let database = raw.database.check(check);
    let key_store = raw.key_store.check(check);
    let server_keys = raw.server_keys.check(check);
    let tokens = raw.tokens.check(check);
    let limits = raw.limits.check(check);
    let log = raw.log.check(check);
    let purge = raw.purge.check(check);
    let providers = providers(raw.providers, public_url.as_ref(), check);
    let clients = clients(raw.clients, check);
    let sample = raw.sample.check(public_url.as_ref(), &clients, check);
    Some(Config {
        mode: check.mode,
        public_url: public_url?,
        server: server?,
        database: database?,
        key_store: key_store?,
        server_keys: server_keys?,
        providers,
        clients,
        tokens: tokens?,
        limits: limits?,
        log: log?,
        docs: raw.docs,
        purge: purge?,
        sample,
    })
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

fn providers(
    raw: Vec<providers::RawProvider>,
    public_url: Option<&Url>,
    check: &mut Check,
) -> Vec<ProviderSettings> {
    if raw.is_empty() {
        check.problem("providers", "is empty: add a [[providers]] section, or nobody can sign in");
    }
    let mut ids = HashSet::new();
    let mut paths = HashSet::new();
    let mut checked = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let key = format!("providers[{i}]");
        let Some(provider) = raw.check(&key, public_url, check) else { continue };
        if !ids.insert(provider.id.clone()) {
            check.problem(format!("{key}.id"), "is there twice: give every provider its own");
        } else if !paths.insert(provider.redirect_uri.path().trim_end_matches('/').to_owned()) {
            check.problem(
                format!("{key}.callback_path"),
                "is another provider's too: use /oauth2_callback/{id}",
            );
        }
        checked.push(provider);
    }
    checked
}

fn clients(raw: Vec<clients::RawClient>, check: &mut Check) -> Vec<Client> {
    let mut ids = HashSet::new();
    let mut checked = Vec::new();
    let count = raw.len();
    for (i, raw) in raw.into_iter().enumerate() {
        let key = format!("clients[{i}]");
        let Some(client) = raw.check(&key, check) else { continue };
        if !ids.insert(client.id.clone()) {
            check.problem(format!("{key}.id"), "is there twice: give every client its own");
        }
        checked.push(client);
    }
    if checked.len() == count && !checked.iter().any(|client| client.enabled) {
        check.problem("clients", "has no enabled client: add a [[clients]] section with redirect_uris");
    }
    checked
}

//! `[server_keys]`: the secrets that authenticate everything the broker issues.
//!
//! `token-broker keys` writes them into a file, which a running broker reads again when it changes: see
//! `docs/keys.md`. Keys from the environment only change at the next start.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Mode;
use super::check::{Check, Problems};
use super::keys_file::{RawFileKey, RawKeysFile};
use super::secret::Secret;
use crate::domain::key_ring::{KeyId, KeyRing, ServerKey};

/// The setting that names the file.
const FILE: &str = "server_keys.file";

/// The key of the documentation, which is public.
const SAMPLE: &[u8] = b"token-broker-example-key-do-not-use";

/// A random key of 32 bytes has at least this many different ones (the probability of fewer is below 10^-15).
const FEWEST_DIFFERENT_BYTES: usize = 16;

/// The secrets that authenticate everything the broker issues. All brokers share them.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawServerKeys {
    /// The file that contains `issuing` and `keys`, as `token-broker keys` writes it. A running broker reads it again
    /// when it changes. Required, unless the keys come from the environment.
    pub(super) file: Option<PathBuf>,
    /// The id of the key that issues; the others still verify. From the environment only.
    issuing: Option<u32>,
    /// The keys. From the environment only: `TOKEN_BROKER__SERVER_KEYS__KEYS__1__SECRET`. They only
    /// change at the next start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<RawKey>,
}

/// One server key.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
struct RawKey {
    /// Its number, never reused for another secret.
    id: Option<u32>,
    /// 32 or more random bytes, as base64url.
    secret: Option<Secret>,
}

impl From<RawFileKey> for RawKey {
    fn from(key: RawFileKey) -> Self {
        Self { id: key.id, secret: key.secret }
    }
}

/// The server keys, checked.
#[derive(Debug, Clone)]
pub struct ServerKeysConfig {
    /// The keys as they were at the start.
    pub ring: Arc<KeyRing>,
    /// The file that they came from; `None` if they came from the environment.
    pub file: Option<ServerKeysFile>,
}

impl From<KeyRing> for ServerKeysConfig {
    /// Keys that no file contains.
    fn from(ring: KeyRing) -> Self {
        Self { ring: Arc::new(ring), file: None }
    }
}

/// The file of the server keys, to be read again while the broker runs, by the rules of the start.
#[derive(Debug, Clone)]
pub struct ServerKeysFile {
    /// Its path.
    pub path: PathBuf,
    mode: Mode,
}

impl ServerKeysFile {
    /// The text of the file; `None` if too many files are open, which says nothing about this one.
    ///
    /// # Errors
    /// It cannot be read, or other users can read it.
    pub fn read(&self) -> Result<Option<SecretString>, Problems> {
        let mut check = Check::new(self.mode, Path::new(""));
        let text = check.file(FILE, &self.path, true);
        if check.short_of_descriptors { Ok(None) } else { finish(check, text).map(Some) }
    }

    /// The ring that the text of the file describes.
    ///
    /// # Errors
    /// Everything that has to be fixed first.
    pub fn ring(&self, text: &SecretString) -> Result<Arc<KeyRing>, Problems> {
        let mut check = Check::new(self.mode, Path::new(""));
        let ring = ring_of_file(text, &mut check);
        finish(check, ring)
    }
}

fn finish<T>(check: Check, value: Option<T>) -> Result<T, Problems> {
    check.finish()?;
    value.ok_or_else(|| Problems::one(FILE, "cannot be used"))
}

impl RawServerKeys {
    /// Fills in the ids of the keys; secrets are masked.
    pub(super) fn resolve(&mut self, ring: &KeyRing) {
        let secret = || Some(Secret(SecretString::default()));
        self.issuing = Some(ring.issuing().id().0);
        self.keys = ring.ids().map(|id| RawKey { id: Some(id.0), secret: secret() }).collect();
    }

    pub(super) fn check(self, check: &mut Check) -> Option<ServerKeysConfig> {
        let inline = self.issuing.is_some() || !self.keys.is_empty();
        match self.file {
            Some(_) if inline => {
                check.problem(FILE, "must not be set together with server_keys.keys: remove one");
                None
            }
            Some(file) => {
                let text = check.file(FILE, &file, true)?;
                let ring = ring_of_file(&text, check)?;
                let file = ServerKeysFile { path: check.path(&file), mode: check.mode };
                Some(ServerKeysConfig { ring, file: Some(file) })
            }
            None if inline => {
                let ring = ring("server_keys.keys", self.issuing, self.keys, check)?;
                Some(ServerKeysConfig { ring, file: None })
            }
            None => {
                let fix =
                    "is missing: create one with token-broker keys generate --output FILE and name it here";
                check.problem(FILE, fix);
                None
            }
        }
    }
}

fn ring_of_file(text: &SecretString, check: &mut Check) -> Option<Arc<KeyRing>> {
    let Some(file) = RawKeysFile::parse(text) else {
        check.problem(
            FILE,
            "names a file that is not a keys file: create one with token-broker keys generate",
        );
        return None;
    };
    let keys = file.keys.into_iter().map(RawKey::from).collect();
    ring("server_keys.file.keys", file.issuing, keys, check)
}

fn ring(entries: &str, issuing: Option<u32>, keys: Vec<RawKey>, check: &mut Check) -> Option<Arc<KeyRing>> {
    let count = keys.len();
    let keys: Vec<ServerKey> = keys
        .into_iter()
        .enumerate()
        .filter_map(|(i, raw)| raw.check(&format!("{entries}[{i}]"), check))
        .collect();
    let issuing =
        check.required("server_keys.issuing", issuing, "set issuing to the id of the key that issues")?;
    if keys.len() < count {
        return None;
    }
    KeyRing::new(KeyId(issuing), keys).map(Arc::new).map_err(|error| check.problem(entries, error)).ok()
}

impl RawKey {
    fn check(self, key: &str, check: &mut Check) -> Option<ServerKey> {
        let id = check.required(key, self.id, "give every key an id");
        let secret = check.required(key, self.secret, "give every key a secret")?;
        let text = secret.0.expose_secret().trim_end_matches('=');
        let Ok(bytes) = BASE64_URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new) else {
            check.problem(
                key,
                "has a secret that is not base64url: create one with token-broker keys generate",
            );
            return None;
        };
        let different = bytes.iter().collect::<HashSet<_>>().len();
        if check.production() && (bytes.as_slice() == SAMPLE || different < FEWEST_DIFFERENT_BYTES) {
            check.problem(
                key,
                "has a secret that is a sample, not random: create one with token-broker keys generate",
            );
            return None;
        }
        ServerKey::new(KeyId(id?), bytes.to_vec()).map_err(|error| check.problem(key, error)).ok()
    }
}

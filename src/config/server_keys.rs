//! `[server_keys]`: the secrets that everything the broker issues is proved with.
//!
//! `token-broker keys` writes them into a file, which a running broker reads again when it changes: see
//! `docs/keys.md`. Keys of the environment change with the next start only.

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

/// The key of the documentation, which everybody knows.
const SAMPLE: &[u8] = b"token-broker-example-key-do-not-use";

/// Fewer different bytes than this among 32 do not come from a generator (by chance: less than once in 10^15).
const FEWEST_DIFFERENT_BYTES: usize = 16;

/// The secrets that everything the broker issues is proved with. All brokers share them.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawServerKeys {
    /// The file that holds `issuing` and `keys`, as `token-broker keys` writes it. A running broker reads it again
    /// when it changes. Required, unless the environment has the keys.
    pub(super) file: Option<PathBuf>,
    /// The id of the key that makes everything new; the others still verify. From the environment only.
    issuing: Option<u32>,
    /// The keys. From the environment only: `TOKEN_BROKER__SERVER_KEYS__KEYS__1__SECRET`. They change with the next
    /// start only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<RawKey>,
}

/// One server key.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
struct RawKey {
    /// Its number, never used again for another secret.
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
    /// The ring as it was at the start.
    pub ring: Arc<KeyRing>,
    /// Where it came from, unless from the environment.
    pub file: Option<ServerKeysFile>,
}

impl From<KeyRing> for ServerKeysConfig {
    /// Keys that no file holds.
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
    /// The text of the file.
    ///
    /// # Errors
    /// It cannot be read, or others can read it, too.
    pub fn read(&self) -> Result<SecretString, Problems> {
        let mut check = Check::new(self.mode, Path::new(""));
        let text = check.file(FILE, &self.path, true);
        finish(check, text)
    }

    /// The ring that the text of the file describes.
    ///
    /// # Errors
    /// Everything that has to be mended first.
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
    /// Puts in which keys there are, wherever they came from; of a secret only that there is one.
    pub(super) fn resolve(&mut self, ring: &KeyRing) {
        let secret = || Some(Secret(SecretString::default()));
        self.issuing = Some(ring.issuing().id().0);
        self.keys = ring.ids().map(|id| RawKey { id: Some(id.0), secret: secret() }).collect();
    }

    pub(super) fn check(self, check: &mut Check) -> Option<ServerKeysConfig> {
        let inline = self.issuing.is_some() || !self.keys.is_empty();
        match self.file {
            Some(_) if inline => {
                check.problem(FILE, "and server_keys.keys are both set: keep one");
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
                let mend =
                    "is missing: make one with token-broker keys generate --output FILE and name it here";
                check.problem(FILE, mend);
                None
            }
        }
    }
}

fn ring_of_file(text: &SecretString, check: &mut Check) -> Option<Arc<KeyRing>> {
    let Some(file) = RawKeysFile::parse(text) else {
        check.problem(FILE, "names a file that is not as token-broker keys writes it");
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
            check
                .problem(key, "has a secret that is not base64url: make one with token-broker keys generate");
            return None;
        };
        let different = bytes.iter().collect::<HashSet<_>>().len();
        if check.production() && (bytes.as_slice() == SAMPLE || different < FEWEST_DIFFERENT_BYTES) {
            check.problem(
                key,
                "has a secret that is a sample, not random: make one with token-broker keys generate",
            );
            return None;
        }
        ServerKey::new(KeyId(id?), bytes.to_vec()).map_err(|error| check.problem(key, error)).ok()
    }
}

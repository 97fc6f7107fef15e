//! `[server_keys]`: the secrets that everything the broker issues is proved with.
//!
//! `token-broker generate-key` writes them. To replace a key: `generate-key --add-to FILE`, start every broker
//! with the new file, and remove the old key seven days later.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::check::Check;
use super::secret::Secret;
use crate::domain::entropy::{self, Entropy};
use crate::domain::key_ring::{KeyId, KeyRing, ServerKey};

/// The key of the documentation, which everybody knows.
const SAMPLE: &[u8] = b"token-broker-example-key-do-not-use";

/// Fewer different bytes than this among 32 do not come from a generator (by chance: less than once in 10^15).
const FEWEST_DIFFERENT_BYTES: usize = 16;

/// The secrets that everything the broker issues is proved with. All brokers share them.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawServerKeys {
    /// The file that holds `issuing` and `keys`, as `token-broker generate-key` writes it. Required, unless the
    /// environment has the keys.
    file: Option<PathBuf>,
    /// The id of the key that makes everything new; the others still verify. From the environment only.
    issuing: Option<u32>,
    /// The keys. From the environment only: `TOKEN_BROKER__SERVER_KEYS__KEYS__1__SECRET`.
    keys: Vec<RawKey>,
}

/// One server key.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
struct RawKey {
    /// Its number, never used again for another secret.
    id: Option<u32>,
    /// 32 or more random bytes, as base64url.
    secret: Option<Secret>,
}

/// What the file holds.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KeysFile {
    issuing: Option<u32>,
    keys: Vec<RawKey>,
}

impl RawServerKeys {
    pub(super) fn check(self, check: &mut Check) -> Option<Arc<KeyRing>> {
        let inline = self.issuing.is_some() || !self.keys.is_empty();
        let (entries, issuing, keys) = match self.file {
            Some(_) if inline => {
                check.problem("server_keys.file", "and server_keys.keys are both set: keep one");
                return None;
            }
            Some(file) => {
                let text = check.file("server_keys.file", &file, true)?;
                let Some(file) = parse(&text) else {
                    check.problem("server_keys.file", "names a file that is not as generate-key writes it");
                    return None;
                };
                ("server_keys.file.keys", file.issuing, file.keys)
            }
            None if inline => ("server_keys.keys", self.issuing, self.keys),
            None => {
                let mend =
                    "is missing: make one with token-broker generate-key --output FILE and name it here";
                check.problem("server_keys.file", mend);
                return None;
            }
        };
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
}

fn parse(text: &SecretString) -> Option<KeysFile> {
    toml::from_str(text.expose_secret()).ok()
}

impl RawKey {
    fn check(self, key: &str, check: &mut Check) -> Option<ServerKey> {
        let id = check.required(key, self.id, "give every key an id");
        let secret = check.required(key, self.secret, "give every key a secret")?;
        let text = secret.0.expose_secret().trim_end_matches('=');
        let Ok(bytes) = BASE64_URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new) else {
            check.problem(key, "has a secret that is not base64url: make one with token-broker generate-key");
            return None;
        };
        let different = bytes.iter().collect::<HashSet<_>>().len();
        if check.production() && (bytes.as_slice() == SAMPLE || different < FEWEST_DIFFERENT_BYTES) {
            check.problem(
                key,
                "has a secret that is a sample, not random: make one with token-broker generate-key",
            );
            return None;
        }
        ServerKey::new(KeyId(id?), bytes.to_vec()).map_err(|error| check.problem(key, error)).ok()
    }
}

/// The text of a keys file with one fresh key, which issues; in front of it the keys of `existing`, which go on
/// verifying.
///
/// # Errors
///
/// `existing` is not a keys file.
pub fn generate_keys_file(
    existing: Option<&SecretString>,
    entropy: &dyn Entropy,
) -> Result<SecretString, NotAKeysFile> {
    let existing = existing.map_or(Some(KeysFile::default()), parse).ok_or(NotAKeysFile)?;
    let last = existing.keys.iter().filter_map(|key| key.id).max().unwrap_or(0);
    let fresh = last.checked_add(1).ok_or(NotAKeysFile)?;
    let mut text = Zeroizing::new(format!("issuing = {fresh}\n"));
    let mut add = |id: u32, secret: &str| {
        text.push_str(&format!("\n[[keys]]\nid = {id}\nsecret = \"{secret}\"\n"));
    };
    for key in &existing.keys {
        let (Some(id), Some(secret)) = (key.id, &key.secret) else { return Err(NotAKeysFile) };
        add(id, secret.0.expose_secret());
    }
    let secret = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(Zeroizing::new(entropy::bytes::<32>(entropy))));
    add(fresh, &secret);
    Ok(text.as_str().into())
}

/// The file that a key should be added to is not as `generate-key` writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file is not a keys file as generate-key writes it")]
pub struct NotAKeysFile;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entropy::SeededEntropy;

    #[test]
    fn ad_11_a_key_is_added_and_the_old_ones_stay() {
        let first = generate_keys_file(None, &SeededEntropy::new(1)).unwrap();
        let second = generate_keys_file(Some(&first), &SeededEntropy::new(2)).unwrap();
        let (first, second) = (parse(&first).unwrap(), parse(&second).unwrap());
        assert_eq!((first.issuing, second.issuing), (Some(1), Some(2)));
        let secret = |key: &RawKey| key.secret.as_ref().unwrap().0.expose_secret().to_owned();
        assert_eq!(second.keys.iter().map(|key| key.id).collect::<Vec<_>>(), [Some(1), Some(2)]);
        assert_eq!(secret(&second.keys[0]), secret(&first.keys[0]));
        assert_ne!(secret(&second.keys[1]), secret(&second.keys[0]));
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(secret(&second.keys[1])).unwrap().len(), 32);
    }

    #[test]
    fn another_file_is_not_taken_for_keys() {
        for text in ["public_url = 1", "issuing = \"x\"", "[[keys]]\nid = 1"] {
            assert_eq!(
                generate_keys_file(Some(&text.into()), &SeededEntropy::new(1)).unwrap_err(),
                NotAKeysFile,
                "{text}"
            );
        }
    }
}

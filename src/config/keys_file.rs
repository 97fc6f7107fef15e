//! The file that contains the server keys: `issuing` and `[[keys]]`, as `token-broker keys` writes it.
//!
//! A key is added, issues later, and is retired when everything it issued has expired. An id is never reused for
//! another secret, not even after its key was removed: the file remembers the highest.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::secret::Secret;
use crate::domain::clock::Timestamp;
use crate::domain::entropy::{self, Entropy};
use crate::domain::lifetimes;

/// The file as it may be written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawKeysFile {
    pub(super) issuing: Option<u32>,
    last_id: Option<u32>,
    pub(super) keys: Vec<RawFileKey>,
}

/// A key as it may be written; the times are for `keys list` and `keys retire`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawFileKey {
    pub(super) id: Option<u32>,
    pub(super) secret: Option<Secret>,
    added_at: Option<Timestamp>,
    stopped_issuing_at: Option<Timestamp>,
}

impl RawKeysFile {
    pub(super) fn parse(text: &SecretString) -> Option<Self> {
        toml::from_str(text.expose_secret()).ok()
    }
}

/// A complete keys file.
#[derive(Debug)]
pub struct KeysFile {
    issuing: u32,
    last_id: u32,
    keys: Vec<FileKey>,
}

#[derive(Debug)]
struct FileKey {
    id: u32,
    secret: SecretString,
    added_at: Option<Timestamp>,
    stopped_issuing_at: Option<Timestamp>,
}

/// A key without its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KeyEntry {
    /// Its id.
    pub id: u32,
    /// Whether it is the key that issues.
    pub issues: bool,
    /// When it was added, if the file says so.
    pub added_at: Option<Timestamp>,
    /// When another key took over, if the file says so.
    pub stopped_issuing_at: Option<Timestamp>,
    /// Until when something that it issued can be valid, if that is known.
    pub needed_until: Option<Timestamp>,
}

impl KeyEntry {
    /// Whether everything that the key issued has certainly expired.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.needed_until.is_some_and(|until| now >= until)
    }
}

/// Why a keys file cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysFileError {
    /// The text is not a keys file.
    #[error("the file is not a keys file as token-broker keys writes it")]
    NotAKeysFile,
    /// There is no key of this id.
    #[error("there is no key {0} in the file; token-broker keys list shows the keys")]
    NoSuchKey(u32),
    /// The key that issues cannot be removed.
    #[error("key {0} issues: make another key issue first, with token-broker keys issue")]
    Issuing(u32),
}

impl KeysFile {
    /// A file with one fresh key, which issues.
    pub fn fresh(entropy: &dyn Entropy, now: Timestamp) -> Self {
        Self { issuing: 1, last_id: 1, keys: vec![FileKey::fresh(1, entropy, now)] }
    }

    /// The file from its text.
    ///
    /// # Errors
    /// The text is not a complete keys file.
    pub fn parse(text: &SecretString) -> Result<Self, KeysFileError> {
        let complete = |raw: RawKeysFile| {
            let key = |raw: RawFileKey| {
                Some(FileKey {
                    id: raw.id?,
                    secret: raw.secret?.0,
                    added_at: raw.added_at,
                    stopped_issuing_at: raw.stopped_issuing_at,
                })
            };
            let keys = raw.keys.into_iter().map(key).collect::<Option<Vec<_>>>()?;
            let newest = keys.iter().map(|key| key.id).max()?;
            let issuing = raw.issuing.filter(|issuing| keys.iter().any(|key| key.id == *issuing))?;
            Some(Self { issuing, last_id: raw.last_id.unwrap_or(newest).max(newest), keys })
        };
        RawKeysFile::parse(text).and_then(complete).ok_or(KeysFileError::NotAKeysFile)
    }

    /// Adds a fresh key and returns its id. It only verifies: brokers that do not know it yet would refuse what it
    /// issues.
    ///
    /// # Errors
    /// There is no id left.
    pub fn add(&mut self, entropy: &dyn Entropy, now: Timestamp) -> Result<u32, KeysFileError> {
        let id = self.last_id.checked_add(1).ok_or(KeysFileError::NotAKeysFile)?;
        self.keys.push(FileKey::fresh(id, entropy, now));
        self.last_id = id;
        Ok(id)
    }

    /// Makes this key the one that issues; returns the id of the one that did before.
    ///
    /// # Errors
    /// There is no such key.
    pub fn issue(&mut self, id: u32, now: Timestamp) -> Result<u32, KeysFileError> {
        self.key(id)?.stopped_issuing_at = None;
        let before = std::mem::replace(&mut self.issuing, id);
        if before != id {
            self.key(before)?.stopped_issuing_at = Some(now);
        }
        Ok(before)
    }

    /// Removes a key: from then on everything that it issued is refused.
    ///
    /// # Errors
    /// There is no such key, or it is the one that issues.
    pub fn retire(&mut self, id: u32) -> Result<(), KeysFileError> {
        self.key(id)?;
        if id == self.issuing {
            return Err(KeysFileError::Issuing(id));
        }
        self.keys.retain(|key| key.id != id);
        Ok(())
    }

    /// The id of the newest key.
    pub fn newest(&self) -> u32 {
        self.keys.iter().map(|key| key.id).max().unwrap_or(self.issuing)
    }

    /// The key with this id, without its secret.
    ///
    /// # Errors
    /// There is no such key.
    pub fn entry(&self, id: u32) -> Result<KeyEntry, KeysFileError> {
        self.entries().find(|entry| entry.id == id).ok_or(KeysFileError::NoSuchKey(id))
    }

    /// The keys without their secrets.
    pub fn entries(&self) -> impl Iterator<Item = KeyEntry> {
        self.keys.iter().map(|key| KeyEntry {
            id: key.id,
            issues: key.id == self.issuing,
            added_at: key.added_at,
            stopped_issuing_at: key.stopped_issuing_at,
            // The session cookie is valid longest of everything that a key issues.
            needed_until: key.stopped_issuing_at.map(|at| at + lifetimes::SESSION),
        })
    }

    /// The text of the file.
    pub fn text(&self) -> SecretString {
        let mut text = Zeroizing::new(format!("issuing = {}\nlast_id = {}\n", self.issuing, self.last_id));
        for key in &self.keys {
            text.push_str(&key.text());
        }
        text.as_str().into()
    }

    fn key(&mut self, id: u32) -> Result<&mut FileKey, KeysFileError> {
        self.keys.iter_mut().find(|key| key.id == id).ok_or(KeysFileError::NoSuchKey(id))
    }
}

impl FileKey {
    fn fresh(id: u32, entropy: &dyn Entropy, now: Timestamp) -> Self {
        let bytes = Zeroizing::new(entropy::bytes::<32>(entropy));
        let secret = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(bytes));
        Self { id, secret: secret.as_str().into(), added_at: Some(now), stopped_issuing_at: None }
    }

    fn text(&self) -> Zeroizing<String> {
        let Self { id, secret, added_at, stopped_issuing_at } = self;
        let secret = secret.expose_secret();
        let mut text = Zeroizing::new(format!("\n[[keys]]\nid = {id}\nsecret = \"{secret}\"\n"));
        for (name, at) in [("added_at", added_at), ("stopped_issuing_at", stopped_issuing_at)] {
            if let Some(at) = at {
                text.push_str(&format!("{name} = \"{}\"\n", at.to_rfc3339()));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::entropy::SeededEntropy;

    fn noon() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().unwrap()
    }

    fn entropy(seed: u64) -> SeededEntropy {
        SeededEntropy::new(seed)
    }

    fn again(file: &KeysFile) -> KeysFile {
        KeysFile::parse(&file.text()).unwrap()
    }

    fn ids(file: &KeysFile) -> (u32, Vec<u32>) {
        (file.issuing, file.keys.iter().map(|key| key.id).collect())
    }

    #[test]
    fn a_key_is_added_and_the_old_ones_stay_and_issue() {
        let first = KeysFile::fresh(&entropy(1), noon());
        let mut second = again(&first);
        assert_eq!(second.add(&entropy(2), noon()), Ok(2));
        let second = again(&second);
        assert_eq!((ids(&first), ids(&second)), ((1, vec![1]), (1, vec![1, 2])));
        let secret = |file: &KeysFile, at: usize| file.keys[at].secret.expose_secret().to_owned();
        assert_eq!(secret(&second, 0), secret(&first, 0));
        assert_ne!(secret(&second, 1), secret(&second, 0));
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(secret(&second, 1)).unwrap().len(), 32);
    }

    /// Two brokers during a rotation: one still has the file of the step before.
    #[test]
    fn at_every_step_of_a_rotation_each_broker_knows_the_other_ones_key() {
        let first = KeysFile::fresh(&entropy(1), noon());
        let mut added = again(&first);
        added.add(&entropy(2), noon()).unwrap();
        let mut promoted = again(&added);
        assert_eq!(promoted.issue(2, noon()), Ok(1));
        let mut retired = again(&promoted);
        retired.retire(1).unwrap();
        assert_eq!((ids(&promoted), ids(&retired)), ((2, vec![1, 2]), (2, vec![2])));
        for (before, after) in [(&first, &added), (&added, &promoted), (&promoted, &retired)] {
            let ((issuing, known), (issuing_next, known_next)) = (ids(before), ids(after));
            assert!(known_next.contains(&issuing) && known.contains(&issuing_next));
        }
    }

    #[test]
    fn the_file_knows_until_when_a_key_is_needed() {
        let mut file = KeysFile::fresh(&entropy(1), noon());
        assert_eq!(file.retire(1), Err(KeysFileError::Issuing(1)));
        file.add(&entropy(2), noon()).unwrap();
        assert!(
            !file.entry(2).unwrap().is_over(noon() + TimeDelta::days(100)),
            "it may still have issued something"
        );
        let switched = noon() + TimeDelta::hours(1);
        file.issue(2, switched).unwrap();
        file.issue(2, switched + TimeDelta::hours(1)).unwrap();
        let file = again(&file);
        let old = file.entry(1).unwrap();
        assert_eq!(old.stopped_issuing_at, Some(switched), "the second time nothing changed");
        let dead = switched + TimeDelta::days(30);
        assert_eq!(old.needed_until, Some(dead));
        assert!(!old.is_over(dead - TimeDelta::seconds(1)) && old.is_over(dead));
        assert_eq!(file.entry(2).unwrap().needed_until, None);
        assert_eq!(file.entry(3), Err(KeysFileError::NoSuchKey(3)));
    }

    #[test]
    fn an_id_is_never_used_again() {
        let mut file = KeysFile::fresh(&entropy(1), noon());
        file.add(&entropy(2), noon()).unwrap();
        file.retire(2).unwrap();
        let mut file = again(&file);
        assert_eq!(file.add(&entropy(3), noon()), Ok(3));
        assert_eq!(file.retire(2), Err(KeysFileError::NoSuchKey(2)));
    }

    #[test]
    fn another_file_is_not_taken_for_keys() {
        let key = "[[keys]]\nid = 1";
        let stranger = format!("issuing = 2\n{key}\nsecret = \"x\"");
        let unnamed = format!("{key}\nsecret = \"x\"");
        let no_secret = format!("issuing = 1\n{key}");
        for text in ["", "public_url = 1", "issuing = \"x\"", "issuing = 1", &stranger, &unnamed, &no_secret]
        {
            let refused = KeysFile::parse(&text.into()).unwrap_err();
            assert_eq!(refused, KeysFileError::NotAKeysFile, "{text}");
        }
        let by_hand = KeysFile::parse(&format!("issuing = 1\n{key}\nsecret = \"hidden\"").into()).unwrap();
        assert_eq!(by_hand.entry(1).unwrap().added_at, None, "written by hand, and good");
        assert!(!format!("{by_hand:?}").contains("hidden"), "{by_hand:?}");
    }
}

//! The profile of a user as reported by a provider, cleaned and in the broker's own format.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::display::is_unsafe;
use super::ids::ProviderId;

/// The maximum length of a profile text in characters. Longer texts are cut.
const TEXT_LIMIT: usize = 255;

/// The maximum number of permissions or groups. The rest are dropped.
const LIST_LIMIT: usize = 1000;

/// The provider's stable identifier of a user (OpenID Connect `sub`): 1 to 255 bytes, case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(String);

/// The subject is empty, too long or contains a control character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subject must be 1 to 255 bytes of text without control characters")]
pub struct InvalidSubject;

impl Subject {
    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidSubject) }
    }
}

/// The mapped profile of one identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The provider that reported the profile.
    pub provider: ProviderId,
    /// The user's identifier at that provider.
    pub subject: Subject,
    /// The login name, for display.
    pub username: Option<ProfileText>,
    /// The full name, for display.
    pub display_name: Option<ProfileText>,
    /// The email address, for display. It is never used to find a user.
    pub email: Option<ProfileText>,
    /// Whether the provider has verified the address: only if it sent the boolean `true`.
    pub email_verified: bool,
    /// The permissions of the user, as named by the provider.
    pub permissions: NameList,
    /// The groups of the user.
    pub groups: NameList,
    /// The session id of the provider (`sid`), for back-channel logout.
    pub provider_session: Option<ProfileText>,
}

/// A text of a profile: at most 255 characters, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProfileText(String);

impl ProfileText {
    /// Cleans a text. Returns `None` if nothing is left.
    pub fn clean(text: &str) -> Option<Self> {
        let cleaned: String = text.chars().filter(|c| !is_unsafe(*c)).take(TEXT_LIMIT).collect();
        let trimmed = cleaned.trim();
        (!trimmed.is_empty()).then(|| Self(trimmed.to_owned()))
    }

    /// A text that a person chose, unchanged except for white space around it. Returns `None` if nothing is left, if it
    /// is longer than `limit` characters or if it contains a character that must not be displayed as it is.
    pub fn chosen(text: &str, limit: usize) -> Option<Self> {
        let trimmed = text.trim();
        let fits = trimmed.chars().count() <= limit;
        Self::clean(trimmed).filter(|cleaned| fits && cleaned.as_str() == trimmed)
    }

    /// The cleaned text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Permissions or groups: cleaned, without duplicates, in the order of the provider, at most 1000.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NameList(Vec<ProfileText>);

impl NameList {
    /// Cleans the names and removes duplicates.
    pub fn clean<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut seen = std::collections::HashSet::new();
        let names = names.into_iter().filter_map(ProfileText::clean);
        Self(names.filter(|name| seen.insert(name.0.clone())).take(LIST_LIMIT).collect())
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(ProfileText::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_checked() {
        assert!("Ümit".parse::<Subject>().is_ok());
        assert!("x".repeat(255).parse::<Subject>().is_ok());
        for bad in ["", "a\0b", "a\nb", &"x".repeat(256)] {
            assert!(bad.parse::<Subject>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn texts_are_cleaned_and_capped() {
        assert_eq!(ProfileText::clean(" A\u{0}li\u{202E}ce\r\n ").unwrap().as_str(), "Alice");
        assert_eq!(ProfileText::clean(&"ü".repeat(300)).unwrap().as_str().chars().count(), 255);
        assert_eq!(ProfileText::clean("\n\t "), None);
        assert_eq!(ProfileText::chosen(" Backup 李 🙂 ", 20).unwrap().as_str(), "Backup 李 🙂");
        for bad in ["", " \t", "a\nb", "a\u{202E}b", "a\u{200b}", "\u{1b}[2J", "twenty-one characters"] {
            assert_eq!(ProfileText::chosen(bad, 20), None, "{bad:?}");
        }
        let list = NameList::clean(["a", "b", "a", "", "b\u{7f}"]);
        assert_eq!(list.iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}

//! Local users: found by (provider, subject) and by nothing else.

use super::clock::Timestamp;
use super::ids::{ProviderId, UserId};
use super::profile::{NameList, ProfileText, Subject};

/// How people name a user at the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserReference {
    /// By the local id.
    Id(UserId),
    /// By an identity, written `provider/subject`.
    Identity(ProviderId, String),
    /// By the username, which is not unique.
    Username(String),
}

impl UserReference {
    /// Reads a name by its form: a UUID, something that begins with a provider's name and `/`, anything else.
    pub fn new(text: &str) -> Self {
        if let Ok(id) = text.parse() {
            return Self::Id(id);
        }
        let identity = text
            .split_once('/')
            .and_then(|(provider, subject)| Some(Self::Identity(provider.parse().ok()?, subject.to_owned())));
        identity.unwrap_or_else(|| Self::Username(text.to_owned()))
    }
}

/// A user and the identity that the current session came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The stable local id.
    pub id: UserId,
    /// The provider of the identity.
    pub provider: ProviderId,
    /// The subject at that provider.
    pub subject: Subject,
    /// The login name, for people.
    pub username: Option<ProfileText>,
    /// The full name, for people.
    pub display_name: Option<ProfileText>,
    /// The email address, for people.
    pub email: Option<ProfileText>,
    /// Whether the provider vouches for the address.
    pub email_verified: bool,
}

impl User {
    /// What the broker's pages call the user: the full name, or the best that there is.
    pub fn name(&self) -> Option<&ProfileText> {
        self.display_name.as_ref().or(self.username.as_ref()).or(self.email.as_ref())
    }
}

/// What the provider lets a user do. Kept apart from [`User`]: these lists can be long, and few calls need them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// As the provider names them.
    pub permissions: NameList,
    /// The groups the provider puts the person in.
    pub groups: NameList,
    /// When this was read at the provider: at the login.
    pub as_of: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_by_id_identity_or_username() {
        let id = "0b5bbd2e-28c3-4f20-9a0e-1f1f0ffb5f6a";
        assert_eq!(UserReference::new(id), UserReference::Id(id.parse().unwrap()));
        let corp = || "corp".parse().unwrap();
        assert_eq!(UserReference::new("corp/a/b"), UserReference::Identity(corp(), "a/b".into()));
        for name in ["alice", "Corp/alice", "alice@example.com", "/x", "a b/c"] {
            assert_eq!(UserReference::new(name), UserReference::Username(name.into()), "{name}");
        }
    }
}

//! Local users: found by (provider, subject) and by nothing else.

use super::clock::Timestamp;
use super::ids::{ProviderId, UserId};
use super::profile::{NameList, ProfileText, Subject};

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
    /// What the provider lets the person do.
    pub permissions: NameList,
    /// The groups the provider puts the person in.
    pub groups: NameList,
    /// When the profile was read at the provider: at the login.
    pub profile_as_of: Timestamp,
}

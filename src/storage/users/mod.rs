//! Users and their identities.

pub(super) mod rows;

use serde::Serialize;

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{IdentityId, ProviderId, UserId};
use crate::domain::user::{Permissions, UserReference};

/// Which users to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// A part of a username, display name, email address or subject of any identity of the user, ignoring the case of
    /// ASCII letters.
    pub search: Option<String>,
    /// With an identity at this provider.
    pub provider: Option<ProviderId>,
    /// Only disabled users.
    pub disabled: bool,
    /// Only users that follow this one in the list.
    pub after: Option<UserId>,
    /// At most this many.
    pub limit: u32,
}

/// A user, as an administrator sees it. The profile is the one of the identity that signed in last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserRecord {
    /// The stable local id.
    pub id: UserId,
    /// The login name.
    pub username: Option<String>,
    /// The full name.
    pub display_name: Option<String>,
    /// The email address.
    pub email: Option<String>,
    /// Whether the provider vouches for the address.
    pub email_verified: bool,
    /// When an administrator disabled the user.
    pub disabled_at: Option<Timestamp>,
    /// When the first login was.
    pub created_at: Timestamp,
    /// When the profile was read at the provider.
    pub profile_as_of: Timestamp,
    /// The accounts at providers that belong to the user.
    pub identities: Vec<IdentityRecord>,
}

/// One identity of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IdentityRecord {
    /// The provider.
    pub provider: String,
    /// The subject there.
    pub subject: String,
}

/// What disabling a user did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Disabled {
    /// Whether the user was enabled before.
    pub changed: bool,
    /// How many sessions were ended.
    pub sessions_ended: usize,
    /// How many personal tokens were revoked.
    pub personal_tokens_revoked: usize,
}

/// What deleting a user did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// How many sessions were deleted with the user.
    pub sessions: usize,
    /// From how many audit events the address was removed.
    pub audit_events: usize,
}

impl Storage {
    /// The permissions and groups that the provider gave this identity; `None` if there is no such identity.
    pub async fn permissions_of(&self, identity: IdentityId) -> Result<Option<Permissions>, StorageError> {
        on_backend!(self, users::permissions(identity))
    }

    /// The users that match; `None` if there is no user [`UserFilter::after`].
    pub async fn list_users(&self, filter: UserFilter) -> Result<Option<Vec<UserRecord>>, StorageError> {
        on_backend!(self, users::list(&filter))
    }

    /// The users that a reference means: none, one or, by a username, several; at most `limit`.
    pub async fn find_users(&self, user: UserReference, limit: u32) -> Result<Vec<UserRecord>, StorageError> {
        on_backend!(self, users::find(&user, limit.into()))
    }

    /// Disables a user, ends all sessions and revokes all personal tokens of the user; `None` if there is no such user.
    pub async fn disable_user(
        &self,
        user: UserId,
        event: AuditEvent,
    ) -> Result<Option<Disabled>, StorageError> {
        on_backend!(self, users::disable(user, event.clone()))
    }

    /// Enables a user again. Returns whether the user was disabled; `None` if there is no such user.
    pub async fn enable_user(&self, user: UserId, event: AuditEvent) -> Result<Option<bool>, StorageError> {
        on_backend!(self, users::enable(user, event.clone()))
    }

    /// Deletes a user with all identities, sessions and tokens, and removes the addresses from the user's audit events;
    /// `None` if there is no such user.
    pub async fn delete_user(
        &self,
        user: UserId,
        event: AuditEvent,
    ) -> Result<Option<Deleted>, StorageError> {
        on_backend!(self, users::delete(user, event.clone()))
    }
}

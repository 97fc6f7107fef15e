//! What an administrator may see and ask for. No credential is among it: of a token only its short one-way id.

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, ProviderId, SessionId, TokenId, UserId};
use crate::storage::records::AuditRecord;

/// Which users to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// A part of username, display name, email or subject, whatever the case of ASCII letters.
    pub search: Option<String>,
    /// With an identity at this provider.
    pub provider: Option<ProviderId>,
    /// Disabled ones only.
    pub disabled: bool,
    /// Those behind this one in the list.
    pub after: Option<UserId>,
    /// So many at most.
    pub limit: u32,
}

/// A user, as an administrator sees it.
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
    /// When the profile was read at the provider: at the latest login there.
    pub profile_as_of: Timestamp,
    /// Who the user is at which provider.
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

/// What a user holds at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Holdings {
    /// Sessions that are neither ended nor expired.
    pub live_sessions: i64,
    /// Tokens that are neither ended nor rotated away nor expired, in such sessions.
    pub live_tokens: i64,
}

/// What disabling a user did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Disabled {
    /// Whether it was enabled before.
    pub changed: bool,
    /// The sessions that were ended.
    pub sessions_ended: usize,
}

/// What deleting a user did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// The sessions that went with the user.
    pub sessions: usize,
    /// The audit events whose addresses were removed.
    pub audit_events: usize,
}

/// Which sessions to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Of this user.
    pub user: Option<UserId>,
    /// Those that are still live at this moment only.
    pub live_at: Option<Timestamp>,
    /// Those behind this one in the list.
    pub after: Option<SessionId>,
    /// So many at most.
    pub limit: u32,
}

/// A session, as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionRecord {
    /// Its id; authenticates nothing.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// That user's login name.
    pub username: Option<String>,
    /// The provider of the login.
    pub provider: String,
    /// When the login was.
    pub created_at: Timestamp,
    /// When it ends, at the latest.
    pub expires_at: Timestamp,
    /// When it was last used, to some minutes; unknown before the first use.
    pub last_used_at: Option<Timestamp>,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// When its user was disabled.
    pub user_disabled_at: Option<Timestamp>,
    /// The browser.
    pub user_agent: Option<String>,
    /// The network of the browser's address.
    pub address_prefix: String,
}

/// What was done with some of the users whose sessions are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedBatch {
    /// The sessions that were ended.
    pub ended: usize,
    /// The last of these users, if there may be more.
    pub last: Option<UserId>,
}

/// Which tokens to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct TokenFilter {
    /// Of this user.
    pub user: Option<UserId>,
    /// Of this session.
    pub session: Option<SessionId>,
    /// Those that are still live at this moment only.
    pub live_at: Option<Timestamp>,
    /// Those behind this one in the list.
    pub after: Option<TokenId>,
    /// So many at most.
    pub limit: u32,
}

/// The row of a token, as an administrator sees it; the token itself cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenListing {
    /// The row's id; says nothing about the token.
    pub id: TokenId,
    /// The short one-way id under which logs and the audit trail name it.
    pub log_id: String,
    /// Its session.
    pub session: SessionId,
    /// Its user.
    pub user: UserId,
    /// That user's login name.
    pub username: Option<String>,
    /// The client it was issued to.
    pub client: String,
    /// Its scopes, space-separated.
    pub scope: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it dies, at the latest.
    pub expires_at: Timestamp,
    /// When it was rotated away.
    pub superseded_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, where that is known.
    pub last_used_at: Option<Timestamp>,
    /// The session's state, which decides too.
    #[serde(skip)]
    pub session_ended_at: Option<Timestamp>,
    /// When its session ends, at the latest.
    #[serde(skip)]
    pub session_expires_at: Timestamp,
    /// When its user was disabled.
    #[serde(skip)]
    pub user_disabled_at: Option<Timestamp>,
}

/// Which audit events to read.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// About this user.
    pub user: Option<UserId>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this client.
    pub client: Option<ClientId>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// So many at most.
    pub limit: u32,
}

/// Where a reader of the audit trail is: behind this event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPosition {
    /// Its time.
    pub at: Timestamp,
    /// Its number.
    pub id: i64,
}

/// In which direction the audit trail is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To look at.
    NewestFirst,
    /// To be kept.
    OldestFirst,
}

/// An audit event with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// The database's number, which never comes twice.
    pub id: i64,
    /// The event.
    #[serde(flatten)]
    pub event: AuditRecord,
}

impl AuditEntry {
    /// The place behind it.
    pub fn position(&self) -> AuditPosition {
        AuditPosition { at: self.event.at, id: self.id }
    }
}

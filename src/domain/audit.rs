//! What is worth remembering about security: one list of events, for the log, the database and the counters.
//!
//! An event names ids, never a credential; a token appears under its short one-way id only.

use std::borrow::Cow;
use std::net::IpAddr;

use super::clock::Timestamp;
use super::ids::{ClientId, ProviderId, ResourceServerId, SessionId, UserId};
use super::profile::ProfileText;
use super::request_id::RequestId;
use super::token::HandleDigest;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditKind {
    /// `/login` sent a browser to a provider.
    LoginStarted,
    /// A callback ended in a one-time key.
    LoginSucceeded,
    /// A callback failed, or `/login` could not continue a session.
    LoginFailed,
    /// `/login` continued the browser's session: one more token, without the provider.
    SessionContinued,
    /// A one-time key was exchanged for its token.
    KeyRedeemed,
    /// A redemption was refused.
    KeyRefused,
    /// A used key was presented again by the same browser within seconds, or by a `legacy` client: harmless.
    KeyRepeated,
    /// A used key was presented again by somebody else: its session is ended.
    KeyReplayed,
    /// A token was issued.
    TokenIssued,
    /// A token was exchanged for its successor.
    TokenRotated,
    /// A token was refused.
    TokenRefused,
    /// A token was used after it had been rotated away: its session was ended.
    TokenReused,
    /// A token was refused because its session had been idle for longer than its client allows: it is revoked.
    TokenIdle,
    /// A session was ended: by its owner, by its provider, by another login in its browser, or because somebody
    /// else has a copy of its token.
    SessionEnded,
    /// A provider's back-channel logout was carried out; each session that it ended has an event of its own.
    BackchannelLogout,
    /// A back-channel logout was refused, or could not be carried out.
    BackchannelLogoutFailed,
    /// A caller was slowed down.
    RateLimited,
    /// A running broker took a new ring of server keys from their file.
    ServerKeysReplaced,
    /// A running broker refused the file of the server keys, and went on with those it had.
    ServerKeysRefused,
    /// An administrator disabled a user and ended their sessions.
    AdminUserDisabled,
    /// An administrator enabled a user again.
    AdminUserEnabled,
    /// An administrator deleted a user.
    AdminUserDeleted,
    /// An administrator ended a session.
    AdminSessionEnded,
    /// An administrator ended all sessions of a user, or, without a user, of everyone.
    AdminSessionsEnded,
    /// An administrator revoked a token.
    AdminTokenRevoked,
    /// An administrator registered a resource server.
    AdminResourceServerAdded,
    /// An administrator gave a resource server a new secret, beside the one it had.
    AdminResourceServerSecretAdded,
    /// An administrator removed a resource server's older secret.
    AdminResourceServerSecretRemoved,
    /// An administrator disabled a resource server.
    AdminResourceServerDisabled,
    /// An administrator enabled a resource server again.
    AdminResourceServerEnabled,
    /// An administrator removed a resource server.
    AdminResourceServerRemoved,
    /// An administrator deleted what is dead.
    AdminPurged,
}

impl AuditKind {
    /// The stable name in logs, metrics and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoginStarted => "login_started",
            Self::LoginSucceeded => "login_succeeded",
            Self::LoginFailed => "login_failed",
            Self::SessionContinued => "session_continued",
            Self::KeyRedeemed => "key_redeemed",
            Self::KeyRefused => "key_refused",
            Self::KeyRepeated => "key_repeated",
            Self::KeyReplayed => "key_replayed",
            Self::TokenIssued => "token_issued",
            Self::TokenRotated => "token_rotated",
            Self::TokenRefused => "token_refused",
            Self::TokenReused => "token_reused",
            Self::TokenIdle => "token_idle",
            Self::SessionEnded => "session_ended",
            Self::BackchannelLogout => "backchannel_logout",
            Self::BackchannelLogoutFailed => "backchannel_logout_failed",
            Self::RateLimited => "rate_limited",
            Self::ServerKeysReplaced => "server_keys_replaced",
            Self::ServerKeysRefused => "server_keys_refused",
            Self::AdminUserDisabled => "admin_user_disabled",
            Self::AdminUserEnabled => "admin_user_enabled",
            Self::AdminUserDeleted => "admin_user_deleted",
            Self::AdminSessionEnded => "admin_session_ended",
            Self::AdminSessionsEnded => "admin_sessions_ended",
            Self::AdminTokenRevoked => "admin_token_revoked",
            Self::AdminResourceServerAdded => "admin_resource_server_added",
            Self::AdminResourceServerSecretAdded => "admin_resource_server_secret_added",
            Self::AdminResourceServerSecretRemoved => "admin_resource_server_secret_removed",
            Self::AdminResourceServerDisabled => "admin_resource_server_disabled",
            Self::AdminResourceServerEnabled => "admin_resource_server_enabled",
            Self::AdminResourceServerRemoved => "admin_resource_server_removed",
            Self::AdminPurged => "admin_purged",
        }
    }
}

/// One event.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// What happened.
    pub kind: AuditKind,
    /// When.
    pub at: Timestamp,
    /// The request that caused it, or the run of a command, or the moment of a broker's own.
    pub request_id: RequestId,
    /// From where.
    pub address: Option<IpAddr>,
    /// For which client.
    pub client: Option<ClientId>,
    /// At which provider.
    pub provider: Option<ProviderId>,
    /// About whom.
    pub user: Option<UserId>,
    /// In which session.
    pub session: Option<SessionId>,
    /// About which token.
    pub token: Option<HandleDigest>,
    /// The error code, where it failed; of the server keys, which there are, or what is wrong with their file.
    pub reason: Option<Cow<'static, str>>,
    /// Who did it, where it was an administrator.
    pub actor: Option<Actor>,
    /// To which resource server.
    pub resource_server: Option<ResourceServerId>,
}

impl AuditEvent {
    /// Something that happened in a request; what else is known about it is added.
    pub fn new(kind: AuditKind, at: Timestamp, request_id: &RequestId) -> Self {
        Self {
            kind,
            at,
            request_id: request_id.clone(),
            address: None,
            client: None,
            provider: None,
            user: None,
            session: None,
            token: None,
            reason: None,
            actor: None,
            resource_server: None,
        }
    }
}

/// An administrator, by the name that the operating system has for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(ProfileText);

impl Actor {
    /// The name, cleaned of control characters; of an empty one nothing is left.
    pub fn new(name: &str) -> Option<Self> {
        ProfileText::clean(name).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

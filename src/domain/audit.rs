//! Security events: one list for the log, the audit trail in the database and the metrics.
//!
//! An event contains ids and never a credential. A token is identified only by its short one-way id.

use std::borrow::Cow;
use std::net::IpAddr;

use super::clock::Timestamp;
use super::ids::{ClientId, ProviderId, ResourceServerId, SessionId, UserId};
use super::profile::ProfileText;
use super::request_id::RequestId;
use super::token::HandleDigest;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditKind {
    /// `/login` sent a browser to a provider.
    LoginStarted,
    /// A callback succeeded and issued a one-time key.
    LoginSucceeded,
    /// A callback failed, or `/login` could not continue a session.
    LoginFailed,
    /// `/login` continued the session of the browser and issued another token, without the provider.
    SessionContinued,
    /// A one-time key was exchanged for its token.
    KeyRedeemed,
    /// The redemption of a one-time key was refused.
    KeyRefused,
    /// A used one-time key was presented again by the same browser within seconds, or by a `legacy` client. This is
    /// harmless.
    KeyRepeated,
    /// A used one-time key was presented again by a different browser: its session is ended.
    KeyReplayed,
    /// A device asked for a code to be connected with.
    DeviceStarted,
    /// A signed-in user entered a code that no device is waiting with.
    DeviceCodeRefused,
    /// A user connected a device: it can collect its token.
    DeviceApproved,
    /// A user refused to connect a device.
    DeviceDenied,
    /// A token was issued.
    TokenIssued,
    /// A token was exchanged for its successor.
    TokenRotated,
    /// A token was refused.
    TokenRefused,
    /// A token was refused because its row had been changed by someone without the server key.
    TokenForged,
    /// A rotated token was used after its overlap time: its session was ended.
    TokenReused,
    /// A token was refused and revoked because its session had been inactive for longer than its client allows.
    TokenIdle,
    /// A user made a personal token.
    PersonalTokenMade,
    /// A user revoked one of their personal tokens.
    PersonalTokenRevoked,
    /// A personal token was revoked by its client or by a resource server (RFC 7009).
    TokenRevoked,
    /// A session was ended: by its user, by its provider, by an API that revoked its token, by another login in the same
    /// browser, or because its token was copied.
    SessionEnded,
    /// A resource server presented a wrong id or secret, or is disabled.
    ResourceServerRefused,
    /// A back-channel logout of a provider succeeded. Each session that it ended has its own event.
    BackchannelLogout,
    /// A back-channel logout was refused or failed.
    BackchannelLogoutFailed,
    /// A request was refused by a rate limit.
    RateLimited,
    /// A running broker loaded new server keys from the keys file.
    ServerKeysReplaced,
    /// A running broker could not use the keys file and kept its previous keys.
    ServerKeysRefused,
    /// An administrator disabled a user and ended their sessions. Each personal token that this revoked has its own event.
    AdminUserDisabled,
    /// An administrator enabled a disabled user.
    AdminUserEnabled,
    /// An administrator deleted a user.
    AdminUserDeleted,
    /// An administrator ended a session.
    AdminSessionEnded,
    /// An administrator ended all sessions of a user or, if the event has no user, of everyone.
    AdminSessionsEnded,
    /// An administrator revoked a token, or disabled its user, which revokes personal tokens.
    AdminTokenRevoked,
    /// An administrator registered a resource server.
    AdminResourceServerAdded,
    /// An administrator created a second secret for a resource server.
    AdminResourceServerSecretAdded,
    /// An administrator removed the older secret of a resource server.
    AdminResourceServerSecretRemoved,
    /// An administrator registered a public key of a resource server.
    AdminResourceServerKeyAdded,
    /// An administrator removed the older public key of a resource server.
    AdminResourceServerKeyRemoved,
    /// An administrator disabled a resource server.
    AdminResourceServerDisabled,
    /// An administrator enabled a disabled resource server.
    AdminResourceServerEnabled,
    /// An administrator removed a resource server.
    AdminResourceServerRemoved,
    /// An administrator deleted expired rows.
    AdminPurged,
}

impl AuditKind {
    /// All kinds.
    pub const ALL: &'static [Self] = &[
        Self::LoginStarted,
        Self::LoginSucceeded,
        Self::LoginFailed,
        Self::SessionContinued,
        Self::KeyRedeemed,
        Self::KeyRefused,
        Self::KeyRepeated,
        Self::KeyReplayed,
        Self::DeviceStarted,
        Self::DeviceCodeRefused,
        Self::DeviceApproved,
        Self::DeviceDenied,
        Self::TokenIssued,
        Self::TokenRotated,
        Self::TokenRefused,
        Self::TokenForged,
        Self::TokenReused,
        Self::TokenIdle,
        Self::PersonalTokenMade,
        Self::PersonalTokenRevoked,
        Self::TokenRevoked,
        Self::SessionEnded,
        Self::ResourceServerRefused,
        Self::BackchannelLogout,
        Self::BackchannelLogoutFailed,
        Self::RateLimited,
        Self::ServerKeysReplaced,
        Self::ServerKeysRefused,
        Self::AdminUserDisabled,
        Self::AdminUserEnabled,
        Self::AdminUserDeleted,
        Self::AdminSessionEnded,
        Self::AdminSessionsEnded,
        Self::AdminTokenRevoked,
        Self::AdminResourceServerAdded,
        Self::AdminResourceServerSecretAdded,
        Self::AdminResourceServerSecretRemoved,
        Self::AdminResourceServerKeyAdded,
        Self::AdminResourceServerKeyRemoved,
        Self::AdminResourceServerDisabled,
        Self::AdminResourceServerEnabled,
        Self::AdminResourceServerRemoved,
        Self::AdminPurged,
    ];

    /// The stable name of the kind in logs, metrics and the database.
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
            Self::DeviceStarted => "device_started",
            Self::DeviceCodeRefused => "device_code_refused",
            Self::DeviceApproved => "device_approved",
            Self::DeviceDenied => "device_denied",
            Self::TokenIssued => "token_issued",
            Self::TokenRotated => "token_rotated",
            Self::TokenRefused => "token_refused",
            Self::TokenForged => "token_forged",
            Self::TokenReused => "token_reused",
            Self::TokenIdle => "token_idle",
            Self::PersonalTokenMade => "personal_token_made",
            Self::PersonalTokenRevoked => "personal_token_revoked",
            Self::TokenRevoked => "token_revoked",
            Self::SessionEnded => "session_ended",
            Self::ResourceServerRefused => "resource_server_refused",
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
            Self::AdminResourceServerKeyAdded => "admin_resource_server_key_added",
            Self::AdminResourceServerKeyRemoved => "admin_resource_server_key_removed",
            Self::AdminResourceServerDisabled => "admin_resource_server_disabled",
            Self::AdminResourceServerEnabled => "admin_resource_server_enabled",
            Self::AdminResourceServerRemoved => "admin_resource_server_removed",
            Self::AdminPurged => "admin_purged",
        }
    }
}

/// A security event.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// The kind of the event.
    pub kind: AuditKind,
    /// The time of the event.
    pub at: Timestamp,
    /// The id of the request or of the command that caused the event; for an event of the broker itself, a random id.
    pub request_id: RequestId,
    /// The IP address of the caller.
    pub address: Option<IpAddr>,
    /// The client of the request.
    pub client: Option<ClientId>,
    /// The provider of the login or logout.
    pub provider: Option<ProviderId>,
    /// The user the event is about.
    pub user: Option<UserId>,
    /// The session the event is about.
    pub session: Option<SessionId>,
    /// The token the event is about.
    pub token: Option<HandleDigest>,
    /// Why: the error code of a failure or, for a refused token, the name of the state that it is in; for changes of
    /// the server keys, the known keys or the problem with their file.
    pub reason: Option<Cow<'static, str>>,
    /// The administrator who ran the command, if it was one.
    pub actor: Option<Actor>,
    /// The resource server the event is about.
    pub resource_server: Option<ResourceServerId>,
}

impl AuditEvent {
    /// An event of a request or command. All other fields are `None`.
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

/// An administrator, identified by their user name in the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(ProfileText);

impl Actor {
    /// Creates an actor from a name, from which control characters are removed. Returns `None` if nothing is left.
    pub fn new(name: &str) -> Option<Self> {
        ProfileText::clean(name).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_kinds_is_complete() {
        let source = include_str!("audit.rs");
        let arms = source.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => "));
        let names: Vec<_> = arms.map(|(_, name)| name.trim_matches(['"', ','])).collect();
        assert!(names.len() > 30, "{names:?}");
        assert_eq!(AuditKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(), names);
    }
}

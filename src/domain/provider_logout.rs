//! A logout that a provider reports: of one of its sessions, or of all sessions of a user (OpenID Connect Back-Channel
//! Logout 1.0).

use super::ids::ProviderId;
use super::profile::{ProfileText, Subject};

/// The content of a verified logout token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderLogout {
    /// The configured providers that the token is for. There are several if the same issuer and client id are configured
    /// more than once.
    pub providers: Vec<ProviderId>,
    /// Which sessions are to be ended.
    pub scope: LogoutScope,
    /// The name under which the token is marked as used in the key store: a digest of issuer and `jti`.
    pub used_name: String,
}

/// Which sessions a logout ends. A token that names neither a session nor a user is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogoutScope {
    /// One session of the provider (`sid`). If the token also has a `sub`, only if the session belongs to that user.
    Session {
        /// The session id of the provider.
        id: ProfileText,
        /// The user the session must belong to, if the token names one.
        subject: Option<Subject>,
    },
    /// All sessions of this user at the provider (`sub` without `sid`).
    Person(Subject),
}

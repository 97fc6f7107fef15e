//! What a provider says is over: one of its sessions, or everything of one person (OpenID Connect Back-Channel
//! Logout 1.0).

use super::ids::ProviderId;
use super::profile::{ProfileText, Subject};

/// A verified logout token's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderLogout {
    /// At which of the configured providers: several where one issuer is configured twice for one client.
    pub providers: Vec<ProviderId>,
    /// What is over.
    pub scope: LogoutScope,
    /// The name under which the token is marked as used: a digest of issuer and `jti`.
    pub used_name: String,
}

/// What is over. There is no third kind: a token that names neither is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogoutScope {
    /// One session of the provider (`sid`); with a `sub` beside it, only if it is that person's.
    Session {
        /// The provider's own session id.
        id: ProfileText,
        /// Whose it must be.
        subject: Option<Subject>,
    },
    /// Every session of this person at that provider (`sub` alone).
    Person(Subject),
}

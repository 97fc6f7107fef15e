//! Writing a completed login.

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use super::sessions::EndedSession;
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, IdentityId, SessionId, UserId};
use crate::domain::profile::Profile;
use crate::domain::session::Browser;
use crate::domain::standing::TokenRecord;
use crate::domain::token::{StoredToken, TokenOwner};

/// A completed login, to be written in one transaction.
#[derive(Debug)]
pub struct SignIn {
    /// The person, as the provider describes them.
    pub profile: Profile,
    /// The client that the login is for.
    pub client_id: ClientId,
    /// The id of the session, if a new one begins.
    pub session_id: SessionId,
    /// The id of the user, if it is their first login.
    pub user_id: UserId,
    /// The id of the identity, if it is its first login.
    pub identity_id: IdentityId,
    /// The browser that signs in.
    pub browser: Browser,
    /// When the person last authenticated, if the provider says so.
    pub auth_time: Option<Timestamp>,
    /// The sealed ID token for the provider's logout, if it is kept.
    pub sealed_id_token: Option<Vec<u8>>,
    /// The time of the login.
    pub now: Timestamp,
    /// When the new session ends, at the latest.
    pub session_expires_at: Timestamp,
    /// The browser's session cookie; `None` for a client that does without.
    pub browser_session: Option<NewBrowserSession>,
    /// Whether a usable token of this user and client is handed out again.
    pub reuse: bool,
    /// The live session tokens that a user can have; the oldest are revoked beyond it.
    pub live_tokens: usize,
}

/// The session cookie of a browser that signs in.
#[derive(Debug, Clone, Copy)]
pub struct NewBrowserSession {
    /// The digest of the new cookie.
    pub digest: SessionDigest,
    /// The digest of the cookie that the browser had until now: its session ends.
    pub previous: Option<SessionDigest>,
}

/// What a login wrote.
#[derive(Debug)]
pub struct SignedIn {
    /// The session that the browser had until now, if it was still open.
    pub ended: Option<EndedSession>,
    /// Whether this was the user's first login.
    pub first_login: bool,
    /// The token: new, or, with [`SignIn::reuse`], the one that exists already.
    pub token: StoredToken,
}

/// Why a login was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInRefused {
    /// The user is disabled.
    UserDisabled,
}

impl Storage {
    /// Writes a completed login in one transaction: finds the user by (provider, subject) or creates it, updates the
    /// profile, and begins a session with a new token, or, with [`SignIn::reuse`], hands out the newest token of this user
    /// and client for which `reusable` returns true. The session that the browser had until now ends with it, whoever's it
    /// was.
    ///
    /// `issue` makes the new token for its owner; it is called at most once, inside the transaction. A disabled user is
    /// refused, and nothing is changed.
    pub async fn sign_in(
        &self,
        login: SignIn,
        issue: impl FnOnce(TokenOwner) -> StoredToken + Send + 'static,
        reusable: impl Fn(&TokenRecord) -> bool + Send + 'static,
    ) -> Result<Result<SignedIn, SignInRefused>, StorageError> {
        on_backend!(self, sign_in::sign_in(&login, issue, reusable))
    }
}

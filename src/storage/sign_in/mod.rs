//! Writing a completed login: user, identity, session and token.

pub(super) mod rows;

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, IdentityId, SessionId, UserId};
use crate::domain::profile::Profile;
use crate::domain::session::Browser;
use crate::domain::standing::TokenRecord;
use crate::domain::token::{StoredToken, TokenOwner};

/// A completed login, written in one transaction.
#[derive(Debug)]
pub struct SignIn {
    /// Who signed in, as the provider says.
    pub profile: Profile,
    /// The client that the login is for.
    pub client_id: ClientId,
    /// The id of the new session.
    pub session_id: SessionId,
    /// The id of the user, if this is the user's first login.
    pub user_id: UserId,
    /// The id of the identity, if this is its first login.
    pub identity_id: IdentityId,
    /// The browser that signed in.
    pub browser: Browser,
    /// When the person last authenticated at the provider, if it says so.
    pub auth_time: Option<Timestamp>,
    /// The sealed ID token for the provider's logout, if it is kept.
    pub sealed_id_token: Option<Vec<u8>>,
    /// When the login was.
    pub now: Timestamp,
    /// When the new session ends, at the latest.
    pub session_expires_at: Timestamp,
    /// The session cookie; `None` for a client that works without one.
    pub browser_session: Option<NewBrowserSession>,
    /// Whether a live token of this user and client is returned instead of a new one.
    pub reuse: bool,
    /// How many live session tokens the user can have; the oldest beyond that are revoked.
    pub live_tokens: usize,
}

/// The session cookies of a browser that signs in.
#[derive(Debug, Clone, Copy)]
pub struct NewBrowserSession {
    /// Digest of the new cookie.
    pub digest: SessionDigest,
    /// The session that the browser had until then, if it sent a cookie.
    pub previous: Option<PreviousSession>,
}

/// The session that a browser had when a login began.
#[derive(Debug, Clone, Copy)]
pub struct PreviousSession {
    /// Digest of the cookie that the browser sent.
    pub digest: SessionDigest,
    /// When the login began. A session that was over by then says nothing about the browser.
    pub login_began: Timestamp,
}

/// What a login wrote.
#[derive(Debug)]
pub struct SignedIn {
    /// Whether the browser had a session when the login began. The new one belongs to the same browser.
    pub is_same_browser: bool,
    /// Sessions of the user in this browser that are ended because there were too many that no one has used.
    pub ended: Vec<SessionId>,
    /// Whether this was the user's first login.
    pub first_login: bool,
    /// The new token or, with [`SignIn::reuse`], the existing one.
    pub token: StoredToken,
}

/// Why a login was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInRefused {
    /// The user is disabled.
    UserDisabled,
}

impl Storage {
    /// Writes a completed login in one transaction: finds the user by (provider, subject) or creates one, updates the
    /// profile, and starts a session with a new token. With [`SignIn::reuse`] it returns the newest live token of this
    /// user and client that `reusable` accepts instead, if there is one. The session that the browser had
    /// stays as it is, also if it is another user's; the new one is a session of the same browser.
    ///
    /// `issue` creates the new token for its owner; it is called at most once, inside the transaction. If the user is
    /// disabled, the login is refused and nothing changes.
    pub async fn sign_in(
        &self,
        login: SignIn,
        issue: impl Fn(TokenOwner) -> StoredToken + Send + 'static,
        reusable: impl Fn(&TokenRecord) -> bool + Send + 'static,
    ) -> Result<Result<SignedIn, SignInRefused>, StorageError> {
        on_backend!(self, sign_in::sign_in(&login, &issue, &reusable))
    }
}

//! Writing a completed login: user, identity, session and token; and the session of a device that a user connects.

pub(super) mod rows;

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, IdentityId, SessionId, UserId};
use crate::domain::profile::Profile;
use crate::domain::session::{Browser, SessionRecord};
use crate::domain::standing::TokenRecord;
use crate::domain::token::{StoredToken, TokenOwner};

/// A completed login, written in one transaction.
#[derive(Debug)]
pub struct SignIn {
    /// Who signed in, as the provider says.
    pub profile: Profile,
    /// The client that the login is for; `None` if it is for a page of the broker.
    pub client_id: Option<ClientId>,
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

/// What a login without a client wrote.
#[derive(Debug, Clone)]
pub struct BrowserSignedIn {
    /// The user.
    pub user: UserId,
    /// As [`SignedIn::ended`].
    pub ended: Vec<SessionId>,
}

/// A device that a user connects, written in one transaction. Its session ends, at the latest, with the browser's, because
/// both rest on the same sign-in at the provider.
#[derive(Debug)]
pub struct NewDevice {
    /// Digest of the cookie of the browser in which the user approves.
    pub approved_in: SessionDigest,
    /// The id of the device's session.
    pub session_id: SessionId,
    /// The device.
    pub browser: Browser,
    /// When the user approves.
    pub now: Timestamp,
    /// How many live session tokens the user can have; the oldest beyond that are revoked.
    pub live_tokens: usize,
}

/// What connecting a device wrote.
#[derive(Debug)]
pub enum DeviceConnected {
    /// The session and this token, now or by an earlier approval of the same user that got no answer.
    Connected {
        /// The token.
        token: Box<StoredToken>,
        /// When the person authenticated at the provider.
        auth_time: Option<Timestamp>,
    },
    /// Nothing, because another user was first, or because the device's session has ended in the meantime.
    Taken,
    /// Nothing, because `judge` refused the browser's session, or it is gone.
    NotSignedIn,
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

    /// Writes a login for a page of the broker: as [`Storage::sign_in`], but without a token. The browser session must be
    /// there.
    pub async fn sign_in_browser(
        &self,
        login: SignIn,
    ) -> Result<Result<BrowserSignedIn, SignInRefused>, StorageError> {
        on_backend!(self, sign_in::sign_in_browser(&login))
    }

    /// Writes the session of a device and its token, in one transaction. `judge` decides on the browser's session, which
    /// cannot change in the meantime; `issue` creates the token for its owner and for a session that ends then.
    pub async fn connect_device(
        &self,
        device: NewDevice,
        issue: impl Fn(TokenOwner, Timestamp) -> StoredToken + Send + 'static,
        judge: impl Fn(&SessionRecord) -> bool + Send + 'static,
    ) -> Result<DeviceConnected, StorageError> {
        on_backend!(self, sign_in::connect_device(&device, &issue, &judge))
    }
}

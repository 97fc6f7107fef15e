//! What goes into the database and what comes out, in domain types.

use serde::Serialize;

use crate::domain::api_token::{HandleDigest, TokenFacts};
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, IdentityId, ProviderId, SessionId, UserId};
use crate::domain::profile::Profile;
use crate::domain::session::{Browser, Session};
use crate::domain::user::User;

/// A completed login, to be written in one transaction.
#[derive(Debug)]
pub struct SignIn {
    /// Who, as the provider says.
    pub profile: Profile,
    /// For which client.
    pub client_id: ClientId,
    /// The id of the session, should a new one begin.
    pub session_id: SessionId,
    /// The id of the user, should it be their first login.
    pub user_id: UserId,
    /// The id of the identity, should it be its first login.
    pub identity_id: IdentityId,
    /// From which browser.
    pub browser: Browser,
    /// When the person last proved who they are, where the provider says so.
    pub auth_time: Option<Timestamp>,
    /// The ID token that the provider's logout will be given, sealed; where it is kept.
    pub sealed_id_token: Option<Vec<u8>>,
    /// The time of the login.
    pub now: Timestamp,
    /// When the new session ends, at the latest.
    pub session_expires_at: Timestamp,
    /// What becomes of the browser's session; nothing for a client that does without.
    pub browser_session: Option<NewBrowserSession>,
    /// Whether a live token of this user and client is handed out again.
    pub reuse: bool,
    /// The live tokens a user can have; the oldest are revoked beyond it.
    pub live_tokens: usize,
}

/// The session cookie of a browser that signs in.
#[derive(Debug, Clone, Copy)]
pub struct NewBrowserSession {
    /// Of the cookie that the browser is given.
    pub digest: SessionDigest,
    /// Of the cookie that it had until now: its session ends.
    pub previous: Option<SessionDigest>,
}

/// What a login wrote.
#[derive(Debug)]
pub struct SignedIn {
    /// The session that the browser had until now, and its user, where it was not over before.
    pub ended: Option<(SessionId, UserId)>,
    /// Whether this was the user's first login.
    pub first_login: bool,
    /// The token: new, or, where `reuse` was asked for, the one that lives already.
    pub token: StoredToken,
}

/// Why a login was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInRefused {
    /// The user is disabled.
    UserDisabled,
}

/// A token's row as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// The columns that its MAC ties together.
    pub facts: TokenFacts,
    /// That MAC.
    pub binding: Vec<u8>,
    /// The sealed handle; for tokens of `legacy` clients only.
    pub sealed_handle: Option<Vec<u8>>,
}

/// A token's row with everything that decides whether it is live.
#[derive(Debug, Clone)]
pub struct TokenRecord {
    /// The row.
    pub token: StoredToken,
    /// When it was rotated away.
    pub superseded_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to within [`LAST_USE_GRAIN`](crate::domain::lifetimes::LAST_USE_GRAIN).
    pub last_used_at: Option<Timestamp>,
    /// Its session.
    pub session: Session,
    /// When the session was ended.
    pub session_revoked_at: Option<Timestamp>,
    /// When any token of the session was last used, to the same grain.
    pub session_last_used_at: Option<Timestamp>,
    /// Its user, with the profile of the session's identity.
    pub user: User,
    /// When the user was disabled.
    pub user_disabled_at: Option<Timestamp>,
}

impl TokenRecord {
    /// When somebody last showed up in the token's session, as far as is written down: at the latest when the token
    /// was issued.
    pub fn session_last_used(&self) -> Timestamp {
        self.session_last_used_at.map_or(self.token.facts.issued_at, |at| at.max(self.token.facts.issued_at))
    }
}

/// A token that was used, with its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUse {
    /// The token.
    pub handle: HandleDigest,
    /// Its session.
    pub session: SessionId,
    /// When.
    pub at: Timestamp,
}

/// A live session as its owner may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSession {
    /// The session.
    pub session: Session,
    /// When any of its tokens was last used, to within
    /// [`LAST_USE_GRAIN`](crate::domain::lifetimes::LAST_USE_GRAIN).
    pub last_used_at: Option<Timestamp>,
    /// The provider that the person signed in at.
    pub provider: ProviderId,
    /// What is kept of the browser.
    pub browser: Browser,
}

/// A browser's session, live or over, with everything that decides which.
#[derive(Debug, Clone)]
pub struct BrowserSessionRecord {
    /// The session.
    pub session: Session,
    /// When the session was ended.
    pub session_revoked_at: Option<Timestamp>,
    /// When any token of the session was last used, to within
    /// [`LAST_USE_GRAIN`](crate::domain::lifetimes::LAST_USE_GRAIN).
    pub session_last_used_at: Option<Timestamp>,
    /// Its user, with provider and subject of the identity that signed in.
    pub user: User,
    /// When the user was disabled.
    pub user_disabled_at: Option<Timestamp>,
}

/// How far a rotation may go.
#[derive(Debug, Clone, Copy)]
pub struct RotationLimits {
    /// The successors one token can have: the tabs that rotate it at the same moment.
    pub siblings: usize,
    /// The live tokens a user can have; the oldest are revoked beyond it.
    pub live_tokens: usize,
}

/// What a rotation wrote.
#[derive(Debug)]
pub enum Rotation {
    /// The successor.
    Rotated(Box<StoredToken>),
    /// Nothing: there are enough successors already.
    TooManySiblings,
    /// Nothing: the caller's verdict on the locked row was no.
    Refused,
}

/// A session that was ended, or is about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSession {
    /// Which one.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
}

/// An audit event as it stands in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRecord {
    /// When it happened.
    pub at: Timestamp,
    /// What happened: a name of [`AuditKind`](crate::domain::audit::AuditKind).
    pub kind: String,
    /// The request that caused it.
    pub request_id: String,
    /// From where.
    pub address: Option<String>,
    /// For which client.
    pub client: Option<String>,
    /// At which provider.
    pub provider: Option<String>,
    /// About whom.
    pub user: Option<UserId>,
    /// In which session.
    pub session: Option<SessionId>,
    /// About which token, by its short one-way id.
    pub token: Option<String>,
    /// The error code, where it failed.
    pub reason: Option<String>,
    /// Who did it, where it was an administrator.
    pub actor: Option<String>,
    /// To which resource server.
    pub resource_server: Option<String>,
}

/// How many rows a purge deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// API tokens that were dead for over a day.
    pub tokens: usize,
    /// Sessions that were over for a day and held no token any more.
    pub sessions: usize,
    /// Old audit events.
    pub audit_events: usize,
}

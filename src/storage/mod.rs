//! The database, through Diesel: users, identities, sessions, API tokens, audit events.
//!
//! One enum of two concrete pools (SQLite, PostgreSQL). The queries stand once, in `queries`, and are compiled
//! for each connection type: nothing of Diesel is lost, and nothing falls back from one database to the other.
//! Functions here know rows and transactions; what is allowed and what comes next is decided in `flow`.
//!
//! ```no_run
//! # use token_broker::storage::{Storage, StorageError, StorageSettings};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = Storage::new(&StorageSettings::new("sqlite:token-broker.sqlite".parse()?))?;
//! storage.migrate().await?;
//! # Ok(())
//! # }
//! ```

pub mod administration;
mod blocking;
mod error;
mod own_sessions;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
pub mod records;
mod rows;
mod schema;
mod settings;
#[cfg_attr(feature = "postgres", expect(clippy::duplicate_mod, reason = "one text, two connection types"))]
mod sqlite;
mod types;

use std::sync::Arc;

use blocking::{Backends, Bound, Workers, on_backend};
pub use error::StorageError;
use records::{
    AuditRecord, BrowserSessionRecord, EndedSession, Purged, Rotation, RotationLimits, SignIn, SignInRefused,
    SignedIn, StoredToken, TokenRecord,
};
pub use settings::{DatabaseUrl, StorageSettings, StorageSettingsError};

use crate::domain::api_token::HandleDigest;
use crate::domain::audit::AuditEvent;
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::provider_logout::ProviderLogout;
use crate::domain::user::Permissions;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file: development, and one machine.
    Sqlite,
    /// A server: any number of brokers.
    Postgres,
}

/// The database. Cheap to clone. Every method but the migrating ones ends within seconds, whatever the database
/// does; a write that got no answer in time may have happened.
#[derive(Debug, Clone)]
pub struct Storage {
    workers: Arc<Workers>,
}

impl Storage {
    /// Chooses the database by the URL's scheme. Connects later, when it is first needed: succeeds while a
    /// PostgreSQL server is away.
    pub fn new(settings: &StorageSettings) -> Result<Self, StorageSettingsError> {
        Ok(Self { workers: Arc::new(Workers::new(settings)?) })
    }

    /// Rows that a purge deletes in one transaction, so that nobody waits long.
    pub const PURGE_BATCH: i64 = 500;

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        self.workers.backend()
    }

    /// Whether it answers and has the schema of this program: one small query.
    pub async fn ping(&self) -> Result<(), StorageError> {
        on_backend!(self, Bound::Answer, migrations::ping())
    }

    /// Applies what is missing, all or none, and names it. Several instances may call it at the same moment:
    /// one works, the others wait.
    pub async fn migrate(&self) -> Result<Vec<String>, StorageError> {
        on_backend!(self, Bound::Connection, migrations::apply())
    }

    /// The migrations that are missing; changes nothing.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StorageError> {
        on_backend!(self, Bound::Answer, migrations::pending())
    }

    /// Takes every migration back, with all data.
    pub async fn revert_all_migrations(&self) -> Result<(), StorageError> {
        on_backend!(self, Bound::Connection, migrations::revert_all())
    }

    /// Writes a completed login in one transaction: finds the user by (provider, subject) or creates it, brings
    /// the profile up to date, and begins a session with a new token, or, with [`SignIn::reuse`], hands out the
    /// newest live token of this user and client for which `reusable` says yes. The session that the browser had
    /// until now ends with it, whoever's it was.
    ///
    /// `issue` makes the new token for the user and the session; it is called at most once, inside the
    /// transaction. A disabled user is refused, and nothing is changed.
    pub async fn sign_in(
        &self,
        login: SignIn,
        issue: impl FnOnce(UserId, SessionId) -> StoredToken + Send + 'static,
        reusable: impl Fn(&StoredToken) -> bool + Send + 'static,
    ) -> Result<Result<SignedIn, SignInRefused>, StorageError> {
        on_backend!(self, Bound::Answer, sign_in::sign_in(&login, issue, reusable))
    }

    /// The token with this handle, with all that decides whether it is live: one query.
    pub async fn find_token(&self, handle: HandleDigest) -> Result<Option<Box<TokenRecord>>, StorageError> {
        on_backend!(self, Bound::Answer, tokens::find(&handle))
    }

    /// What the provider lets the user of this session do; nothing where the session is gone.
    pub async fn permissions_of(&self, session: SessionId) -> Result<Option<Permissions>, StorageError> {
        on_backend!(self, Bound::Answer, permissions::of(session))
    }

    /// Gives a token a successor in one transaction. `judge` decides on the record while nobody else can change
    /// it; `issue` makes the successor. The token itself counts as rotated away from its first successor on.
    pub async fn rotate(
        &self,
        handle: HandleDigest,
        now: Timestamp,
        limits: RotationLimits,
        judge: impl FnOnce(&TokenRecord) -> bool + Send + 'static,
        issue: impl FnOnce(&TokenRecord) -> StoredToken + Send + 'static,
    ) -> Result<Rotation, StorageError> {
        on_backend!(self, Bound::Answer, tokens::rotate(&handle, now, limits, judge, issue))
    }

    /// Revokes a token; says whether it was there and not revoked before.
    pub async fn revoke_token(&self, handle: HandleDigest, now: Timestamp) -> Result<bool, StorageError> {
        on_backend!(self, Bound::Answer, tokens::revoke(&handle, now))
    }

    /// The session whose cookie has this digest, live or over: one query. Nothing once it was purged.
    pub async fn find_browser_session(
        &self,
        digest: SessionDigest,
    ) -> Result<Option<Box<BrowserSessionRecord>>, StorageError> {
        on_backend!(self, Bound::Answer, browser_sessions::find(&digest))
    }

    /// Writes one more token into the session whose cookie has this digest, in one transaction. `judge` decides
    /// on the session while nobody else can change it; says whether it agreed. The token's user and session must
    /// be those of the session.
    pub async fn add_token(
        &self,
        digest: SessionDigest,
        token: StoredToken,
        now: Timestamp,
        live_tokens: usize,
        judge: impl FnOnce(&BrowserSessionRecord) -> bool + Send + 'static,
    ) -> Result<bool, StorageError> {
        on_backend!(
            self,
            Bound::Answer,
            browser_sessions::add_token(&digest, &token, now, live_tokens, judge)
        )
    }

    /// Ends a session and its tokens; says whether it was there and not ended before.
    pub async fn end_session(&self, session: SessionId, now: Timestamp) -> Result<bool, StorageError> {
        on_backend!(self, Bound::Answer, sessions::end(session, now))
    }

    /// Ends every session of a user, with its tokens; names those that were neither ended nor over before.
    pub async fn end_sessions_of(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StorageError> {
        on_backend!(self, Bound::Answer, sessions::end_all_of(user, now))
    }

    /// Takes the sealed ID token of a session out of its row: it is good for one logout.
    pub async fn take_id_token(&self, session: SessionId) -> Result<Option<Vec<u8>>, StorageError> {
        on_backend!(self, Bound::Answer, id_tokens::take(session))
    }

    /// The sessions that a provider's logout means and that are not ended yet; changes nothing.
    pub async fn find_provider_sessions(
        &self,
        logout: ProviderLogout,
    ) -> Result<Vec<EndedSession>, StorageError> {
        on_backend!(self, Bound::Answer, provider_logout::find(&logout))
    }

    /// Ends these sessions of it, with their tokens, and says which were not ended before.
    pub async fn end_provider_sessions(
        &self,
        found: Vec<EndedSession>,
        now: Timestamp,
    ) -> Result<Vec<EndedSession>, StorageError> {
        on_backend!(self, Bound::Answer, provider_logout::end(&found, now))
    }

    /// Disables a user, or enables it again with `None`; says whether there is such a user.
    pub async fn set_user_disabled(&self, user: UserId, at: Option<Timestamp>) -> Result<bool, StorageError> {
        on_backend!(self, Bound::Answer, sessions::set_user_disabled(user, at))
    }

    /// Adds to the audit trail.
    pub async fn record_audit(&self, events: Vec<AuditEvent>) -> Result<(), StorageError> {
        on_backend!(self, Bound::Answer, audit::record(events))
    }

    /// The newest audit events, newest first.
    pub async fn recent_audit(&self, limit: u32) -> Result<Vec<AuditRecord>, StorageError> {
        on_backend!(self, Bound::Answer, audit::recent(limit.into()))
    }

    /// Deletes tokens that are dead and sessions that are over for more than a day, and audit events from
    /// before `audit_before`; at most `batch` rows of a kind at a time (1 to 10 000), so that others get between.
    pub async fn purge(
        &self,
        now: Timestamp,
        audit_before: Timestamp,
        batch: i64,
    ) -> Result<Purged, StorageError> {
        let batch = batch.clamp(1, 10_000);
        let mut total = Purged::default();
        loop {
            let part = on_backend!(self, Bound::Answer, purge::purge_batch(now, audit_before, batch))?;
            if part == Purged::default() {
                return Ok(total);
            }
            total.tokens += part.tokens;
            total.sessions += part.sessions;
            total.audit_events += part.audit_events;
        }
    }
}

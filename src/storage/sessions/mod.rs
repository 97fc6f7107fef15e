//! Sessions: finding, listing and ending them.

pub(super) mod rows;

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use crate::domain::audit::AuditEvent;
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, SessionId, UserId};
use crate::domain::provider_logout::ProviderLogout;
use crate::domain::session::SessionRecord;
use crate::domain::token::RevokedToken;

/// How many sessions the list of a user's own sessions contains at most: the newest.
const OWN_SESSIONS: i64 = 200;

/// A session that was ended, or is about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSession {
    /// The session.
    pub session: SessionId,
    /// Its user.
    pub user: UserId,
}

/// What a user, or an administrator for them, ended everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedEverywhere {
    /// The sessions that were neither ended nor expired before.
    pub sessions: Vec<SessionId>,
    /// The personal tokens that were neither revoked nor expired before.
    pub personal_tokens: Vec<RevokedToken>,
}

/// What an administrator ended of one user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedCounts {
    /// How many sessions were not ended before.
    pub sessions: usize,
    /// How many personal tokens were neither revoked nor expired before.
    pub personal_tokens: usize,
}

/// Which sessions to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Only sessions of this user.
    pub user: Option<UserId>,
    /// Only sessions that are live at this moment.
    pub live_at: Option<Timestamp>,
    /// Only sessions that follow this one in the list.
    pub after: Option<SessionId>,
    /// At most this many.
    pub limit: u32,
}

/// The sessions of a batch of users were ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndedBatch {
    /// How many sessions were ended.
    pub ended: usize,
    /// The last user of the batch; `None` if the batch was empty.
    pub last: Option<UserId>,
}

/// What browsers and their users do with sessions.
impl Storage {
    /// The session whose cookie has this digest, live or not: one query. `None` once it is purged.
    pub async fn find_browser_session(
        &self,
        digest: SessionDigest,
    ) -> Result<Option<Box<SessionRecord>>, StorageError> {
        on_backend!(self, sessions::find_by_cookie(&digest))
    }

    /// The client that got the latest token of a session.
    pub async fn latest_client_of(&self, session: SessionId) -> Result<Option<ClientId>, StorageError> {
        on_backend!(self, sessions::latest_client(session))
    }

    /// The live sessions of a user that can still be used, because the session has a cookie or an unexpired token:
    /// newest first, at most two hundred.
    pub async fn live_sessions_of(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<SessionRecord>, StorageError> {
        on_backend!(self, sessions::own(user, now, OWN_SESSIONS))
    }

    /// Ends a session with the user's other sessions of the same browser, and revokes their tokens. Returns those that
    /// it ended, the given one first: none if that does not exist or was ended before.
    pub async fn end_session(
        &self,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StorageError> {
        on_backend!(self, session_ending::end(session, now))
    }

    /// Ends every session of a user and revokes the tokens. Returns the sessions that were neither ended nor expired
    /// before.
    pub async fn end_sessions_of(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StorageError> {
        on_backend!(self, session_ending::end_all_of(user, now))
    }

    /// The same, and revokes the personal tokens of the user, in one transaction.
    pub async fn end_everything_of(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<EndedEverywhere, StorageError> {
        on_backend!(self, session_ending::end_everything_of(user, now))
    }

    /// Ends the sessions that the browser of `newer` had before a login began, which may be those of several users, and
    /// revokes their tokens. Returns those that were not ended before.
    pub async fn end_older_sessions(
        &self,
        newer: SessionId,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<EndedSession>, StorageError> {
        on_backend!(self, session_ending::end_older(newer, before, now))
    }

    /// The same as [`Self::end_session`] for a session of this user; ends and returns none if the user has no such
    /// session or it has expired.
    pub async fn end_own_session(
        &self,
        user: UserId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StorageError> {
        on_backend!(self, session_ending::end_own(user, session, now))
    }

    /// Ends every session of this user except `kept` and revokes the tokens. Returns the sessions that it ended.
    pub async fn end_other_sessions(
        &self,
        user: UserId,
        kept: SessionId,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StorageError> {
        on_backend!(self, session_ending::end_others(user, kept, now))
    }

    /// Removes the sealed ID token from a session's row and returns it: it is used for one logout only.
    pub async fn take_id_token(&self, session: SessionId) -> Result<Option<Vec<u8>>, StorageError> {
        on_backend!(self, session_ending::take_id_token(session))
    }
}

/// What providers do with sessions (back-channel logout).
impl Storage {
    /// The sessions that a provider's logout means and that are not ended yet. Changes nothing.
    pub async fn find_provider_sessions(
        &self,
        logout: ProviderLogout,
    ) -> Result<Vec<EndedSession>, StorageError> {
        on_backend!(self, sessions::of_provider_logout(&logout))
    }

    /// Ends these sessions, revokes their tokens and deletes their ID tokens. Returns the sessions that were not ended
    /// before.
    pub async fn end_provider_sessions(
        &self,
        found: Vec<EndedSession>,
        now: Timestamp,
    ) -> Result<Vec<EndedSession>, StorageError> {
        on_backend!(self, session_ending::end_by_provider(&found, now))
    }
}

/// What administrators do with sessions: each change is written in one transaction with its audit event.
impl Storage {
    /// The sessions that match; `None` if there is no session [`SessionFilter::after`].
    pub async fn list_sessions(
        &self,
        filter: SessionFilter,
    ) -> Result<Option<Vec<SessionRecord>>, StorageError> {
        on_backend!(self, sessions::list(&filter))
    }

    /// Ends a session with the user's other sessions of the same browser, with an event for each. Returns those that it
    /// ended; `None` if there is no such session.
    pub async fn end_session_by_admin(
        &self,
        session: SessionId,
        event: AuditEvent,
    ) -> Result<Option<Vec<SessionId>>, StorageError> {
        on_backend!(self, session_ending::end_by_admin(session, event.clone()))
    }

    /// Ends every session of a user and, if `personal_tokens`, revokes the user's personal tokens; `None` if there is no
    /// such user.
    pub async fn end_sessions_by_admin(
        &self,
        user: UserId,
        personal_tokens: bool,
        event: AuditEvent,
    ) -> Result<Option<EndedCounts>, StorageError> {
        on_backend!(self, session_ending::end_all_of_by_admin(user, personal_tokens, event.clone()))
    }

    /// Ends every session and returns how many were not ended before. Works in batches of users, so that no other
    /// transaction waits for long. Users who sign in while it runs may stay signed in.
    pub async fn end_every_session(&self, event: AuditEvent) -> Result<usize, StorageError> {
        self.record_audit(vec![event.clone()]).await?;
        let (mut ended, mut after) = (0, None);
        loop {
            let event = event.clone();
            let batch = on_backend!(self, session_ending::end_batch(after, &event))?;
            ended += batch.ended;
            match batch.last {
                Some(last) => after = Some(last),
                None => return Ok(ended),
            }
        }
    }
}

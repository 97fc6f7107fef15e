//! The part of [`Storage`] by which people see and end their own sessions.

use super::blocking::{Backends, Bound, on_backend};
use super::error::StorageError;
#[cfg(feature = "postgres")]
use super::postgres;
use super::records::{OwnSession, TokenUse};
use super::{Storage, sqlite};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};

/// The sessions that a list shows, at most: the newest.
const LISTED: i64 = 200;

impl Storage {
    /// The user's live sessions, newest first; of more than two hundred the newest.
    pub async fn live_sessions_of(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<OwnSession>, StorageError> {
        on_backend!(self, Bound::Answer, own_sessions::list(user, now, LISTED))
    }

    /// Ends a session of this user, with its tokens; says whether there was such a live session.
    pub async fn end_own_session(
        &self,
        user: UserId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        on_backend!(self, Bound::Answer, own_sessions::end(user, session, now))
    }

    /// Ends every live session of this user but `kept`, with their tokens; names those that it ended.
    pub async fn end_other_sessions(
        &self,
        user: UserId,
        kept: SessionId,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StorageError> {
        on_backend!(self, Bound::Answer, own_sessions::end_others(user, kept, now))
    }

    /// Notes when tokens and their sessions were used, at the grain of
    /// [`LAST_USE_GRAIN`](crate::domain::lifetimes::LAST_USE_GRAIN); says how many tokens' rows changed.
    pub async fn note_token_uses(&self, uses: Vec<TokenUse>) -> Result<usize, StorageError> {
        on_backend!(self, Bound::Answer, last_use::note(&uses))
    }
}

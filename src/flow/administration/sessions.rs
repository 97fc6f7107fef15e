//! Sessions: listing and ending them.

use serde::Serialize;

use super::{Administration, Result, not_found};
use crate::domain::audit::{AuditEvent, AuditKind};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::storage::administration::records::{SessionFilter, SessionRecord};

/// Whether a session lets anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It does.
    Live,
    /// It was ended.
    Ended,
    /// Its time is over.
    Expired,
    /// Its user is disabled.
    UserDisabled,
}

impl SessionState {
    fn of(session: &SessionRecord, now: Timestamp) -> Self {
        if session.ended_at.is_some() {
            Self::Ended
        } else if now >= session.expires_at {
            Self::Expired
        } else if session.user_disabled_at.is_some() {
            Self::UserDisabled
        } else {
            Self::Live
        }
    }
}

/// A session with its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedSession {
    /// Whether it lets anybody in.
    pub state: SessionState,
    /// The session.
    #[serde(flatten)]
    pub session: SessionRecord,
}

/// Sessions that match, newest first: the live ones, or with `all` those that are over, too.
///
/// # Errors
/// The session to go on behind does not exist; the database is away.
pub async fn list(
    administration: &Administration,
    filter: SessionFilter,
    all: bool,
) -> Result<Vec<ListedSession>> {
    let now = administration.clock.now();
    let filter = SessionFilter { live_at: (!all).then_some(now), ..filter };
    let Some(found) = administration.storage.list_all_sessions(filter).await? else {
        return not_found("the session to go on after does not exist");
    };
    Ok(found
        .into_iter()
        .map(|session| ListedSession { state: SessionState::of(&session, now), session })
        .collect())
}

/// Ends a session and its tokens; says whether it was open.
///
/// # Errors
/// There is no such session; the database is away.
pub async fn end(administration: &Administration, session: SessionId) -> Result<bool> {
    let event = AuditEvent { session: Some(session), ..administration.event(AuditKind::AdminSessionEnded) };
    match administration.storage.end_session_by_admin(session, event).await? {
        Some(ended) => Ok(ended),
        None => not_found(format!("there is no session {session}")),
    }
}

/// Ends all sessions of a user; says how many were open.
///
/// # Errors
/// The user is gone; the database is away.
pub async fn end_all_of(administration: &Administration, user: UserId) -> Result<usize> {
    let event = AuditEvent { user: Some(user), ..administration.event(AuditKind::AdminSessionsEnded) };
    match administration.storage.end_sessions_by_admin(user, event).await? {
        Some(ended) => Ok(ended),
        None => not_found(format!("the user {user} is gone")),
    }
}

/// Ends all sessions of everyone; says how many were open. Whoever logs in meanwhile may stay signed in.
///
/// # Errors
/// The database is away; then some sessions may have been ended, and the command can be given again.
pub async fn end_everyone(administration: &Administration) -> Result<usize> {
    let event = administration.event(AuditKind::AdminSessionsEnded);
    Ok(administration.storage.end_every_session(event).await?)
}

//! Sessions: listing and ending them.

use serde::Serialize;

use super::{Administration, Result, not_found};
use crate::domain::audit::{AuditEvent, AuditKind};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ProviderId, SessionId, UserId};
use crate::domain::profile::ProfileText;
use crate::domain::session::{SessionRecord, SessionState};
use crate::domain::standing::session_standing;
use crate::storage::sessions::SessionFilter;

/// A session as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedSession {
    /// Whether it is live, and if not, why: a name of [`SessionStanding`](crate::domain::standing::SessionStanding).
    pub state: &'static str,
    /// Its id; authenticates nothing.
    pub id: SessionId,
    /// Its user.
    pub user: UserId,
    /// That user's login name.
    pub username: Option<String>,
    /// The provider that the user signed in at.
    pub provider: ProviderId,
    /// When the login was.
    pub created_at: Timestamp,
    /// When it ends, at the latest.
    pub expires_at: Timestamp,
    /// When it was last used, accurate to five minutes; `None` before the first use.
    pub last_used_at: Option<Timestamp>,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// When its user was disabled.
    pub user_disabled_at: Option<Timestamp>,
    /// The `User-Agent` of the browser that signed in.
    pub user_agent: Option<String>,
    /// The network that the browser signed in from.
    pub address_prefix: String,
}

impl ListedSession {
    fn at(now: Timestamp, record: SessionRecord) -> Self {
        let state = session_standing(&record, now).as_str();
        let text = |text: ProfileText| text.as_str().to_owned();
        let SessionRecord {
            state: SessionState { session, revoked_at, last_used_at }, browser, user, ..
        } = record;
        Self {
            state,
            id: session.id,
            user: user.id,
            username: user.username.map(text),
            provider: user.provider,
            created_at: session.created_at,
            expires_at: session.expires_at,
            last_used_at,
            ended_at: revoked_at,
            user_disabled_at: record.user_disabled_at,
            user_agent: browser.user_agent.map(text),
            address_prefix: browser.address_prefix.to_string(),
        }
    }
}

/// Sessions that match, newest first: the live ones, or with `all` also the others, until they are purged.
///
/// # Errors
/// The session that the page starts after does not exist; the database is unreachable.
pub async fn list(
    administration: &Administration,
    filter: SessionFilter,
    all: bool,
) -> Result<Vec<ListedSession>> {
    let now = administration.clock.now();
    let filter = SessionFilter { live_at: (!all).then_some(now), ..filter };
    match administration.storage.list_sessions(filter).await? {
        Some(found) => Ok(found.into_iter().map(|session| ListedSession::at(now, session)).collect()),
        None => not_found("the session given with --after does not exist"),
    }
}

/// Ends a session with the user's other sessions of the same browser; returns how many had not ended before.
///
/// # Errors
/// There is no such session; the database is unreachable.
pub async fn end(administration: &Administration, session: SessionId) -> Result<usize> {
    let event = AuditEvent { session: Some(session), ..administration.event(AuditKind::AdminSessionEnded) };
    match administration.storage.end_session_by_admin(session, event).await? {
        Some(ended) => Ok(ended.len()),
        None => not_found(format!("there is no session {session}")),
    }
}

/// What [`end_all_of`] and [`end_everyone`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EndedAll {
    /// How many sessions were open.
    pub sessions_ended: usize,
    /// How many personal tokens were revoked.
    pub personal_tokens_revoked: usize,
    /// How many personal tokens remain that are neither revoked nor expired.
    pub personal_tokens_left: usize,
}

/// Ends all sessions of a user and, if `personal_tokens`, revokes the user's personal tokens.
///
/// # Errors
/// The user is gone; the database is unreachable.
pub async fn end_all_of(
    administration: &Administration,
    user: UserId,
    personal_tokens: bool,
) -> Result<EndedAll> {
    let event = AuditEvent { user: Some(user), ..administration.event(AuditKind::AdminSessionsEnded) };
    let now = event.at;
    let storage = &administration.storage;
    let Some(ended) = storage.end_sessions_by_admin(user, personal_tokens, event).await? else {
        return not_found(format!("the user {user} is gone"));
    };
    Ok(EndedAll {
        sessions_ended: ended.sessions,
        personal_tokens_revoked: ended.personal_tokens,
        personal_tokens_left: storage.count_personal_tokens(Some(user), now).await?,
    })
}

/// Ends all sessions of everyone and, if `personal_tokens`, revokes all personal tokens. Users who sign in while it runs
/// may stay signed in.
///
/// # Errors
/// The database is unreachable; then some sessions may have been ended, and the command can be repeated.
pub async fn end_everyone(administration: &Administration, personal_tokens: bool) -> Result<EndedAll> {
    let event = administration.event(AuditKind::AdminSessionsEnded);
    let (now, storage) = (event.at, &administration.storage);
    let sessions_ended = storage.end_every_session(event.clone()).await?;
    let personal_tokens_revoked =
        if personal_tokens { storage.revoke_every_personal_token(event).await? } else { 0 };
    let personal_tokens_left = storage.count_personal_tokens(None, now).await?;
    Ok(EndedAll { sessions_ended, personal_tokens_revoked, personal_tokens_left })
}

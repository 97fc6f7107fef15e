//! Users: finding, disabling, enabling and deleting them.

use serde::Serialize;

use super::{Administration, AdministrationError, Result, not_found, sessions, tokens};
use crate::domain::audit::{AuditEvent, AuditKind};
use crate::domain::token_kind::TokenKind;
use crate::domain::user::UserReference;
use crate::storage::Storage;
use crate::storage::sessions::SessionFilter;
use crate::storage::tokens::TokenFilter;
use crate::storage::users::{Deleted, Disabled, UserFilter, UserRecord};

/// How many users of one username are named when it does not say which one is meant.
const NAMED: u32 = 5;

/// The most sessions or tokens of a user that are counted.
const COUNTED: u32 = 10_000;

/// A user, and how many sessions and tokens of theirs are live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserDetails {
    /// The user.
    #[serde(flatten)]
    pub user: UserRecord,
    /// Their live sessions.
    pub live_sessions: usize,
    /// Their tokens that may be used.
    pub live_tokens: usize,
    /// How many of these are personal tokens.
    pub live_personal_tokens: usize,
}

/// The users that match, newest first.
///
/// # Errors
/// The user that the page starts after does not exist; the database is unreachable.
pub async fn list(storage: &Storage, filter: UserFilter) -> Result<Vec<UserRecord>> {
    match storage.list_users(filter).await? {
        Some(users) => Ok(users),
        None => not_found("the user given with --after does not exist"),
    }
}

/// The one user that a name refers to.
///
/// # Errors
/// There is none, or a username belongs to several, who are named; the database is unreachable.
pub async fn find(storage: &impl AsRef<Storage>, name: &str) -> Result<UserRecord> {
    let mut found = storage.as_ref().find_users(UserReference::new(name), NAMED).await?;
    match found.len() {
        0 => not_found(format!("there is no user {name}")),
        1 => Ok(found.remove(0)),
        _ => {
            let ids: Vec<_> = found.iter().map(|user| user.id.to_string()).collect();
            let text = format!("several users are called {name}: name one by its id: {}", ids.join(", "));
            Err(AdministrationError::Refused(text))
        }
    }
}

/// The same, with the number of live sessions and tokens.
///
/// # Errors
/// Those of [`find`].
pub async fn show(administration: &Administration, name: &str) -> Result<UserDetails> {
    let user = find(administration, name).await?;
    let owned = (Some(user.id), COUNTED);
    let filter = SessionFilter { user: owned.0, limit: owned.1, ..SessionFilter::default() };
    let live_sessions = sessions::list(administration, filter, false).await?.len();
    let filter = TokenFilter { user: owned.0, limit: owned.1, ..TokenFilter::default() };
    let tokens = tokens::list(administration, filter, false).await?;
    let live_personal_tokens = tokens.iter().filter(|token| token.kind == TokenKind::Personal).count();
    Ok(UserDetails { user, live_sessions, live_tokens: tokens.len(), live_personal_tokens })
}

/// Disables a user, ends all their sessions and revokes their personal tokens, so that enabling the user revives none.
///
/// # Errors
/// The user is gone; the database is unreachable.
pub async fn disable(administration: &Administration, user: &UserRecord) -> Result<Disabled> {
    let event = about(administration, AuditKind::AdminUserDisabled, user);
    match administration.storage.disable_user(user.id, event).await? {
        Some(done) => Ok(done),
        None => gone(user),
    }
}

/// Enables a user again, who then may log in; returns whether they were disabled.
///
/// # Errors
/// The user is gone; the database is unreachable.
pub async fn enable(administration: &Administration, user: &UserRecord) -> Result<bool> {
    let event = about(administration, AuditKind::AdminUserEnabled, user);
    match administration.storage.enable_user(user.id, event).await? {
        Some(done) => Ok(done),
        None => gone(user),
    }
}

/// Deletes a user with identities, sessions and tokens. Their audit events keep the id and lose the address. If the
/// person signs in again, they are a new user.
///
/// # Errors
/// The user is gone; the database is unreachable.
pub async fn delete(administration: &Administration, user: &UserRecord) -> Result<Deleted> {
    let event = about(administration, AuditKind::AdminUserDeleted, user);
    match administration.storage.delete_user(user.id, event).await? {
        Some(done) => Ok(done),
        None => gone(user),
    }
}

fn about(administration: &Administration, kind: AuditKind, user: &UserRecord) -> AuditEvent {
    AuditEvent { user: Some(user.id), ..administration.event(kind) }
}

fn gone<T>(user: &UserRecord) -> Result<T> {
    not_found(format!("the user {} is gone", user.id))
}

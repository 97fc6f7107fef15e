//! Tokens: listing them, and revoking one by its value or by its row.

use chrono::TimeDelta;
use serde::Serialize;

use super::{Administration, Result, not_found, sessions};
use crate::domain::audit::AuditKind;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, SessionId, TokenId, UserId};
use crate::domain::profile::ProfileText;
use crate::domain::standing::{Standing, TokenRecord, standing};
use crate::domain::token::GenuineToken;
use crate::domain::token_kind::TokenKind;
use crate::storage::tokens::{TokenFilter, UsableAt};

/// A token as an administrator sees it; the token itself cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedToken {
    /// Whether it may be used, and if not, why: a name of [`Standing`].
    pub state: &'static str,
    /// The row's id; reveals nothing about the token.
    pub id: TokenId,
    /// Its kind.
    pub kind: TokenKind,
    /// The short one-way id under which logs and the audit trail name it.
    pub log_id: String,
    /// Its session, if it has one.
    pub session: Option<SessionId>,
    /// Its user.
    pub user: UserId,
    /// That user's login name.
    pub username: Option<String>,
    /// What its owner calls it, if it has a name.
    pub name: Option<String>,
    /// The client it was issued to.
    pub client: ClientId,
    /// The APIs it is for, space-separated.
    pub audience: String,
    /// Its scopes, space-separated.
    pub scope: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires, at the latest.
    pub expires_at: Timestamp,
    /// When it was replaced by a successor.
    pub superseded_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, accurate to five minutes.
    pub last_used_at: Option<Timestamp>,
}

impl ListedToken {
    fn new(record: TokenRecord, standing: Standing) -> Self {
        let facts = record.token.facts;
        let text = |text: ProfileText| text.as_str().to_owned();
        Self {
            state: standing.as_str(),
            id: facts.id,
            kind: facts.kind,
            log_id: facts.handle.short_id(),
            session: facts.owner.session_id,
            user: facts.owner.user_id,
            username: record.user.username.map(text),
            name: facts.name.map(text),
            client: facts.client_id,
            audience: facts.audiences.to_string(),
            scope: facts.scopes.to_string(),
            issued_at: facts.issued_at,
            expires_at: facts.expires_at,
            superseded_at: record.superseded_at,
            revoked_at: record.revoked_at,
            last_used_at: record.last_used_at,
        }
    }
}

/// Tokens that match, newest first: the usable ones, or with `all` also the others, until they are purged.
///
/// # Errors
/// The token that the page starts after does not exist; the database is unreachable.
pub async fn list(
    administration: &Administration,
    filter: TokenFilter,
    all: bool,
) -> Result<Vec<ListedToken>> {
    let now = administration.clock.now();
    let usable = (!all).then(|| usable_at(administration, now));
    let mut filter = TokenFilter { usable, ..filter };
    let mut listed = Vec::new();
    loop {
        let Some(found) = administration.storage.list_tokens(filter.clone()).await? else {
            return not_found("the token given with --after does not exist");
        };
        let is_last_page = (found.len() as u64) < u64::from(filter.limit);
        filter.after = found.last().map(|record| record.token.facts.id);
        let wanted = (filter.limit as usize).saturating_sub(listed.len());
        let judged = found.into_iter().map(|record| {
            let standing = judge(administration, &record, now);
            (record, standing)
        });
        // The database cannot see that a row was forged: such rows are left out here, and the page is filled up.
        let shown = judged.filter(|(_, standing)| all || standing.is_usable()).take(wanted);
        listed.extend(shown.map(|(record, standing)| ListedToken::new(record, standing)));
        if is_last_page || listed.len() >= filter.limit as usize {
            return Ok(listed);
        }
    }
}

fn judge(administration: &Administration, record: &TokenRecord, now: Timestamp) -> Standing {
    let client = administration.clients.get(&record.token.facts.client_id);
    standing(record, client, None, &administration.keys, now)
}

/// What the database needs to know to select usable tokens.
fn usable_at(administration: &Administration, now: Timestamp) -> UsableAt {
    let clients: Vec<(ClientId, Option<TimeDelta>)> =
        administration.clients.iter().map(|client| (client.id.clone(), client.inactivity)).collect();
    UsableAt { now, clients, keys: administration.keys.ids().collect() }
}

/// Revokes a leaked token by its value, and then ends its session: someone who has the token may have rotated it. These
/// are two transactions; if the second one fails, repeating the command completes it. Returns the token as it was
/// before.
///
/// # Errors
/// It is not a token of this broker, or its row is gone: then it is useless. The database is unreachable.
pub async fn revoke_leaked(administration: &Administration, text: &str) -> Result<ListedToken> {
    let Ok(genuine) = GenuineToken::parse(text, &administration.keys) else {
        return not_found(
            "this is not a token of this broker: it is mistyped, or the server key that issued it was removed",
        );
    };
    let found = administration.storage.find_token(genuine.handle.digest()).await?;
    let Some(found) = found.filter(|found| genuine.matches(&found.token.facts)) else {
        return not_found("this token is no longer in the database: it is useless");
    };
    let revoked = revoke(administration, found.token.facts.id).await?;
    if let Some(session) = revoked.session {
        sessions::end(administration, session).await?;
    }
    Ok(revoked)
}

/// Revokes the token of one row and nothing else. Returns the token as it was before.
///
/// # Errors
/// There is no such row; the database is unreachable.
pub async fn revoke(administration: &Administration, id: TokenId) -> Result<ListedToken> {
    let event = administration.event(AuditKind::AdminTokenRevoked);
    let now = event.at;
    match administration.storage.revoke_token_by_admin(id, event).await? {
        Some(record) => {
            let standing = judge(administration, &record, now);
            Ok(ListedToken::new(record, standing))
        }
        None => not_found(format!("there is no token {id}")),
    }
}

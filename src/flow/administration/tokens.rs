//! API tokens: listing them, and revoking one by its value or by its row.

use serde::Serialize;

use super::{Administration, Result, not_found, sessions};
use crate::domain::api_token::GenuineToken;
use crate::domain::audit::AuditKind;
use crate::domain::clock::Timestamp;
use crate::domain::ids::TokenId;
use crate::storage::administration::records::{TokenFilter, TokenListing};

/// Whether a token can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It can.
    Live,
    /// It was rotated away: for a minute it still works.
    Superseded,
    /// It was revoked.
    Revoked,
    /// Its session was ended.
    SessionEnded,
    /// Its time, or its session's, is over.
    Expired,
    /// Its user is disabled.
    UserDisabled,
}

impl TokenState {
    fn of(token: &TokenListing, now: Timestamp) -> Self {
        if token.revoked_at.is_some() {
            Self::Revoked
        } else if token.session_ended_at.is_some() {
            Self::SessionEnded
        } else if now >= token.expires_at || now >= token.session_expires_at {
            Self::Expired
        } else if token.user_disabled_at.is_some() {
            Self::UserDisabled
        } else if token.superseded_at.is_some() {
            Self::Superseded
        } else {
            Self::Live
        }
    }
}

/// The row of a token with its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedToken {
    /// Whether it can be used.
    pub state: TokenState,
    /// The row.
    #[serde(flatten)]
    pub token: TokenListing,
}

impl ListedToken {
    fn at(now: Timestamp, token: TokenListing) -> Self {
        Self { state: TokenState::of(&token, now), token }
    }
}

/// Tokens that match, newest first: the live ones, or with `all` those that are over, too.
///
/// # Errors
/// The token to go on behind does not exist; the database is away.
pub async fn list(
    administration: &Administration,
    filter: TokenFilter,
    all: bool,
) -> Result<Vec<ListedToken>> {
    let now = administration.clock.now();
    let filter = TokenFilter { live_at: (!all).then_some(now), ..filter };
    let Some(found) = administration.storage.list_tokens(filter).await? else {
        return not_found("the token to go on after does not exist");
    };
    Ok(found.into_iter().map(|token| ListedToken::at(now, token)).collect())
}

/// Revokes a leaked token by its value, and ends its session: whoever has the token may have rotated it. Gives
/// its row as it was before.
///
/// # Errors
/// It is no token of this broker, or its row is gone: then it opens nothing. The database is away.
pub async fn revoke_leaked(administration: &Administration, text: &str) -> Result<ListedToken> {
    let Ok(genuine) = GenuineToken::parse(text, &administration.keys) else {
        return not_found(
            "this is no token of this broker: it is mistyped, or the server key that made it is gone",
        );
    };
    let Some(token) = administration.storage.find_token_listing(genuine.handle.digest()).await? else {
        return not_found("this token is not in the database any more: it opens nothing");
    };
    let revoked = revoke(administration, token.id).await?;
    sessions::end(administration, token.session).await?;
    Ok(revoked)
}

/// Revokes the token of one row and nothing else; gives the row as it was before.
///
/// # Errors
/// There is no such row; the database is away.
pub async fn revoke(administration: &Administration, id: TokenId) -> Result<ListedToken> {
    let event = administration.event(AuditKind::AdminTokenRevoked);
    let now = event.at;
    match administration.storage.revoke_token_by_admin(id, event).await? {
        Some(token) => Ok(ListedToken::at(now, token)),
        None => not_found(format!("there is no token {id}")),
    }
}

//! Tokens: finding, issuing, rotating, revoking and listing them.

pub(super) mod rows;

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
pub use super::liveness::UsableAt;
use crate::domain::audit::AuditEvent;
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, TokenId, UserId};
use crate::domain::session::SessionRecord;
use crate::domain::standing::TokenRecord;
use crate::domain::token::{HandleDigest, StoredToken};
use crate::domain::token_kind::TokenKind;

/// A use of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUse {
    /// The token.
    pub handle: HandleDigest,
    /// Its session, if it has one.
    pub session: Option<SessionId>,
    /// When it was used.
    pub at: Timestamp,
}

/// How far a rotation may go.
#[derive(Debug, Clone, Copy)]
pub struct RotationLimits {
    /// The successors that one token can have: the tabs that rotate it at the same moment.
    pub siblings: usize,
    /// The live session tokens that a user can have; the oldest are revoked beyond it.
    pub live_tokens: usize,
}

/// What a rotation did.
#[derive(Debug)]
pub enum Rotation {
    /// It wrote this successor.
    Rotated(Box<StoredToken>),
    /// Nothing: the token has enough successors already.
    TooManySiblings,
    /// Nothing: the locked row may not be used any more.
    Refused,
}

/// Which tokens to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct TokenFilter {
    /// Only tokens of this user.
    pub user: Option<UserId>,
    /// Only tokens of this session.
    pub session: Option<SessionId>,
    /// Only tokens of this kind.
    pub kind: Option<TokenKind>,
    /// Only tokens that may be used, as far as the database can tell: it cannot see a forged row.
    pub usable: Option<UsableAt>,
    /// Only tokens that follow this one in the list.
    pub after: Option<TokenId>,
    /// At most this many.
    pub limit: u32,
}

/// What clients and their users do with tokens.
impl Storage {
    /// The token with this handle, with everything that decides whether it is live: one query.
    pub async fn find_token(&self, handle: HandleDigest) -> Result<Option<Box<TokenRecord>>, StorageError> {
        on_backend!(self, tokens::find(&handle))
    }

    /// Gives a token a successor in one transaction. `usable` judges the record while no one else can change it; `issue`
    /// makes the successor. From its first successor on, the token counts as superseded.
    pub async fn rotate(
        &self,
        handle: HandleDigest,
        now: Timestamp,
        limits: RotationLimits,
        usable: impl FnOnce(&TokenRecord) -> bool + Send + 'static,
        issue: impl FnOnce(&TokenRecord) -> StoredToken + Send + 'static,
    ) -> Result<Rotation, StorageError> {
        on_backend!(self, issuing::rotate(&handle, now, limits, usable, issue))
    }

    /// Writes one more token into the session whose cookie has this digest, in one transaction. `live` judges the session
    /// while no one else can change it; returns whether it agreed. The token's owner must be that of the session.
    pub async fn add_token(
        &self,
        digest: SessionDigest,
        token: StoredToken,
        now: Timestamp,
        live_tokens: usize,
        live: impl FnOnce(&SessionRecord) -> bool + Send + 'static,
    ) -> Result<bool, StorageError> {
        on_backend!(self, issuing::add(&digest, &token, now, live_tokens, live))
    }

    /// Revokes a token. Returns whether it exists and was not revoked before.
    pub async fn revoke_token(&self, handle: HandleDigest, now: Timestamp) -> Result<bool, StorageError> {
        on_backend!(self, tokens::revoke(&handle, now))
    }

    /// Stores when tokens and their sessions were used, accurate to
    /// [`LAST_USE_GRAIN`](crate::domain::lifetimes::LAST_USE_GRAIN). Returns how many tokens' rows changed.
    pub async fn note_token_uses(&self, uses: Vec<TokenUse>) -> Result<usize, StorageError> {
        on_backend!(self, tokens::store_uses(&uses))
    }
}

/// What administrators do with tokens.
impl Storage {
    /// The tokens that match; `None` if there is no token [`TokenFilter::after`].
    pub async fn list_tokens(&self, filter: TokenFilter) -> Result<Option<Vec<TokenRecord>>, StorageError> {
        on_backend!(self, tokens::list(&filter))
    }

    /// Revokes the token of a row, in one transaction with the audit event. Returns the record as it was before; `None` if
    /// there is no such row.
    pub async fn revoke_token_by_admin(
        &self,
        token: TokenId,
        event: AuditEvent,
    ) -> Result<Option<TokenRecord>, StorageError> {
        on_backend!(self, tokens::revoke_by_admin(token, event))
    }
}

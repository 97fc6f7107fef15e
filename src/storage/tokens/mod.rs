//! Tokens: finding, issuing, rotating and revoking them.

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
use crate::domain::standing::{Standing, TokenRecord};
use crate::domain::token::{HandleDigest, RevokedToken, StoredToken};
use crate::domain::token_kind::TokenKind;

/// The limits that a rotation keeps.
#[derive(Debug, Clone, Copy)]
pub struct RotationLimits {
    /// How many successors one token can have: the tabs that rotate it at the same moment.
    pub siblings: usize,
    /// How many live session tokens a user can have; the oldest beyond that are revoked.
    pub live_tokens: usize,
}

/// What a rotation did.
#[derive(Debug)]
pub enum Rotation {
    /// It wrote this successor.
    Rotated(Box<StoredToken>),
    /// It changed nothing, because the token has enough successors already.
    TooManySiblings,
    /// It changed nothing, because the token may not be used, or because there is no such token (`None`).
    Refused(Option<Standing>),
}

/// A use of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUse {
    /// The token.
    pub handle: HandleDigest,
    /// Its session, if it is in one.
    pub session: Option<SessionId>,
    /// When it was used.
    pub at: Timestamp,
}

/// What the making of a personal token did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonalTokenMade {
    /// It wrote the token.
    Made,
    /// It changed nothing, because the user has as many as one user may have.
    TooMany,
    /// It changed nothing, because the maker's token is gone or `judge` refused it.
    Refused,
}

/// The personal tokens of a batch of users were revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RevokedBatch {
    /// How many tokens were revoked.
    pub revoked: usize,
    /// The last user of the batch; `None` if the batch was empty.
    pub last: Option<UserId>,
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
    /// Only tokens that may be used.
    pub usable: Option<UsableAt>,
    /// Only tokens that follow this one in the list.
    pub after: Option<TokenId>,
    /// At most this many.
    pub limit: u32,
}

impl Storage {
    /// The token with this handle and everything that decides whether it may be used: one query.
    pub async fn find_token(&self, handle: HandleDigest) -> Result<Option<Box<TokenRecord>>, StorageError> {
        on_backend!(self, tokens::find(&handle))
    }

    /// Writes one more token into the session whose cookie has this digest, in one transaction, and keeps the user's
    /// live session tokens at `live_tokens`. `judge` decides on the session, which cannot change in the meantime;
    /// returns whether it agreed. The token's user and session must be those of the session.
    pub async fn add_token(
        &self,
        digest: SessionDigest,
        token: StoredToken,
        now: Timestamp,
        live_tokens: usize,
        judge: impl Fn(&SessionRecord) -> bool + Send + 'static,
    ) -> Result<bool, StorageError> {
        on_backend!(self, issuing::add_to_session(&digest, &token, now, live_tokens, &judge))
    }

    /// Writes a successor of a token in one transaction. `standing` decides on the token, which cannot change in the
    /// meantime; `issue` creates the successor. The token counts as rotated from its first successor on.
    pub async fn rotate(
        &self,
        handle: HandleDigest,
        now: Timestamp,
        limits: RotationLimits,
        standing: impl Fn(&TokenRecord) -> Standing + Send + 'static,
        issue: impl Fn(&TokenRecord) -> StoredToken + Send + 'static,
    ) -> Result<Rotation, StorageError> {
        on_backend!(self, issuing::rotate(&handle, now, limits, &standing, &issue))
    }

    /// Binds a token that was never used to a key, in one transaction. `bind` returns the token as it is to be, or `None`
    /// to leave it as it is; the token cannot change in the meantime. Returns whether the token now is as `bind` said.
    pub async fn bind_token(
        &self,
        handle: HandleDigest,
        bind: impl Fn(&TokenRecord) -> Option<StoredToken> + Send + 'static,
    ) -> Result<bool, StorageError> {
        on_backend!(self, issuing::bind(&handle, &bind))
    }

    /// Revokes a token. Returns whether it exists and was not revoked before.
    pub async fn revoke_token(&self, handle: HandleDigest, now: Timestamp) -> Result<bool, StorageError> {
        on_backend!(self, tokens::revoke(&handle, now))
    }

    /// Stores when tokens and their sessions were used, at most once per
    /// [`LAST_USE_GRAIN`](crate::domain::lifetimes::LAST_USE_GRAIN). Returns how many tokens' rows changed.
    pub async fn note_token_uses(&self, uses: Vec<TokenUse>) -> Result<usize, StorageError> {
        on_backend!(self, tokens::store_uses(&uses))
    }

    /// The tokens that match; `None` if there is no token [`TokenFilter::after`].
    pub async fn list_tokens(&self, filter: TokenFilter) -> Result<Option<Vec<TokenRecord>>, StorageError> {
        on_backend!(self, tokens::list(&filter))
    }

    /// Revokes a token and writes the audit event, which it completes, in one transaction. Returns the token as it was
    /// before; `None` if there is no such token.
    pub async fn revoke_token_by_admin(
        &self,
        token: TokenId,
        event: AuditEvent,
    ) -> Result<Option<TokenRecord>, StorageError> {
        on_backend!(self, tokens::revoke_by_admin(token, event.clone()))
    }
}

/// What users do with their personal tokens.
impl Storage {
    /// The personal tokens of a user that are neither revoked nor expired, newest first.
    pub async fn personal_tokens_of(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<TokenRecord>, StorageError> {
        on_backend!(self, personal_tokens::own(user, now))
    }

    /// Writes a personal token in one transaction, unless its user has `limit` of them already. `judge` decides on the
    /// token with which it is made, which cannot change meanwhile; `counts` on each of the user's personal tokens.
    pub async fn make_personal_token(
        &self,
        maker: HandleDigest,
        token: StoredToken,
        limit: usize,
        judge: impl Fn(&TokenRecord) -> bool + Send + 'static,
        counts: impl Fn(&TokenRecord) -> bool + Send + 'static,
    ) -> Result<PersonalTokenMade, StorageError> {
        on_backend!(self, personal_tokens::make(&maker, &token, limit, &judge, &counts))
    }

    /// Revokes a personal token of this user. Returns it; `None` if the user has no such token, or it was revoked or
    /// expired before.
    pub async fn revoke_personal_token(
        &self,
        user: UserId,
        token: TokenId,
        now: Timestamp,
    ) -> Result<Option<RevokedToken>, StorageError> {
        on_backend!(self, personal_tokens::revoke_own(user, token, now))
    }
}

/// What administrators do with personal tokens.
impl Storage {
    /// How many personal tokens, of one user or of all, are neither revoked nor expired.
    pub async fn count_personal_tokens(
        &self,
        user: Option<UserId>,
        now: Timestamp,
    ) -> Result<usize, StorageError> {
        on_backend!(self, personal_tokens::count(user, now))
    }

    /// Revokes every personal token, with an audit event for each, and returns how many were not expired. Works in
    /// batches of users, so that no other transaction waits for long.
    pub async fn revoke_every_personal_token(&self, command: AuditEvent) -> Result<usize, StorageError> {
        let (mut revoked, mut after) = (0, None);
        loop {
            let command = command.clone();
            let batch = on_backend!(self, personal_tokens::revoke_batch(after, &command))?;
            revoked += batch.revoked;
            match batch.last {
                Some(last) => after = Some(last),
                None => return Ok(revoked),
            }
        }
    }
}

//! Makes the row of a new API token, and the answer that hands the token out.

use std::sync::Arc;

use crate::domain::api_token::{ApiToken, TokenFacts, TokenHandle};
use crate::domain::client::Client;
use crate::domain::clock::Timestamp;
use crate::domain::entropy::Entropy;
use crate::domain::ids::{ClientId, SessionId, TokenId, UserId};
use crate::domain::key_ring::{KeyRing, Purpose};
use crate::state::Broker;
use crate::storage::records::StoredToken;

/// A token on its way to its owner: the only shape in which a token leaves the broker.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: ApiToken,
    /// Seconds until it dies, at the latest.
    pub expires_in: i64,
    /// When it dies, at the latest.
    pub expires_at: Timestamp,
    /// Its scopes, space-separated.
    pub scope: String,
}

/// One token to be: everything but the user and session, which the database transaction decides.
pub(super) struct Issue {
    keys: Arc<KeyRing>,
    entropy: Arc<dyn Entropy>,
    handle: TokenHandle,
    client_id: ClientId,
    seal_handle: bool,
    audience: String,
    scope: String,
    now: Timestamp,
    expires_at: Timestamp,
}

impl Issue {
    /// A new token of `client` that begins `now`.
    pub(super) fn new(broker: &Broker, client: &Client, now: Timestamp) -> Self {
        Self {
            keys: broker.keys.current(),
            entropy: broker.entropy.clone(),
            handle: TokenHandle::random(&*broker.entropy),
            client_id: client.id.clone(),
            seal_handle: client.legacy,
            audience: broker.public_url.to_string(),
            scope: client.scope.clone(),
            now,
            expires_at: now + broker.lifetimes.api_token,
        }
    }

    /// The same, with the audience and scope that an older token was bound to.
    pub(super) fn with_binding_of(mut self, facts: &TokenFacts) -> Self {
        self.audience.clone_from(&facts.audience);
        self.scope.clone_from(&facts.scope);
        self
    }

    /// The server keys that the token is made with.
    pub(super) fn keys(&self) -> Arc<KeyRing> {
        self.keys.clone()
    }

    /// The random part, known before the row is written.
    pub(super) fn handle(&self) -> &TokenHandle {
        &self.handle
    }

    /// The row, once user and session are known. A token never outlives its session.
    pub(super) fn row(&self, user_id: UserId, session_id: SessionId, session_ends: Timestamp) -> StoredToken {
        let key = self.keys.issuing();
        let facts = TokenFacts {
            id: TokenId::random(&*self.entropy),
            handle: self.handle.digest(),
            key_id: key.id(),
            session_id,
            user_id,
            client_id: self.client_id.clone(),
            audience: self.audience.clone(),
            scope: self.scope.clone(),
            issued_at: self.now,
            expires_at: self.expires_at.min(session_ends),
        };
        let binding = facts.binding(key).to_vec();
        let sealed_handle =
            self.seal_handle.then(|| seal_handle(&self.keys, &*self.entropy, &facts, &self.handle));
        StoredToken { facts, binding, sealed_handle }
    }
}

fn seal_handle(keys: &KeyRing, entropy: &dyn Entropy, facts: &TokenFacts, handle: &TokenHandle) -> Vec<u8> {
    keys.seal(Purpose::LegacyHandle, facts.id.as_uuid().as_bytes(), handle.expose(), entropy)
}

/// The handle of a `legacy` token that lives already; nothing unless row and seal are ours.
pub(super) fn reopen_handle(keys: &KeyRing, stored: &StoredToken) -> Option<TokenHandle> {
    let sealed = stored.sealed_handle.as_deref()?;
    let opened = keys.open(Purpose::LegacyHandle, stored.facts.id.as_uuid().as_bytes(), sealed)?;
    let handle = TokenHandle::from_bytes(opened.as_slice().try_into().ok()?);
    let genuine = handle.digest() == stored.facts.handle && stored.facts.is_bound_by(&stored.binding, keys);
    genuine.then_some(handle)
}

impl IssuedToken {
    /// Writes the token down, unless the key that issued it is gone from the ring.
    pub(super) fn of(keys: &KeyRing, token: TokenParts<'_>, now: Timestamp) -> Option<Self> {
        let key = keys.get(token.key_id)?;
        Some(Self {
            token: ApiToken::issue(key, token.handle),
            expires_in: (token.expires_at - now).num_seconds(),
            expires_at: token.expires_at,
            scope: token.scope.to_owned(),
        })
    }
}

/// What writing a token down needs.
pub(super) struct TokenParts<'a> {
    pub(super) key_id: crate::domain::key_ring::KeyId,
    pub(super) handle: &'a TokenHandle,
    pub(super) expires_at: Timestamp,
    pub(super) scope: &'a str,
}

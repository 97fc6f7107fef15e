//! Makes the row of a new token, and the answer that hands the token out.

use std::sync::Arc;

use crate::domain::audience::AudienceSet;
use crate::domain::client::Client;
use crate::domain::clock::Timestamp;
use crate::domain::dpop::thumbprint::Thumbprint;
use crate::domain::entropy::Entropy;
use crate::domain::ids::{ClientId, TokenId};
use crate::domain::key_ring::{KeyId, KeyRing, Purpose};
use crate::domain::scope::ScopeSet;
use crate::domain::token::{AccessToken, StoredToken, TokenFacts, TokenHandle, TokenOwner};
use crate::domain::token_kind::TokenKind;
use crate::state::Broker;

/// A token on its way to its owner: the only shape in which a token leaves the broker.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: AccessToken,
    /// Seconds until it expires, at the latest.
    pub expires_in: i64,
    /// When it expires, at the latest.
    pub expires_at: Timestamp,
    /// What it may be used for.
    pub scopes: ScopeSet,
    /// Whether it is bound to a key (RFC 9449).
    pub is_bound: bool,
}

/// A session's token to be: everything but the owner, which the database transaction decides.
pub(super) struct Issue {
    keys: Arc<KeyRing>,
    entropy: Arc<dyn Entropy>,
    handle: TokenHandle,
    client_id: ClientId,
    seal_handle: bool,
    audiences: AudienceSet,
    scopes: ScopeSet,
    now: Timestamp,
    expires_at: Timestamp,
    dpop_jkt: Option<Thumbprint>,
}

impl Issue {
    /// A new token of `client` for these of its audiences and these scopes, issued `now`.
    pub(super) fn new(
        broker: &Broker,
        client: &Client,
        audiences: AudienceSet,
        scopes: ScopeSet,
        now: Timestamp,
    ) -> Self {
        Self {
            keys: broker.keys.current(),
            entropy: broker.entropy.clone(),
            handle: TokenHandle::random(&*broker.entropy),
            client_id: client.id.clone(),
            seal_handle: client.legacy,
            audiences,
            scopes,
            now,
            expires_at: now + broker.lifetimes.api_token,
            dpop_jkt: None,
        }
    }

    /// The same token with this handle, which was drawn before.
    pub(super) fn with_handle(self, handle: TokenHandle) -> Self {
        Self { handle, ..self }
    }

    /// The same, bound to the key with this thumbprint, if there is one.
    pub(super) fn bound_to(self, dpop_jkt: Option<Thumbprint>) -> Self {
        Self { dpop_jkt, ..self }
    }

    /// The successor of a token: for the same APIs and scopes, whatever the client may have now, and bound to the same key.
    pub(super) fn successor_of(facts: &TokenFacts, broker: &Broker, client: &Client, now: Timestamp) -> Self {
        let successor = Self::new(broker, client, facts.audiences.clone(), facts.scopes.clone(), now);
        successor.bound_to(facts.dpop_jkt)
    }

    /// The server keys that the token is made with.
    pub(super) fn keys(&self) -> Arc<KeyRing> {
        self.keys.clone()
    }

    /// The random part, known before the row is written.
    pub(super) fn handle(&self) -> &TokenHandle {
        &self.handle
    }

    /// The row, once the owner is known. A token never outlives its session.
    pub(super) fn row(&self, owner: TokenOwner, session_ends: Option<Timestamp>) -> StoredToken {
        let key = self.keys.issuing();
        let facts = TokenFacts {
            id: TokenId::random(&*self.entropy),
            kind: TokenKind::Session,
            handle: self.handle.digest(),
            key_id: key.id(),
            owner,
            name: None,
            client_id: self.client_id.clone(),
            audiences: self.audiences.clone(),
            scopes: self.scopes.clone(),
            issued_at: self.now,
            expires_at: session_ends.map_or(self.expires_at, |ends| ends.min(self.expires_at)),
            dpop_jkt: self.dpop_jkt,
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

/// The handle of an existing `legacy` token; `None` unless this broker sealed it for this row.
pub(super) fn open_handle(keys: &KeyRing, stored: &StoredToken) -> Option<TokenHandle> {
    let sealed = stored.sealed_handle.as_deref()?;
    let opened = keys.open(Purpose::LegacyHandle, stored.facts.id.as_uuid().as_bytes(), sealed)?;
    let handle = TokenHandle::from_bytes(opened.as_slice().try_into().ok()?);
    (handle.digest() == stored.facts.handle).then_some(handle)
}

/// What it takes to write a token's text.
pub(super) struct TokenParts<'a> {
    pub(super) key_id: KeyId,
    pub(super) handle: &'a TokenHandle,
    pub(super) expires_at: Timestamp,
    pub(super) scopes: &'a ScopeSet,
    pub(super) is_bound: bool,
}

impl<'a> TokenParts<'a> {
    pub(super) fn of(facts: &'a TokenFacts, handle: &'a TokenHandle) -> Self {
        Self {
            key_id: facts.key_id,
            handle,
            expires_at: facts.expires_at,
            scopes: &facts.scopes,
            is_bound: facts.dpop_jkt.is_some(),
        }
    }
}

impl IssuedToken {
    /// Writes the text of a session's token; `None` if the key that issued it is no longer in the ring.
    pub(super) fn new(keys: &KeyRing, parts: TokenParts<'_>, now: Timestamp) -> Option<Self> {
        let key = keys.get(parts.key_id)?;
        Some(Self {
            token: AccessToken::issue(TokenKind::Session, key, parts.handle),
            expires_in: (parts.expires_at - now).num_seconds(),
            expires_at: parts.expires_at,
            scopes: parts.scopes.clone(),
            is_bound: parts.is_bound,
        })
    }
}

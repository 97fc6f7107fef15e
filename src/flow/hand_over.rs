//! The end of every sign-in, whether at a provider or in a continued session: the key is parked, and the browser is sent
//! back to its SPA with the key or with an error.

use chrono::TimeDelta;

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client::{Client, RedirectUri};
use crate::domain::ids::SessionId;
use crate::domain::login_attempt::ClientState;
use crate::domain::one_time_key::{EntryPart, Grant, OneTimeKey, Receipt};
use crate::domain::pkce::CodeChallenge;
use crate::domain::token::{StoredToken, TokenHandle};
use crate::error::{Error, Result};
use crate::key_store::NewEntry;
use crate::state::Broker;
use crate::state::audit_trail::Event;

/// A key in the key store, ready to be redeemed by the SPA.
pub(super) struct ParkedKey(OneTimeKey);

/// Parks the sealed grant of a session's token under a name that only key and verifier together lead to.
pub(super) async fn park_key(
    broker: &Broker,
    token: &StoredToken,
    session_id: SessionId,
    handle: TokenHandle,
    challenge: Option<&CodeChallenge>,
) -> Result<ParkedKey> {
    let facts = token.facts.clone();
    let user_id = facts.owner.user_id;
    let life: TimeDelta = broker.lifetimes.one_time_key;
    let key = OneTimeKey::random(&*broker.entropy);
    let name = key.entry_name(challenge);
    let receipt = Receipt { user_id, session_id, client_id: facts.client_id.clone() };
    let grant = Grant {
        handle,
        key_id: facts.key_id,
        user_id,
        session_id,
        client_id: facts.client_id,
        scopes: facts.scopes,
        token_expires_at: facts.expires_at,
        key_expires_at: broker.clock.now() + life,
    };
    let keys = broker.keys.current();
    let entry = NewEntry {
        grant: grant.seal(&name, &keys, &*broker.entropy),
        receipt: receipt.seal(&name, &keys, &*broker.entropy),
    };
    broker.key_store.put(&name, entry, life.to_std().unwrap_or_default()).await?;
    Ok(ParkedKey(key))
}

/// The address of the SPA that a login leads back to: fixed and checked at `/login`.
pub(super) struct WayBack<'a> {
    pub(super) client: &'a Client,
    pub(super) redirect_uri: &'a RedirectUri,
    pub(super) client_state: Option<ClientState>,
}

impl WayBack<'_> {
    /// With the key.
    pub(super) fn with_key(&self, ParkedKey(key): &ParkedKey) -> String {
        self.with(&[(self.client.key_parameter.as_str(), &key.expose())])
    }

    /// With an error of RFC 6749 section 4.1.2.1. Its description names our own code and the request.
    pub(super) fn with_error(&self, caller: &Caller, error: &Error) -> String {
        let description =
            format!("{} ({}, request {})", error.public_text(), error.code(), caller.request_id);
        self.with(&[("error", error.code().redirect_code()), ("error_description", &description)])
    }

    fn with(&self, answer: &[(&str, &str)]) -> String {
        let mut pairs = answer.to_vec();
        if let Some(state) = &self.client_state {
            pairs.push(("state", state.as_str()));
        }
        self.redirect_uri.with(self.client.key_delivery, &pairs)
    }
}

/// The event of a sign-in that was not completed.
pub(super) fn failed<'a>(broker: &'a Broker, caller: &Caller, error: &Error) -> Event<'a> {
    let cause = error.cause_chain();
    tracing::info!(code = error.code().as_str(), cause, "a sign-in was not completed");
    Event::new(broker, caller, AuditKind::LoginFailed).reason(error.code())
}

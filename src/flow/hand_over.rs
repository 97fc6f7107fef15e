//! The end of every sign-in, whether at a provider or in a continued session: the key is parked, and the browser is sent
//! back to its SPA with the key or with an error.

use chrono::TimeDelta;

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client::{Client, KeyDelivery, RedirectUri};
use crate::domain::client_text::{ClientNonce, ClientState};
use crate::domain::clock::Timestamp;
use crate::domain::dpop::thumbprint::Thumbprint;
use crate::domain::ids::SessionId;
use crate::domain::oauth_request::OAuthRequest;
use crate::domain::one_time_key::{EntryName, EntryPart, Grant, OneTimeKey, Receipt};
use crate::domain::pkce::CodeChallenge;
use crate::domain::token::{StoredToken, TokenHandle};
use crate::error::{Error, Result};
use crate::key_store::NewEntry;
use crate::state::Broker;
use crate::state::audit_trail::Event;

/// A key in the key store, ready to be redeemed by the SPA.
pub(super) struct ParkedKey(OneTimeKey);

/// What a key is exchanged for.
pub(super) struct Parked<'a> {
    pub(super) token: &'a StoredToken,
    pub(super) session_id: SessionId,
    /// When the person authenticated at the provider.
    pub(super) auth_time: Option<Timestamp>,
    pub(super) handle: TokenHandle,
    /// For a sign-in in a browser that had a session: when it began.
    pub(super) ends_sessions_before: Option<Timestamp>,
}

/// Parks the sealed grant of a session's token under a name that only key and verifier together lead to.
pub(super) async fn park_key(
    broker: &Broker,
    caller: &Caller,
    way_back: &WayBack<'_>,
    challenge: Option<&CodeChallenge>,
    parked: Parked<'_>,
) -> Result<ParkedKey> {
    let life: TimeDelta = broker.lifetimes.one_time_key;
    let key = OneTimeKey::random(&*broker.entropy);
    let name = way_back.entry_name(&key, challenge);
    let nonce = way_back.oauth.as_ref().and_then(|oauth| oauth.nonce.clone());
    let entry = sealed_entry(broker, &name, parked, nonce, broker.clock.now() + life);
    let key_store = broker.key_store.on_behalf_of(caller.address);
    key_store.put(&name, entry, life.to_std().unwrap_or_default()).await?;
    Ok(ParkedKey(key))
}

/// The entry with a sealed grant, which only someone who knows the key behind `name` finds, until it expires.
pub(super) fn sealed_entry(
    broker: &Broker,
    name: &EntryName,
    parked: Parked<'_>,
    nonce: Option<ClientNonce>,
    key_expires_at: Timestamp,
) -> NewEntry {
    let Parked { token, session_id, auth_time, handle, ends_sessions_before } = parked;
    let facts = token.facts.clone();
    let user_id = facts.owner.user_id;
    let receipt = Receipt { user_id, session_id, client_id: facts.client_id.clone() };
    let grant = Grant {
        handle,
        key_id: facts.key_id,
        user_id,
        session_id,
        client_id: facts.client_id,
        scopes: facts.scopes,
        audiences: facts.audiences,
        nonce,
        auth_time,
        token_expires_at: facts.expires_at,
        key_expires_at,
        ends_sessions_before,
    };
    let keys = broker.keys.current();
    NewEntry {
        grant: grant.seal(name, &keys, &*broker.entropy),
        receipt: receipt.seal(name, &keys, &*broker.entropy),
    }
}

/// The address of the client that a login leads back to, and the names of the parameters there: fixed and checked at the
/// start of the login.
#[derive(Clone)]
pub(super) struct WayBack<'a> {
    pub(super) issuer: &'a str,
    pub(super) client: &'a Client,
    pub(super) redirect_uri: &'a RedirectUri,
    /// The port of a native app's loopback address.
    pub(super) port: Option<u16>,
    pub(super) client_state: Option<ClientState>,
    /// What a client of standard OAuth 2 asked for; `None` for a login that began at `/login`.
    pub(super) oauth: Option<OAuthRequest>,
    /// The key that the token is bound to.
    pub(super) dpop_jkt: Option<Thumbprint>,
}

impl WayBack<'_> {
    /// With the key.
    pub(super) fn with_key(&self, ParkedKey(key): &ParkedKey) -> String {
        let name = if self.oauth.is_some() { "code" } else { self.client.key_parameter.as_str() };
        self.with(&[(name, &key.expose())])
    }

    /// The name of the key's entry. An authorization code is bound to the client and the address that its request named,
    /// and either is bound to the key of the token, if the request named one.
    fn entry_name(&self, key: &OneTimeKey, challenge: Option<&CodeChallenge>) -> EntryName {
        let name = match (&self.oauth, challenge) {
            (Some(oauth), Some(challenge)) => {
                let address = oauth.named_redirect_uri.then(|| self.redirect_uri.with_port(self.port));
                key.code_name(challenge, &self.client.id, address.as_deref())
            }
            (_, challenge) => key.entry_name(challenge),
        };
        match &self.dpop_jkt {
            Some(thumbprint) => name.bound_to(thumbprint),
            None => name,
        }
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
        let delivery = match self.oauth {
            // RFC 9207 section 2: in every answer, so that the client recognises a mix-up of authorization servers.
            Some(_) => {
                pairs.push(("iss", self.issuer));
                KeyDelivery::Query
            }
            None => self.client.key_delivery,
        };
        self.redirect_uri.with(self.port, delivery, &pairs)
    }
}

/// The event of a sign-in that was not completed.
pub(super) fn failed<'a>(broker: &'a Broker, caller: &Caller, error: &Error) -> Event<'a> {
    let cause = error.cause_chain();
    tracing::info!(code = error.code().as_str(), cause, "a sign-in was not completed");
    Event::new(broker, caller, AuditKind::LoginFailed).reason(error.code())
}

//! `/api/personal_tokens`: tokens that people make for their scripts.
//!
//! Such a token is in no session, so no sign-out ends it. It is made with a session's token only, after a fresh sign-in, and
//! may do at most what that token may. What it can be used for at a moment depends on its user, as for every token.

use std::sync::Arc;

use crate::domain::audience::AudienceSet;
use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client::Client;
use crate::domain::clock::Timestamp;
use crate::domain::ids::TokenId;
use crate::domain::key_ring::KeyRing;
use crate::domain::profile::ProfileText;
use crate::domain::scope::ScopeSet;
use crate::domain::standing::{TokenRecord, is_owned, standing};
use crate::domain::token::{AccessToken, RevokedToken, StoredToken, TokenFacts, TokenHandle, TokenOwner};
use crate::domain::token_kind::TokenKind;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::authenticate::SignedIn;
use crate::flow::react::concerning;
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::storage::tokens::PersonalTokenMade;

mod request;

pub use request::{Expiry, MakeRequest};

/// A personal token as its owner sees it; the token itself cannot be shown.
#[derive(Debug)]
pub struct PersonalToken {
    /// What it is for, and its name.
    pub facts: TokenFacts,
    /// When it was last used, accurate to five minutes; `None` before the first use.
    pub last_used_at: Option<Timestamp>,
}

/// A new personal token, on its way to its owner.
#[derive(Debug)]
pub struct NewPersonalToken {
    /// The token: shown here and nowhere else.
    pub token: AccessToken,
    /// Everything else.
    pub made: PersonalToken,
}

/// What a valid request asks for.
struct Wanted {
    name: ProfileText,
    scopes: ScopeSet,
    audiences: AudienceSet,
    expires_at: Timestamp,
}

/// The caller's personal tokens that are neither revoked nor expired, newest first. Those of a client that is disabled are
/// among them: they work again when it is enabled, so their owner can revoke them.
///
/// # Errors
/// `temporarily_unavailable` if the database is unreachable.
pub async fn list(broker: &Broker, signed_in: &SignedIn) -> Result<Vec<PersonalToken>> {
    let (now, keys) = (broker.clock.now(), broker.keys.current());
    let own = broker.storage.personal_tokens_of(signed_in.user.id, now).await?;
    let own = own.into_iter().filter(|record| is_owned(record, &keys, now));
    Ok(own
        .map(|record| PersonalToken { facts: record.token.facts, last_used_at: record.last_used_at })
        .collect())
}

/// Makes a personal token of the caller.
///
/// # Errors
/// `insufficient_user_authentication` if the sign-in is not fresh; `insufficient_scope`, `invalid_target` and
/// `invalid_request` for what the caller's own token may not do or the settings do not allow; `too_many_personal_tokens`;
/// `temporarily_unavailable` if the database is unreachable.
pub async fn make(
    broker: &Broker,
    caller: &Caller,
    signed_in: &SignedIn,
    request: MakeRequest,
) -> Result<NewPersonalToken> {
    let now = broker.clock.now();
    let client = broker.clients.get(&signed_in.token.client_id).ok_or(ErrorCode::InvalidToken)?;
    if client.legacy {
        // All browsers of the person share its token, which says nothing about the sign-in of this one.
        return Err(Error::invalid_request("A token of a legacy client cannot make personal tokens."));
    }
    require_fresh_sign_in(broker, signed_in, now)?;
    let wanted = request.validate(broker, &signed_in.token, client, now)?;
    let keys = broker.keys.current();
    let handle = TokenHandle::random(&*broker.entropy);
    let token = row(broker, &keys, &handle, &signed_in.token, wanted, now);
    let text = AccessToken::issue(TokenKind::Personal, keys.issuing(), &handle);
    write(broker, signed_in, client, &token, &keys, now).await?;
    let event = Event::new(broker, caller, AuditKind::PersonalTokenMade);
    concerning(event.session(signed_in.session.id), &token.facts).record();
    Ok(NewPersonalToken { token: text, made: PersonalToken { facts: token.facts, last_used_at: None } })
}

/// RFC 9470: the SPA signs the person in again, with `max_age`.
fn require_fresh_sign_in(broker: &Broker, signed_in: &SignedIn, now: Timestamp) -> Result<()> {
    let limit = broker.personal_tokens.fresh_sign_in;
    // Of a provider that is no longer configured, nothing is known.
    let provider = broker.providers.get(&signed_in.user.provider);
    let provable = provider.is_none_or(|provider| provider.supports_max_age());
    if signed_in.session.is_fresh(provable, limit, now) {
        Ok(())
    } else {
        Err(Error::sign_in_too_old(limit.num_seconds()))
    }
}

fn row(
    broker: &Broker,
    keys: &KeyRing,
    handle: &TokenHandle,
    maker: &TokenFacts,
    wanted: Wanted,
    now: Timestamp,
) -> StoredToken {
    let key = keys.issuing();
    let facts = TokenFacts {
        id: TokenId::random(&*broker.entropy),
        kind: TokenKind::Personal,
        handle: handle.digest(),
        key_id: key.id(),
        owner: TokenOwner { session_id: None, ..maker.owner },
        name: Some(wanted.name),
        client_id: maker.client_id.clone(),
        audiences: wanted.audiences,
        scopes: wanted.scopes,
        issued_at: now,
        expires_at: wanted.expires_at,
        dpop_jkt: None,
    };
    let binding = facts.binding(key).to_vec();
    StoredToken { facts, binding, sealed_handle: None }
}

async fn write(
    broker: &Broker,
    signed_in: &SignedIn,
    client: &Client,
    token: &StoredToken,
    keys: &Arc<KeyRing>,
    now: Timestamp,
) -> Result<()> {
    let (judged_by, judging_keys, counting_keys) = (client.clone(), keys.clone(), keys.clone());
    // Judged again on the locked row: between reading and locking it, the session may have ended.
    let usable = move |locked: &TokenRecord| {
        standing(locked, Some(&judged_by), Some(now), &judging_keys, now).is_usable()
    };
    let counts = move |record: &TokenRecord| is_owned(record, &counting_keys, now);
    let (maker, limit) = (signed_in.token.handle, broker.personal_tokens.per_user);
    match broker.storage.make_personal_token(maker, token.clone(), limit, usable, counts).await? {
        PersonalTokenMade::Made => Ok(()),
        PersonalTokenMade::TooMany => Err(ErrorCode::TooManyPersonalTokens.into()),
        PersonalTokenMade::Refused => Err(ErrorCode::InvalidToken.into()),
    }
}

/// Revokes one of the caller's personal tokens.
///
/// # Errors
/// `not_found`, the same for a foreign, an unknown, a revoked, an expired and a malformed id, and for the id of a token of
/// another kind; `temporarily_unavailable` if the database is unreachable: then nothing was revoked.
pub async fn revoke(broker: &Broker, caller: &Caller, signed_in: &SignedIn, id: &str) -> Result<()> {
    let token: TokenId = id.parse().map_err(|_| ErrorCode::NotFound)?;
    let user = signed_in.user.id;
    let revoked = broker.storage.revoke_personal_token(user, token, broker.clock.now()).await?;
    record_revoked(broker, caller, [revoked.ok_or(ErrorCode::NotFound)?]);
    Ok(())
}

/// Records each personal token that its owner revoked.
pub(super) fn record_revoked(
    broker: &Broker,
    caller: &Caller,
    revoked: impl IntoIterator<Item = RevokedToken>,
) {
    for token in revoked {
        Event::new(broker, caller, AuditKind::PersonalTokenRevoked)
            .client(&token.client)
            .user(token.user)
            .token(token.handle)
            .record();
    }
}

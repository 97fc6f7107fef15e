//! Step 3, `/api/get_token`: exchanges a one-time key for its API token, once.
//!
//! No database is asked: the row was written at the callback, and the token is computed from the grant and the
//! server key. Whatever is wrong, the answer is the same `invalid_grant`.

use crate::domain::audit::AuditKind;
use crate::domain::lifetimes;
use crate::domain::one_time_key::{EntryName, EntryPart, Grant, OneTimeKey, Receipt, Redemption};
use crate::domain::pkce::{CodeChallenge, CodeVerifier};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::Caller;
use crate::flow::audit_trail::Event;
use crate::flow::issue::{IssuedToken, TokenParts};
use crate::key_store::Taken;
use crate::state::Broker;

/// What the SPA presents.
#[derive(Debug)]
pub struct RedeemRequest {
    /// The key from the redirect.
    pub one_time_key: String,
    /// The verifier behind the challenge of `/login`.
    pub code_verifier: Option<String>,
    /// Which client it is; compared where given.
    pub client_id: Option<String>,
}

/// Redeems a key.
///
/// # Errors
/// `invalid_grant`, the same for everything that is wrong with key or proof; `rate_limited` once an address has
/// failed too often; `origin_not_allowed`; `temporarily_unavailable` while the key store is away.
pub async fn redeem(broker: &Broker, caller: &Caller, request: RedeemRequest) -> Result<IssuedToken> {
    match try_redeem(broker, caller, &request).await {
        Err(error) if error.code() == ErrorCode::InvalidGrant => {
            Event::new(broker, caller, AuditKind::KeyRefused).reason(error.code()).record();
            broker.limits.failed_redemption(caller).inspect_err(|_| limited(broker, caller))?;
            Err(error)
        }
        outcome => outcome,
    }
}

/// Redeems a key the way the replaced service did; `None` for whatever is wrong with it.
///
/// # Errors
/// As [`redeem`], but for `invalid_grant`.
pub async fn redeem_legacy(broker: &Broker, caller: &Caller, key: &str) -> Result<Option<IssuedToken>> {
    let request = RedeemRequest { one_time_key: key.to_owned(), code_verifier: None, client_id: None };
    match redeem(broker, caller, request).await {
        Ok(issued) => Ok(Some(issued)),
        Err(error) if error.code() == ErrorCode::InvalidGrant => Ok(None),
        Err(error) => Err(error),
    }
}

async fn try_redeem(broker: &Broker, caller: &Caller, request: &RedeemRequest) -> Result<IssuedToken> {
    let invalid = || Error::new(ErrorCode::InvalidGrant);
    let key = OneTimeKey::parse(&request.one_time_key).map_err(|_| invalid())?;
    let challenge: Option<CodeChallenge> = match request.code_verifier.as_deref() {
        Some(text) => Some(text.parse::<CodeVerifier>().map_err(|_| invalid())?.challenge()),
        None => None,
    };
    let name = key.entry_name(challenge.as_ref());
    let redemption = Redemption { at: broker.clock.now(), browser: caller.print() };
    let mark = redemption.seal(&name, &broker.keys, &*broker.entropy);
    match broker.key_store.take(&name, &mark).await? {
        Taken::First { grant } => {
            // A grant that does not open was planted by somebody who can write to the store.
            let grant = Grant::open(&grant, &name, &broker.keys).ok_or_else(invalid)?;
            hand_out(broker, caller, request, &grant)
        }
        Taken::Again { receipt, redemption: first } => {
            again(broker, caller, &name, &redemption, (&receipt, &first)).await?;
            Err(invalid())
        }
        Taken::Nothing => Err(invalid()),
    }
}

fn hand_out(broker: &Broker, caller: &Caller, request: &RedeemRequest, grant: &Grant) -> Result<IssuedToken> {
    let invalid = || Error::new(ErrorCode::InvalidGrant);
    let now = broker.clock.now();
    let client = broker.clients.get(&grant.client_id).ok_or_else(invalid)?;
    let other_client = request.client_id.as_deref().is_some_and(|id| id != client.id.as_str());
    if other_client || now >= grant.key_expires_at || now >= grant.token_expires_at {
        return Err(invalid());
    }
    if caller.origin.as_deref().is_some_and(|origin| !client.has_origin(origin)) {
        return Err(ErrorCode::OriginNotAllowed.into());
    }
    let parts = TokenParts {
        key_id: grant.key_id,
        handle: &grant.handle,
        expires_at: grant.token_expires_at,
        scope: &grant.scope,
    };
    let issued = IssuedToken::of(&broker.keys, parts, now).ok_or_else(invalid)?;
    Event::new(broker, caller, AuditKind::KeyRedeemed)
        .client(&grant.client_id)
        .user(grant.user_id)
        .session(grant.session_id)
        .token(grant.handle.digest())
        .record();
    Ok(issued)
}

/// A used key came again, with the right proof: a double submit of the same browser within seconds is only
/// refused, anything else means that key and proof are in foreign hands, and ends the session
/// (RFC 6749 section 4.1.2).
async fn again(
    broker: &Broker,
    caller: &Caller,
    name: &EntryName,
    second: &Redemption,
    (receipt, first): (&[u8], &[u8]),
) -> Result<()> {
    let opened = Receipt::open(receipt, name, &broker.keys).zip(Redemption::open(first, name, &broker.keys));
    let Some((receipt, first)) = opened else { return Ok(()) };
    let event = |kind| {
        Event::new(broker, caller, kind)
            .client(&receipt.client_id)
            .user(receipt.user_id)
            .session(receipt.session_id)
    };
    let soon = (second.at - first.at).abs() <= lifetimes::DOUBLE_SUBMIT;
    if soon && second.browser == first.browser {
        event(AuditKind::KeyRepeated).record();
        return Ok(());
    }
    event(AuditKind::KeyReplayed).record();
    // The replaced service's SPA shares one token among all its tabs: it would sign them all out.
    if broker.clients.get(&receipt.client_id).is_some_and(|client| !client.legacy) {
        broker.storage.end_session(receipt.session_id, second.at).await?;
        event(AuditKind::SessionEnded).record();
    }
    Ok(())
}

fn limited(broker: &Broker, caller: &Caller) {
    Event::new(broker, caller, AuditKind::RateLimited).reason(ErrorCode::RateLimited).record();
}

//! Back-channel logout: the provider itself, not the browser, says that a person has signed out there (OpenID
//! Connect Back-Channel Logout 1.0). What it names is over at once and everywhere.

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::ids::ProviderId;
use crate::domain::lifetimes;
use crate::domain::provider_logout::ProviderLogout;
use crate::error::{Error, ErrorCode, Result};
use crate::provider::ProviderError;
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::state::limits::{Counted, count};
use crate::storage::StorageError;
use crate::storage::records::EndedSession;

/// Carries a logout out; that there was nothing to end is a success, too.
///
/// # Errors
/// `invalid_request` for a token that is not a fresh, unused logout token of a configured provider;
/// `rate_limited` once an address has sent too many of those; `temporarily_unavailable` while a store or the
/// provider's keys are away: then the same token may be sent again.
pub async fn backchannel_logout(broker: &Broker, caller: &Caller, token: &str) -> Result<()> {
    let outcome = match broker.providers.verify_logout_token(token).await {
        Ok(logout) => end(broker, caller, logout).await,
        Err(error) => Err(refusal(error)),
    };
    let Err(error) = outcome else { return Ok(()) };
    // Outages count, too: each failure is remembered, and anybody can cause one while a provider is away.
    count(broker, caller, Counted::FailedLogoutToken)?;
    let cause = error.cause_chain();
    tracing::info!(code = error.code().as_str(), cause, "a back-channel logout was not carried out");
    Event::new(broker, caller, AuditKind::BackchannelLogoutFailed).reason(error.code()).record();
    Err(error)
}

/// What cannot be verified now is not invalid.
fn refusal(error: ProviderError) -> Error {
    match error {
        ProviderError::InvalidLogoutToken(_) => {
            Error::invalid_request("The logout token was refused.").caused_by(error)
        }
        outage => Error::new(ErrorCode::TemporarilyUnavailable).caused_by(outage),
    }
}

/// Finds, looks whether the token was used, ends, and marks it as used, so that whatever is interrupted, here or in
/// between, can be begun again with the same token: ending twice is ending once.
///
/// A copy of the token that comes at the same moment may pass the look, too, and ends no more than was there
/// before it: what begins once the token was carried out is safe. Of such copies the first to mark is answered 200.
async fn end(broker: &Broker, caller: &Caller, logout: ProviderLogout) -> Result<()> {
    let used_name = format!("logout:{}", logout.used_name);
    let found = broker.storage.find_provider_sessions(logout.clone()).await?;
    if broker.key_store.is_used(&used_name).await? {
        return Err(used_before());
    }
    let provider = logout.providers.first();
    let event = |ended: &EndedSession| {
        about(broker, caller, AuditKind::SessionEnded, provider).user(ended.user).session(ended.session)
    };
    let ended = match end_found(broker, &found).await {
        Ok(ended) => ended,
        // At the latest when the database is back: no provider need try again.
        Err(error) => {
            found.iter().for_each(|found| event(found).end_later(found.session));
            return Err(error.into());
        }
    };
    ended.iter().for_each(|ended| event(ended).record());
    let life = lifetimes::LOGOUT_TOKEN_USED.to_std().unwrap_or_default();
    if !broker.key_store.mark_used(&used_name, life).await? {
        return Err(used_before());
    }
    tracing::info!(sessions = ended.len(), "a back-channel logout was carried out");
    about(broker, caller, AuditKind::BackchannelLogout, provider).record();
    Ok(())
}

/// Ends these sessions; gives those that were not ended meanwhile.
async fn end_found(
    broker: &Broker,
    found: &[EndedSession],
) -> std::result::Result<Vec<EndedSession>, StorageError> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    broker.storage.end_provider_sessions(found.to_vec(), broker.clock.now()).await
}

fn used_before() -> Error {
    Error::invalid_request("The logout token was used before.")
}

fn about<'a>(
    broker: &'a Broker,
    caller: &Caller,
    kind: AuditKind,
    provider: Option<&ProviderId>,
) -> Event<'a> {
    let event = Event::new(broker, caller, kind);
    match provider {
        Some(provider) => event.provider(provider),
        None => event,
    }
}

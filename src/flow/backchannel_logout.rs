//! Back-channel logout: the provider itself, not the browser, reports that a person has signed out there (OpenID
//! Connect Back-Channel Logout 1.0). The sessions it names end immediately, on every instance.

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
use crate::storage::sessions::EndedSession;

/// Carries out a logout. Succeeds even if there was nothing to end.
///
/// # Errors
/// `invalid_request` for a token that is not a fresh, unused logout token of a configured provider;
/// `rate_limited` once an address has sent too many of those; `temporarily_unavailable` if a store or the
/// provider's keys are unreachable: then the same token may be sent again.
pub async fn backchannel_logout(broker: &Broker, caller: &Caller, token: &str) -> Result<()> {
    let outcome = match broker.providers.verify_logout_token(token).await {
        Ok(logout) => end(broker, caller, logout).await,
        Err(error) => Err(refusal(error)),
    };
    let Err(error) = outcome else { return Ok(()) };
    // Outages also count: each failure is recorded, and anyone can cause one while a provider is unreachable.
    count(broker, caller, Counted::FailedLogoutToken)?;
    let cause = error.cause_chain();
    tracing::info!(code = error.code().as_str(), cause, "a back-channel logout was not carried out");
    Event::new(broker, caller, AuditKind::BackchannelLogoutFailed).reason(error.code()).record();
    Err(error)
}

/// A token that cannot be verified now is not invalid.
fn refusal(error: ProviderError) -> Error {
    match error {
        ProviderError::InvalidLogoutToken(_) => {
            Error::invalid_request("The logout token was refused.").caused_by(error)
        }
        outage => Error::new(ErrorCode::TemporarilyUnavailable).caused_by(outage),
    }
}

/// Finds the sessions, checks whether the token was used, ends them, and only then marks the token as used. A logout
/// that is interrupted at any point can be repeated with the same token; ending a session twice changes nothing.
///
/// A copy of the token that arrives at the same moment may also pass the check, but ends only sessions that existed
/// before: sessions that start after the logout are safe. The first copy to mark the token as used is answered 200.
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
        // They end when the database is back: the provider need not try again.
        Err(error) => {
            found.iter().for_each(|found| event(found).end_alone_later(*found));
            return Err(error.into());
        }
    };
    ended.iter().for_each(|ended| event(ended).record());
    let life = lifetimes::LOGOUT_TOKEN_USED.to_std().unwrap_or_default();
    if !broker.key_store.on_behalf_of(caller.address).mark_used(&used_name, life).await? {
        return Err(used_before());
    }
    tracing::info!(sessions = ended.len(), "a back-channel logout was carried out");
    about(broker, caller, AuditKind::BackchannelLogout, provider).record();
    Ok(())
}

/// Ends these sessions, and returns those that had not been ended in the meantime.
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

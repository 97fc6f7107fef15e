//! Back-channel logout: the provider itself, not the browser, says that a person has signed out there (OpenID
//! Connect Back-Channel Logout 1.0). What it names is over at once and everywhere.

use crate::domain::audit::AuditKind;
use crate::domain::lifetimes;
use crate::domain::provider_logout::ProviderLogout;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::Caller;
use crate::flow::audit_trail::Event;
use crate::flow::limits::{Counted, count};
use crate::provider::ProviderError;
use crate::state::Broker;
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

async fn end(broker: &Broker, caller: &Caller, logout: ProviderLogout) -> Result<()> {
    // Looked for first, so that a database that is away does not use the token up: it can be sent again.
    let found = broker.storage.find_provider_sessions(logout.clone()).await?;
    if !mark_used(broker, &logout).await? {
        return Err(Error::invalid_request("The logout token was used before."));
    }
    let now = broker.clock.now();
    let ended = broker.storage.end_provider_sessions(logout.clone(), now).await.inspect_err(|_| {
        found.iter().for_each(|found| broker.late_revocations.add(found.session));
    })?;
    remember(broker, caller, &logout, &ended);
    Ok(())
}

/// Marks the token as used; `false` when it was used before, by whichever instance.
async fn mark_used(broker: &Broker, logout: &ProviderLogout) -> Result<bool> {
    let life = lifetimes::LOGOUT_TOKEN_USED.to_std().unwrap_or_default();
    Ok(broker.key_store.claim(&format!("logout:{}", logout.used_name), life).await?)
}

fn remember(broker: &Broker, caller: &Caller, logout: &ProviderLogout, ended: &[EndedSession]) {
    tracing::info!(sessions = ended.len(), "a back-channel logout was carried out");
    let about = |kind| match logout.providers.first() {
        Some(provider) => Event::new(broker, caller, kind).provider(provider),
        None => Event::new(broker, caller, kind),
    };
    about(AuditKind::BackchannelLogout).record();
    for EndedSession { session, user } in ended {
        about(AuditKind::SessionEnded).user(*user).session(*session).record();
    }
}

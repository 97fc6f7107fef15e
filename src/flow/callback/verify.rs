//! Stage one: is this the provider's answer to a login that this very browser began?

use crate::domain::client::{Client, RedirectUri, ShortDigest};
use crate::domain::lifetimes;
use crate::domain::login_attempt::{AttemptId, LoginAttempt, State};
use crate::error::{Error, ErrorCode, Result};
use crate::provider::Provider;
use crate::state::Broker;

use super::{CallbackFailure, CallbackRequest};

/// A callback that belongs to a login of this browser, came from the right provider, and is the first one.
pub(super) struct VerifiedCallback<'a> {
    pub(super) attempt: LoginAttempt,
    pub(super) client: &'a Client,
    pub(super) redirect_uri: &'a RedirectUri,
    pub(super) provider: &'a Provider,
    pub(super) answer: Answer,
}

/// What the provider said.
pub(super) enum Answer {
    /// Yes, with this authorization code.
    Code(String),
    /// No, with this reason.
    Refused(ErrorCode),
    /// Nothing that counts yet: whether the attempt was used before is unknown.
    Undecided(Error),
}

/// Verifies a callback and uses its attempt up, whatever comes of it.
pub(super) async fn verify<'a>(
    broker: &'a Broker,
    request: &CallbackRequest,
) -> Result<VerifiedCallback<'a>, CallbackFailure> {
    let attempt = attempt(broker, request)?;
    let (id, used_name) = (attempt.state.attempt_id(), attempt.state.used_name());
    // Judged before the attempt is used up, so that an outage of the key store hides no mismatch.
    let judged = judge(broker, request, attempt).await;
    let consumed = consume(broker, &used_name).await;
    match (judged, consumed) {
        (Ok(verified), Ok(true)) => Ok(verified),
        (Err(error), Ok(true)) => Err(CallbackFailure { error, forget: Some(id) }),
        (_, Ok(false)) => Err(CallbackFailure { error: ErrorCode::InvalidState.into(), forget: Some(id) }),
        (Ok(verified), Err(outage)) => Ok(VerifiedCallback { answer: Answer::Undecided(outage), ..verified }),
        (Err(error), Err(_)) => Err(error.into()),
    }
}

/// The live attempt that `state` names and the browser's cookie proves.
fn attempt(broker: &Broker, request: &CallbackRequest) -> Result<LoginAttempt> {
    let state: State = request
        .state
        .as_deref()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::new(ErrorCode::InvalidState))?;
    let id: AttemptId = state.attempt_id();
    if request.conflicting.contains(&id) {
        return Err(ErrorCode::InvalidState.into());
    }
    let cookie = request.attempts.iter().find(|cookie| cookie.id == id);
    cookie
        .and_then(|cookie| LoginAttempt::open(&id, &cookie.value, &broker.keys))
        // Compared in constant time: see `State`.
        .filter(|attempt| attempt.state == state && attempt.is_live(broker.clock.now()))
        .ok_or_else(|| ErrorCode::InvalidState.into())
}

/// Everything about the callback that does not depend on a store.
async fn judge<'a>(
    broker: &'a Broker,
    request: &CallbackRequest,
    attempt: LoginAttempt,
) -> Result<VerifiedCallback<'a>> {
    let invalid_state = || Error::new(ErrorCode::InvalidState);
    let provider = broker.providers.get(&attempt.provider).ok_or_else(invalid_state)?;
    let client = broker.clients.get(&attempt.client).ok_or_else(invalid_state)?;
    let redirect_uri = client.redirect_uri_by_digest(attempt.redirect_uri).ok_or_else(invalid_state)?;
    let unchanged = attempt.provider_identity == ShortDigest::of(provider.identity());
    if !unchanged || request.path != provider.callback_path().trim_end_matches('/') {
        return Err(ErrorCode::IssuerMismatch.into());
    }
    provider.check_issuer(request.iss.as_deref()).await?;
    let answer = answer(request)?;
    Ok(VerifiedCallback { attempt, client, redirect_uri, provider, answer })
}

/// RFC 6749 section 4.1.2: a code or an error, never both.
fn answer(request: &CallbackRequest) -> Result<Answer> {
    match (request.code.as_deref(), request.error.as_deref()) {
        (Some(code), None) => {
            let good = (1..=2048).contains(&code.len()) && code.bytes().all(|b| (0x20..=0x7e).contains(&b));
            if good {
                Ok(Answer::Code(code.to_owned()))
            } else {
                Err(Error::invalid_request("code must be 1 to 2048 visible characters"))
            }
        }
        (None, Some(error)) => Ok(Answer::Refused(provider_refusal(error))),
        _ => Err(Error::invalid_request("the callback must bring either code or error")),
    }
}

/// The provider's error as one of ours: its own text goes nowhere.
fn provider_refusal(error: &str) -> ErrorCode {
    match error {
        "access_denied" => ErrorCode::AccessDenied,
        "login_required" => ErrorCode::LoginRequired,
        "interaction_required" => ErrorCode::InteractionRequired,
        "consent_required" => ErrorCode::ConsentRequired,
        "account_selection_required" => ErrorCode::AccountSelectionRequired,
        "unmet_authentication_requirements" => ErrorCode::InsufficientUserAuthentication,
        "temporarily_unavailable" | "server_error" => ErrorCode::TemporarilyUnavailable,
        _ => ErrorCode::ProviderError,
    }
}

/// Marks the attempt as used; `false` when it was used before.
async fn consume(broker: &Broker, used_name: &str) -> Result<bool> {
    let life = lifetimes::LOGIN_ATTEMPT.to_std().unwrap_or_default();
    Ok(broker.key_store.claim(&format!("attempt:{used_name}"), life).await?)
}

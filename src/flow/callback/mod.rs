//! Step 2, the callback: from the provider's answer to a parked one-time key.
//!
//! A chain of typed stages, each made only from the one before, so that no step can be skipped:
//!
//! [`VerifiedCallback`](verify::VerifiedCallback) → [`ExchangedCode`](stages::ExchangedCode) →
//! [`KnownPerson`](stages::KnownPerson) → [`SignedInUser`](stages::SignedInUser) →
//! [`ParkedKey`](stages::ParkedKey).
//!
//! Until the callback is verified a failure ends on the broker's own page; afterwards it goes back to the SPA.

mod stages;
mod verify;

use crate::domain::audit::AuditKind;
use crate::domain::login_attempt::AttemptId;
use crate::error::{Error, ErrorCode};
use crate::flow::audit_trail::Event;
use crate::flow::{AttemptCookie, Caller};
use crate::state::Broker;

use verify::{Answer, VerifiedCallback};

/// What the provider's redirect brought; each parameter at most once, as it was sent.
#[derive(Debug, Default)]
pub struct CallbackRequest {
    /// The path that was called, without a trailing slash.
    pub path: String,
    /// The authorization code.
    pub code: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// The issuer (RFC 9207).
    pub iss: Option<String>,
    /// The error.
    pub error: Option<String>,
    /// The attempts that this browser has open.
    pub attempts: Vec<AttemptCookie>,
    /// Attempts whose cookie came twice with different values.
    pub conflicting: Vec<AttemptId>,
}

/// The browser goes back to the SPA.
#[derive(Debug)]
pub struct CallbackEnd {
    /// The SPA's address with the key, or with an error.
    pub location: String,
    /// The attempt whose cookie goes; none when nothing was consumed.
    pub forget: Option<AttemptId>,
}

/// The callback ends on the broker's own page.
#[derive(Debug)]
pub struct CallbackFailure {
    /// Why.
    pub error: Error,
    /// The attempt whose cookie goes; none when nothing was consumed.
    pub forget: Option<AttemptId>,
}

impl From<Error> for CallbackFailure {
    fn from(error: Error) -> Self {
        Self { error, forget: None }
    }
}

/// Completes a login.
///
/// # Errors
/// A callback that is not the answer to a login of this browser: `invalid_request`, `invalid_state`,
/// `issuer_mismatch`, or `rate_limited`. Whatever fails later is told to the SPA.
pub async fn callback(
    broker: &Broker,
    caller: &Caller,
    request: CallbackRequest,
) -> Result<CallbackEnd, CallbackFailure> {
    broker.limits.callback(caller)?;
    let verified = match verify::verify(broker, &request).await {
        Ok(verified) => verified,
        Err(failure) => {
            failed(broker, caller, &failure.error).record();
            return Err(failure);
        }
    };
    let client_state = verified.attempt.client_state.clone();
    let (client, redirect_uri) = (verified.client, verified.redirect_uri);
    let mut forget = Some(verified.attempt.state.attempt_id());
    let provider = verified.attempt.provider.clone();
    let key;
    let description;
    let mut pairs = match complete(broker, caller, verified).await {
        Ok(parked) => {
            key = parked.key.expose();
            vec![(client.key_parameter.as_str(), key.as_str())]
        }
        Err(Incomplete { error, consumed }) => {
            failed(broker, caller, &error).client(&client.id).provider(&provider).record();
            forget = forget.filter(|_| consumed);
            description = describe(&error, caller);
            vec![("error", error.code().redirect_code()), ("error_description", &description)]
        }
    };
    if let Some(state) = &client_state {
        pairs.push(("state", state.as_str()));
    }
    Ok(CallbackEnd { location: redirect_uri.with(client.key_delivery, &pairs), forget })
}

/// Why a verified callback did not end in a key.
struct Incomplete {
    error: Error,
    /// Whether the attempt is used up.
    consumed: bool,
}

impl From<Error> for Incomplete {
    fn from(error: Error) -> Self {
        Self { error, consumed: true }
    }
}

async fn complete(
    broker: &Broker,
    caller: &Caller,
    verified: VerifiedCallback<'_>,
) -> Result<stages::ParkedKey, Incomplete> {
    if let Answer::Undecided(outage) = verified.answer {
        return Err(Incomplete { error: outage, consumed: false });
    }
    let parked =
        verified.exchange().await?.profile().await?.sign_in(broker, caller).await?.park_key(broker).await?;
    Ok(parked)
}

fn failed<'a>(broker: &'a Broker, caller: &Caller, error: &Error) -> Event<'a> {
    let cause = error.cause_chain();
    tracing::info!(code = error.code().as_str(), cause, "a sign-in was not completed");
    Event::new(broker, caller, AuditKind::LoginFailed).reason(error.code())
}

/// The table's own text, with the stable code and the request id for whoever asks for help.
fn describe(error: &Error, caller: &Caller) -> String {
    let text = match error.code() {
        // What exactly displeased us is not the SPA's business.
        ErrorCode::ServerError => ErrorCode::ServerError.public_text(),
        _ => error.public_text(),
    };
    format!("{text} ({}, request {})", error.code(), caller.request_id)
}

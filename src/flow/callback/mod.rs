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
use crate::domain::client::{Client, RedirectUri};
use crate::domain::ids::ProviderId;
use crate::domain::login_attempt::{AttemptId, ClientState};
use crate::error::{Error, Result};
use crate::flow::audit_trail::Event;
use crate::flow::limits::{Counted, count};
use crate::flow::{AttemptCookie, Caller};
use crate::state::Broker;

use stages::ParkedKey;
use verify::VerifiedCallback;

/// What the provider's redirect brought; each parameter at most once, as it was sent.
#[derive(Default)]
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
    /// What is wrong with the query, where it could not be read whole; the attempt is used up all the same.
    pub malformed: Option<Error>,
}

/// The browser goes back to the SPA.
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
    count(broker, caller, Counted::Callback)?;
    let (way_back, verified) = verify::verify(broker, request).await.inspect_err(|failure| {
        failed(broker, caller, &failure.error).record();
    })?;
    let outcome = match verified {
        Ok(verified) => complete(broker, caller, verified).await.map_err(Incomplete::used_up),
        Err(incomplete) => Err(incomplete),
    };
    match outcome {
        Ok(ParkedKey { key }) => {
            let pair = (way_back.client.key_parameter.as_str(), key.expose());
            Ok(way_back.end(&[(pair.0, pair.1.as_str())], true))
        }
        Err(Incomplete { error, used_up }) => {
            failed(broker, caller, &error).client(&way_back.client.id).provider(&way_back.provider).record();
            let description =
                format!("{} ({}, request {})", error.public_text(), error.code(), caller.request_id);
            let code = error.code().redirect_code();
            Ok(way_back.end(&[("error", code), ("error_description", &description)], used_up))
        }
    }
}

/// Why a callback with a valid attempt did not end in a key.
struct Incomplete {
    error: Error,
    /// Whether the attempt is used up.
    used_up: bool,
}

impl Incomplete {
    fn used_up(error: Error) -> Self {
        Self { error, used_up: true }
    }
}

/// Where the answer to a valid attempt goes: fixed at `/login`.
struct WayBack<'a> {
    client: &'a Client,
    redirect_uri: &'a RedirectUri,
    client_state: Option<ClientState>,
    provider: ProviderId,
    attempt: AttemptId,
}

impl WayBack<'_> {
    fn end(self, answer: &[(&str, &str)], used_up: bool) -> CallbackEnd {
        let mut pairs = answer.to_vec();
        if let Some(state) = &self.client_state {
            pairs.push(("state", state.as_str()));
        }
        let location = self.redirect_uri.with(self.client.key_delivery, &pairs);
        CallbackEnd { location, forget: used_up.then_some(self.attempt) }
    }
}

async fn complete(broker: &Broker, caller: &Caller, verified: VerifiedCallback<'_>) -> Result<ParkedKey> {
    verified.exchange().await?.profile().await?.sign_in(broker, caller).await?.park_key(broker).await
}

fn failed<'a>(broker: &'a Broker, caller: &Caller, error: &Error) -> Event<'a> {
    let cause = error.cause_chain();
    tracing::info!(code = error.code().as_str(), cause, "a sign-in was not completed");
    Event::new(broker, caller, AuditKind::LoginFailed).reason(error.code())
}

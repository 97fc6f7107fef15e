//! Signs people in to the pages behind a gateway: the browser is sent to `/login` as if the page were an SPA, comes back
//! to the origin of the page, and there gets a cookie that holds the sealed token.
//!
//! Which token that is, whether it is live and what it may be used for is judged as for any other
//! ([`forward_auth`](super::forward_auth)).

use chrono::TimeDelta;
use url::Url;

use crate::domain::caller::Caller;
use crate::domain::client::Origin;
use crate::domain::clock::Timestamp;
use crate::domain::ids::PolicyId;
use crate::domain::login_attempt::AttemptId;
use crate::domain::page_sign_in::{PageAttempt, PageSession, PageTicket};
use crate::domain::pages::callback_address;
use crate::domain::policy::Policy;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::AttemptCookie;
use crate::flow::open_attempts::surplus;
use crate::flow::redeem::{RedeemRequest, redeem};
use crate::state::Broker;

/// A browser that is sent away to sign in.
#[derive(Clone)]
pub struct PageLogin {
    /// The broker's `/login`.
    pub location: Url,
    /// The cookie of this attempt, on the origin of the page.
    pub attempt: AttemptCookie,
    /// Older attempts whose cookies are deleted.
    pub forget: Vec<AttemptId>,
}

impl std::fmt::Debug for PageLogin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("PageLogin").finish_non_exhaustive()
    }
}

/// Begins a sign-in that comes back to `target` on `origin`, which is one of the policy's. `None` if the policy has no
/// pages.
pub(super) fn begin(
    broker: &Broker,
    policy: &Policy,
    origin: &Origin,
    target: &str,
    open_attempts: &[AttemptCookie],
) -> Option<PageLogin> {
    let client = &policy.pages.as_ref()?.client;
    let (keys, entropy) = (broker.keys.current(), &*broker.entropy);
    let attempt = PageAttempt::new(&policy.id, target, broker.clock.now(), entropy);
    let mut location = broker.public_url.clone();
    location.set_path("/login");
    location
        .query_pairs_mut()
        .append_pair("client_id", client.as_str())
        .append_pair("redirect_uri", &callback_address(origin))
        .append_pair("state", &attempt.ticket(origin).seal(&keys, entropy))
        .append_pair("code_challenge", &attempt.verifier().challenge().to_string())
        .append_pair("code_challenge_method", "S256");
    Some(PageLogin {
        location,
        attempt: AttemptCookie { id: attempt.id(), value: attempt.seal(origin, &keys, entropy) },
        forget: surplus(open_attempts, |cookie| started(broker, origin, cookie)),
    })
}

/// When an attempt that can still be completed was started.
fn started(broker: &Broker, origin: &Origin, cookie: &AttemptCookie) -> Option<Timestamp> {
    let attempt = PageAttempt::open(&cookie.id, origin, &cookie.value, &broker.keys.current())?;
    attempt.is_live(broker.clock.now()).then_some(attempt.started_at())
}

/// What the browser brings back from `/login`.
#[derive(Default)]
pub struct PageCallback {
    /// The origin that it came back to, as a trusted gateway says.
    pub origin: Option<Origin>,
    /// The ticket.
    pub state: Option<String>,
    /// The key.
    pub one_time_key: Option<String>,
    /// The error, in place of the key.
    pub error: Option<String>,
    /// The attempts that it has open on this origin.
    pub open_attempts: Vec<AttemptCookie>,
}

/// A browser that is signed in to a page.
pub struct PageSignedIn {
    /// Where it goes: the page where the sign-in began.
    pub location: String,
    /// The policy, which is a part of the name of the cookie.
    pub policy: PolicyId,
    /// The value of the cookie.
    pub session: String,
    /// How long the cookie can be used.
    pub lives: TimeDelta,
}

/// A sign-in to a page that was not completed.
pub struct PageCallbackFailure {
    /// Why.
    pub error: Error,
    /// The attempt that is used up.
    pub forget: Option<AttemptId>,
}

/// Completes a sign-in, and returns the id of its attempt, which is used up.
///
/// # Errors
/// `invalid_state` if this browser did not start the sign-in on this origin, the error that `/login` reported, and those of
/// [`redeem`].
pub async fn complete(
    broker: &Broker,
    caller: &Caller,
    callback: PageCallback,
) -> std::result::Result<(PageSignedIn, AttemptId), PageCallbackFailure> {
    let Some((origin, attempt)) = verified(broker, &callback) else {
        return Err(PageCallbackFailure { error: ErrorCode::InvalidState.into(), forget: None });
    };
    match signed_in(broker, caller, &origin, &attempt, callback).await {
        Ok(signed_in) => Ok((signed_in, attempt.id())),
        // Nothing was redeemed: the same callback can be tried again.
        Err(error) if error.code().status() == 503 => Err(PageCallbackFailure { error, forget: None }),
        Err(error) => Err(PageCallbackFailure { error, forget: Some(attempt.id()) }),
    }
}

/// The attempt that the callback belongs to: this browser started it on this origin.
fn verified(broker: &Broker, callback: &PageCallback) -> Option<(Origin, PageAttempt)> {
    let keys = broker.keys.current();
    let origin = callback.origin.clone()?;
    let ticket = PageTicket::open(callback.state.as_deref()?, &keys)?;
    let id = ticket.attempt_id();
    let cookie = callback.open_attempts.iter().find(|cookie| cookie.id == id)?;
    let attempt = PageAttempt::open(&id, &origin, &cookie.value, &keys)?;
    (ticket.is_of(&attempt) && attempt.is_live(broker.clock.now())).then_some((origin, attempt))
}

async fn signed_in(
    broker: &Broker,
    caller: &Caller,
    origin: &Origin,
    attempt: &PageAttempt,
    callback: PageCallback,
) -> Result<PageSignedIn> {
    let policy = broker.policies.get(&attempt.policy);
    let pages = policy.and_then(|policy| policy.pages.as_ref());
    let Some(pages) = pages.filter(|pages| pages.origins.contains(origin)) else {
        return Err(ErrorCode::InvalidState.into());
    };
    let Some(one_time_key) = callback.one_time_key else {
        return Err(reported(callback.error.as_deref()));
    };
    let request = RedeemRequest {
        one_time_key,
        code_verifier: Some(attempt.verifier().expose().to_owned()),
        client_id: Some(pages.client.to_string()),
        proof: None,
    };
    let issued = redeem(broker, caller, request).await?;
    let session = PageSession { token: issued.token.expose().to_owned() };
    Ok(PageSignedIn {
        location: format!("{origin}{}", attempt.target),
        policy: attempt.policy.clone(),
        session: session.seal(&attempt.policy, origin, &broker.keys.current(), &*broker.entropy),
        lives: TimeDelta::seconds(issued.expires_in),
    })
}

/// The error that `/login` reported by redirect.
fn reported(error: Option<&str>) -> Error {
    let code = match error {
        Some("access_denied") => ErrorCode::AccessDenied,
        Some("temporarily_unavailable") => ErrorCode::TemporarilyUnavailable,
        Some("server_error") => ErrorCode::ServerError,
        _ => ErrorCode::InvalidRequest,
    };
    code.into()
}

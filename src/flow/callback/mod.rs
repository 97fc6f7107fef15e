//! Step 2, the callback: from the provider's answer to a parked one-time key.
//!
//! A chain of typed stages, each made only from the one before, so that no step can be skipped:
//!
//! [`VerifiedCallback`](verify::VerifiedCallback) → [`ExchangedCode`](stages::ExchangedCode) →
//! [`KnownPerson`](stages::KnownPerson) → [`SignedInUser`](stages::SignedInUser) →
//! [`ParkedKey`]. A login for the broker's own page ends with the signed-in user: there is no key.
//!
//! Until the callback is verified, a failure ends on the broker's own page, or [`lost`] finds another way; afterwards
//! it is reported to the SPA.

mod lost;
mod stages;
mod verify;

use crate::domain::browser_session::BrowserSession;
use crate::domain::caller::Caller;
use crate::domain::device_code::UserCode;
use crate::domain::ids::ProviderId;
use crate::domain::login_attempt::AttemptId;
use crate::error::{Error, Result};
use crate::flow::AttemptCookie;
use crate::flow::browser_session::SessionCookieChange;
use crate::flow::device_sign_in::address as device_page;
use crate::flow::hand_over::{ParkedKey, WayBack, failed};
use crate::provider::Provider;
use crate::state::Broker;
use crate::state::limits::{Counted, count};

use verify::{TokenOrder, VerifiedCallback};

/// The parameters of the provider's redirect, each at most once, as they were sent.
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
    /// Attempts whose cookie was sent twice with different values.
    pub conflicting: Vec<AttemptId>,
    /// The browser's session cookie, if it has one.
    pub session_cookie: Option<String>,
    /// What is wrong with the query, if it could not be read completely; the attempt is used up anyway.
    pub malformed: Option<Error>,
}

/// The name of the callback parameter that contains the code. `path` is the one that was called, without a trailing
/// slash.
pub fn code_parameter<'a>(broker: &'a Broker, path: &str) -> &'a str {
    let mut providers = broker.providers.iter();
    let provider = providers.find(|provider| provider.callback_path().trim_end_matches('/') == path);
    provider.map_or("code", Provider::code_parameter)
}

/// The browser is sent back to the SPA.
pub struct CallbackEnd {
    /// The SPA's address with the key, or with an error.
    pub location: String,
    /// The attempt whose cookie is deleted; `None` if nothing was consumed.
    pub forget: Option<AttemptId>,
    /// What happens to the browser's session cookie: it changes only if someone signed in, even without getting a key.
    pub session_cookie: SessionCookieChange,
}

/// The callback ends on the broker's own page.
#[derive(Debug)]
pub struct CallbackFailure {
    /// Why.
    pub error: Error,
    /// The attempt whose cookie is deleted; `None` if nothing was consumed.
    pub forget: Option<AttemptId>,
    /// The address of the application, if the attempt says which one it is.
    pub start_again: Option<String>,
}

impl From<Error> for CallbackFailure {
    fn from(error: Error) -> Self {
        Self { error, forget: None, start_again: None }
    }
}

/// Completes a login.
///
/// # Errors
/// A callback that is not the answer to a login of this browser: `invalid_request`, `invalid_state`,
/// `issuer_mismatch`, or `rate_limited`. Later failures are reported to the SPA.
pub async fn callback(
    broker: &Broker,
    caller: &Caller,
    mut request: CallbackRequest,
) -> Result<CallbackEnd, CallbackFailure> {
    count(broker, caller, Counted::Callback)?;
    let session_cookie = request.session_cookie.take();
    let previous = session_cookie.and_then(|cookie| BrowserSession::open(&cookie, &broker.keys.current()));
    let came_from = verify::origin(broker, &request);
    let (began, verified) = match verify::verify(broker, caller, request).await {
        Ok(verified) => verified,
        Err(failure) => {
            failed(broker, caller, &failure.error).record();
            return lost::find_way(broker, came_from, previous, failure).await;
        }
    };
    let outcome = match verified {
        Ok(verified) => complete(broker, caller, &began.leads_to, verified, previous).await,
        Err(incomplete) => Err(incomplete),
    };
    let Began { leads_to, provider, attempt } = began;
    match outcome {
        Ok((location, session_cookie)) => Ok(CallbackEnd { location, forget: Some(attempt), session_cookie }),
        Err(Incomplete { error, used_up, session_cookie }) => {
            let event = failed(broker, caller, &error).provider(&provider);
            let location = match leads_to {
                LeadsTo::Client(way_back, _) => {
                    event.client(&way_back.client.id).record();
                    way_back.with_error(caller, &error)
                }
                LeadsTo::DevicePage(code) => {
                    event.record();
                    device_page(broker, code.as_ref(), Some(error.code()))
                }
            };
            Ok(CallbackEnd { location, forget: used_up.then_some(attempt), session_cookie })
        }
    }
}

/// Why a callback with a valid attempt did not end in a key.
struct Incomplete {
    error: Error,
    /// Whether the attempt is used up.
    used_up: bool,
    /// The cookie of the new session, if only the key is missing.
    session_cookie: SessionCookieChange,
}

/// A failure after the attempt was used up and before a session began.
impl From<Error> for Incomplete {
    fn from(error: Error) -> Self {
        Self { error, used_up: true, session_cookie: SessionCookieChange::None }
    }
}

/// Where a valid attempt leads back to.
enum LeadsTo<'a> {
    /// To a client, with a token of this kind.
    Client(Box<WayBack<'a>>, Box<TokenOrder<'a>>),
    /// To the broker's page that connects devices.
    DevicePage(Option<UserCode>),
}

/// What was fixed about a valid attempt when it began.
struct Began<'a> {
    leads_to: LeadsTo<'a>,
    provider: ProviderId,
    attempt: AttemptId,
}

/// From the provider's answer to the address that the browser is sent to. `previous` is the session that the browser had
/// until now.
async fn complete(
    broker: &Broker,
    caller: &Caller,
    leads_to: &LeadsTo<'_>,
    verified: VerifiedCallback<'_>,
    previous: Option<BrowserSession>,
) -> Result<(String, SessionCookieChange), Incomplete> {
    let person = verified.exchange().await?.profile().await?;
    match leads_to {
        LeadsTo::Client(way_back, order) => {
            let signed_in = person.sign_in(broker, caller, order, previous).await?;
            let (key, session_cookie): (ParkedKey, _) = signed_in.park_key(broker, caller, way_back).await?;
            Ok((way_back.with_key(&key), session_cookie))
        }
        LeadsTo::DevicePage(code) => {
            let session_cookie = person.sign_in_browser(broker, caller, previous).await?;
            Ok((device_page(broker, code.as_ref(), None), session_cookie))
        }
    }
}

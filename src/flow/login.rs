//! Step 1, `/login`: checks what the SPA asks for. A browser with a live session is sent straight back with a key; any
//! other is sent to the provider, and the request is sealed into the attempt.
//!
//! Nothing is stored about an attempt: it travels in a cookie, so that a flood of logins fills no store.

use crate::domain::caller::Caller;
use crate::domain::client::ShortDigest;
use crate::domain::ids::ProviderId;
use crate::domain::login_destination::{ClientLogin, LoginDestination};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::AttemptCookie;
use crate::flow::browser_session::SessionCookieChange;
use crate::flow::continue_session::{Continuation, continue_session};
use crate::flow::hand_over::{WayBack, failed};
pub use crate::flow::login_request::LoginRequest;
use crate::flow::login_request::{Prompt, ValidLoginRequest, way_back};
pub use crate::flow::to_provider::ToProvider;
use crate::flow::to_provider::{WantedSignIn, send_to_provider};
use crate::provider::Provider;
use crate::state::Broker;
use crate::state::limits::{Counted, count};

/// The answer to a login.
pub struct LoginAnswer {
    /// What comes next.
    pub step: LoginStep,
    /// What happens to the browser's session cookie.
    pub session_cookie: SessionCookieChange,
}

/// What comes next.
pub enum LoginStep {
    /// The browser is sent back to the SPA without having seen the provider.
    Back {
        /// The SPA's address with the key, or with an error.
        location: String,
    },
    /// The browser is sent to the provider.
    Redirect(ToProvider),
    /// The person chooses a provider first.
    Choose {
        /// The name of the client.
        client_name: String,
        /// The SPA's address, with `access_denied`, for a user who does not want to sign in. A link, so that declining
        /// here is not recorded as a failed login: none has begun.
        back: String,
        /// The providers to choose from.
        providers: Vec<ProviderChoice>,
    },
}

/// A provider on the chooser page.
#[derive(Debug)]
pub struct ProviderChoice {
    /// The value of the parameter `provider`.
    pub id: ProviderId,
    /// What people call it.
    pub display_name: String,
}

impl ProviderChoice {
    /// This provider.
    pub(super) fn of(provider: &Provider) -> Self {
        Self { id: provider.id().clone(), display_name: provider.display_name().to_owned() }
    }
}

/// Begins a login, or continues the session that the browser has.
///
/// # Errors
/// `invalid_request` or `invalid_client` for what the SPA got wrong, `rate_limited`, and what the provider's
/// metadata causes: shown on the broker's own page. Once the request is valid, `prompt=none` shows no page, and an
/// outage that prevents a session from being continued is reported to the SPA.
pub async fn login(broker: &Broker, caller: &Caller, request: LoginRequest) -> Result<LoginAnswer> {
    count(broker, caller, Counted::Login)?;
    let way_back = way_back(broker, &request)?;
    let valid = match ValidLoginRequest::new(broker, &request, way_back.clone()) {
        Ok(valid) => valid,
        Err(error) => return refuse(broker, caller, &way_back, error),
    };
    let cookie = request.session_cookie.as_deref();
    match continue_session(broker, caller, &valid, cookie).await {
        Ok(Continuation::Key { key, session_cookie }) => {
            let step = LoginStep::Back { location: valid.way_back.with_key(&key) };
            Ok(LoginAnswer { step, session_cookie })
        }
        Ok(Continuation::Provider(provider)) => {
            match without_session(broker, caller, &valid, provider, &request.open_attempts).await {
                Ok(step) => Ok(LoginAnswer { step, session_cookie: SessionCookieChange::None }),
                Err(error) => refuse(broker, caller, &valid.way_back, error),
            }
        }
        // Whether the session is live is unknown: the browser keeps it, and the person is not sent to sign in again
        // only to meet the same outage at the callback.
        Err(outage) => {
            let step = back(broker, caller, &valid.way_back, &outage);
            Ok(LoginAnswer { step, session_cookie: SessionCookieChange::None })
        }
    }
}

/// What comes next if no session is continued: the provider, the choice among several, or, if no page may be shown and
/// no provider can be asked without one, the SPA.
async fn without_session(
    broker: &Broker,
    caller: &Caller,
    request: &ValidLoginRequest<'_>,
    provider: Option<&Provider>,
    open_attempts: &[AttemptCookie],
) -> Result<LoginStep> {
    if !request.is_silent() {
        let able = request.able_providers(broker);
        return match (provider, &able[..]) {
            (Some(only), _) | (None, &[only]) => begin(broker, caller, request, only, open_attempts).await,
            (None, []) => {
                Err(Error::invalid_request("The parameter 'max_age' is not supported by any provider."))
            }
            (None, able) => Ok(choose(caller, request, able)),
        };
    }
    let begun = match provider.filter(|provider| request.may_pass_prompt && provider.supports_prompt_none()) {
        Some(provider) => begin(broker, caller, request, provider, open_attempts).await,
        None => Err(ErrorCode::LoginRequired.into()),
    };
    Ok(begun.unwrap_or_else(|error| back(broker, caller, &request.way_back, &error)))
}

/// Refuses a request of a known client: `/login` with the broker's own page, `/oauth2/authorize` with a redirect (RFC 6749
/// section 4.1.2.1).
fn refuse(broker: &Broker, caller: &Caller, way_back: &WayBack<'_>, error: Error) -> Result<LoginAnswer> {
    if way_back.oauth.is_none() {
        return Err(error);
    }
    let step = back(broker, caller, way_back, &error);
    Ok(LoginAnswer { step, session_cookie: SessionCookieChange::None })
}

/// Back to the client with an error.
fn back(broker: &Broker, caller: &Caller, way_back: &WayBack<'_>, error: &Error) -> LoginStep {
    failed(broker, caller, error).client(&way_back.client.id).record();
    LoginStep::Back { location: way_back.with_error(caller, error) }
}

/// Sends the browser to the provider.
async fn begin(
    broker: &Broker,
    caller: &Caller,
    request: &ValidLoginRequest<'_>,
    provider: &Provider,
    open_attempts: &[AttemptCookie],
) -> Result<LoginStep> {
    let WayBack { client, redirect_uri, port, client_state, oauth, dpop_jkt, .. } = request.way_back.clone();
    let login = ClientLogin {
        client: client.id.clone(),
        redirect_uri: ShortDigest::of(redirect_uri.as_str()),
        port,
        challenge: request.challenge,
        client_state,
        audiences: request.audience_digests(),
        oauth,
        dpop_jkt,
    };
    let wanted = WantedSignIn {
        destination: LoginDestination::Client(Box::new(login)),
        prompt: request.prompt.map(Prompt::as_str),
        login_hint: request.login_hint,
        max_age: request.max_age,
    };
    send_to_provider(broker, caller, provider, wanted, open_attempts).await.map(LoginStep::Redirect)
}

fn choose(caller: &Caller, request: &ValidLoginRequest<'_>, providers: &[&Provider]) -> LoginStep {
    LoginStep::Choose {
        client_name: request.way_back.client.display_name.clone(),
        back: request.way_back.with_error(caller, &ErrorCode::AccessDenied.into()),
        providers: providers.iter().copied().map(ProviderChoice::of).collect(),
    }
}

//! Step 1, `/login`: checks what the SPA asks for. A browser with a live session goes straight back with a key;
//! any other is sent to the provider, with what was asked sealed into the attempt.
//!
//! Nothing is stored about an attempt: it travels in a cookie, so that a flood of logins fills nothing.

mod asked;

use url::Url;

pub(super) use self::asked::{Asked, Prompt};
use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client::ShortDigest;
use crate::domain::clock::Timestamp;
use crate::domain::entropy;
use crate::domain::ids::ProviderId;
use crate::domain::login_attempt::{AttemptId, LoginAttempt, OidcNonce, State};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::AttemptCookie;
use crate::flow::browser_session::SessionCookieChange;
use crate::flow::continue_session::{Continuation, continue_session};
use crate::flow::hand_over::failed;
use crate::provider::{AuthorizationRequest, Provider};
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::state::limits::{Counted, count};

/// Logins that one browser can have open at the same time; the oldest is forgotten beyond it.
const OPEN_ATTEMPTS: usize = 5;

/// What the SPA asks for; each parameter at most once, as it was sent.
#[derive(Default)]
pub struct LoginRequest {
    /// Which client; may be left out where there is just one.
    pub client_id: Option<String>,
    /// Where the key is delivered; may be left out where the client has just one address.
    pub redirect_uri: Option<String>,
    /// The SPA's own state.
    pub state: Option<String>,
    /// The S256 challenge (RFC 7636).
    pub code_challenge: Option<String>,
    /// `S256`.
    pub code_challenge_method: Option<String>,
    /// Which provider; may be left out where there is just one.
    pub provider: Option<String>,
    /// `prompt` (OpenID Connect Core section 3.1.2.1).
    pub prompt: Option<String>,
    /// `login_hint`.
    pub login_hint: Option<String>,
    /// `max_age`, in seconds.
    pub max_age: Option<String>,
    /// The attempts that this browser has open.
    pub open_attempts: Vec<AttemptCookie>,
    /// The browser's session cookie, if it has one.
    pub session_cookie: Option<String>,
}

/// The answer to a login.
pub struct LoginAnswer {
    /// What comes next.
    pub step: LoginStep,
    /// What becomes of the browser's session cookie.
    pub session_cookie: SessionCookieChange,
}

/// What comes next.
pub enum LoginStep {
    /// The browser goes back to the SPA, without having seen the provider.
    Back {
        /// The SPA's address with the key, or with an error.
        location: String,
    },
    /// The browser goes on to the provider.
    Redirect {
        /// The provider's authorization endpoint with our request.
        location: Url,
        /// The cookie of this attempt.
        attempt: AttemptCookie,
        /// Older attempts whose cookies go.
        forget: Vec<AttemptId>,
    },
    /// The person chooses a provider first.
    Choose {
        /// Who asks.
        client_name: String,
        /// The SPA's address for a person who does not want to sign in: `access_denied`, as for a denial.
        back: String,
        /// Among which.
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

/// Begins a login, or continues the session that the browser has.
///
/// # Errors
/// `invalid_request` or `invalid_client` for what the SPA got wrong, `rate_limited`, and what the provider's
/// metadata brings: shown on the broker's own page. Once the request was checked, `prompt=none` shows no page, and
/// what keeps a session from being continued is told to the SPA.
pub async fn login(broker: &Broker, caller: &Caller, request: LoginRequest) -> Result<LoginAnswer> {
    count(broker, caller, Counted::Login)?;
    let asked = Asked::checked(broker, &request)?;
    let cookie = request.session_cookie.as_deref();
    match continue_session(broker, caller, &asked, cookie).await {
        Ok(Continuation::Key { key, session_cookie }) => {
            let step = LoginStep::Back { location: asked.way_back.with_key(&key) };
            Ok(LoginAnswer { step, session_cookie })
        }
        Ok(Continuation::Provider { provider, session_cookie }) => {
            let step = without_session(broker, caller, &asked, provider, &request.open_attempts).await?;
            Ok(LoginAnswer { step, session_cookie })
        }
        // Whether the session lives is not known: the browser keeps it, and nobody is sent to sign in again only
        // to be told the same at the callback.
        Err(outage) => {
            let step = back(broker, caller, &asked, &outage);
            Ok(LoginAnswer { step, session_cookie: SessionCookieChange::None })
        }
    }
}

/// What comes next where no session was continued: the provider, the choice among several, or, where no page may
/// be shown and nobody can be asked without one, the SPA.
async fn without_session(
    broker: &Broker,
    caller: &Caller,
    asked: &Asked<'_>,
    provider: Option<&Provider>,
    open_attempts: &[AttemptCookie],
) -> Result<LoginStep> {
    if !asked.is_silent() {
        return match provider {
            Some(provider) => begin(broker, caller, asked, provider, open_attempts).await,
            None => Ok(choose(broker, caller, asked)),
        };
    }
    let begun = match provider.filter(|provider| asked.may_pass_prompt && provider.supports_prompt_none()) {
        Some(provider) => begin(broker, caller, asked, provider, open_attempts).await,
        None => Err(ErrorCode::LoginRequired.into()),
    };
    Ok(begun.unwrap_or_else(|error| back(broker, caller, asked, &error)))
}

/// Back to the SPA with an error.
fn back(broker: &Broker, caller: &Caller, asked: &Asked<'_>, error: &Error) -> LoginStep {
    failed(broker, caller, error).client(&asked.way_back.client.id).record();
    LoginStep::Back { location: asked.way_back.with_error(caller, error) }
}

/// Sends the browser to the provider.
async fn begin(
    broker: &Broker,
    caller: &Caller,
    asked: &Asked<'_>,
    provider: &Provider,
    open_attempts: &[AttemptCookie],
) -> Result<LoginStep> {
    let attempt = LoginAttempt {
        state: State::random(&*broker.entropy),
        started_at: broker.clock.now(),
        provider: provider.id().clone(),
        provider_identity: ShortDigest::of(provider.identity()),
        client: asked.way_back.client.id.clone(),
        redirect_uri: ShortDigest::of(asked.way_back.redirect_uri.as_str()),
        challenge: asked.challenge,
        client_state: asked.way_back.client_state.clone(),
        nonce: OidcNonce::random(&*broker.entropy),
        verifier_seed: entropy::bytes(&*broker.entropy),
        max_age: asked.max_age,
    };
    let request = AuthorizationRequest {
        state: &attempt.state,
        nonce: &attempt.nonce,
        challenge: attempt.verifier().challenge(),
        prompt: asked.prompt.map(Prompt::as_str),
        login_hint: asked.login_hint,
        max_age: asked.max_age,
    };
    let location = provider.authorization_url(&request).await?;
    Event::new(broker, caller, AuditKind::LoginStarted)
        .client(&attempt.client)
        .provider(provider.id())
        .record();
    Ok(LoginStep::Redirect {
        location,
        attempt: AttemptCookie {
            id: attempt.state.attempt_id(),
            value: attempt.seal(&broker.keys.current(), &*broker.entropy),
        },
        forget: surplus(broker, open_attempts),
    })
}

fn choose(broker: &Broker, caller: &Caller, asked: &Asked<'_>) -> LoginStep {
    let choice = |provider: &Provider| ProviderChoice {
        id: provider.id().clone(),
        display_name: provider.display_name().to_owned(),
    };
    LoginStep::Choose {
        client_name: asked.way_back.client.display_name.clone(),
        back: asked.way_back.with_error(caller, &ErrorCode::AccessDenied.into()),
        providers: broker.providers.iter().map(choice).collect(),
    }
}

/// The cookies that must go so that the browser holds no more than it may: dead ones and the oldest.
fn surplus(broker: &Broker, cookies: &[AttemptCookie]) -> Vec<AttemptId> {
    let (now, keys) = (broker.clock.now(), broker.keys.current());
    let started = |cookie: &AttemptCookie| {
        LoginAttempt::open(&cookie.id, &cookie.value, &keys)
            .filter(|attempt| attempt.is_live(now))
            .map(|attempt| attempt.started_at)
    };
    let mut by_age: Vec<(Option<Timestamp>, &AttemptId)> =
        cookies.iter().map(|cookie| (started(cookie), &cookie.id)).collect();
    by_age.sort_by_key(|(started, _)| std::cmp::Reverse(*started));
    let dead_or_old = |(at, (started, _)): &(usize, &(Option<Timestamp>, &AttemptId))| {
        started.is_none() || *at >= OPEN_ATTEMPTS - 1
    };
    by_age.iter().enumerate().filter(dead_or_old).map(|(_, (_, id))| (*id).clone()).collect()
}

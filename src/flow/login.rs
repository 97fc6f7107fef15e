//! Step 1, `/login`: checks what the SPA asks for, seals it into the attempt, sends the browser to the provider.
//!
//! Nothing is stored: the attempt travels in a cookie, so that a flood of logins fills nothing.

use url::Url;

use crate::domain::audit::AuditKind;
use crate::domain::client::{Client, LoginParameter, RedirectUri, ShortDigest};
use crate::domain::clock::Timestamp;
use crate::domain::entropy;
use crate::domain::ids::ProviderId;
use crate::domain::login_attempt::{AttemptId, ClientState, LoginAttempt, OidcNonce, State};
use crate::domain::pkce::CodeChallenge;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::audit_trail::Event;
use crate::flow::limits::{Counted, count};
use crate::flow::{AttemptCookie, Caller};
use crate::provider::{AuthorizationRequest, Provider};
use crate::state::Broker;

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
}

/// What comes next.
pub enum LoginStep {
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

/// Begins a login.
///
/// # Errors
/// `invalid_request` or `invalid_client` for what the SPA got wrong, `rate_limited`, and what the provider's
/// metadata brings. All of them are shown on the broker's own page: nothing here redirects to an address that
/// was not checked.
pub async fn login(broker: &Broker, caller: &Caller, request: LoginRequest) -> Result<LoginStep> {
    count(broker, caller, Counted::Login)?;
    let client = client(broker, request.client_id.as_deref())?;
    let redirect_uri = redirect_uri(client, request.redirect_uri.as_deref())?;
    let challenge = challenge(client, &request)?;
    let client_state = request.state.as_deref().map(client_state).transpose()?;
    let hints = Hints::checked(client, &request)?;
    let Some(provider) = provider(broker, request.provider.as_deref())? else {
        return Ok(choose(broker, client));
    };
    if hints.max_age.is_some() && !provider.supports_max_age() {
        return Err(Error::invalid_request("max_age is not possible at this provider"));
    }
    let attempt = LoginAttempt {
        state: State::random(&*broker.entropy),
        started_at: broker.clock.now(),
        provider: provider.id().clone(),
        provider_identity: ShortDigest::of(provider.identity()),
        client: client.id.clone(),
        redirect_uri: ShortDigest::of(redirect_uri.as_str()),
        challenge,
        client_state,
        nonce: OidcNonce::random(&*broker.entropy),
        verifier_seed: entropy::bytes(&*broker.entropy),
        max_age: hints.max_age,
    };
    let location = provider.authorization_url(&hints.request(&attempt)).await?;
    Event::new(broker, caller, AuditKind::LoginStarted).client(&client.id).provider(provider.id()).record();
    Ok(LoginStep::Redirect {
        location,
        attempt: AttemptCookie {
            id: attempt.state.attempt_id(),
            value: attempt.seal(&broker.keys.current(), &*broker.entropy),
        },
        forget: surplus(broker, &request.open_attempts),
    })
}

fn client<'a>(broker: &'a Broker, id: Option<&str>) -> Result<&'a Client> {
    match id {
        Some(id) => broker.clients.find(id).ok_or_else(|| Error::new(ErrorCode::InvalidClient)),
        None => broker
            .clients
            .only()
            .ok_or_else(|| Error::invalid_request("client_id is missing; this broker has several clients")),
    }
}

fn redirect_uri<'a>(client: &'a Client, presented: Option<&str>) -> Result<&'a RedirectUri> {
    match (presented, client.redirect_uris.as_slice()) {
        (Some(uri), _) => client.redirect_uri(uri).ok_or_else(|| {
            Error::invalid_request(
                "redirect_uri is not registered for this client; it must match to the letter",
            )
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(Error::invalid_request("redirect_uri is missing; this client has several")),
    }
}

/// PKCE is required (RFC 9700 section 2.1.1) for all but `legacy` clients, which may use it.
fn challenge(client: &Client, request: &LoginRequest) -> Result<Option<CodeChallenge>> {
    match (request.code_challenge.as_deref(), request.code_challenge_method.as_deref()) {
        (None, None) if client.legacy => Ok(None),
        (Some(challenge), Some("S256")) => challenge.parse().map(Some).map_err(|_| {
            Error::invalid_request("code_challenge must be the 43 base64url characters of an S256 challenge")
        }),
        (None, _) => Err(Error::invalid_request("code_challenge is missing")),
        (Some(_), _) => Err(Error::invalid_request("code_challenge_method must be S256")),
    }
}

fn client_state(text: &str) -> Result<ClientState> {
    text.parse().map_err(|_| {
        Error::invalid_request("state must be 1 to 512 characters of A-Z, a-z, 0-9, '-' and '_'")
    })
}

fn provider<'a>(broker: &'a Broker, id: Option<&str>) -> Result<Option<&'a Provider>> {
    let Some(id) = id else { return Ok(broker.providers.only()) };
    let unknown = || Error::invalid_request("provider is not one of the configured ones");
    let id: ProviderId = id.parse().map_err(|_| unknown())?;
    broker.providers.get(&id).ok_or_else(unknown).map(Some)
}

fn choose(broker: &Broker, client: &Client) -> LoginStep {
    let choice = |provider: &Provider| ProviderChoice {
        id: provider.id().clone(),
        display_name: provider.display_name().to_owned(),
    };
    LoginStep::Choose {
        client_name: client.display_name.clone(),
        providers: broker.providers.iter().map(choice).collect(),
    }
}

/// The optional parameters that go on to the provider, checked.
struct Hints<'a> {
    prompt: Option<&'a str>,
    login_hint: Option<&'a str>,
    max_age: Option<u32>,
}

impl<'a> Hints<'a> {
    fn checked(client: &Client, request: &'a LoginRequest) -> Result<Self> {
        let allowed = |parameter| client.login_parameters.contains(&parameter);
        if request.prompt.is_some() && !allowed(LoginParameter::Prompt) {
            return Err(Error::invalid_request("prompt is not allowed for this client"));
        }
        if request.login_hint.is_some() && !allowed(LoginParameter::LoginHint) {
            return Err(Error::invalid_request("login_hint is not allowed for this client"));
        }
        if request.max_age.is_some() && !allowed(LoginParameter::MaxAge) {
            return Err(Error::invalid_request("max_age is not allowed for this client"));
        }
        let max_age = request.max_age.as_deref().map(str::parse).transpose();
        Ok(Self {
            prompt: request.prompt.as_deref().map(prompt).transpose()?,
            login_hint: request.login_hint.as_deref().map(login_hint).transpose()?,
            max_age: max_age.map_err(|_| Error::invalid_request("max_age must be a number of seconds"))?,
        })
    }

    fn request<'b>(&'b self, attempt: &'b LoginAttempt) -> AuthorizationRequest<'b> {
        AuthorizationRequest {
            state: &attempt.state,
            nonce: &attempt.nonce,
            challenge: attempt.verifier().challenge(),
            prompt: self.prompt,
            login_hint: self.login_hint,
            max_age: self.max_age,
        }
    }
}

/// OpenID Connect Core section 3.1.2.1: `none` stands alone.
fn prompt(text: &str) -> Result<&str> {
    let known = |word| matches!(word, "login" | "consent" | "select_account");
    if text == "none" || (!text.is_empty() && text.split(' ').all(known)) {
        Ok(text)
    } else {
        Err(Error::invalid_request("prompt must be none, or some of login, consent and select_account"))
    }
}

fn login_hint(text: &str) -> Result<&str> {
    let good = text.chars().count() <= 255 && !text.chars().any(char::is_control);
    if good { Ok(text) } else { Err(Error::invalid_request("login_hint must be at most 255 characters")) }
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

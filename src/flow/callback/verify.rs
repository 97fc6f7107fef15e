//! Stage one: is this the provider's answer to a login that this browser started?

use crate::domain::audience::AudienceSet;
use crate::domain::caller::Caller;
use crate::domain::client::{Client, ShortDigest};
use crate::domain::dpop::thumbprint::Thumbprint;
use crate::domain::ids::ProviderId;
use crate::domain::lifetimes;
use crate::domain::login_attempt::{LoginAttempt, State};
use crate::domain::login_destination::LoginDestination;
use crate::domain::pkce::CodeChallenge;
use crate::domain::scope::ScopeSet;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::hand_over::WayBack;
use crate::provider::{Provider, ProviderError};
use crate::state::Broker;

use super::lost::CameFrom;
use super::{Began, CallbackFailure, CallbackRequest, Incomplete, LeadsTo};

/// A callback that belongs to a login of this browser, came from the right provider, and is the first for it.
pub(super) struct VerifiedCallback<'a> {
    pub(super) attempt: LoginAttempt,
    pub(super) provider: &'a Provider,
    pub(super) answer: Answer,
}

/// The token that a client's login ends in.
pub(super) struct TokenOrder<'a> {
    /// The client.
    pub(super) client: &'a Client,
    /// The client's challenge.
    pub(super) challenge: Option<CodeChallenge>,
    /// The APIs that the token is for.
    pub(super) audiences: AudienceSet,
    /// What it may be used for there.
    pub(super) scopes: ScopeSet,
    /// The key that it is bound to.
    pub(super) dpop_jkt: Option<Thumbprint>,
}

/// What the provider said.
pub(super) enum Answer {
    /// Yes, with this authorization code.
    Code(String),
    /// No, for this reason.
    Refused(Error),
}

/// A valid attempt leads back to its SPA, verified or with the outage that prevented the verification.
pub(super) type Verified<'a> = (Began<'a>, Result<VerifiedCallback<'a>, Incomplete>);

/// Verifies a callback and uses up its attempt, whatever the outcome.
///
/// # Errors
/// Everything that must not redirect anywhere.
pub(super) async fn verify<'a>(
    broker: &'a Broker,
    caller: &Caller,
    request: CallbackRequest,
) -> Result<Verified<'a>, CallbackFailure> {
    let attempt = attempt(broker, &request)?;
    let (id, used_name) = (attempt.state.attempt_id(), attempt.state.used_name());
    let iss = request.iss.clone();
    // Checked before the attempt is used up, so that an outage of the key store hides no mismatch.
    let checked = check(broker, request, attempt);
    let own_page = |error| CallbackFailure { error, forget: Some(id.clone()), start_again: None };
    match (checked, mark_used(broker, caller, &used_name).await) {
        (_, Ok(false)) => Err(own_page(ErrorCode::InvalidState.into())),
        (Err(error), Ok(true)) => Err(own_page(error)),
        (Err(error), Err(outage)) => {
            tracing::warn!(%outage, "a login attempt could not be marked as used");
            Err(error.into())
        }
        (Ok((began, _)), Err(error)) => Ok((began, Err(Incomplete { used_up: false, ..error.into() }))),
        (Ok((began, verified)), Ok(true)) => match verified.provider.check_issuer(iss.as_deref()).await {
            Ok(()) => Ok((began, Ok(verified))),
            Err(mismatch @ ProviderError::IssuerMismatch) => Err(own_page(mismatch.into())),
            Err(outage) => Ok((began, Err(Error::from(outage).into()))),
        },
    }
}

/// Where the browser of a callback came from, even if the attempt is over or used: what the attempt says, or the only
/// client.
pub(super) fn origin<'a>(broker: &'a Broker, request: &CallbackRequest) -> CameFrom<'a> {
    let of_attempt = || {
        let id = request.state.as_deref()?.parse::<State>().ok()?.attempt_id();
        let cookie = request.attempts.iter().find(|cookie| cookie.id == id)?;
        match LoginAttempt::open(&id, &cookie.value, &broker.keys.current())?.destination {
            LoginDestination::Client(login) => broker.clients.get(&login.client).map(CameFrom::Client),
            LoginDestination::DevicePage(code) => Some(CameFrom::DevicePage(code)),
        }
    };
    let only = || broker.clients.only().map_or(CameFrom::Unknown, CameFrom::Client);
    of_attempt().unwrap_or_else(only)
}

/// The live attempt that `state` names and the browser's cookie proves.
fn attempt(broker: &Broker, request: &CallbackRequest) -> Result<LoginAttempt> {
    let state: State = request
        .state
        .as_deref()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::new(ErrorCode::InvalidState))?;
    let id = state.attempt_id();
    if request.conflicting.contains(&id) {
        return Err(ErrorCode::InvalidState.into());
    }
    let cookie = request.attempts.iter().find(|cookie| cookie.id == id);
    cookie
        .and_then(|cookie| LoginAttempt::open(&id, &cookie.value, &broker.keys.current()))
        // Compared in constant time: see `State`.
        .filter(|attempt| attempt.state == state && attempt.is_live(broker.clock.now()))
        .ok_or_else(|| ErrorCode::InvalidState.into())
}

/// Everything about the callback that can be checked without asking a store or the provider.
fn check(
    broker: &Broker,
    request: CallbackRequest,
    attempt: LoginAttempt,
) -> Result<(Began<'_>, VerifiedCallback<'_>)> {
    let invalid_state = || Error::new(ErrorCode::InvalidState);
    let provider = broker.providers.get(&attempt.provider).ok_or_else(invalid_state)?;
    let leads_to = leads_to(broker, &attempt.destination).ok_or_else(invalid_state)?;
    let unchanged = attempt.provider_identity == ShortDigest::of(provider.identity());
    let own_path = request.path == provider.callback_path().trim_end_matches('/');
    if !unchanged || !own_path || provider.has_other_issuer(request.iss.as_deref()) {
        return Err(ErrorCode::IssuerMismatch.into());
    }
    let began = Began { leads_to, provider: attempt.provider.clone(), attempt: attempt.state.attempt_id() };
    let answer = answer(request, provider)?;
    Ok((began, VerifiedCallback { attempt, provider, answer }))
}

/// Where the login leads back to; `None` if the client was changed since, so that this is not
/// possible any more.
fn leads_to<'a>(broker: &'a Broker, destination: &LoginDestination) -> Option<LeadsTo<'a>> {
    let login = match destination {
        LoginDestination::Client(login) => login,
        LoginDestination::DevicePage(code) => return Some(LeadsTo::DevicePage(code.clone())),
    };
    let client = broker.clients.get(&login.client)?;
    let redirect_uri = client.redirect_uri_by_digest(login.redirect_uri)?;
    let audiences = client.audiences_by_digests(&login.audiences)?;
    let scopes = match &login.oauth {
        Some(oauth) => client.grantable(&oauth.scopes),
        None => client.scopes.clone(),
    };
    let way_back = WayBack {
        issuer: broker.issuer(),
        client,
        redirect_uri,
        port: login.port,
        client_state: login.client_state.clone(),
        oauth: login.oauth.clone(),
        dpop_jkt: login.dpop_jkt,
    };
    let order =
        TokenOrder { client, challenge: login.challenge, audiences, scopes, dpop_jkt: login.dpop_jkt };
    Some(LeadsTo::Client(Box::new(way_back), Box::new(order)))
}

/// RFC 6749 section 4.1.2: a code or an error, never both. Some providers send neither when the user refuses.
fn answer(request: CallbackRequest, provider: &Provider) -> Result<Answer> {
    if let Some(malformed) = request.malformed {
        return Err(malformed);
    }
    match (request.code, request.error) {
        (Some(code), None) => {
            let good = (1..=2048).contains(&code.len()) && code.bytes().all(|b| (0x20..=0x7e).contains(&b));
            if good {
                Ok(Answer::Code(code))
            } else {
                Err(Error::invalid_request("The parameter 'code' must be 1 to 2048 visible characters."))
            }
        }
        (None, Some(error)) => Ok(Answer::Refused(provider_refusal(&error, provider.id()))),
        (None, None) if provider.refuses_without_error() => {
            Ok(Answer::Refused(provider_refusal("access_denied", provider.id())))
        }
        _ => Err(Error::invalid_request("The provider must send either 'code' or 'error'.")),
    }
}

/// Errors that are mistakes in the registration at the provider or in the configuration: trying again does not help
/// (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6).
const MISCONFIGURED: [&str; 9] = [
    "invalid_request",
    "unauthorized_client",
    "unsupported_response_type",
    "invalid_scope",
    "invalid_request_uri",
    "invalid_request_object",
    "request_not_supported",
    "request_uri_not_supported",
    "registration_not_supported",
];

/// The provider's error as one of the broker's codes. The log gets the provider's error by its standard name; any other
/// text of the provider is not passed on.
fn provider_refusal(error: &str, provider: &ProviderId) -> Error {
    let misconfigured = MISCONFIGURED.into_iter().find(|known| *known == error);
    let code = match error {
        "access_denied" => ErrorCode::AccessDenied,
        "login_required" => ErrorCode::LoginRequired,
        "interaction_required" => ErrorCode::InteractionRequired,
        "consent_required" => ErrorCode::ConsentRequired,
        "account_selection_required" => ErrorCode::AccountSelectionRequired,
        "unmet_authentication_requirements" => ErrorCode::InsufficientUserAuthentication,
        "temporarily_unavailable" | "server_error" => ErrorCode::TemporarilyUnavailable,
        _ if misconfigured.is_some() => ErrorCode::ServerError,
        _ => ErrorCode::ProviderError,
    };
    let named = match code {
        ErrorCode::ProviderError => "an unknown error code",
        ErrorCode::ServerError => misconfigured.unwrap_or_default(),
        ErrorCode::TemporarilyUnavailable if error == "server_error" => "server_error",
        ErrorCode::InsufficientUserAuthentication => "unmet_authentication_requirements",
        known => known.as_str(),
    };
    Error::new(code).caused_by(format!("provider {provider} answered {named}"))
}

/// Marks the attempt as used; `false` if it was used before. The mark outlives the attempt even if a clock
/// was set back.
async fn mark_used(broker: &Broker, caller: &Caller, used_name: &str) -> Result<bool> {
    let life = (lifetimes::LOGIN_ATTEMPT * 2).to_std().unwrap_or_default();
    let key_store = broker.key_store.on_behalf_of(caller.address);
    Ok(key_store.mark_used(&format!("attempt:{used_name}"), life).await?)
}

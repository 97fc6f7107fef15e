//! What a login asks for, checked before anything happens.

use crate::domain::client::{Client, LoginParameter, RedirectUri};
use crate::domain::ids::ProviderId;
use crate::domain::login_attempt::ClientState;
use crate::domain::pkce::CodeChallenge;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::hand_over::WayBack;
use crate::provider::Provider;
use crate::state::Broker;

use super::LoginRequest;

/// A login request that passed every check; none of them depends on who is signed in.
pub(in crate::flow) struct Asked<'a> {
    /// Who asks, and where the answer goes.
    pub(in crate::flow) way_back: WayBack<'a>,
    /// The SPA's S256 challenge; absent for `legacy` clients only.
    pub(in crate::flow) challenge: Option<CodeChallenge>,
    /// The provider that was named, or the only one.
    pub(in crate::flow) provider: Option<&'a Provider>,
    /// How the person may, or must, be asked.
    pub(in crate::flow) prompt: Option<Prompt<'a>>,
    /// Whether the client's `prompt` may go on to the provider.
    pub(in crate::flow) may_pass_prompt: bool,
    /// Who is expected.
    pub(in crate::flow) login_hint: Option<&'a str>,
    /// How many seconds ago the person may have proved who they are, at most.
    pub(in crate::flow) max_age: Option<u32>,
}

/// `prompt` (OpenID Connect Core section 3.1.2.1): `none`, which stands alone, or some of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::flow) struct Prompt<'a>(&'a str);

impl<'a> Prompt<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let known = |word| matches!(word, "login" | "consent" | "select_account");
        if text == "none" || (!text.is_empty() && text.split(' ').all(known)) {
            Ok(Self(text))
        } else {
            Err(Error::invalid_request(
                "The parameter 'prompt' must be none, or some of login, consent and select_account.",
            ))
        }
    }

    /// As the provider is told.
    pub(in crate::flow) fn as_str(self) -> &'a str {
        self.0
    }

    /// No page may be shown.
    pub(in crate::flow) fn is_none(self) -> bool {
        self.0 == "none"
    }

    /// The person may want to be somebody else.
    pub(in crate::flow) fn selects_account(self) -> bool {
        self.0.split(' ').any(|word| word == "select_account")
    }
}

impl<'a> Asked<'a> {
    /// Checks a request.
    pub(super) fn checked(broker: &'a Broker, request: &'a LoginRequest) -> Result<Self> {
        let client = client(broker, request.client_id.as_deref())?;
        let redirect_uri = redirect_uri(client, request.redirect_uri.as_deref())?;
        let challenge = challenge(client, request)?;
        let client_state = request.state.as_deref().map(client_state).transpose()?;
        let prompt = request.prompt.as_deref().map(Prompt::parse).transpose()?;
        let login_hint = request.login_hint.as_deref().map(login_hint).transpose()?;
        let max_age = request.max_age.as_deref().map(max_age).transpose()?;
        let allowed = |parameter| client.login_parameters.contains(&parameter);
        let may_pass_prompt = allowed(LoginParameter::Prompt);
        // `none` is the broker's own business until a provider is asked.
        if prompt.is_some_and(|prompt| !prompt.is_none()) && !may_pass_prompt {
            return Err(Error::invalid_request("The parameter 'prompt' is not allowed for this client."));
        }
        if login_hint.is_some() && !allowed(LoginParameter::LoginHint) {
            return Err(Error::invalid_request("The parameter 'login_hint' is not allowed for this client."));
        }
        if max_age.is_some() && !allowed(LoginParameter::MaxAge) {
            return Err(Error::invalid_request("The parameter 'max_age' is not allowed for this client."));
        }
        let provider = provider(broker, request.provider.as_deref())?;
        if max_age.is_some() && provider.is_some_and(|provider| !provider.supports_max_age()) {
            return Err(Error::invalid_request("The parameter 'max_age' is not possible at this provider."));
        }
        let way_back = WayBack { client, redirect_uri, client_state };
        Ok(Self { way_back, challenge, provider, prompt, may_pass_prompt, login_hint, max_age })
    }

    /// Whether no page may be shown.
    pub(in crate::flow) fn is_silent(&self) -> bool {
        self.prompt.is_some_and(Prompt::is_none)
    }
}

fn client<'a>(broker: &'a Broker, id: Option<&str>) -> Result<&'a Client> {
    match id {
        Some(id) => broker.clients.find(id).ok_or_else(|| Error::new(ErrorCode::InvalidClient)),
        None => broker.clients.only().ok_or_else(|| {
            Error::invalid_request("The parameter 'client_id' is missing; this broker has several clients.")
        }),
    }
}

fn redirect_uri<'a>(client: &'a Client, presented: Option<&str>) -> Result<&'a RedirectUri> {
    match (presented, client.redirect_uris.as_slice()) {
        (Some(uri), _) => client.redirect_uri(uri).ok_or_else(|| {
            Error::invalid_request(
                "The parameter 'redirect_uri' is not an address of this client; it must match to the letter.",
            )
        }),
        (None, [only]) => Ok(only),
        (None, _) => {
            Err(Error::invalid_request("The parameter 'redirect_uri' is missing; this client has several."))
        }
    }
}

/// PKCE is required (RFC 9700 section 2.1.1) for all but `legacy` clients, which may use it.
fn challenge(client: &Client, request: &LoginRequest) -> Result<Option<CodeChallenge>> {
    match (request.code_challenge.as_deref(), request.code_challenge_method.as_deref()) {
        (None, None) if client.legacy => Ok(None),
        (Some(challenge), Some("S256")) => challenge.parse().map(Some).map_err(|_| {
            Error::invalid_request(
                "The parameter 'code_challenge' must be the 43 base64url characters of an S256 challenge.",
            )
        }),
        (None, _) => Err(Error::invalid_request("The parameter 'code_challenge' is missing.")),
        (Some(_), _) => Err(Error::invalid_request("The parameter 'code_challenge_method' must be S256.")),
    }
}

fn client_state(text: &str) -> Result<ClientState> {
    text.parse().map_err(|_| {
        Error::invalid_request(
            "The parameter 'state' must be 1 to 512 characters of A-Z, a-z, 0-9, '-' and '_'.",
        )
    })
}

fn provider<'a>(broker: &'a Broker, id: Option<&str>) -> Result<Option<&'a Provider>> {
    let Some(id) = id else { return Ok(broker.providers.only()) };
    let unknown = || Error::invalid_request("The parameter 'provider' is not one of the configured ones.");
    let id: ProviderId = id.parse().map_err(|_| unknown())?;
    broker.providers.get(&id).ok_or_else(unknown).map(Some)
}

fn login_hint(text: &str) -> Result<&str> {
    let good = text.chars().count() <= 255 && !text.chars().any(char::is_control);
    if good {
        Ok(text)
    } else {
        Err(Error::invalid_request("The parameter 'login_hint' must be at most 255 characters."))
    }
}

fn max_age(text: &str) -> Result<u32> {
    text.parse().map_err(|_| Error::invalid_request("The parameter 'max_age' must be a number of seconds."))
}

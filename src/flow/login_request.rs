//! What the SPA asks of `/login`: as it was sent, and validated before anything happens.

use crate::domain::audience::AudienceSet;
use crate::domain::client::{Client, LoginParameter, RedirectUri, ShortDigest, with_path};
use crate::domain::client_text::ClientState;
use crate::domain::dpop::thumbprint::Thumbprint;
use crate::domain::ids::ProviderId;
use crate::domain::login_attempt::LoginAttempt;
use crate::domain::oauth_request::OAuthRequest;
use crate::domain::page_sign_in::PageTicket;
use crate::domain::pkce::CodeChallenge;
use crate::domain::scope::ScopeSet;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::AttemptCookie;
use crate::flow::authorize::AuthorizeRequest;
use crate::flow::hand_over::WayBack;
use crate::provider::Provider;
use crate::state::Broker;

/// What the SPA asks for; each parameter at most once, as it was sent.
#[derive(Default)]
pub struct LoginRequest {
    /// Which client; may be omitted if there is only one.
    pub client_id: Option<String>,
    /// Where the key is delivered; may be omitted if the client has only one address.
    pub redirect_uri: Option<String>,
    /// The SPA's own state.
    pub state: Option<String>,
    /// The S256 challenge (RFC 7636).
    pub code_challenge: Option<String>,
    /// `S256`.
    pub code_challenge_method: Option<String>,
    /// Which provider; may be omitted if there is only one.
    pub provider: Option<String>,
    /// `prompt` (OpenID Connect Core section 3.1.2.1).
    pub prompt: Option<String>,
    /// `login_hint`.
    pub login_hint: Option<String>,
    /// `max_age`, in seconds.
    pub max_age: Option<String>,
    /// The APIs that the token is to be for (RFC 8707 section 2), all of the client's if there is none.
    pub resources: Vec<String>,
    /// `dpop_jkt`: the thumbprint of the key that the token is bound to (RFC 9449 section 10).
    pub dpop_jkt: Option<String>,
    /// The rest of a request that came to `/oauth2/authorize`; `None` for `/login`.
    pub oauth: Option<AuthorizeRequest>,
    /// The attempts that this browser has open.
    pub open_attempts: Vec<AttemptCookie>,
    /// The browser's session cookie, if it has one.
    pub session_cookie: Option<String>,
}

/// A login request that passed every check; none of them depends on who is signed in.
pub(super) struct ValidLoginRequest<'a> {
    /// The client, and where the answer is sent.
    pub(super) way_back: WayBack<'a>,
    /// The SPA's S256 challenge; absent for `legacy` clients only.
    pub(super) challenge: Option<CodeChallenge>,
    /// The provider that was named, or the only one.
    pub(super) provider: Option<&'a Provider>,
    /// How the person must, or must not, be prompted.
    pub(super) prompt: Option<Prompt<'a>>,
    /// Whether the client's `prompt` may be passed on to the provider.
    pub(super) may_pass_prompt: bool,
    /// The person who is expected to sign in.
    pub(super) login_hint: Option<&'a str>,
    /// How many seconds ago the person may have authenticated, at most.
    pub(super) max_age: Option<u32>,
    /// The APIs that the token is for.
    pub(super) audiences: AudienceSet,
    /// What the token may be used for.
    pub(super) scopes: ScopeSet,
}

/// Browsers keep the request in a cookie, which must not become too large for servers and proxies on its way.
const TOO_LONG: &str = "The parameters 'state' and 'nonce' are too long together: they travel in a cookie of 1 KiB, with \
     the scopes and resources of the request. Keep long data in the app, under a short state.";

/// `prompt` (OpenID Connect Core section 3.1.2.1): `none` alone, or some of the other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prompt<'a>(&'a str);

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

    /// As it is sent to the provider.
    pub(super) fn as_str(self) -> &'a str {
        self.0
    }

    /// No page may be shown.
    pub(super) fn is_none(self) -> bool {
        self.0 == "none"
    }

    /// The person may want to use another account.
    pub(super) fn selects_account(self) -> bool {
        self.0.split(' ').any(|word| word == "select_account")
    }
}

impl<'a> ValidLoginRequest<'a> {
    /// Validates the rest of a request whose way back is known.
    ///
    /// # Errors
    /// `invalid_target`, `invalid_request` or another error of RFC 6749 section 4.1.2.1, with the parameter and what is
    /// wrong with it.
    pub(super) fn new(broker: &'a Broker, request: &'a LoginRequest, way_back: WayBack<'a>) -> Result<Self> {
        let client = way_back.client;
        let oauth = request
            .oauth
            .as_ref()
            .map(|oauth| oauth.validate(client, request.redirect_uri.is_some()))
            .transpose()?;
        let challenge = challenge(client, request)?;
        if client.pages_of.is_some() {
            started_by_broker(broker, request, &way_back, challenge.as_ref())?;
        }
        let client_state = request.state.as_deref().map(client_state).transpose()?;
        let prompt = request.prompt.as_deref().map(Prompt::parse).transpose()?;
        let login_hint = request.login_hint.as_deref().map(login_hint).transpose()?;
        let max_age = request.max_age.as_deref().map(max_age).transpose()?;
        let allowed = |parameter| client.login_parameters.contains(&parameter);
        let may_pass_prompt = allowed(LoginParameter::Prompt);
        // The broker itself handles `none` until a provider is asked.
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
            return Err(Error::invalid_request("The parameter 'max_age' is not supported by this provider."));
        }
        let audiences = audiences(client, &request.resources)?;
        let scopes = oauth.as_ref().map_or_else(|| client.scopes.clone(), |oauth| oauth.scopes.clone());
        let dpop_jkt = dpop_jkt(client, request)?;
        let way_back = WayBack { client_state, oauth, dpop_jkt, ..way_back };
        let valid = Self {
            way_back,
            challenge,
            provider,
            prompt,
            may_pass_prompt,
            login_hint,
            max_age,
            audiences,
            scopes,
        };
        if valid.fits() { Ok(valid) } else { Err(Error::invalid_request(TOO_LONG)) }
    }

    /// Whether the attempt fits into its cookie. Checked for every request, so that it does not depend on who is signed in.
    fn fits(&self) -> bool {
        let WayBack { client, client_state, oauth, dpop_jkt, .. } = &self.way_back;
        let audiences = self.audience_digests().len();
        LoginAttempt::fits(&client.id, client_state.as_ref(), oauth.as_ref(), dpop_jkt.as_ref(), audiences)
    }

    /// Which of the client's audiences the attempt has to remember: none if it is all of them.
    pub(super) fn audience_digests(&self) -> Vec<ShortDigest> {
        if self.audiences == self.way_back.client.audiences {
            return Vec::new();
        }
        self.audiences.iter().map(|audience| ShortDigest::of(audience.as_str())).collect()
    }

    /// The providers that can do what is requested: plain OAuth 2 has no `max_age`.
    pub(super) fn able_providers<'b>(&self, broker: &'b Broker) -> Vec<&'b Provider> {
        let able = |provider: &&Provider| self.max_age.is_none() || provider.supports_max_age();
        broker.providers.iter().filter(able).collect()
    }

    /// Whether no page may be shown.
    pub(super) fn is_silent(&self) -> bool {
        self.prompt.is_some_and(Prompt::is_none)
    }
}

/// Where the answer to a request is sent: a registered address of a registered client. A `state` that cannot be returned is
/// left out.
///
/// # Errors
/// `invalid_client` or `invalid_request`: the browser must not be redirected anywhere (RFC 6749 section 4.1.2.1).
pub(super) fn way_back<'a>(broker: &'a Broker, request: &LoginRequest) -> Result<WayBack<'a>> {
    let client = client(broker, request.client_id.as_deref())?;
    let (redirect_uri, port) = redirect_uri(client, request.redirect_uri.as_deref())?;
    let oauth = request.oauth.as_ref().map(|_| OAuthRequest {
        named_redirect_uri: request.redirect_uri.is_some(),
        scopes: ScopeSet::default(),
        nonce: None,
    });
    let client_state = request.state.as_deref().and_then(|state| state.parse().ok());
    let issuer = broker.issuer();
    Ok(WayBack { issuer, client, redirect_uri, port, client_state, oauth, dpop_jkt: None })
}

fn client<'a>(broker: &'a Broker, id: Option<&str>) -> Result<&'a Client> {
    match id {
        Some(id) => broker.clients.find(id).ok_or_else(|| Error::new(ErrorCode::InvalidClient)),
        None => broker.clients.only().ok_or_else(|| {
            Error::invalid_request("The parameter 'client_id' is missing; this broker has several clients.")
        }),
    }
}

fn redirect_uri<'a>(client: &'a Client, presented: Option<&str>) -> Result<(&'a RedirectUri, Option<u16>)> {
    match (presented, client.redirect_uris.as_slice()) {
        (Some(uri), _) => client.redirect_uri(uri).ok_or_else(|| {
            if client.redirect_uri(&with_path(uri)).is_some() {
                return Error::invalid_request(
                    "The parameter 'redirect_uri' has no path; the registered address ends with a slash. Add the slash.",
                );
            }
            Error::invalid_request(
                "The parameter 'redirect_uri' is not registered for this client; it must match exactly.",
            )
        }),
        (None, [only]) => Ok((only, None)),
        (None, []) => Err(Error::invalid_request(
            "This client has no redirect_uri: it signs in with a code that is entered at /device.",
        )),
        (None, _) => Err(Error::invalid_request(
            "The parameter 'redirect_uri' is missing; this client has several redirect URIs.",
        )),
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

/// The key that the token is bound to. A client of standard OAuth 2 can still name it at the token endpoint.
fn dpop_jkt(client: &Client, request: &LoginRequest) -> Result<Option<Thumbprint>> {
    let Some(text) = request.dpop_jkt.as_deref() else {
        if client.requires_dpop() && request.oauth.is_none() {
            return Err(Error::invalid_request(
                "The parameter 'dpop_jkt' is missing; tokens of this client are bound to a key.",
            ));
        }
        return Ok(None);
    };
    if client.legacy {
        return Err(Error::invalid_request("The parameter 'dpop_jkt' is not allowed for a legacy client."));
    }
    text.parse().map(Some).map_err(|_| {
        Error::invalid_request(
            "The parameter 'dpop_jkt' must be the 43 base64url characters of a JWK's SHA-256 thumbprint.",
        )
    })
}

fn client_state(text: &str) -> Result<ClientState> {
    text.parse().map_err(|_| {
        Error::invalid_request("The parameter 'state' must be 1 to 512 visible ASCII characters or spaces.")
    })
}

/// Checks that the broker itself started a login for a page behind a gateway. A script of the page could otherwise start
/// one with a verifier of its own, and get a token.
fn started_by_broker(
    broker: &Broker,
    request: &LoginRequest,
    way_back: &WayBack<'_>,
    challenge: Option<&CodeChallenge>,
) -> Result<()> {
    let ticket = request.state.as_deref().filter(|_| request.oauth.is_none());
    let ticket = ticket.and_then(|state| PageTicket::open(state, &broker.keys.current()));
    let is_own = ticket.zip(challenge).is_some_and(|(ticket, challenge)| {
        way_back.client.pages_of.as_ref() == Some(&ticket.policy)
            && ticket.allows(challenge, way_back.redirect_uri.as_str(), broker.clock.now())
    });
    let refused = || {
        Error::new(ErrorCode::InvalidState)
            .detail("This sign-in has expired or was not started by the page. Open the page again.")
    };
    is_own.then_some(()).ok_or_else(refused)
}

/// Those of the client's audiences that `resource` names: it narrows, never widens (RFC 8707 section 2).
pub(super) fn audiences(client: &Client, resources: &[String]) -> Result<AudienceSet> {
    if resources.is_empty() {
        return Ok(client.audiences.clone());
    }
    let invalid = || {
        Error::new(ErrorCode::InvalidTarget)
            .detail("The parameter 'resource' names an API that is not among this client's audiences.")
    };
    let named = resources.iter().map(|resource| resource.parse()).collect::<Result<Vec<_>, _>>();
    let named = named.ok().and_then(|named| AudienceSet::new(named).ok()).ok_or_else(invalid)?;
    if named.is_subset(&client.audiences) { Ok(named) } else { Err(invalid()) }
}

/// The provider that is named, or the only one; `None` if there are several and none is named.
pub(super) fn provider<'a>(broker: &'a Broker, id: Option<&str>) -> Result<Option<&'a Provider>> {
    let Some(id) = id else { return Ok(broker.providers.only()) };
    let unknown = || Error::invalid_request("The parameter 'provider' does not name a configured provider.");
    let id: ProviderId = id.parse().map_err(|_| unknown())?;
    broker.providers.get(&id).ok_or_else(unknown).map(Some)
}

fn login_hint(text: &str) -> Result<&str> {
    let good = text.chars().count() <= 255 && !text.chars().any(char::is_control);
    if good {
        Ok(text)
    } else {
        Err(Error::invalid_request(
            "The parameter 'login_hint' must be at most 255 characters without control characters.",
        ))
    }
}

fn max_age(text: &str) -> Result<u32> {
    text.parse().map_err(|_| Error::invalid_request("The parameter 'max_age' must be a number of seconds."))
}

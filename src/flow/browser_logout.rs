//! Signing out in the browser: `/logout`, then the provider's own logout, then back to the SPA (OpenID Connect
//! RP-Initiated Logout 1.0).
//!
//! Opening the page ends no session, so that no other site can cause a logout: the page asks, and the answer is a form
//! that only this page can send. Without a live session there is nothing to ask, and the browser is sent on at once.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client::{Client, KeyDelivery, RedirectUri, ShortDigest};
use crate::domain::client_text::ClientState;
use crate::domain::login_attempt::State;
use crate::domain::logout_attempt::{LogoutAttempt, open_id_token};
use crate::domain::session::SessionRecord;
use crate::domain::standing::{SessionStanding, session_standing};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::browser_session::find;
use crate::provider::{EndSessionRequest, Provider};
use crate::state::Broker;
use crate::state::audit_trail::Event;

/// How long a browser waits for a provider whose logout endpoint is not known yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the browser asks for; each parameter at most once, as it was sent.
#[derive(Default)]
pub struct LogoutRequest {
    /// The client; may be omitted if there is only one, or if the browser need not return anywhere.
    pub client_id: Option<String>,
    /// Where the browser returns to; may be omitted if the client has registered only one address.
    pub post_logout_redirect_uri: Option<String>,
    /// Returned unchanged.
    pub state: Option<String>,
    /// The cookie of the browser's session.
    pub session_cookie: Option<String>,
}

/// What `/logout` answers.
pub enum LogoutStep {
    /// The browser has a live session: the person is asked.
    Ask(Question),
    /// There is no live session: the browser is sent on.
    GoOn(Onward),
}

/// Whose session would end.
pub struct Question {
    /// The client's name, if a client is known.
    pub client: Option<String>,
    /// The person's name, if the provider told it.
    pub person: Option<String>,
    /// The provider's name, if it is still configured.
    pub provider: Option<String>,
    /// Where the browser is sent if the person declines: to the SPA, if a client is known.
    pub stay: Option<String>,
}

/// Where the browser is sent once no session is live here.
pub enum Onward {
    /// To the provider, to sign out there as well.
    Provider {
        /// The logout request.
        location: Url,
        /// The sealed attempt, for the way back.
        attempt: String,
        /// The provider's name.
        provider: String,
    },
    /// Back to the SPA.
    Client(String),
    /// Nowhere.
    Stay {
        /// The provider that could not be reached: the person may still be signed in there.
        unreachable: Option<String>,
        /// The SPA's address, if one is known.
        back: Option<String>,
    },
}

/// Where a logout leads, validated.
struct Destination<'a> {
    client: Option<&'a Client>,
    target: Option<&'a RedirectUri>,
    client_state: Option<ClientState>,
}

/// `GET /logout`: ends nothing.
///
/// # Errors
/// `invalid_client` and `invalid_request` for a client or address that is not registered;
/// `temporarily_unavailable` if the database is unreachable: then it is unknown whether a session is live.
pub async fn open(broker: &Broker, request: LogoutRequest) -> Result<LogoutStep> {
    let destination = Destination::of(broker, &request)?;
    let session = session(broker, &request).await?;
    match &session {
        Some(session) if session_standing(session, broker.clock.now()) == SessionStanding::Live => {
            Ok(LogoutStep::Ask(question(broker, &destination, session)))
        }
        _ => Ok(LogoutStep::GoOn(go_on(broker, destination, session.as_deref()).await)),
    }
}

/// `POST /logout`: ends the browser's session, with the user's other sessions of this browser and all their tokens.
///
/// # Errors
/// As [`open`]; after `temporarily_unavailable` it is unknown whether the session has ended. Repeating is safe.
pub async fn end(broker: &Broker, caller: &Caller, request: LogoutRequest) -> Result<Onward> {
    let destination = Destination::of(broker, &request)?;
    let session = session(broker, &request).await?;
    if let Some(found) = &session {
        for ended in broker.storage.end_session(found.state.session.id, broker.clock.now()).await? {
            let event = Event::new(broker, caller, AuditKind::SessionEnded)
                .provider(&found.user.provider)
                .user(found.user.id)
                .session(ended);
            match destination.client {
                Some(client) => event.client(&client.id).record(),
                None => event.record(),
            }
        }
    }
    Ok(go_on(broker, destination, session.as_deref()).await)
}

/// `GET /logout/callback`: the SPA's address, if this browser started the logout that now returns.
pub fn return_to_client(broker: &Broker, state: Option<&str>, cookie: Option<&str>) -> Option<Onward> {
    let state: State = state?.parse().ok()?;
    let attempt = LogoutAttempt::open(cookie?, &broker.keys.current())?;
    // Compared in constant time: see `State`.
    if attempt.state != state || !attempt.is_live(broker.clock.now()) {
        return None;
    }
    let Some((client, digest)) = &attempt.target else {
        return Some(Onward::Stay { unreachable: None, back: None });
    };
    let target = broker.clients.get(client)?.post_logout_redirect_uri_by_digest(*digest)?;
    Some(Onward::Client(address(target, attempt.client_state.as_ref())))
}

async fn session(broker: &Broker, request: &LogoutRequest) -> Result<Option<Box<SessionRecord>>> {
    match &request.session_cookie {
        Some(cookie) => find(broker, cookie).await,
        None => Ok(None),
    }
}

impl<'a> Destination<'a> {
    fn of(broker: &'a Broker, request: &LogoutRequest) -> Result<Self> {
        let client = match &request.client_id {
            Some(id) => Some(broker.clients.find(id).ok_or_else(|| Error::new(ErrorCode::InvalidClient))?),
            None => broker.clients.only(),
        };
        let target = match (&request.post_logout_redirect_uri, client) {
            (None, client) => client.and_then(Client::only_post_logout_redirect_uri),
            (Some(presented), Some(client)) => {
                let registered = client.post_logout_redirect_uri(presented);
                let problem = "post_logout_redirect_uri is not registered for this client";
                Some(registered.ok_or_else(|| Error::invalid_request(problem))?)
            }
            (Some(_), None) => {
                return Err(Error::invalid_request(
                    "The parameter 'post_logout_redirect_uri' needs 'client_id' beside it.",
                ));
            }
        };
        let client_state = request.state.as_deref().map(str::parse::<ClientState>).transpose();
        let client_state = client_state.map_err(|_| {
            Error::invalid_request(
                "The parameter 'state' must be 1 to 512 visible ASCII characters or spaces.",
            )
        })?;
        Ok(Self { client, target, client_state })
    }

    /// The address with the SPA's state, if it sent one.
    fn address(&self) -> Option<String> {
        self.target.map(|target| address(target, self.client_state.as_ref()))
    }

    fn end(&self) -> Onward {
        match self.address() {
            Some(address) => Onward::Client(address),
            None => Onward::Stay { unreachable: None, back: None },
        }
    }
}

fn address(target: &RedirectUri, state: Option<&ClientState>) -> String {
    match state {
        Some(state) => target.with(None, KeyDelivery::Query, &[("state", state.as_str())]),
        None => target.as_str().to_owned(),
    }
}

fn question(broker: &Broker, destination: &Destination<'_>, record: &SessionRecord) -> Question {
    let user = &record.user;
    Question {
        client: destination.client.map(|client| client.display_name.clone()),
        person: user.name().map(|name| name.as_str().to_owned()),
        provider: broker.providers.get(&user.provider).map(|provider| provider.display_name().to_owned()),
        stay: destination.client.and_then(Client::home),
    }
}

/// To the provider if it has a logout endpoint, otherwise straight back. An unreachable provider is not waited for: the
/// person is already signed out here.
async fn go_on(broker: &Broker, destination: Destination<'_>, session: Option<&SessionRecord>) -> Onward {
    let Some((provider, session)) = session
        .and_then(|session| broker.providers.get(&session.user.provider).map(|provider| (provider, session)))
    else {
        return destination.end();
    };
    match provider.end_session_endpoint(PATIENCE).await {
        Ok(Some(endpoint)) => to_provider(broker, &destination, provider, session, &endpoint).await,
        Ok(None) => destination.end(),
        Err(error) => {
            tracing::warn!(%error, provider = %provider.id(), "the provider could not be reached during a logout");
            let unreachable = Some(provider.display_name().to_owned());
            Onward::Stay { unreachable, back: destination.address() }
        }
    }
}

async fn to_provider(
    broker: &Broker,
    destination: &Destination<'_>,
    provider: &Provider,
    session: &SessionRecord,
    endpoint: &Url,
) -> Onward {
    let Ok(return_to) = broker.public_url.join("/logout/callback") else { return destination.end() };
    let hint = id_token_hint(broker, provider, session).await;
    let attempt = LogoutAttempt {
        state: State::random(&*broker.entropy),
        started_at: broker.clock.now(),
        target: destination
            .client
            .zip(destination.target)
            .map(|(client, target)| (client.id.clone(), ShortDigest::of(target.as_str()))),
        client_state: destination.client_state.clone(),
    };
    let request =
        EndSessionRequest { state: &attempt.state, return_to: &return_to, id_token_hint: hint.as_ref() };
    Onward::Provider {
        location: provider.end_session_url(endpoint, &request),
        attempt: attempt.seal(&broker.keys.current(), &*broker.entropy),
        provider: provider.display_name().to_owned(),
    }
}

/// The ID token of the session, if it is kept. Without it the provider may ask the person, which is no reason to fail.
async fn id_token_hint(
    broker: &Broker,
    provider: &Provider,
    session: &SessionRecord,
) -> Option<SecretString> {
    if !provider.keeps_id_tokens() {
        return None;
    }
    let sealed = broker.storage.take_id_token(session.state.session.id).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the ID token of a session could not be read");
        None
    });
    open_id_token(&sealed?, session.state.session.id, &broker.keys.current())
}

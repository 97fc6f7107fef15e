//! The page of a failure: what it means to the person, and the way out of it.

use maud::{Markup, html};

use super::extract::parameters::{Parameters, parameters};
use super::language::Language;
use super::messages::{self, Message};
use super::pages::layout;
use crate::error::ErrorCode;
use crate::state::Broker;

/// What the person was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Signing in.
    SignIn,
    /// Signing out.
    SignOut,
    /// Connecting a device.
    ConnectDevice,
    /// Opening an address that has no route.
    Open,
    /// Visiting a page behind a gateway.
    Visit,
}

impl Doing {
    fn title(self, code: ErrorCode) -> Message {
        let is_outage = code.status() >= 500;
        match self {
            Self::SignIn if is_outage => Message::SignInImpossible,
            Self::SignIn => Message::SignInFailed,
            Self::SignOut if is_outage => Message::SignOutImpossible,
            Self::SignOut => Message::SignOutFailed,
            Self::ConnectDevice if is_outage => Message::ConnectImpossible,
            Self::ConnectDevice => Message::ConnectFailed,
            Self::Open if code == ErrorCode::NotFound => Message::PageNotFound,
            Self::Visit if is_outage => Message::AccessImpossible,
            Self::Visit => Message::AccessFailed,
            Self::Open => Message::PageFailed,
        }
    }

    /// What to do if the way back is not known.
    fn remedy(self) -> Option<Message> {
        match self {
            Self::SignIn => Some(Message::SignInAgain),
            Self::SignOut => Some(Message::SignOutAgain),
            Self::ConnectDevice | Self::Open | Self::Visit => None,
        }
    }
}

/// How a person gets away from an error page.
#[derive(Default)]
pub struct WayOut {
    /// The application, if it is known. The address is a registered one, never one from the request.
    pub start_again: Option<String>,
    /// Whether the person is the developer, on their own machine.
    pub development: bool,
    /// The registered redirect URIs, for the developer who used another one.
    pub registered: Vec<String>,
}

impl WayOut {
    /// Out of the failure of a page behind a gateway: its front page leads through the gateway, and so to a new sign-in.
    pub fn of_visited_page() -> Self {
        Self { start_again: Some("/".to_owned()), ..Self::default() }
    }

    /// Out of the failure of the page that connects devices: back to it.
    pub fn of_device_page() -> Self {
        Self { start_again: Some("/device".to_owned()), ..Self::default() }
    }
}

/// The application that the person came from, where the handler knows it better than the query: an extension of the response.
#[derive(Clone)]
pub struct StartAgain(pub String);

/// A failure as its page tells it.
pub struct FailedPage<'a> {
    /// What failed.
    pub doing: Doing,
    /// The stable code.
    pub code: ErrorCode,
    /// The text of the failure, in English.
    pub text: &'static str,
    /// The id of the request in the log.
    pub request_id: &'a str,
    /// Where to go from here.
    pub way_out: &'a WayOut,
}

/// The page that says what went wrong with what the person did, and how to begin anew: by a link to the
/// application where that is known. What only the application's developers can understand is folded in.
pub fn page(failed: &FailedPage<'_>, language: Language) -> Markup {
    let FailedPage { doing, code, text, request_id, way_out } = *failed;
    let title = doing.title(code);
    let is_lost = title == Message::PageNotFound;
    let is_mistake = messages::is_for_developers(code);
    let say = |message: Message| message.text(language);
    let told = match (is_lost, is_mistake) {
        (true, _) => say(Message::NothingHere),
        (_, true) => say(Message::ApplicationMistake),
        _ => messages::of_error(code, text, language),
    };
    let label = say(if is_lost { Message::OpenApplication } else { Message::StartAgain });
    layout(
        language,
        say(title),
        html! {},
        html! {
            main {
                div role="alert" {
                    h1 { (say(title)) }
                    p { (told) }
                }
                @match (&way_out.start_again, doing.remedy()) {
                    (Some(address), _) => { p { a.button href=(address) { (label) } } }
                    (None, Some(remedy)) => { p { (say(remedy)) } }
                    (None, None) => {}
                }
                @if is_mistake { (for_developers(text, way_out, language)) }
                p.small {
                    (say(Message::IfItHappensAgain)) " "
                    code { (code) } " · " (say(Message::Request)) " " code { (request_id) }
                }
            }
        },
    )
}

/// The details of a mistake of the application, open at once on a developer's machine.
fn for_developers(text: &str, way_out: &WayOut, language: Language) -> Markup {
    html! {
        details open[way_out.development] {
            summary { (Message::ForDevelopers.text(language)) }
            p lang="en" { (text) }
            @if !way_out.registered.is_empty() {
                p { (Message::RegisteredAddresses.text(language)) }
                ul.registered { @for uri in &way_out.registered { li { code { (uri) } } } }
            }
        }
    }
}

parameters! {
    /// The client that a query names.
    struct ClientParameter { client_id }
}

parameters! {
    /// The address that a query names. It is read alone, so that a mistake in it does not hide the client.
    struct AddressParameter { redirect_uri }
}

/// The way out of an error page: to the application that the query names, or to the only one. On a developer's machine
/// also the addresses that the application may return to, if the query names another one.
pub fn way_out(broker: &Broker, query: &str, known: Option<StartAgain>) -> WayOut {
    let ClientParameter { client_id } = ClientParameter::read(query.as_bytes()).unwrap_or_default();
    let AddressParameter { redirect_uri } = AddressParameter::read(query.as_bytes()).unwrap_or_default();
    let development = broker.development;
    let named = client_id.and_then(|id| broker.clients.find(&id));
    let known = known.map(|StartAgain(home)| home);
    let Some(client) = named.or_else(|| broker.clients.only()) else {
        return WayOut { start_again: known, development, ..WayOut::default() };
    };
    let is_refused = redirect_uri.is_some_and(|uri| client.redirect_uri(&uri).is_none());
    let registered = client.redirect_uris.iter().filter(|_| development && is_refused);
    WayOut {
        start_again: known.or_else(|| client.home()),
        development,
        registered: registered.map(ToString::to_string).collect(),
    }
}

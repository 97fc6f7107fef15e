//! A callback that answers no open login of this browser: after the back button, from a bookmark, in a second tab, or
//! sent by another site. It never is a dead end.

use crate::domain::browser_session::BrowserSession;
use crate::domain::client::Client;
use crate::domain::device_code::UserCode;
use crate::domain::session::SessionRecord;
use crate::domain::standing::{SessionStanding, session_standing};
use crate::error::ErrorCode;
use crate::flow::browser_session::{SessionCookieChange, find_opened};
use crate::flow::device_sign_in::address as device_page;
use crate::state::Broker;

use super::{CallbackEnd, CallbackFailure};

/// Where a browser came from.
pub(super) enum CameFrom<'a> {
    /// From this client.
    Client(&'a Client),
    /// From the page that connects devices.
    DevicePage(Option<UserCode>),
    /// The callback does not say it, and there are several clients.
    Unknown,
}

impl CameFrom<'_> {
    /// The address that leads back there.
    fn home(&self, broker: &Broker) -> Option<String> {
        match self {
            Self::Client(client) => client.home(),
            Self::DevicePage(code) => Some(device_page(broker, code.as_ref(), None)),
            Self::Unknown => None,
        }
    }
}

/// Sends a browser with a live session on to its application, without a key: the application begins a login of its own,
/// which continues that session. Any other browser gets the broker's page, with a link to the application if that is
/// known: the client of the attempt, or the only one. The page that connects devices is such an application.
pub(super) async fn find_way(
    broker: &Broker,
    came_from: CameFrom<'_>,
    presented: Option<BrowserSession>,
    failure: CallbackFailure,
) -> Result<CallbackEnd, CallbackFailure> {
    let session = match presented {
        Some(presented) if failure.error.code() == ErrorCode::InvalidState => live(broker, &presented).await,
        _ => None,
    };
    let Some(session) = session else {
        return Err(CallbackFailure { start_again: came_from.home(broker), ..failure });
    };
    let came_from = match came_from {
        CameFrom::Unknown => {
            latest_client(broker, &session).await.map_or(CameFrom::Unknown, CameFrom::Client)
        }
        known => known,
    };
    match came_from.home(broker) {
        Some(home) => Ok(CallbackEnd {
            // With a fragment, so that the browser does not keep that of the callback (RFC 9110 section 10.2.2).
            location: format!("{home}#"),
            forget: failure.forget,
            session_cookie: SessionCookieChange::None,
        }),
        None => Err(failure),
    }
}

/// The session of the cookie, if it is live. During an outage the browser gets the page.
async fn live(broker: &Broker, presented: &BrowserSession) -> Option<Box<SessionRecord>> {
    let found = find_opened(broker, presented).await.ok().flatten()?;
    (session_standing(&found, broker.clock.now()) == SessionStanding::Live).then_some(found)
}

/// The client that got the latest token of the session.
async fn latest_client<'a>(broker: &'a Broker, session: &SessionRecord) -> Option<&'a Client> {
    let latest = broker.storage.latest_client_of(session.state.session.id).await.ok().flatten()?;
    broker.clients.get(&latest)
}

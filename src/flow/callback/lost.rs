//! A callback that answers no open login of this browser: after the back button, from a bookmark, in a second tab, or
//! sent by another site. It never is a dead end.

use crate::domain::browser_session::BrowserSession;
use crate::domain::client::Client;
use crate::domain::session::SessionRecord;
use crate::domain::standing::{SessionStanding, session_standing};
use crate::error::ErrorCode;
use crate::flow::browser_session::{SessionCookieChange, find_opened};
use crate::state::Broker;

use super::{CallbackEnd, CallbackFailure};

/// Sends a browser with a live session on to its application, without a key: the application begins a login of its own,
/// which continues that session. Any other browser gets the broker's page, with a link to the application if that is
/// known: the client of the attempt, or the only one.
pub(super) async fn find_way(
    broker: &Broker,
    client: Option<&Client>,
    presented: Option<BrowserSession>,
    failure: CallbackFailure,
) -> Result<CallbackEnd, CallbackFailure> {
    let session = match presented {
        Some(presented) if failure.error.code() == ErrorCode::InvalidState => live(broker, &presented).await,
        _ => None,
    };
    let Some(session) = session else {
        return Err(CallbackFailure { start_again: client.and_then(Client::home), ..failure });
    };
    let client = match client {
        Some(client) => Some(client),
        None => latest_client(broker, &session).await,
    };
    match client.and_then(Client::home) {
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

//! The session of a browser, as its cookie names it. The cookie gets the browser a new token from `/login`, and tells
//! `/logout` which session to end; it never authenticates an API call.

use chrono::TimeDelta;

use crate::domain::browser_session::BrowserSession;
use crate::domain::clock::Timestamp;
use crate::domain::session::SessionRecord;
use crate::error::Result;
use crate::state::Broker;

/// What an answer of a sign-in does with the browser's session cookie. None deletes it: that is for `/logout`.
#[derive(Clone)]
pub enum SessionCookieChange {
    /// Leaves it as it is.
    None,
    /// Sets this one.
    Keep {
        /// The sealed session.
        value: String,
        /// How long the session can last.
        lives: TimeDelta,
    },
}

impl SessionCookieChange {
    /// Gives the browser a cookie for a session that ends at `ends`.
    pub(super) fn keep(broker: &Broker, session: &BrowserSession, ends: Timestamp, now: Timestamp) -> Self {
        Self::Keep { value: session.seal(&broker.keys.current(), &*broker.entropy), lives: ends - now }
    }
}

/// Finds the session that a cookie is for, live or not. `None` for a foreign cookie (decided without a query), and for
/// a session that was purged.
///
/// # Errors
/// `temporarily_unavailable` if the database is unreachable: then nothing is known about the session, and its cookie
/// must stay.
pub async fn find(broker: &Broker, cookie: &str) -> Result<Option<Box<SessionRecord>>> {
    match BrowserSession::open(cookie, &broker.keys.current()) {
        Some(presented) => find_opened(broker, &presented).await,
        None => Ok(None),
    }
}

pub(super) async fn find_opened(
    broker: &Broker,
    presented: &BrowserSession,
) -> Result<Option<Box<SessionRecord>>> {
    let found = broker.storage.find_browser_session(presented.secret.digest()).await?;
    Ok(found.filter(|found| is_of(found, presented)))
}

/// Whether the row is that of the cookie. The seal says whose session it is: a row that says otherwise was
/// tampered with.
pub(super) fn is_of(record: &SessionRecord, presented: &BrowserSession) -> bool {
    record.state.session.id == presented.session_id && record.user.id == presented.user_id
}

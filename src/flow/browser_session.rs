//! The session of a browser, as its cookie names it. It gets the browser a new token from `/login` and says whose
//! session `/logout` is about; it never authenticates a call of the API.

use chrono::TimeDelta;

use crate::domain::browser_session::BrowserSession;
use crate::domain::clock::Timestamp;
use crate::error::Result;
use crate::state::Broker;
use crate::storage::records::BrowserSessionRecord;

/// What becomes of the browser's session cookie.
#[derive(Clone)]
pub enum SessionCookieChange {
    /// Nothing.
    None,
    /// The browser is given this one.
    Keep {
        /// The sealed session.
        value: String,
        /// How long the session can last.
        lives: TimeDelta,
    },
    /// Its session is over: it goes.
    Forget,
}

impl SessionCookieChange {
    /// Gives the browser a cookie for a session that ends at `ends`.
    pub(super) fn keep(broker: &Broker, session: &BrowserSession, ends: Timestamp, now: Timestamp) -> Self {
        Self::Keep { value: session.seal(&broker.keys.current(), &*broker.entropy), lives: ends - now }
    }
}

/// Finds the session that a cookie is for, live or over. Nothing for a cookie that is not ours (told without
/// asking the database), and for a session that was purged.
///
/// # Errors
/// `temporarily_unavailable` while the database is away: then nothing is known about the session, and its cookie
/// must stay.
pub async fn find(broker: &Broker, cookie: &str) -> Result<Option<Box<BrowserSessionRecord>>> {
    match BrowserSession::open(cookie, &broker.keys.current()) {
        Some(presented) => find_opened(broker, &presented).await,
        None => Ok(None),
    }
}

pub(super) async fn find_opened(
    broker: &Broker,
    presented: &BrowserSession,
) -> Result<Option<Box<BrowserSessionRecord>>> {
    let found = broker.storage.find_browser_session(presented.secret.digest()).await?;
    Ok(found.filter(|found| is_of(found, presented)))
}

/// Whether the row is that of the cookie. The seal says whose session it is: a row that says otherwise was
/// tampered with.
pub(super) fn is_of(record: &BrowserSessionRecord, presented: &BrowserSession) -> bool {
    record.session.id == presented.session_id && record.user.id == presented.user_id
}

/// Whether a session can be continued: neither ended nor expired, and its user enabled.
pub fn is_live(record: &BrowserSessionRecord, now: Timestamp) -> bool {
    record.session_revoked_at.is_none()
        && record.user_disabled_at.is_none()
        && now < record.session.expires_at
}

//! The session of a browser, as its cookie names it. It gets the browser a new token from `/login` and says whose
//! session `/logout` is about; it never authenticates a call of the API.

use crate::domain::browser_session::BrowserSession;
use crate::domain::clock::Timestamp;
use crate::error::Result;
use crate::state::Broker;
use crate::storage::records::BrowserSessionRecord;

/// Finds the session that a cookie is for, live or over. Nothing for a cookie that is not ours (told without
/// asking the database), and for a session that was purged.
///
/// # Errors
/// `temporarily_unavailable` while the database is away: then nothing is known about the session, and its cookie
/// must stay.
pub async fn find(broker: &Broker, cookie: &str) -> Result<Option<Box<BrowserSessionRecord>>> {
    let Some(presented) = BrowserSession::open(cookie, &broker.keys.current()) else { return Ok(None) };
    let found = broker.storage.find_browser_session(presented.secret.digest()).await?;
    // The seal says whose session it was when it began: a row that says otherwise was tampered with.
    Ok(found.filter(|found| found.session.id == presented.session_id && found.user.id == presented.user_id))
}

/// Whether a session can be continued: neither ended nor expired, and its user enabled.
pub fn is_live(record: &BrowserSessionRecord, now: Timestamp) -> bool {
    record.session_revoked_at.is_none()
        && record.user_disabled_at.is_none()
        && now < record.session.expires_at
}

//! `/api/sessions`: where a user is signed in, and signing out there.
//!
//! Users see and end only their own sessions; the id of another user's session is treated as unknown.

use crate::domain::address_prefix::AddressPrefix;
use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::device::Device;
use crate::domain::ids::{ProviderId, SessionId};
use crate::domain::session::Session;
use crate::domain::standing::{SessionStanding, session_standing};
use crate::error::{ErrorCode, Result};
use crate::flow::authenticate::SignedIn;
use crate::state::Broker;
use crate::state::audit_trail::Event;

/// A live session in its owner's list.
#[derive(Debug)]
pub struct ListedSession {
    /// The session.
    pub session: Session,
    /// Whether it is the session of the request.
    pub current: bool,
    /// When it was last used, accurate to five minutes; `None` if its token was never used. The current session is
    /// used now.
    pub last_used_at: Option<Timestamp>,
    /// The provider that the person signed in at.
    pub provider: ProviderId,
    /// The browser that signed in.
    pub device: Device,
    /// The network that it signed in from.
    pub address_prefix: AddressPrefix,
}

/// The caller's live sessions, the current one first, then the newest.
///
/// A login whose key has not been redeemed is among them: the key opens a session, and its owner should see it and be
/// able to end it.
///
/// # Errors
/// `temporarily_unavailable` if the database is unreachable.
pub async fn list(broker: &Broker, signed_in: &SignedIn) -> Result<Vec<ListedSession>> {
    let now = broker.clock.now();
    let own = broker.storage.live_sessions_of(signed_in.user.id, now).await?;
    let mut listed: Vec<ListedSession> = own
        .into_iter()
        .filter(|own| session_standing(own, now) == SessionStanding::Live)
        .map(|own| {
            let current = own.state.session.id == signed_in.session.id;
            ListedSession {
                current,
                last_used_at: if current { Some(now) } else { own.state.last_used_at },
                provider: own.user.provider,
                device: Device::of(own.browser.user_agent.as_ref().map(|text| text.as_str())),
                address_prefix: own.browser.address_prefix,
                session: own.state.session,
            }
        })
        .collect();
    listed.sort_by_key(|session| !session.current);
    Ok(listed)
}

/// Ends one of the caller's sessions, with the caller's other sessions of the same browser; it may be the current one.
///
/// # Errors
/// `not_found`, the same for another user's, an unknown, an ended and a malformed id; `temporarily_unavailable` if the
/// database does not answer: then it is unknown whether it has ended. Repeating is safe.
pub async fn end(broker: &Broker, caller: &Caller, signed_in: &SignedIn, id: &str) -> Result<()> {
    let session: SessionId = id.parse().map_err(|_| ErrorCode::NotFound)?;
    let ended = broker.storage.end_own_session(signed_in.user.id, session, broker.clock.now()).await?;
    if ended.is_empty() {
        return Err(ErrorCode::NotFound.into());
    }
    record_ended(broker, caller, signed_in, ended);
    Ok(())
}

/// Ends all of the caller's sessions but the current one.
///
/// # Errors
/// `temporarily_unavailable` if the database does not answer: then it is unknown whether they have ended. Repeating is safe.
pub async fn end_others(broker: &Broker, caller: &Caller, signed_in: &SignedIn) -> Result<()> {
    let (user, current) = (signed_in.user.id, signed_in.session.id);
    let ended = broker.storage.end_other_sessions(user, current, broker.clock.now()).await?;
    record_ended(broker, caller, signed_in, ended);
    Ok(())
}

/// Records each session that its owner ended; the client is that of the request.
pub(super) fn record_ended(
    broker: &Broker,
    caller: &Caller,
    signed_in: &SignedIn,
    ended: impl IntoIterator<Item = SessionId>,
) {
    for session in ended {
        Event::new(broker, caller, AuditKind::SessionEnded)
            .client(&signed_in.token.client_id)
            .user(signed_in.user.id)
            .session(session)
            .record();
    }
}

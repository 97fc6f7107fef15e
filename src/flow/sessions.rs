//! `/api/sessions`: where somebody is signed in, and ending it there.
//!
//! Everybody sees and ends their own sessions only; an id of another person's session is an id that does not
//! exist.

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::device::Device;
use crate::domain::ids::{ProviderId, SessionId};
use crate::domain::session::Session;
use crate::error::{ErrorCode, Result};
use crate::flow::authenticate::Authenticated;
use crate::state::Broker;
use crate::state::audit_trail::Event;

/// A live session in its owner's list.
#[derive(Debug)]
pub struct ListedSession {
    /// The session.
    pub session: Session,
    /// Whether it is the one that asks.
    pub current: bool,
    /// When it was last used, to within five minutes; nothing where its token was never used. The one that asks
    /// is used now.
    pub last_used_at: Option<Timestamp>,
    /// The provider that the person signed in at.
    pub provider: ProviderId,
    /// In which browser.
    pub device: Device,
    /// From which network: /24 of IPv4, /48 of IPv6.
    pub address_prefix: String,
}

/// The caller's live sessions, the current one first, then the newest.
///
/// A login whose key has not been redeemed is among them: whoever has the key has a session, and its owner
/// should see it and be able to end it.
///
/// # Errors
/// `temporarily_unavailable` while the database is away.
pub async fn list(broker: &Broker, signed_in: &Authenticated) -> Result<Vec<ListedSession>> {
    let now = broker.clock.now();
    let own = broker.storage.live_sessions_of(signed_in.user.id, now).await?;
    let mut listed: Vec<ListedSession> = own
        .into_iter()
        .map(|own| {
            let current = own.session.id == signed_in.session.id;
            ListedSession {
                current,
                last_used_at: if current { Some(now) } else { own.last_used_at },
                provider: own.provider,
                device: Device::of(own.browser.user_agent.as_ref().map(|text| text.as_str())),
                address_prefix: own.browser.address_prefix,
                session: own.session,
            }
        })
        .collect();
    listed.sort_by_key(|session| !session.current);
    Ok(listed)
}

/// Ends one of the caller's sessions; it may be the current one.
///
/// # Errors
/// `not_found`, the same for a foreign, an unknown, an ended and a malformed id; `temporarily_unavailable` while
/// the database is away: then nothing was ended.
pub async fn end(broker: &Broker, caller: &Caller, signed_in: &Authenticated, id: &str) -> Result<()> {
    let session: SessionId = id.parse().map_err(|_| ErrorCode::NotFound)?;
    if !broker.storage.end_own_session(signed_in.user.id, session, broker.clock.now()).await? {
        return Err(ErrorCode::NotFound.into());
    }
    record_ended(broker, caller, signed_in, [session]);
    Ok(())
}

/// Ends all of the caller's sessions but the current one.
///
/// # Errors
/// `temporarily_unavailable` while the database is away: then nothing was ended.
pub async fn end_others(broker: &Broker, caller: &Caller, signed_in: &Authenticated) -> Result<()> {
    let (user, current) = (signed_in.user.id, signed_in.session.id);
    let ended = broker.storage.end_other_sessions(user, current, broker.clock.now()).await?;
    record_ended(broker, caller, signed_in, ended);
    Ok(())
}

/// Records each session that somebody ended of their own: the client is the one that asked.
pub(super) fn record_ended(
    broker: &Broker,
    caller: &Caller,
    signed_in: &Authenticated,
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

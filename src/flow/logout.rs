//! Step 5, `/api/logout`: ends the caller's session, or all of the user's, at once and everywhere.

use crate::domain::audit::AuditKind;
use crate::error::Result;
use crate::flow::Caller;
use crate::flow::audit_trail::Event;
use crate::flow::authenticate::Authenticated;
use crate::state::Broker;

/// Ends this session, or `everywhere` all sessions of the user. Other instances see it with their next query.
///
/// # Errors
/// `temporarily_unavailable` while the database is away: then nothing was ended.
pub async fn logout(
    broker: &Broker,
    caller: &Caller,
    signed_in: &Authenticated,
    everywhere: bool,
) -> Result<()> {
    let now = broker.clock.now();
    if everywhere {
        broker.storage.end_sessions_of(signed_in.user.id, now).await?;
    } else {
        broker.storage.end_session(signed_in.session.id, now).await?;
    }
    Event::new(broker, caller, AuditKind::SessionEnded)
        .client(&signed_in.token.client_id)
        .user(signed_in.user.id)
        .session(signed_in.session.id)
        .record();
    Ok(())
}

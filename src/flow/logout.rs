//! Step 5, `/api/logout`: ends the caller's session, or all of the user's, at once and everywhere.

use url::Url;

use crate::domain::caller::Caller;
use crate::error::Result;
use crate::flow::authenticate::SignedIn;
use crate::flow::sessions::record_ended;
use crate::state::Broker;

/// Ends this session, or `everywhere` all sessions of the user. Other instances see it with their next query. If the
/// session's provider can end its own session, the URL for that is returned.
///
/// # Errors
/// `temporarily_unavailable` if the database does not answer: then it is unknown whether the session has ended. Repeating
/// the call is safe; it answers `invalid_token` if it has.
pub async fn logout(
    broker: &Broker,
    caller: &Caller,
    signed_in: &SignedIn,
    everywhere: bool,
) -> Result<Option<Url>> {
    let (user, session, now) = (signed_in.user.id, signed_in.session.id, broker.clock.now());
    let ended = if everywhere {
        broker.storage.end_sessions_of(user, now).await?
    } else {
        Vec::from_iter(broker.storage.end_session(session, now).await?.then_some(session))
    };
    record_ended(broker, caller, signed_in, ended);
    Ok(provider_logout_url(broker, signed_in))
}

/// The broker's own `/logout`, which continues to the provider, or tells the user that the provider could not be
/// reached.
/// `None` only if the provider is known to have no logout.
fn provider_logout_url(broker: &Broker, signed_in: &SignedIn) -> Option<Url> {
    let client = broker.clients.get(&signed_in.token.client_id).filter(|client| !client.legacy)?;
    let provider = broker.providers.get(&signed_in.user.provider)?;
    if provider.has_no_logout() {
        return None;
    }
    let mut url = broker.public_url.join("/logout").ok()?;
    url.query_pairs_mut().append_pair("client_id", client.id.as_str());
    Some(url)
}

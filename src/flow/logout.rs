//! Step 5, `/api/logout`: ends the caller's session, or all of the user's, at once and everywhere.

use std::time::Duration;

use url::Url;

use crate::domain::caller::Caller;
use crate::error::Result;
use crate::flow::authenticate::Authenticated;
use crate::flow::sessions::record_ended;
use crate::state::Broker;

/// How long the answer waits for a provider that has not said yet where its logout is.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ends this session, or `everywhere` all sessions of the user. Other instances see it with their next query.
/// Where the session's provider can end its own, too, it says where the browser goes for it.
///
/// # Errors
/// `temporarily_unavailable` while the database is away: then nothing was ended.
pub async fn logout(
    broker: &Broker,
    caller: &Caller,
    signed_in: &Authenticated,
    everywhere: bool,
) -> Result<Option<Url>> {
    let (user, session, now) = (signed_in.user.id, signed_in.session.id, broker.clock.now());
    let ended = if everywhere {
        broker.storage.end_sessions_of(user, now).await?
    } else {
        Vec::from_iter(broker.storage.end_session(session, now).await?.then_some(session))
    };
    record_ended(broker, caller, signed_in, ended);
    Ok(provider_logout_url(broker, signed_in).await)
}

/// The broker's own `/logout`, which goes on to the provider. A provider that does not answer now has none: the
/// person is signed out here, and that is what was asked for.
async fn provider_logout_url(broker: &Broker, signed_in: &Authenticated) -> Option<Url> {
    let client = broker.clients.get(&signed_in.token.client_id).filter(|client| !client.legacy)?;
    let provider = broker.providers.get(&signed_in.user.provider)?;
    provider.end_session_endpoint(PATIENCE).await.ok()??;
    let mut url = broker.public_url.join("/logout").ok()?;
    url.query_pairs_mut().append_pair("client_id", client.id.as_str());
    Some(url)
}

//! Step 5, `/api/logout`: ends the caller's session, or all of the user's, at once and everywhere.

use url::Url;

use crate::domain::caller::Caller;
use crate::error::{Error, Result};
use crate::flow::authenticate::SignedIn;
use crate::flow::personal_tokens;
use crate::flow::sessions::record_ended;
use crate::state::Broker;

/// What ends.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogoutRequest {
    /// All sessions of the user, not only this one.
    pub everywhere: bool,
    /// The personal tokens as well; only together with `everywhere`.
    pub personal_tokens: bool,
}

/// What is left to do.
#[derive(Debug)]
pub struct LoggedOut {
    /// Where the provider's own session can be ended, if it can.
    pub provider_logout_url: Option<Url>,
    /// What happened to the user's personal tokens; `None` unless the logout was everywhere.
    pub personal_tokens: Option<PersonalTokensAfter>,
}

/// The personal tokens of a user who signed out everywhere.
#[derive(Debug, Clone, Copy)]
pub struct PersonalTokensAfter {
    /// How many were revoked.
    pub revoked: usize,
    /// How many still work.
    pub left: usize,
}

/// Ends this session with the user's other sessions of the same browser, or `everywhere` all sessions of the user.
/// Other instances see it with their next query. If the session's provider can end its own session, the URL for that is
/// returned.
///
/// # Errors
/// `invalid_request` for personal tokens without `everywhere`; `temporarily_unavailable` if the database does not answer:
/// then it is unknown whether the session has ended. Repeating the call is safe; it answers `invalid_token` if it has.
pub async fn logout(
    broker: &Broker,
    caller: &Caller,
    signed_in: &SignedIn,
    request: LogoutRequest,
) -> Result<LoggedOut> {
    if request.personal_tokens && !request.everywhere {
        return Err(Error::invalid_request("The member 'personal_tokens' is only for 'everywhere'."));
    }
    let personal_tokens = if request.everywhere {
        Some(end_everything(broker, caller, signed_in, request.personal_tokens).await?)
    } else {
        let session = signed_in.session.id;
        let ended = broker.storage.end_session(session, broker.clock.now()).await?;
        record_ended(broker, caller, signed_in, ended);
        None
    };
    Ok(LoggedOut { provider_logout_url: provider_logout_url(broker, signed_in), personal_tokens })
}

async fn end_everything(
    broker: &Broker,
    caller: &Caller,
    signed_in: &SignedIn,
    personal_tokens: bool,
) -> Result<PersonalTokensAfter> {
    let (user, now) = (signed_in.user.id, broker.clock.now());
    if personal_tokens {
        let ended = broker.storage.end_everything_of(user, now).await?;
        let revoked = ended.personal_tokens.len();
        record_ended(broker, caller, signed_in, ended.sessions);
        personal_tokens::record_revoked(broker, caller, ended.personal_tokens);
        return Ok(PersonalTokensAfter { revoked, left: 0 });
    }
    // Counted first: once the sessions are ended, an outage must not be the answer.
    let left = personal_tokens::list(broker, signed_in).await?.len();
    let ended = broker.storage.end_sessions_of(user, now).await?;
    record_ended(broker, caller, signed_in, ended);
    Ok(PersonalTokensAfter { revoked: 0, left })
}

/// The broker's own `/logout`, which continues to the provider, or tells the user that the provider could not be
/// reached. `None` only if the provider is known to have no logout.
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

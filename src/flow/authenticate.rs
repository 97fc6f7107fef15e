//! Step 4, every API call: is the presented bearer token live?
//!
//! A valid MAC is never enough: the row must exist and be live, its session live, its user enabled, its client
//! registered. No verdict is cached; each call asks the database once, and a forged token never does.

use std::sync::Arc;

use crate::domain::api_token::{GenuineToken, TokenFacts};
use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client::Client;
use crate::domain::clock::Timestamp;
use crate::domain::key_ring::{KeyId, KeyRing};
use crate::domain::lifetimes;
use crate::domain::session::Session;
use crate::domain::user::User;
use crate::error::{Error, ErrorCode, Result};
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::state::limits::{Counted, count};
use crate::storage::records::TokenRecord;

/// Who calls, proven by a live token.
#[derive(Debug)]
pub struct Authenticated {
    /// The user.
    pub user: User,
    /// The session that the token belongs to.
    pub session: Session,
    /// The token's own facts.
    pub token: TokenFacts,
}

/// Checks a presented token.
///
/// # Errors
/// `invalid_token`, the same for everything that is wrong with it; `rate_limited` once an address has failed
/// too often; `temporarily_unavailable` while the database is away: then nothing is said about the token.
pub async fn authenticate(broker: &Broker, caller: &Caller, presented: &str) -> Result<Authenticated> {
    let LiveToken { record, .. } = live_token(broker, caller, presented).await?;
    let TokenRecord { user, session, token, .. } = *record;
    Ok(Authenticated { user, session, token: token.facts })
}

/// A token that may be used, with its row and its client.
pub(super) struct LiveToken<'a> {
    /// By which it was judged.
    pub(super) keys: Arc<KeyRing>,
    pub(super) genuine: GenuineToken,
    pub(super) record: Box<TokenRecord>,
    pub(super) client: &'a Client,
}

/// The row of a token that may be used; refuses, counts and remembers every other.
pub(super) async fn live_token<'a>(
    broker: &'a Broker,
    caller: &Caller,
    presented: &str,
) -> Result<LiveToken<'a>> {
    let keys = broker.keys.current();
    let Ok(genuine) = GenuineToken::parse(presented, &keys) else {
        return Err(refused(broker, caller, None));
    };
    let Some(record) = broker.storage.find_token(genuine.handle.digest()).await? else {
        return Err(refused(broker, caller, None));
    };
    let Some(client) = broker.clients.get(&record.token.facts.client_id) else {
        return Err(refused(broker, caller, Some(&record)));
    };
    let now = broker.clock.now();
    let liveness = liveness(&keys, &record, genuine.key_id, now);
    match liveness {
        // Flagged, so that no later use of the session revives it.
        Liveness::Usable if is_idle(broker, client, &record, now).await? => {
            let facts = &record.token.facts;
            if broker.storage.revoke_token(facts.handle, now).await? {
                about(Event::new(broker, caller, AuditKind::TokenIdle), facts).record();
            }
            Err(refused(broker, caller, Some(&record)))
        }
        Liveness::Usable => {
            broker.last_uses.note(&record, now);
            Ok(LiveToken { keys, genuine, record, client })
        }
        // A `legacy` token is shared by all the person's browsers: nobody has stolen it.
        Liveness::Reused if !client.legacy => {
            let facts = &record.token.facts;
            let ended = broker.storage.end_session(facts.session_id, now).await?;
            about(Event::new(broker, caller, AuditKind::TokenReused), facts).record();
            if ended {
                about(Event::new(broker, caller, AuditKind::SessionEnded), facts).record();
            }
            Err(refused(broker, caller, Some(&record)))
        }
        Liveness::Reused | Liveness::Dead => Err(refused(broker, caller, Some(&record))),
    }
}

/// Whether the token's session was not used for longer than its client allows.
///
/// A use that waits to be written counts. It may be written, and wait no more, between the two looks at it: hence
/// the second look at the row, of those only that are about to be refused.
async fn is_idle(broker: &Broker, client: &Client, record: &TokenRecord, now: Timestamp) -> Result<bool> {
    let facts = &record.token.facts;
    let used_within_limit = |at| !client.is_idle(at, now);
    if used_within_limit(record.session_last_used())
        || broker.last_uses.of(facts.session_id).is_some_and(used_within_limit)
    {
        return Ok(false);
    }
    let again = broker.storage.find_token(facts.handle).await?;
    Ok(!again.is_some_and(|again| used_within_limit(again.session_last_used())))
}

/// Refuses a token without the scope that an endpoint needs (RFC 6750 section 3.1).
pub fn require_scope(signed_in: &Authenticated, scope: &'static str) -> Result<()> {
    let has = signed_in.token.scope.split(' ').any(|granted| granted == scope);
    if has { Ok(()) } else { Err(Error::insufficient_scope(scope)) }
}

/// What a row says about its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// It may be used: it lives, or was rotated away a moment ago.
    Usable,
    /// It was rotated away for good and is used all the same: somebody has a copy.
    Reused,
    /// It may not be used.
    Dead,
}

/// Judges a row. Revoked is a flag, so that no step of the clock revives what was ended.
pub(super) fn liveness(keys: &KeyRing, record: &TokenRecord, key_id: KeyId, now: Timestamp) -> Liveness {
    let facts = &record.token.facts;
    let genuine = facts.key_id == key_id && facts.is_bound_by(&record.token.binding, keys);
    let ended = record.revoked_at.is_some()
        || record.session_revoked_at.is_some()
        || record.user_disabled_at.is_some();
    let expired = now >= facts.expires_at || now >= record.session.expires_at;
    if !genuine || ended || expired {
        return Liveness::Dead;
    }
    match record.superseded_at {
        None => Liveness::Usable,
        // The clocks of two instances differ a little: shortly before is shortly after.
        Some(at) if (now - at).abs() < lifetimes::ROTATION_OVERLAP => Liveness::Usable,
        // The clock was set back: how long ago it was, nobody knows.
        Some(at) if now < at => Liveness::Dead,
        Some(_) => Liveness::Reused,
    }
}

/// Refuses a token. The refusals of an address over its limit are not remembered one by one.
pub(super) fn refused(broker: &Broker, caller: &Caller, record: Option<&TokenRecord>) -> Error {
    if let Err(limited) = count(broker, caller, Counted::FailedToken) {
        return limited;
    }
    let event = Event::new(broker, caller, AuditKind::TokenRefused).reason(ErrorCode::InvalidToken);
    match record {
        Some(record) => about(event, &record.token.facts).record(),
        None => event.record(),
    }
    ErrorCode::InvalidToken.into()
}

/// An event about a token.
pub(super) fn about<'a>(event: Event<'a>, facts: &TokenFacts) -> Event<'a> {
    event.client(&facts.client_id).user(facts.user_id).session(facts.session_id).token(facts.handle)
}

//! Step 4, every API call: is the presented bearer token live?
//!
//! A valid MAC is never enough: the row must exist and be live, its session live, its user enabled, its client
//! registered. No verdict is cached; each call asks the database once, and a forged token never does.

use crate::domain::api_token::{GenuineToken, TokenFacts};
use crate::domain::audit::AuditKind;
use crate::domain::clock::Timestamp;
use crate::domain::key_ring::{KeyId, KeyRing};
use crate::domain::lifetimes;
use crate::domain::session::Session;
use crate::domain::user::User;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::Caller;
use crate::flow::audit_trail::Event;
use crate::state::Broker;
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
    let (_, record) = live_record(broker, caller, presented).await?;
    let TokenRecord { user, session, token, .. } = *record;
    Ok(Authenticated { user, session, token: token.facts })
}

/// The row of a token that may be used; refuses, counts and remembers every other.
pub(super) async fn live_record(
    broker: &Broker,
    caller: &Caller,
    presented: &str,
) -> Result<(GenuineToken, Box<TokenRecord>)> {
    let Ok(genuine) = GenuineToken::parse(presented, &broker.keys) else {
        return Err(refused(broker, caller, None));
    };
    let Some(record) = broker.storage.find_token(genuine.handle.digest()).await? else {
        return Err(refused(broker, caller, None));
    };
    let known_client = broker.clients.get(&record.token.facts.client_id).is_some();
    match liveness(&broker.keys, &record, genuine.key_id, broker.clock.now()) {
        usable if usable.is_usable() && known_client => Ok((genuine, record)),
        Liveness::Reused => {
            broker.storage.end_session(record.session.id, broker.clock.now()).await?;
            about(Event::new(broker, caller, AuditKind::TokenReused), &record.token.facts).record();
            Err(refused(broker, caller, Some(&record)))
        }
        _ => Err(refused(broker, caller, Some(&record))),
    }
}

/// Refuses a token without the scope that an endpoint needs (RFC 6750 section 3.1).
pub fn require_scope(caller: &Authenticated, scope: &'static str) -> Result<()> {
    let has = caller.token.scope.split(' ').any(|granted| granted == scope);
    if has { Ok(()) } else { Err(Error::insufficient_scope(scope)) }
}

/// What a row says about its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// It may be used.
    Live,
    /// It was rotated away a moment ago and may still be used.
    Overlapping,
    /// It was rotated away for good and is used all the same: somebody has a copy.
    Reused,
    /// It may not be used.
    Dead,
}

impl Liveness {
    /// Whether the token may be used.
    pub(super) fn is_usable(self) -> bool {
        matches!(self, Self::Live | Self::Overlapping)
    }
}

/// Judges a row. Revoked and superseded are flags, so that no step of the clock revives anything.
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
        None => Liveness::Live,
        // The clocks of two instances differ a little: shortly before is shortly after.
        Some(at) if (now - at).abs() < lifetimes::ROTATION_OVERLAP => Liveness::Overlapping,
        // The clock was set back: how long ago it was, nobody knows.
        Some(at) if now < at => Liveness::Dead,
        Some(_) => Liveness::Reused,
    }
}

pub(super) fn refused(broker: &Broker, caller: &Caller, record: Option<&TokenRecord>) -> Error {
    let event = Event::new(broker, caller, AuditKind::TokenRefused).reason(ErrorCode::InvalidToken);
    match record {
        Some(record) => about(event, &record.token.facts).record(),
        None => event.record(),
    }
    broker.limits.failed_token(caller).err().unwrap_or_else(|| ErrorCode::InvalidToken.into())
}

fn about<'a>(event: Event<'a>, facts: &TokenFacts) -> Event<'a> {
    event.client(&facts.client_id).user(facts.user_id).session(facts.session_id).token(facts.handle)
}

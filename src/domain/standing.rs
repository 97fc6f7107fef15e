//! Decides whether a stored token may be used at a given time. This is the only place that does.
//!
//! [`standing`] is pure and total. All endpoints and commands use its result; none makes its own decision. The SQL
//! filters that repeat parts of it for speed are in `storage/liveness.rs`, and a property test checks that they agree.

use super::client::Client;
use super::clock::Timestamp;
use super::key_ring::KeyRing;
use super::lifetimes::{REFRESH_GRACE, ROTATION_OVERLAP};
use super::session::{SessionRecord, SessionState};
use super::token::StoredToken;
use super::user::User;

/// A stored token with everything that decides whether it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The row.
    pub token: StoredToken,
    /// When it was replaced by its first successor.
    pub superseded_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, accurate to [`LAST_USE_GRAIN`](crate::domain::lifetimes::LAST_USE_GRAIN).
    pub last_used_at: Option<Timestamp>,
    /// Its session, if its kind has one.
    pub session: Option<SessionState>,
    /// Its user, with the profile of the token's identity.
    pub user: User,
    /// When the user was disabled.
    pub user_disabled_at: Option<Timestamp>,
}

/// The state of a token at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may be used.
    Live,
    /// It was rotated and may still be used, so that requests in flight do not fail.
    Overlap {
        /// Until when.
        until: Timestamp,
    },
    /// It was rotated and its overlap is over.
    Superseded {
        /// Whether using it now proves that someone has a copy. Not if the clock was set back to before the rotation.
        reuse: bool,
    },
    /// It was revoked.
    Revoked,
    /// Its session was ended, or is missing although the token belongs to one.
    SessionEnded,
    /// Its own lifetime, or its session's, is over.
    Expired,
    /// Its client has an inactivity limit, and the session was not used for longer than that. The session itself stays:
    /// other clients can continue it.
    Idle,
    /// Its user is disabled.
    UserDisabled,
    /// Its client is disabled or no longer registered.
    ClientGone,
    /// The server key that issued it was removed.
    KeyRemoved,
    /// Its row was changed by someone without the server key.
    Forged,
}

impl Standing {
    /// Whether the token may be used.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Live | Self::Overlap { .. })
    }

    /// The name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Overlap { .. } => "overlap",
            Self::Superseded { .. } => "superseded",
            Self::Revoked => "revoked",
            Self::SessionEnded => "session_ended",
            Self::Expired => "expired",
            Self::Idle => "idle",
            Self::UserDisabled => "user_disabled",
            Self::ClientGone => "client_gone",
            Self::KeyRemoved => "key_removed",
            Self::Forged => "forged",
        }
    }
}

/// The state of a token at `now`.
///
/// `client` is the registered client of the token, if there is one. `last_used` is the latest use of its session that
/// is known but not stored yet. If several things are wrong with a token, the first in this order is reported: a row
/// that cannot be checked or trusted, what someone did (revoked, ended, disabled, client removed), what time did.
///
/// What someone did is a flag, so a clock that is set back does not undo it. What time did depends on the clock: if it
/// is set back, an expired token is valid until its time comes again, and a superseded one can be in its overlap again
/// unless it was presented after the overlap, which ends its session.
pub fn standing(
    record: &TokenRecord,
    client: Option<&Client>,
    last_used: Option<Timestamp>,
    keys: &KeyRing,
    now: Timestamp,
) -> Standing {
    judge(record, client, last_used, keys, now, record.token.facts.expires_at)
}

/// Judges the refresh token of a row, which lives [`REFRESH_GRACE`] longer than the access token, but never longer than
/// the session. Everything else is as for [`standing`].
pub fn refresh_standing(
    record: &TokenRecord,
    client: Option<&Client>,
    last_used: Option<Timestamp>,
    keys: &KeyRing,
    now: Timestamp,
) -> Standing {
    judge(record, client, last_used, keys, now, record.token.facts.expires_at + REFRESH_GRACE)
}

/// Whether a token that is never rotated is still its owner's: it can be used now, or could be if its client were
/// enabled. Tokens of a disabled client are listed, counted and revoked like all others.
pub fn is_owned(record: &TokenRecord, keys: &KeyRing, now: Timestamp) -> bool {
    flaw(record, keys).is_none() && !is_expired(record, record.token.facts.expires_at, now)
}

/// What is wrong with a token that neither its client nor the time can change.
fn flaw(record: &TokenRecord, keys: &KeyRing) -> Option<Standing> {
    let facts = &record.token.facts;
    let Some(key) = keys.get(facts.key_id) else { return Some(Standing::KeyRemoved) };
    if !facts.is_bound_by(&record.token.binding, key) {
        return Some(Standing::Forged);
    }
    if record.revoked_at.is_some() {
        return Some(Standing::Revoked);
    }
    let has_session = facts.owner.session_id.is_none() || record.session.is_some();
    if !has_session || record.session.as_ref().is_some_and(|session| session.revoked_at.is_some()) {
        return Some(Standing::SessionEnded);
    }
    record.user_disabled_at.map(|_| Standing::UserDisabled)
}

fn is_expired(record: &TokenRecord, expires_at: Timestamp, now: Timestamp) -> bool {
    now >= expires_at || record.session.as_ref().is_some_and(|state| now >= state.session.expires_at)
}

fn judge(
    record: &TokenRecord,
    client: Option<&Client>,
    last_used: Option<Timestamp>,
    keys: &KeyRing,
    now: Timestamp,
    expires_at: Timestamp,
) -> Standing {
    if let Some(flaw) = flaw(record, keys) {
        return flaw;
    }
    let Some(client) = client.filter(|client| client.enabled) else { return Standing::ClientGone };
    if is_expired(record, expires_at, now) {
        return Standing::Expired;
    }
    let rotated = match record.superseded_at {
        None => Standing::Live,
        // The clocks of two instances differ a little: shortly before counts as shortly after.
        Some(at) if (now - at).abs() < ROTATION_OVERLAP => Standing::Overlap { until: at + ROTATION_OVERLAP },
        Some(at) => return Standing::Superseded { reuse: now > at },
    };
    let is_idle = record.session.as_ref().is_some_and(|state| {
        // Issuing a token is a use of its session.
        let used = [Some(record.token.facts.issued_at), state.last_used_at, last_used];
        used.into_iter().flatten().max().is_some_and(|used| client.is_idle(used, now))
    });
    if is_idle { Standing::Idle } else { rotated }
}

/// The state of a session at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStanding {
    /// It can be continued, and its tokens may be used.
    Live,
    /// It was ended.
    Ended,
    /// Its lifetime is over.
    Expired,
    /// Its user is disabled.
    UserDisabled,
}

impl SessionStanding {
    /// The name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::UserDisabled => "user_disabled",
        }
    }
}

/// The state of a session at `now`. Whether it is idle depends on the client that asks: see [`is_idle_for`].
pub fn session_standing(record: &SessionRecord, now: Timestamp) -> SessionStanding {
    if record.state.revoked_at.is_some() {
        SessionStanding::Ended
    } else if record.user_disabled_at.is_some() {
        SessionStanding::UserDisabled
    } else if now >= record.state.session.expires_at {
        SessionStanding::Expired
    } else {
        SessionStanding::Live
    }
}

/// Whether a session has not been used for longer than `client` allows. A token that was issued but never used is no
/// use.  `last_used` is as for [`standing`].
pub fn is_idle_for(
    record: &SessionRecord,
    client: &Client,
    last_used: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let used = last_used.max(record.state.last_used_at).unwrap_or(record.state.session.created_at);
    client.is_idle(used, now)
}

#[cfg(test)]
mod tests;

//! The SQL conditions that repeat [`standing`](crate::domain::standing::standing) and
//! [`session_standing`](crate::domain::standing::session_standing), so that lists and updates select rows without
//! judging each of them in the program.
//!
//! This is the only file of the storage with such conditions; `tests/broker/liveness.rs` checks with random rows that
//! they agree. They cannot detect a broken MAC (`Standing::Forged`) and ignore uses that are not stored yet.

use chrono::TimeDelta;
use diesel::dsl::auto_type;
use diesel::prelude::*;

use super::any_of::AnyOf;
use super::schema::{sessions, tokens, users};
use super::types::Time;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ClientId;
use crate::domain::key_ring::KeyId;
use crate::domain::lifetimes::{LAST_USE_GRAIN, ROTATION_OVERLAP};
use crate::domain::token_kind::TokenKind;

/// The token is not `Standing::Revoked`.
#[auto_type]
pub fn is_unrevoked() -> _ {
    tokens::revoked_at.is_null()
}

/// The token is neither in its `Standing::Overlap` nor `Standing::Superseded`.
#[auto_type]
pub fn is_unrotated() -> _ {
    tokens::superseded_at.is_null()
}

/// By its own row, the token is neither `Standing::Revoked` nor `Standing::Expired`: it must be revoked when its
/// session ends: even a rotated token is valid during its overlap.
#[auto_type]
pub fn is_revocable(now: Time) -> _ {
    is_unrevoked().and(tokens::expires_at.gt(now))
}

/// By its own row, the token is `Standing::Live`; this is what counts towards the limit of live tokens.
#[auto_type]
pub fn is_current(now: Time) -> _ {
    let revocable: is_revocable = is_revocable(now);
    revocable.and(is_unrotated())
}

/// The token is of the kind that clients hold inside sessions. Tokens that a person makes are limited on their own.
#[auto_type]
pub fn is_session_token() -> _ {
    let kind: &'static str = TokenKind::Session.as_str();
    tokens::kind.eq(kind)
}

/// The token is of the kind that a person makes.
#[auto_type]
pub fn is_personal_token() -> _ {
    let kind: &'static str = TokenKind::Personal.as_str();
    tokens::kind.eq(kind)
}

/// By its own row, the token was `Standing::Revoked` or `Standing::Expired` before a moment. Never NULL, so that it can
/// be negated.
#[auto_type]
pub fn is_dead(before: Time) -> _ {
    let revoked: was_revoked = was_revoked(before);
    tokens::expires_at.lt(before).or(revoked)
}

#[auto_type]
fn was_revoked(before: Time) -> _ {
    tokens::revoked_at.is_not_null().and(tokens::revoked_at.lt(before))
}

/// The session is not `SessionStanding::Ended`.
#[auto_type]
pub fn is_unended() -> _ {
    sessions::revoked_at.is_null()
}

/// The session is neither `SessionStanding::Ended` nor `SessionStanding::Expired`.
#[auto_type]
pub fn is_open(now: Time) -> _ {
    is_unended().and(sessions::expires_at.gt(now))
}

/// The session was not over at an earlier moment, even if it is now.
#[auto_type]
pub fn was_open(at: Time) -> _ {
    is_unended().or(sessions::revoked_at.ge(at)).and(sessions::expires_at.gt(at))
}

/// The session was `SessionStanding::Ended` or `SessionStanding::Expired` before a moment.
#[auto_type]
pub fn is_over(before: Time) -> _ {
    sessions::expires_at.lt(before).or(sessions::revoked_at.lt(before))
}

/// The user is not `Standing::UserDisabled`.
#[auto_type]
pub fn is_enabled() -> _ {
    users::disabled_at.is_null()
}

/// The user is `Standing::UserDisabled`.
#[auto_type]
pub fn is_disabled() -> _ {
    users::disabled_at.is_not_null()
}

/// The session is `SessionStanding::Live`. The query joins its user.
#[auto_type]
pub fn is_live_session(now: Time) -> _ {
    let open: is_open = is_open(now);
    open.and(is_enabled())
}

/// The token is in no session, or in one that is neither `SessionStanding::Ended` nor `SessionStanding::Expired`. The
/// query joins the session, if there is one.
#[auto_type]
pub fn is_in_open_session(now: Time) -> _ {
    let open: is_open = is_open(now);
    tokens::session_id.is_null().or(open)
}

/// The token is not `Standing::Superseded`: it was not rotated, or its overlap lasts. The moments are the overlap's
/// length before and after now.
#[auto_type]
fn is_not_superseded(after: Time, before: Time) -> _ {
    is_unrotated().or(tokens::superseded_at.gt(after).and(tokens::superseded_at.lt(before)))
}

/// The token belongs to one of these clients and is not `Standing::Idle`: its session was used after a moment, or it
/// has none. Issuing a token is a use of its session.
#[auto_type]
fn is_used_after(clients: Vec<String>, idle_since: Time) -> _ {
    let used: is_session_used_after = is_session_used_after(idle_since);
    tokens::client_id.eq_any(clients).and(used)
}

#[auto_type]
fn is_session_used_after(idle_since: Time) -> _ {
    tokens::session_id
        .is_null()
        .or(tokens::issued_at.gt(idle_since))
        .or(sessions::last_used_at.gt(idle_since))
}

/// The token's client is neither unknown nor too long without use (`Standing::ClientGone`, `Standing::Idle`).
#[auto_type]
fn is_of_client(unlimited: Vec<String>, limited: AnyOf<is_used_after>) -> _ {
    tokens::client_id.eq_any(unlimited).or(limited)
}

/// What the configuration and the clock contribute to a token's standing.
#[derive(Debug, Clone)]
pub struct UsableAt {
    /// The moment.
    pub now: Timestamp,
    /// The enabled clients, each with its limit of inactivity.
    pub clients: Vec<(ClientId, Option<TimeDelta>)>,
    /// The server keys of the ring.
    pub keys: Vec<KeyId>,
}

impl UsableAt {
    /// `Standing::is_usable`, for rows with a genuine MAC. The query joins the user and, if there is one, the session.
    pub fn condition(&self) -> is_usable {
        let of_limit = |limit: Option<TimeDelta>| {
            let clients = self.clients.iter().filter(move |(_, other)| *other == limit);
            clients.map(|(client, _)| client.as_str().to_owned()).collect::<Vec<String>>()
        };
        let mut limits: Vec<TimeDelta> = self.clients.iter().filter_map(|(_, limit)| *limit).collect();
        limits.sort_unstable();
        limits.dedup();
        let limited = limits
            .into_iter()
            .map(|limit| is_used_after(of_limit(Some(limit)), Time(self.now - (limit + LAST_USE_GRAIN))));
        is_usable(
            Time(self.now),
            is_not_superseded(Time(self.now - ROTATION_OVERLAP), Time(self.now + ROTATION_OVERLAP)),
            is_of_client(of_limit(None), AnyOf(limited.collect())),
            self.keys.iter().map(|key| key.0.into()).collect(),
        )
    }
}

#[auto_type]
fn is_usable(now: Time, rotated: is_not_superseded, client: is_of_client, keys: Vec<i64>) -> _ {
    let revocable: is_revocable = is_revocable(now);
    let in_open_session: is_in_open_session = is_in_open_session(now);
    revocable.and(rotated).and(in_open_session).and(is_enabled()).and(client).and(tokens::key_id.eq_any(keys))
}

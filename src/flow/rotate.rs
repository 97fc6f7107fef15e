//! Step 5, `/api/token/rotate`: exchanges a live token for its successor, inside the same session.
//!
//! The old token works 60 seconds more, so that requests under way do not fail; in that time another tab may
//! rotate it too and gets a sibling. Nobody is thrown out by rotating twice.

use crate::domain::api_token::{TokenFacts, TokenHandle};
use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::key_ring::KeyRing;
use crate::domain::lifetimes;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::authenticate::{LiveToken, Liveness, live_token, liveness, refused};
use crate::flow::issue::{Issue, IssuedToken, TokenParts};
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::storage::records::{Rotation, RotationLimits, TokenRecord};

/// Rotates the presented token.
///
/// # Errors
/// `invalid_token` as for every call; `invalid_request` for `legacy` clients; `rate_limited` when it already has its
/// siblings: the old token still works until its overlap ends.
pub async fn rotate(broker: &Broker, caller: &Caller, presented: &str) -> Result<IssuedToken> {
    let LiveToken { keys, genuine, record, client } = live_token(broker, caller, presented).await?;
    if client.legacy {
        // Every browser of the person shares the token: rotating it in one would sign the others out.
        return Err(Error::invalid_request("Tokens of a legacy client are not rotated: sign in again."));
    }
    let now = broker.clock.now();
    let issue = Issue::new(broker, client, now).with_binding_of(&record.token.facts);
    let handle = issue.handle().clone();
    let issuing = issue.keys();
    let digest = genuine.handle.digest();
    // Judged again on the locked row: between reading and locking the session may have ended.
    let judge = move |locked: &TokenRecord| liveness(&keys, locked, genuine.key_id, now) == Liveness::Usable;
    let row = move |locked: &TokenRecord| {
        let facts = &locked.token.facts;
        issue.row(facts.user_id, facts.session_id, locked.session.expires_at)
    };
    let limits =
        RotationLimits { siblings: lifetimes::ROTATION_SIBLINGS, live_tokens: broker.live_tokens_per_user };
    match broker.storage.rotate(digest, now, limits, judge, row).await? {
        Rotation::Rotated(successor) => hand_out(broker, caller, &issuing, &successor.facts, &handle, now),
        Rotation::Refused => Err(refused(broker, caller, Some(&record))),
        Rotation::TooManySiblings => Err(Error::new(ErrorCode::RateLimited).retry_after(1)),
    }
}

fn hand_out(
    broker: &Broker,
    caller: &Caller,
    keys: &KeyRing,
    facts: &TokenFacts,
    handle: &TokenHandle,
    now: Timestamp,
) -> Result<IssuedToken> {
    Event::new(broker, caller, AuditKind::TokenRotated)
        .client(&facts.client_id)
        .user(facts.user_id)
        .session(facts.session_id)
        .token(facts.handle)
        .record();
    let parts =
        TokenParts { key_id: facts.key_id, handle, expires_at: facts.expires_at, scope: &facts.scope };
    IssuedToken::of(keys, parts, now).ok_or_else(|| ErrorCode::ServerError.into())
}

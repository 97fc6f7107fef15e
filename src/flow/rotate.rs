//! Step 4, `/api/token/rotate`: exchanges a live token for its successor, inside the same session.
//!
//! The old token stays valid for 60 seconds, so that requests in flight do not fail; a tab that rotates it in that time
//! gets a second successor. Rotating twice signs no one out. A bound token needs a proof of its key, and its successor is
//! bound to the same key.

use std::sync::Arc;

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::key_ring::KeyRing;
use crate::domain::lifetimes;
use crate::domain::standing::{TokenRecord, standing};
use crate::domain::token::{StoredToken, TokenHandle};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::authenticate::authenticate;
use crate::flow::decide::{Access, Denial, Judge, Need, Reason};
use crate::flow::issue::{Issue, IssuedToken, TokenParts};
use crate::flow::possession::Presented;
use crate::flow::react::{Asker, concerning, refuse};
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::storage::tokens::{Rotation, RotationLimits};

/// A rotated token, ready to be written out.
pub(super) struct Successor {
    /// Its row.
    pub(super) stored: Box<StoredToken>,
    /// Its random part.
    pub(super) handle: TokenHandle,
    /// The server keys that it was made with.
    pub(super) keys: Arc<KeyRing>,
    /// When it was made.
    pub(super) now: Timestamp,
}

impl Successor {
    /// The token for its owner.
    pub(super) fn issued(&self) -> Result<IssuedToken> {
        let parts = TokenParts::of(&self.stored.facts, &self.handle);
        IssuedToken::new(&self.keys, parts, self.now).ok_or_else(|| ErrorCode::ServerError.into())
    }
}

/// Rotates the presented token.
///
/// # Errors
/// `invalid_token` as for every call; `insufficient_scope` for a token that is in no session; `invalid_request` for
/// `legacy` clients; `rate_limited` if the token already has its siblings: it still works until its overlap ends.
pub async fn rotate(broker: &Broker, caller: &Caller, presented: &Presented<'_>) -> Result<IssuedToken> {
    let access = authenticate(broker, caller, presented, &Need::session(None)).await?;
    succeed(broker, caller, access, standing).await?.issued()
}

/// Writes the successor of a token that may be used, by the judgement that said so.
///
/// # Errors
/// As for [`rotate`].
pub(super) async fn succeed(
    broker: &Broker,
    caller: &Caller,
    access: Access,
    judge: Judge,
) -> Result<Successor> {
    let Access { record, keys, proven } = access;
    let facts = &record.token.facts;
    let client = broker.clients.get(&facts.client_id).ok_or(ErrorCode::InvalidToken)?;
    if client.legacy {
        // All browsers of the person share the token: rotating it in one would sign the others out.
        return Err(Error::invalid_request("Tokens of a legacy client are not rotated: sign in again."));
    }
    // The holder of an unbound refresh token can bind its successor.
    let dpop_jkt = facts.dpop_jkt.or(proven);
    if client.requires_dpop() && dpop_jkt.is_none() {
        return Err(Error::new(ErrorCode::InvalidToken)
            .detail("Tokens of this client must be bound to a key, and this one is not. Sign in again."));
    }
    let now = broker.clock.now();
    let issue = Issue::successor_of(facts, broker, client, now).bound_to(dpop_jkt);
    let (handle, issuing) = (issue.handle().clone(), issue.keys());
    let judged_by = client.clone();
    // Judged again on the locked row: between reading and locking it, the session may have ended.
    let judged = move |locked: &TokenRecord| judge(locked, Some(&judged_by), Some(now), &keys, now);
    let row = move |locked: &TokenRecord| {
        let session = locked.session.as_ref().map(|state| &state.session);
        issue.row(locked.token.facts.owner, session.map(|session| session.expires_at))
    };
    let limits =
        RotationLimits { siblings: lifetimes::ROTATION_SIBLINGS, live_tokens: broker.live_tokens_per_user };
    match broker.storage.rotate(facts.handle, now, limits, judged, row).await? {
        Rotation::Rotated(stored) => {
            let event = Event::new(broker, caller, AuditKind::TokenRotated);
            concerning(event, &stored.facts).record();
            Ok(Successor { stored, handle, keys: issuing, now })
        }
        Rotation::Refused(standing) => {
            let reason = standing.map_or(Reason::NotFound, Reason::Standing);
            let denial = Denial { reason, record: Some(record) };
            Err(refuse(broker, Asker::Holder(caller), &denial).await)
        }
        Rotation::TooManySiblings => Err(Error::new(ErrorCode::RateLimited).retry_after(1)),
    }
}

//! Step 4, `/api/token/rotate`: exchanges a live token for its successor, inside the same session.
//!
//! The old token stays valid for 60 seconds, so that requests in flight do not fail; a tab that rotates it in that time
//! gets a second successor. Rotating twice signs no one out.

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::lifetimes;
use crate::domain::standing::{TokenRecord, standing};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::authenticate::authenticate;
use crate::flow::decide::{Access, Denial, Need, Reason};
use crate::flow::issue::{Issue, IssuedToken, TokenParts};
use crate::flow::react::{Asker, concerning, refuse};
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::storage::tokens::{Rotation, RotationLimits};

/// Rotates the presented token.
///
/// # Errors
/// `invalid_token` as for every call; `insufficient_scope` for a token that is in no session; `invalid_request` for
/// `legacy` clients; `rate_limited` if the token already has its siblings: it still works until its overlap ends.
pub async fn rotate(broker: &Broker, caller: &Caller, presented: &str) -> Result<IssuedToken> {
    let Access { record, keys } = authenticate(broker, caller, presented, &Need::session(None)).await?;
    let facts = &record.token.facts;
    let client = broker.clients.get(&facts.client_id).ok_or(ErrorCode::InvalidToken)?;
    if client.legacy {
        // All browsers of the person share the token: rotating it in one would sign the others out.
        return Err(Error::invalid_request("Tokens of a legacy client are not rotated: sign in again."));
    }
    let now = broker.clock.now();
    let issue = Issue::successor_of(facts, broker, client, now);
    let (handle, issuing) = (issue.handle().clone(), issue.keys());
    let owner = client.clone();
    // Checked again on the locked row: between reading and locking it, the session may have ended.
    let checked = move |locked: &TokenRecord| standing(locked, Some(&owner), Some(now), &keys, now);
    let row = move |locked: &TokenRecord| {
        let session = locked.session.as_ref().map(|state| &state.session);
        issue.row(locked.token.facts.owner, session.map(|session| session.expires_at))
    };
    let limits =
        RotationLimits { siblings: lifetimes::ROTATION_SIBLINGS, live_tokens: broker.live_tokens_per_user };
    match broker.storage.rotate(facts.handle, now, limits, checked, row).await? {
        Rotation::Rotated(successor) => {
            let event = Event::new(broker, caller, AuditKind::TokenRotated);
            concerning(event, &successor.facts).record();
            let parts = TokenParts::of(&successor.facts, &handle);
            IssuedToken::new(&issuing, parts, now).ok_or_else(|| ErrorCode::ServerError.into())
        }
        Rotation::Refused(standing) => {
            let reason = standing.map_or(Reason::NotFound, Reason::Standing);
            let denial = Denial { reason, record: Some(record) };
            Err(refuse(broker, Asker::Holder(caller), &denial).await)
        }
        Rotation::TooManySiblings => Err(Error::new(ErrorCode::RateLimited).retry_after(1)),
    }
}

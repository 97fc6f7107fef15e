//! The redemption of a one-time key with a DPoP proof (RFC 9449): the token that it is exchanged for is bound to the key of
//! the proof.
//!
//! A login that named its key (`dpop_jkt`) wrote a bound row, and its entry is found with a proof of that key only; so its
//! redemption needs no database. A client of standard OAuth 2 that did not name its key gets the row bound now.
//!
//! The entry is looked at first and taken last, so that whatever fails before has spent nothing.

use std::sync::Arc;

use crate::domain::dpop::refusal::ProofRefused;
use crate::domain::dpop::thumbprint::Thumbprint;
use crate::domain::key_ring::KeyRing;
use crate::domain::one_time_key::{EntryName, EntryPart, Grant};
use crate::domain::standing::{TokenRecord, standing};
use crate::domain::token::{StoredToken, TokenFacts};
use crate::error::Result;
use crate::flow::possession::{ProofRequest, grant_error, verify_for_grant};
use crate::key_store::Seen;
use crate::state::Broker;

/// The entry that a redemption leads to.
pub(super) struct FoundEntry {
    /// Its name.
    pub(super) name: EntryName,
    /// Whether its row is bound to the key of the proof.
    pub(super) is_bound: bool,
}

impl FoundEntry {
    fn bound(name: EntryName) -> Self {
        Self { name, is_bound: true }
    }

    /// That of a redemption without a proof, or of a key that was used before.
    pub(super) fn unbound(name: EntryName) -> Self {
        Self { name, is_bound: false }
    }
}

/// Finds the entry that a one-time key and a proof lead to. `name` is the entry's for a login that named no key, which only
/// a client of standard OAuth 2 may redeem with a proof (`may_bind`). `None`: there is none, or it is not to be redeemed with
/// this proof. An unbound one was taken when it was looked at; but another redemption may put it back.
///
/// # Errors
/// The proof is invalid or was used before (RFC 9449 section 5); `temporarily_unavailable` if a store is unreachable.
pub(super) async fn find_entry(
    broker: &Broker,
    keys: &Arc<KeyRing>,
    name: EntryName,
    proof: &ProofRequest,
    may_bind: bool,
) -> Result<Option<FoundEntry>> {
    let proof = verify_for_grant(broker, keys, proof, None).map_err(grant_error)?;
    let bound = name.bound_to(&proof.thumbprint);
    let waiting = match broker.key_store.peek(&bound).await? {
        Seen::Taken => return Ok(Some(FoundEntry::bound(bound))),
        Seen::Waiting { .. } => None,
        Seen::Nothing if may_bind => match broker.key_store.peek(&name).await? {
            Seen::Waiting { grant } => Some(grant),
            Seen::Taken => return Ok(Some(FoundEntry::unbound(name))),
            Seen::Nothing => return Ok(None),
        },
        Seen::Nothing => return Ok(None),
    };
    if !proof.is_first_use(broker).await? {
        return Err(grant_error(ProofRefused::Replayed));
    }
    let Some(unbound) = waiting else { return Ok(Some(FoundEntry::bound(bound))) };
    let Some(grant) = Grant::open(&unbound, &name, keys) else { return Ok(None) };
    let is_bound = bind(broker, keys, &grant, proof.thumbprint).await?;
    Ok(is_bound.then(|| FoundEntry::bound(name)))
}

/// Binds the row of a grant that was not handed out yet. A redemption that failed after this can be repeated with the same
/// key.
async fn bind(broker: &Broker, keys: &Arc<KeyRing>, grant: &Grant, thumbprint: Thumbprint) -> Result<bool> {
    let Some(client) = broker.clients.get(&grant.client_id).cloned() else { return Ok(false) };
    let (keys, now) = (keys.clone(), broker.clock.now());
    let bound = move |locked: &TokenRecord| {
        let facts = &locked.token.facts;
        // The MAC that is written vouches for the whole row, so the one that is there must do so too.
        let usable = standing(locked, Some(&client), Some(now), &keys, now).is_usable();
        let free = facts.dpop_jkt.is_none_or(|bound| bound == thumbprint);
        let facts = TokenFacts { dpop_jkt: Some(thumbprint), ..facts.clone() };
        let binding = facts.binding(keys.get(facts.key_id)?).to_vec();
        (usable && free).then(|| StoredToken { facts, binding, ..locked.token.clone() })
    };
    Ok(broker.storage.bind_token(grant.handle.digest(), bound).await?)
}

//! Decides whether a presented token may be used for what an endpoint needs. Every check goes through here.
//!
//! The answer is yes, no or unknown, and asking changes nothing, except that the proof of a bound token is used up. What
//! follows from a yes or a no is in [`react`](super::react). No decision is cached: each call reads the database, once or,
//! for a session that looks idle, twice. A made-up token is refused without a query.

use std::sync::Arc;

use crate::domain::audience::Audience;
use crate::domain::client::Client;
use crate::domain::clock::Timestamp;
use crate::domain::credential::Malformed;
use crate::domain::dpop::refusal::ProofRefused;
use crate::domain::dpop::thumbprint::Thumbprint;
use crate::domain::key_ring::KeyRing;
use crate::domain::refresh_token::RefreshToken;
use crate::domain::standing::{Standing, TokenRecord, refresh_standing, standing};
use crate::domain::token::{GenuineToken, TokenFacts};
use crate::domain::token_kind::TokenKind;
use crate::error::Error;
use crate::flow::possession::Presented;
use crate::state::Broker;
use crate::state::limits::count_proof;

/// What an endpoint requires of a token.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    /// The kinds that it accepts.
    pub kinds: &'a [TokenKind],
    /// The scope that it needs (RFC 6750 section 3.1).
    pub scope: Option<&'static str>,
    /// The API that asks (RFC 8707). `None` for the broker's own endpoints: they are about the token itself, its
    /// session and its owner, and so are for every token.
    pub audience: Option<&'a Audience>,
}

impl Need<'static> {
    /// A token of any kind, with this scope if one is given.
    pub const fn any_kind(scope: Option<&'static str>) -> Self {
        Self { kinds: TokenKind::ALL, scope, audience: None }
    }

    /// A session's token, with this scope if one is given.
    pub const fn session(scope: Option<&'static str>) -> Self {
        Self { kinds: &[TokenKind::Session], scope, audience: None }
    }
}

/// The answer to "may it be used?".
#[derive(Debug)]
pub enum Decision {
    /// It may.
    Yes(Access),
    /// It may not.
    No(Denial),
    /// A store cannot answer, or the user has made too many calls with proofs: nothing is said about the token.
    Unknown(Error),
}

/// A token that may be used.
#[derive(Debug)]
pub struct Access {
    /// Its row.
    pub record: Box<TokenRecord>,
    /// The server keys that verified it.
    pub keys: Arc<KeyRing>,
    /// The key that its holder proved to have, if there was a proof.
    pub proven: Option<Thumbprint>,
}

impl Access {
    /// What the token is for.
    pub fn facts(&self) -> &TokenFacts {
        &self.record.token.facts
    }
}

/// A token that may not be used.
#[derive(Debug)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// Its row, if there is one.
    pub record: Option<Box<TokenRecord>>,
}

/// Why a token may not be used. The audit trail gets it by name; the caller does not learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The text is not a token of this broker: malformed, mistyped, made up, or of a removed server key.
    NotIssued,
    /// It was issued here, but its row is gone.
    NotFound,
    /// What its row says.
    Standing(Standing),
    /// Its holder did not show that it has the key that the token is bound to.
    Possession(ProofRefused),
    /// It is live, but of a kind that the surface does not accept.
    Kind,
    /// It is live, but for other APIs.
    Audience,
    /// It is live, but lacks the scope.
    Scope(&'static str),
}

/// Says what a token is worth: [`standing`] or [`refresh_standing`].
pub(super) type Judge = fn(&TokenRecord, Option<&Client>, Option<Timestamp>, &KeyRing, Timestamp) -> Standing;

impl Reason {
    /// The stable name in the audit trail and the log. [`Standing`] has the other ones.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotIssued => "not_issued",
            Self::NotFound => "not_found",
            Self::Standing(standing) => standing.as_str(),
            Self::Possession(refused) => refused.as_str(),
            Self::Kind => "kind",
            Self::Audience => "audience",
            Self::Scope(_) => "scope",
        }
    }
}

/// Decides whether `presented` may be used for what `need` says.
pub async fn decide(broker: &Broker, presented: &Presented<'_>, need: &Need<'_>) -> Decision {
    let keys = broker.keys.current();
    let genuine = GenuineToken::parse(presented.text, &keys);
    decide_genuine(broker, keys, genuine, presented, need, standing).await
}

/// Decides whether the refresh token `presented` may renew its token. It is the same decision about the same row, except
/// for the expiry.
pub async fn decide_refresh(broker: &Broker, presented: &Presented<'_>) -> Decision {
    let keys = broker.keys.current();
    let genuine = RefreshToken::parse(presented.text, &keys);
    decide_genuine(broker, keys, genuine, presented, &Need::session(None), refresh_standing).await
}

async fn decide_genuine(
    broker: &Broker,
    keys: Arc<KeyRing>,
    genuine: Result<GenuineToken, Malformed>,
    presented: &Presented<'_>,
    need: &Need<'_>,
    judge: Judge,
) -> Decision {
    let Ok(genuine) = genuine else {
        return Decision::No(Denial { reason: Reason::NotIssued, record: None });
    };
    let (record, standing) = match judged(broker, &genuine, &keys, judge).await {
        Ok(Some(judged)) => judged,
        Ok(None) => return Decision::No(Denial { reason: Reason::NotFound, record: None }),
        Err(outage) => return Decision::Unknown(outage),
    };
    let facts = &record.token.facts;
    let no = |reason, record| Decision::No(Denial { reason, record: Some(record) });
    // A row that was changed does not say to which key the token was bound.
    if matches!(standing, Standing::Forged | Standing::KeyRemoved) {
        return no(Reason::Standing(standing), record);
    }
    // Before the standing: a copy of a bound token is useless, so it must not end a session either.
    let proof = match presented.possession.check(broker, &keys, presented.text, facts) {
        Ok(proof) => proof,
        Err(refused) => return no(Reason::Possession(refused), record),
    };
    let unmet = if standing.is_usable() { unmet(facts, need) } else { Some(Reason::Standing(standing)) };
    // A request that someone saw can be sent again, with its proof: without the key, it must not end a session either.
    let is_reuse = matches!(unmet, Some(Reason::Standing(Standing::Superseded { reuse: true })));
    if let Some(proof) = &proof
        && (unmet.is_none() || is_reuse)
    {
        // Nothing may prevent that a session ends whose token was copied.
        if !is_reuse && let Err(limited) = count_proof(broker, facts.owner.user_id) {
            return Decision::Unknown(limited);
        }
        match proof.is_first_use(broker).await {
            Ok(true) => {}
            Ok(false) => return no(Reason::Possession(ProofRefused::Replayed), record),
            Err(outage) => return Decision::Unknown(outage),
        }
    }
    if let Some(reason) = unmet {
        return no(reason, record);
    }
    Decision::Yes(Access { record, keys, proven: proof.map(|proof| proof.thumbprint) })
}

/// Reads the row of a token and its standing.
///
/// A use of the session that is not stored yet counts. It may be stored, and leave memory, between the look at the row
/// and the look at memory; so a row that looks idle is read once more, after memory was looked at.
async fn judged(
    broker: &Broker,
    genuine: &GenuineToken,
    keys: &KeyRing,
    judge: Judge,
) -> Result<Option<(Box<TokenRecord>, Standing)>, Error> {
    let now = broker.clock.now();
    let Some((record, standing)) = read(broker, genuine, keys, None, now, judge).await? else {
        return Ok(None);
    };
    match record.token.facts.owner.session_id.filter(|_| standing == Standing::Idle) {
        Some(session) => read(broker, genuine, keys, broker.last_uses.of(session), now, judge).await,
        None => Ok(Some((record, standing))),
    }
}

async fn read(
    broker: &Broker,
    genuine: &GenuineToken,
    keys: &KeyRing,
    last_used: Option<Timestamp>,
    now: Timestamp,
    judge: Judge,
) -> Result<Option<(Box<TokenRecord>, Standing)>, Error> {
    let found = broker.storage.find_token(genuine.handle.digest()).await?;
    let record = found.filter(|found| genuine.matches(&found.token.facts));
    Ok(record.map(|record| {
        let client = broker.clients.get(&record.token.facts.client_id);
        let standing = judge(&record, client, last_used, keys, now);
        (record, standing)
    }))
}

/// What a usable token lacks.
fn unmet(facts: &TokenFacts, need: &Need<'_>) -> Option<Reason> {
    if !need.kinds.contains(&facts.kind) {
        return Some(Reason::Kind);
    }
    if need.audience.is_some_and(|audience| !facts.audiences.contains(audience)) {
        return Some(Reason::Audience);
    }
    need.scope.filter(|scope| !facts.scopes.contains(scope)).map(Reason::Scope)
}

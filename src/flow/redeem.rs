//! Step 3, `/api/get_token`: exchanges a one-time key for its API token, once.
//!
//! No database is needed: the row was written at the callback, and the token is computed from the grant and the server
//! key. Whatever is wrong, the answer is the same `invalid_grant`. `redeem_bound` is the part for DPoP.

use crate::domain::audience::AudienceSet;
use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client::Client;
use crate::domain::ids::ClientId;
use crate::domain::key_ring::KeyRing;
use crate::domain::lifetimes;
use crate::domain::one_time_key::{EntryName, EntryPart, Grant, OneTimeKey, Receipt, Redemption};
use crate::domain::pkce::{CodeChallenge, CodeVerifier};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::issue::{IssuedToken, TokenParts};
use crate::flow::possession::ProofRequest;
use crate::flow::redeem_bound::{FoundEntry, find_entry};
use crate::flow::resources::is_for;
use crate::key_store::{Seen, Taken};
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::state::limits::{Counted, count};

/// What the SPA presents. Not printable: it holds secrets.
pub struct RedeemRequest {
    /// The key from the redirect.
    pub one_time_key: String,
    /// The verifier behind the challenge of `/login`.
    pub code_verifier: Option<String>,
    /// The client that redeems; compared with the key's if it is sent.
    pub client_id: Option<String>,
    /// The DPoP proof, if there is one.
    pub proof: Option<ProofRequest>,
}

/// Redeems a key.
///
/// # Errors
/// `invalid_grant`, the same for everything that is wrong with the key or its verifier; `invalid_dpop_proof` and
/// `use_dpop_nonce`, which spend nothing; `rate_limited` once an address has failed too often; `origin_not_allowed`;
/// `temporarily_unavailable` if the key store is unreachable.
pub async fn redeem(broker: &Broker, caller: &Caller, request: RedeemRequest) -> Result<IssuedToken> {
    let presented = Presented {
        key: &request.one_time_key,
        verifier: request.code_verifier.as_deref(),
        client_id: request.client_id.as_deref(),
        code_of: None,
        resources: None,
        proof: request.proof.as_ref(),
    };
    Ok(redeem_presented(broker, caller, &presented).await?.issued)
}

/// What is presented to be redeemed: a one-time key or an authorization code, which is the same under another name.
pub(super) struct Presented<'a> {
    /// The key.
    pub(super) key: &'a str,
    /// The verifier behind the challenge.
    pub(super) verifier: Option<&'a str>,
    /// The client that redeems; compared with the key's if it is sent.
    pub(super) client_id: Option<&'a str>,
    /// For an authorization code, the client and the `redirect_uri` of the token request.
    pub(super) code_of: Option<(&'a ClientId, Option<&'a str>)>,
    /// The APIs that the token is to be for (RFC 8707 section 2.2), if they are named.
    pub(super) resources: Option<&'a AudienceSet>,
    /// The DPoP proof, if there is one.
    pub(super) proof: Option<&'a ProofRequest>,
}

impl Presented<'_> {
    /// The name of the entry that it leads to; `None` for a code without a verifier, which leads nowhere.
    fn entry_name(&self, key: &OneTimeKey, challenge: Option<&CodeChallenge>) -> Option<EntryName> {
        match self.code_of {
            None => Some(key.entry_name(challenge)),
            Some((client, redirect_uri)) => Some(key.code_name(challenge?, client, redirect_uri)),
        }
    }

    fn claim(&self) -> Claim<'_> {
        Claim {
            client_id: self.client_id,
            resources: self.resources,
            proof: self.proof,
            may_bind: self.code_of.is_some(),
        }
    }
}

/// Who wants the token behind an entry, and how.
pub(super) struct Claim<'a> {
    /// The client; compared with the entry's if it is sent.
    pub(super) client_id: Option<&'a str>,
    /// The APIs that the token is to be for (RFC 8707 section 2.2), if they are named.
    pub(super) resources: Option<&'a AudienceSet>,
    /// The DPoP proof, if there is one.
    pub(super) proof: Option<&'a ProofRequest>,
    /// Whether the token becomes bound to the key of the proof, if the login named none.
    pub(super) may_bind: bool,
}

/// A redeemed key.
pub(super) struct Redeemed {
    /// The token.
    pub(super) issued: IssuedToken,
    /// What the key was exchanged for.
    pub(super) grant: Grant,
}

/// Redeems what is presented, by the rules of [`redeem`].
///
/// # Errors
/// Those of [`redeem`], and `invalid_target` for other APIs than those of the login; then the key is not spent.
pub(super) async fn redeem_presented(
    broker: &Broker,
    caller: &Caller,
    presented: &Presented<'_>,
) -> Result<Redeemed> {
    count(broker, caller, Counted::Redemption)?;
    let outcome = try_redeem(broker, caller, presented).await?;
    conclude(broker, caller, outcome).await
}

/// Takes the token that waits for a device behind `name`, by the rules of [`redeem`].
///
/// # Errors
/// Those of [`redeem_presented`].
pub(super) async fn redeem_for_device(
    broker: &Broker,
    caller: &Caller,
    claim: &Claim<'_>,
    name: EntryName,
) -> Result<Redeemed> {
    let outcome = take(broker, caller, claim, name).await?;
    conclude(broker, caller, outcome).await
}

/// Refuses a device code that leads to nothing.
pub(super) async fn refuse_device_code(broker: &Broker, caller: &Caller) -> Error {
    let outcome = Refusal::invalid(AuditKind::KeyRefused, None);
    conclude(broker, caller, outcome).await.err().unwrap_or_else(|| ErrorCode::InvalidGrant.into())
}

async fn conclude(broker: &Broker, caller: &Caller, outcome: Outcome) -> Result<Redeemed> {
    let refusal = match outcome {
        Outcome::Redeemed(redeemed) => return Ok(*redeemed),
        Outcome::Refused(refusal) => refusal,
    };
    // The rate limit must not prevent this: otherwise a thief who fails often enough from the victim's address keeps
    // the stolen session.
    let ends = match &refusal.about {
        Some(about) if refusal.kind == AuditKind::KeyReplayed => {
            end_session(broker, caller, &refusal, about).await
        }
        _ => false,
    };
    if refusal.code == ErrorCode::InvalidGrant {
        count(broker, caller, Counted::FailedRedemption)?;
    }
    if !ends {
        refusal.record(broker, caller);
    }
    Err(refusal.code.into())
}

/// Redeems a key the way the replaced service did; `None` for whatever is wrong with it.
///
/// # Errors
/// As [`redeem`], but for `invalid_grant`.
pub async fn redeem_legacy(broker: &Broker, caller: &Caller, key: &str) -> Result<Option<IssuedToken>> {
    let key = key.to_owned();
    let request = RedeemRequest { one_time_key: key, code_verifier: None, client_id: None, proof: None };
    match redeem(broker, caller, request).await {
        Ok(issued) => Ok(Some(issued)),
        Err(error) if error.code() == ErrorCode::InvalidGrant => Ok(None),
        Err(error) => Err(error),
    }
}

/// The outcome of a redemption that a store did not prevent.
enum Outcome {
    Redeemed(Box<Redeemed>),
    Refused(Refusal),
}

/// Why a key was refused: for the log and the audit trail, not for the caller.
struct Refusal {
    kind: AuditKind,
    code: ErrorCode,
    about: Option<Receipt>,
}

impl Refusal {
    fn invalid(kind: AuditKind, about: Option<Receipt>) -> Outcome {
        Outcome::Refused(Self { kind, code: ErrorCode::InvalidGrant, about })
    }

    fn record(&self, broker: &Broker, caller: &Caller) {
        let event = Event::new(broker, caller, self.kind).reason(self.code);
        match &self.about {
            Some(about) => {
                event.client(&about.client_id).user(about.user_id).session(about.session_id).record()
            }
            None => event.record(),
        }
    }
}

async fn try_redeem(broker: &Broker, caller: &Caller, request: &Presented<'_>) -> Result<Outcome> {
    let unknown = || Ok(Refusal::invalid(AuditKind::KeyRefused, None));
    let Ok(key) = OneTimeKey::parse(request.key) else { return unknown() };
    let challenge = match request.verifier.map(str::parse::<CodeVerifier>) {
        Some(Ok(verifier)) => Some(verifier.challenge()),
        Some(Err(_)) => return unknown(),
        None => None,
    };
    // If the request names its client, an unknown client and an unregistered origin are refused before the key is
    // taken.
    if let Some(id) = request.client_id {
        let Some(client) = broker.clients.find(id) else { return unknown() };
        if let Some(refusal) = foreign_origin(caller, client, None) {
            return Ok(refusal);
        }
    }
    let Some(name) = request.entry_name(&key, challenge.as_ref()) else { return unknown() };
    take(broker, caller, &request.claim(), name).await
}

/// Takes the entry that the key leads to, for who claims it.
async fn take(broker: &Broker, caller: &Caller, claim: &Claim<'_>, name: EntryName) -> Result<Outcome> {
    let unknown = || Ok(Refusal::invalid(AuditKind::KeyRefused, None));
    let keys = broker.keys.current();
    let found = match claim.proof {
        Some(proof) => find_entry(broker, &keys, name, proof, claim.may_bind).await?,
        None => Some(FoundEntry::unbound(name)),
    };
    let Some(FoundEntry { name, is_bound }) = found else { return unknown() };
    // Only who knows the key and its proof gets this far.
    if let Some(resources) = claim.resources
        && let Seen::Waiting { grant } = broker.key_store.peek(&name).await?
        && let Some(grant) = Grant::open(&grant, &name, &keys)
    {
        is_for(Some(resources), &grant.audiences)?;
    }
    let redemption = Redemption { at: broker.clock.now(), browser: caller.print() };
    let mark = redemption.seal(&name, &keys, &*broker.entropy);
    match broker.key_store.take(&name, &mark).await? {
        Taken::First { grant: sealed } => {
            // A grant that does not open was planted by someone who can write to the store.
            let Some(grant) = Grant::open(&sealed, &name, &keys) else { return unknown() };
            let Some(refusal) = not_for_this_claim(broker, caller, claim, is_bound, &grant) else {
                return Ok(hand_out(broker, caller, claim, &keys, grant));
            };
            // The key is still good for who may redeem it.
            if let Err(error) = broker.key_store.put_back(&name, &mark, &sealed).await {
                tracing::warn!(%error, "a key that was not to be redeemed in this way could not be put back");
            }
            Ok(refusal)
        }
        Taken::Again { receipt, redemption: first } => {
            let receipt = Receipt::open(&receipt, &name, &keys);
            let first = Redemption::open(&first, &name, &keys);
            Ok(receipt.zip(first).map_or_else(
                || Refusal::invalid(AuditKind::KeyRefused, None),
                |(receipt, first)| repeated(broker, receipt, &first, &redemption),
            ))
        }
        Taken::Nothing => unknown(),
    }
}

fn receipt(grant: &Grant) -> Receipt {
    Receipt { user_id: grant.user_id, session_id: grant.session_id, client_id: grant.client_id.clone() }
}

/// The refusal of a key that is claimed for another client, from a page that is not the client's, or with a proof to whose key
/// its token is not bound.
fn not_for_this_claim(
    broker: &Broker,
    caller: &Caller,
    claim: &Claim<'_>,
    is_bound: bool,
    grant: &Grant,
) -> Option<Outcome> {
    if claim.client_id.is_some_and(|id| id != grant.client_id.as_str()) {
        return Some(Refusal::invalid(AuditKind::KeyRefused, Some(receipt(grant))));
    }
    // It was put back after it was looked at, so no one has bound its row: see `find_entry`.
    if claim.proof.is_some() && !is_bound {
        return Some(Refusal::invalid(AuditKind::KeyRefused, Some(receipt(grant))));
    }
    let client = broker.clients.get(&grant.client_id)?;
    if client.requires_dpop() && claim.proof.is_none() {
        return Some(Refusal::invalid(AuditKind::KeyRefused, Some(receipt(grant))));
    }
    foreign_origin(caller, client, Some(&receipt(grant)))
}

fn hand_out(broker: &Broker, caller: &Caller, claim: &Claim<'_>, keys: &KeyRing, grant: Grant) -> Outcome {
    let now = broker.clock.now();
    let expired = now >= grant.key_expires_at || now >= grant.token_expires_at;
    if expired || broker.clients.get(&grant.client_id).is_none() {
        return Refusal::invalid(AuditKind::KeyRefused, Some(receipt(&grant)));
    }
    let parts = TokenParts {
        key_id: grant.key_id,
        handle: &grant.handle,
        expires_at: grant.token_expires_at,
        scopes: &grant.scopes,
        is_bound: claim.proof.is_some(),
    };
    let Some(issued) = IssuedToken::new(keys, parts, now) else {
        return Refusal::invalid(AuditKind::KeyRefused, Some(receipt(&grant)));
    };
    Event::new(broker, caller, AuditKind::KeyRedeemed)
        .client(&grant.client_id)
        .user(grant.user_id)
        .session(grant.session_id)
        .token(grant.handle.digest())
        .record();
    // A page of a gateway redeems its key by itself, which a cross-site navigation can cause.
    let is_page = broker.clients.get(&grant.client_id).is_some_and(|client| client.pages_of.is_some());
    if let Some(sign_in_began) = grant.ends_sessions_before.filter(|_| !is_page) {
        let event = Event::new(broker, caller, AuditKind::SessionEnded).client(&grant.client_id);
        event.end_older_later(grant.session_id, sign_in_began);
    }
    Outcome::Redeemed(Box::new(Redeemed { issued, grant }))
}

fn foreign_origin(caller: &Caller, client: &Client, about: Option<&Receipt>) -> Option<Outcome> {
    let foreign = caller.origin.as_deref().is_some_and(|origin| !client.has_origin(origin));
    foreign.then(|| {
        let about = about.cloned();
        Outcome::Refused(Refusal { kind: AuditKind::KeyRefused, code: ErrorCode::OriginNotAllowed, about })
    })
}

/// A used key was presented again with the right proof. A double submit of the same browser within seconds is only
/// refused; anything else means that key and proof were stolen (RFC 6749 section 4.1.2).
///
/// A `legacy` client is exempt: its browsers share one token, and one reload would sign all of them out.
fn repeated(broker: &Broker, receipt: Receipt, first: &Redemption, second: &Redemption) -> Outcome {
    let legacy = broker.clients.get(&receipt.client_id).is_some_and(|client| client.legacy);
    let soon = (second.at - first.at).abs() <= lifetimes::DOUBLE_SUBMIT;
    let harmless = legacy || (soon && second.browser == first.browser);
    let kind = if harmless { AuditKind::KeyRepeated } else { AuditKind::KeyReplayed };
    Refusal::invalid(kind, Some(receipt))
}

/// Ends the session that a replayed key had opened, later if the database is unreachable now. Records it with the
/// reason, and returns whether there was anything to end: a repeated replay is a refusal like any other.
async fn end_session(broker: &Broker, caller: &Caller, refusal: &Refusal, about: &Receipt) -> bool {
    let ended = broker.storage.end_session(about.session_id, broker.clock.now()).await;
    if ended.as_ref().is_ok_and(Vec::is_empty) {
        return false;
    }
    refusal.record(broker, caller);
    let event = |session| {
        let event = Event::new(broker, caller, AuditKind::SessionEnded).client(&about.client_id);
        event.user(about.user_id).session(session)
    };
    match ended {
        Ok(ended) => ended.into_iter().for_each(|session| event(session).record()),
        Err(error) => {
            tracing::error!(%error, session_id = %about.session_id, "a stolen session will be ended when the database recovers");
            event(about.session_id).end_later(about.session_id);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entropy::SystemEntropy;
    use crate::domain::ids::{SessionId, UserId};
    use crate::domain::key_ring::KeyId;
    use crate::domain::scope::ScopeSet;
    use crate::domain::token::TokenHandle;
    use crate::state::testing;

    /// The key had been taken when it was looked at, and was put back before this request took it.
    #[test]
    fn a_key_whose_token_is_not_bound_is_not_handed_out_for_a_proof() {
        let (broker, client) = (testing::broker(), Client::example());
        let now = broker.clock.now();
        let grant = Grant {
            handle: TokenHandle::random(&SystemEntropy),
            key_id: KeyId(1),
            user_id: UserId::random(&SystemEntropy),
            session_id: SessionId::random(&SystemEntropy),
            client_id: client.id,
            scopes: ScopeSet::default(),
            audiences: client.audiences,
            nonce: None,
            auth_time: None,
            token_expires_at: now,
            key_expires_at: now,
            ends_sessions_before: None,
        };
        let address = "192.0.2.1".parse().unwrap();
        let caller = Caller { request_id: "r".parse().unwrap(), address, user_agent: None, origin: None };
        let proof =
            ProofRequest { jwt: String::new(), method: "POST".to_owned(), url: broker.public_url.clone() };
        let is_refused = |proof, is_bound| {
            let request =
                Presented { key: "", verifier: None, client_id: None, code_of: None, resources: None, proof };
            not_for_this_claim(&broker, &caller, &request.claim(), is_bound, &grant).is_some()
        };
        assert!(is_refused(Some(&proof), false));
        assert!(!is_refused(Some(&proof), true));
        assert!(!is_refused(None, false));
    }
}

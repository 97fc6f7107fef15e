//! The consequences of a decision about a token, depending on who asked.
//!
//! A holder presents its own token: made-up tokens count against its address. A token that this broker issued is no
//! guess, so it never counts, whatever state it is in: an API that passes the tokens of its users to `/api/me` has one
//! address for all of them. A resource server or a gateway asks on behalf of its users: its address is neither slowed
//! down for their failures nor recorded as theirs.

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::dpop::refusal::ProofRefused;
use crate::domain::ids::ResourceServerId;
use crate::domain::standing::{Standing, TokenRecord};
use crate::domain::token::TokenFacts;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::decide::{Access, Decision, Denial, Reason};
use crate::flow::possession;
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::state::limits::{
    Counted, count, records_refusal, records_refusal_of_api, records_refusal_of_gateway,
};

/// Who asked about a token.
#[derive(Debug, Clone, Copy)]
pub enum Asker<'a> {
    /// The one who presented it.
    Holder(&'a Caller),
    /// A resource server that was given it (RFC 7662).
    ResourceServer(&'a Caller, &'a ResourceServerId),
    /// A gateway through which it was presented.
    Gateway(&'a Caller),
}

impl<'a> Asker<'a> {
    pub(super) fn event(self, broker: &'a Broker, kind: AuditKind) -> Event<'a> {
        match self {
            Self::Holder(caller) => Event::new(broker, caller, kind),
            Self::ResourceServer(caller, id) => {
                Event::new(broker, caller, kind).without_address().resource_server(id)
            }
            Self::Gateway(caller) => Event::new(broker, caller, kind).without_address(),
        }
    }
}

/// Carries out what a decision causes, and answers with the access or with the error for the caller that presented the
/// token.
///
/// # Errors
/// `invalid_token`, the same for everything that is wrong with a token; `invalid_dpop_proof` and `use_dpop_nonce` for a
/// bound token; `insufficient_scope` for a live token that lacks a scope or is of another kind; `rate_limited` once a
/// holder's address has presented too many made-up tokens, or a user has made too many calls with bound ones;
/// `temporarily_unavailable` if a store cannot answer.
pub async fn react(broker: &Broker, asker: Asker<'_>, decision: Decision) -> Result<Access> {
    match decision {
        Decision::Yes(access) => {
            broker.last_uses.add(&access.record, broker.clock.now());
            Ok(access)
        }
        Decision::No(denial) => Err(refuse(broker, asker, &denial).await),
        Decision::Unknown(outage) => Err(outage),
    }
}

/// Carries out what a refusal causes, and returns the error for the caller that presented the token.
pub async fn refuse(broker: &Broker, asker: Asker<'_>, denial: &Denial) -> Error {
    // First: neither the rate limit nor the answer may prevent that a stolen session ends.
    if let Some(record) = &denial.record
        && let Reason::Standing(standing) = denial.reason
        && let Err(outage) = end(broker, asker, record, standing).await
    {
        return outage;
    }
    match denial.reason {
        Reason::Scope(scope) => Error::insufficient_scope(scope),
        Reason::Kind => ErrorCode::InsufficientScope.into(),
        Reason::Possession(refused) => {
            // Every client asks for its first nonce in this way.
            if refused != ProofRefused::Nonce && is_recorded(broker, asker) {
                record_refusal(broker, asker, denial);
            }
            possession::error(refused)
        }
        Reason::NotIssued | Reason::NotFound | Reason::Standing(_) | Reason::Audience => {
            invalid(broker, asker, denial)
        }
    }
}

/// Ends what must not be used again: an idle token, and the session of which someone has a copy of a token.
///
/// # Errors
/// An idle token could not be revoked: a later use of its session would revive it, so nothing is said about it.
async fn end(broker: &Broker, asker: Asker<'_>, record: &TokenRecord, standing: Standing) -> Result<()> {
    let facts = &record.token.facts;
    let now = broker.clock.now();
    // An API asks about a bound token before it judges the proof: the token may be a copy, which has no effect.
    let may_be_useless = matches!(asker, Asker::ResourceServer(..)) && facts.dpop_jkt.is_some();
    match standing {
        // Flagged, so that no later use of the session revives it.
        Standing::Idle => {
            let revoked = broker.storage.revoke_token(facts.handle, now).await?;
            if revoked {
                concerning(asker.event(broker, AuditKind::TokenIdle), facts).record();
            }
        }
        Standing::Superseded { reuse: true } if !may_be_useless => {
            let Some(session) = facts.owner.session_id else { return Ok(()) };
            let ended = broker.storage.end_session(session, now).await;
            concerning(asker.event(broker, AuditKind::TokenReused), facts).record();
            let event = || concerning(asker.event(broker, AuditKind::SessionEnded), facts);
            match ended {
                Ok(ended) => ended.into_iter().for_each(|session| event().session(session).record()),
                // The token is refused in any case, and the session must not survive an outage.
                Err(error) => {
                    tracing::error!(%error, session_id = %session, "a stolen session will be ended when the database recovers");
                    event().end_later(session);
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Refuses a token.
fn invalid(broker: &Broker, asker: Asker<'_>, denial: &Denial) -> Error {
    let is_recorded = match asker {
        Asker::Holder(caller) if denial.reason == Reason::NotIssued => {
            match count(broker, caller, Counted::FailedToken) {
                Ok(()) => true,
                Err(limited) => return limited,
            }
        }
        _ => is_recorded(broker, asker),
    };
    if is_recorded {
        record_refusal(broker, asker, denial);
    }
    ErrorCode::InvalidToken.into()
}

/// The refusals of an address, a resource server or a gateway over its limit are not recorded one by one.
fn is_recorded(broker: &Broker, asker: Asker<'_>) -> bool {
    match asker {
        Asker::Holder(caller) => records_refusal(broker, caller),
        Asker::ResourceServer(_, id) => records_refusal_of_api(broker, id),
        Asker::Gateway(caller) => records_refusal_of_gateway(broker, caller),
    }
}

fn record_refusal(broker: &Broker, asker: Asker<'_>, denial: &Denial) {
    let kind = match denial.reason {
        Reason::Standing(Standing::Forged) => AuditKind::TokenForged,
        _ => AuditKind::TokenRefused,
    };
    let event = asker.event(broker, kind).reason_name(denial.reason.as_str());
    match &denial.record {
        Some(record) => concerning(event, &record.token.facts).record(),
        None => event.record(),
    }
}

/// Adds to an event which token it is about.
pub(super) fn concerning<'a>(event: Event<'a>, facts: &TokenFacts) -> Event<'a> {
    let event = event.client(&facts.client_id).user(facts.owner.user_id).token(facts.handle);
    match facts.owner.session_id {
        Some(session) => event.session(session),
        None => event,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::state::limits::{LimitSettings, RateLimits};
    use crate::state::testing;

    fn caller() -> Caller {
        let address = "192.0.2.1".parse().unwrap();
        Caller { request_id: "r".parse().unwrap(), address, user_agent: None, origin: None }
    }

    fn broker() -> Broker {
        let broker = testing::broker();
        let settings = LimitSettings { failed_tokens: NonZeroU32::MIN, ..testing::limits() };
        Broker { limits: RateLimits::new(settings, &broker.clock.clone()), ..broker }
    }

    async fn refusals(asker: Asker<'_>, reason: Reason) -> [ErrorCode; 3] {
        let broker = broker();
        let denial = Denial { reason, record: None };
        let mut codes = [ErrorCode::ServerError; 3];
        for code in &mut codes {
            *code = refuse(&broker, asker, &denial).await.code();
        }
        codes
    }

    #[actix_web::test]
    async fn only_a_holder_is_slowed_down_for_its_failures() {
        let (caller, orders) = (caller(), "orders".parse().unwrap());
        assert_eq!(
            refusals(Asker::Holder(&caller), Reason::NotIssued).await,
            [ErrorCode::InvalidToken, ErrorCode::RateLimited, ErrorCode::RateLimited]
        );
        for asker in [Asker::ResourceServer(&caller, &orders), Asker::Gateway(&caller)] {
            assert_eq!(refusals(asker, Reason::NotIssued).await, [ErrorCode::InvalidToken; 3], "{asker:?}");
        }
    }

    #[actix_web::test]
    async fn a_token_that_was_issued_here_slows_no_one_down() {
        let caller = caller();
        for reason in [Reason::NotFound, Reason::Standing(Standing::Expired), Reason::Audience] {
            let refused = refusals(Asker::Holder(&caller), reason).await;
            assert_eq!(refused, [ErrorCode::InvalidToken; 3], "{reason:?}");
        }
    }

    #[test]
    fn the_address_of_a_resource_server_or_gateway_is_not_recorded_as_the_holders() {
        let (broker, caller, orders) = (broker(), caller(), "orders".parse().unwrap());
        let recorded = |asker: Asker<'_>| {
            let event = asker.event(&broker, AuditKind::TokenRefused).into_event();
            (event.address, event.resource_server)
        };
        assert_eq!(recorded(Asker::Holder(&caller)), (Some(caller.address), None));
        assert_eq!(recorded(Asker::ResourceServer(&caller, &orders)), (None, Some(orders.clone())));
        assert_eq!(recorded(Asker::Gateway(&caller)), (None, None));
    }

    #[actix_web::test]
    async fn a_live_token_that_lacks_something_is_forbidden_and_not_invalid() {
        let (broker, caller) = (broker(), caller());
        for (reason, scope) in [(Reason::Scope("profile"), Some("profile")), (Reason::Kind, None)] {
            for _ in 0..3 {
                let denial = Denial { reason, record: None };
                let error = refuse(&broker, Asker::Holder(&caller), &denial).await;
                assert_eq!((error.code(), error.missing_scope()), (ErrorCode::InsufficientScope, scope));
            }
        }
    }
}

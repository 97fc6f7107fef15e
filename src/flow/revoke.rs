//! `/oauth2/revoke`: a client or a resource server gives up a token (RFC 7009), at once and everywhere.
//!
//! A session's token takes its session with it, as a logout does: otherwise the browser's session cookie, or a successor
//! that someone else made by rotation, would stay valid. A personal token ends alone. A resource server can do no more here
//! than the token itself lets it do at `/api/logout`.

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::ids::ClientId;
use crate::domain::refresh_token;
use crate::domain::resource_server::ResourceServer;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::decide::{Access, Decision, Denial, Need, Reason, decide, decide_refresh};
use crate::flow::possession::{Possession, Presented};
use crate::flow::react::{Asker, concerning, react};
use crate::flow::resource_server::{ClientCredentials, authenticate};
use crate::state::Broker;

/// Who revokes a token.
enum Revoker {
    /// The public client that it was issued to.
    Client(ClientId),
    /// A resource server that it is for.
    ResourceServer(Box<ResourceServer>),
}

impl Revoker {
    fn asker<'a>(&'a self, caller: &'a Caller) -> Asker<'a> {
        match self {
            Self::Client(_) => Asker::Holder(caller),
            Self::ResourceServer(server) => Asker::ResourceServer(caller, &server.id),
        }
    }

    fn need(&self) -> Need<'_> {
        let audience = match self {
            Self::Client(_) => None,
            Self::ResourceServer(server) => Some(&server.audience),
        };
        Need { audience, ..Need::any_kind(None) }
    }

    /// Whether a live token is someone else's.
    fn is_foreign(&self, decision: &Decision) -> bool {
        match (self, decision) {
            (Self::Client(id), Decision::Yes(access)) => access.facts().client_id != *id,
            (_, Decision::No(Denial { reason: Reason::Audience, .. })) => true,
            _ => false,
        }
    }
}

/// Revokes `token`, an access token or a client's refresh token (RFC 7009 section 2.1). Succeeds also if it is unknown or dead already (RFC 7009 section 2.2).
///
/// # Errors
/// `invalid_client` for an unknown client and for wrong credentials of a resource server; `origin_not_allowed` for a page
/// that is not the client's; `invalid_grant` for a live
/// token of another client or for other APIs, which stays alive; `rate_limited` once an address has failed too often;
/// `temporarily_unavailable` if the database is unreachable: then nothing was revoked.
pub async fn revoke(
    broker: &Broker,
    caller: &Caller,
    credentials: &ClientCredentials,
    token: &str,
) -> Result<()> {
    let revoker = identify(broker, caller, credentials).await?;
    // Anyone who finds a token can give it up.
    let presented = Presented { text: token, possession: Possession::NotAsked };
    let decision = match &revoker {
        Revoker::Client(_) if token.starts_with(refresh_token::PREFIX) => {
            decide_refresh(broker, &presented).await
        }
        _ => decide(broker, &presented, &revoker.need()).await,
    };
    if revoker.is_foreign(&decision) {
        return Err(Error::new(ErrorCode::InvalidGrant)
            .detail("The token was not issued to this client, or is not for this resource server."));
    }
    let asker = revoker.asker(caller);
    match react(broker, asker, decision).await {
        Ok(access) => end(broker, asker, &access).await,
        Err(refused) if refused.code() == ErrorCode::InvalidToken => Ok(()),
        Err(error) => Err(error),
    }
}

async fn identify(broker: &Broker, caller: &Caller, credentials: &ClientCredentials) -> Result<Revoker> {
    let ClientCredentials::Id(id) = credentials else {
        return Ok(Revoker::ResourceServer(Box::new(authenticate(broker, caller, credentials).await?)));
    };
    let client = broker.clients.find(id).ok_or(ErrorCode::InvalidClient)?;
    if caller.origin.as_deref().is_some_and(|origin| !client.has_origin(origin)) {
        return Err(ErrorCode::OriginNotAllowed.into());
    }
    Ok(Revoker::Client(client.id.clone()))
}

async fn end(broker: &Broker, asker: Asker<'_>, access: &Access) -> Result<()> {
    let (facts, now) = (access.facts(), broker.clock.now());
    match facts.owner.session_id {
        Some(session) => {
            for ended in broker.storage.end_session(session, now).await? {
                concerning(asker.event(broker, AuditKind::SessionEnded), facts).session(ended).record();
            }
        }
        None => {
            if broker.storage.revoke_token(facts.handle, now).await? {
                concerning(asker.event(broker, AuditKind::TokenRevoked), facts).record();
            }
        }
    }
    Ok(())
}

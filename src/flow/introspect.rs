//! `/oauth2/introspect`: a resource server asks whether a token that it was given may be used at it (RFC 7662).
//!
//! It learns of a token only what it needs: that one for another API is active is not its business (section 4), and who
//! the person is only if an administrator granted that to it and the token's scope covers it.

use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ResourceServerId;
use crate::domain::resource_server::ResourceServer;
use crate::domain::token::TokenFacts;
use crate::domain::user::{Permissions, User};
use crate::error::{ErrorCode, Result};
use crate::flow::decide::{Access, Need, decide};
use crate::flow::possession::{Possession, Presented};
use crate::flow::react::{Asker, react};
use crate::flow::resource_server::{ClientCredentials, authenticate};
use crate::state::Broker;

/// The scope of a token that may show who the person is.
const PROFILE: &str = "profile";

/// The scope of a token that may show what the person may do.
const PERMISSIONS: &str = "permissions";

/// An answer, and for whom it is.
#[derive(Debug)]
pub struct Answer {
    /// The resource server that asked.
    pub server: ResourceServerId,
    /// What it is told.
    pub introspection: Introspection,
}

/// What a resource server is told about a token.
#[derive(Debug)]
pub enum Introspection {
    /// It must not be used at this resource server, for whatever reason.
    Inactive,
    /// It may be used.
    Active(Box<ActiveToken>),
}

/// A token that may be used at the resource server that asks.
#[derive(Debug)]
pub struct ActiveToken {
    /// Who issued it.
    pub issuer: String,
    /// What it is for.
    pub facts: TokenFacts,
    /// When the person last authenticated at the provider, if it says so.
    pub auth_time: Option<Timestamp>,
    /// Who the person is, if granted.
    pub user: Option<User>,
    /// What the provider lets the person do, if granted.
    pub permissions: Option<Permissions>,
}

/// Answers a resource server's question about `token`.
///
/// # Errors
/// Those of [`authenticate`]; `temporarily_unavailable` if the database is unreachable: then nothing is said about the
/// token.
pub async fn introspect(
    broker: &Broker,
    caller: &Caller,
    credentials: &ClientCredentials,
    token: &str,
) -> Result<Answer> {
    let server = authenticate(broker, caller, credentials).await?;
    let need = Need { audience: Some(&server.audience), ..Need::any_kind(None) };
    // The API judges the proof that came with the token (RFC 9449 section 6.2).
    let presented = Presented { text: token, possession: Possession::NotAsked };
    let decision = decide(broker, &presented, &need).await;
    let introspection = match react(broker, Asker::ResourceServer(caller, &server.id), decision).await {
        Ok(access) => describe(broker, &server, access).await?,
        Err(refused) if refused.code() == ErrorCode::InvalidToken => Introspection::Inactive,
        Err(error) => return Err(error),
    };
    Ok(Answer { server: server.id, introspection })
}

async fn describe(broker: &Broker, server: &ResourceServer, access: Access) -> Result<Introspection> {
    let record = *access.record;
    let facts = record.token.facts;
    let user = Some(record.user).filter(|_| server.personal_data && facts.scopes.contains(PROFILE));
    let permissions = if server.permissions && facts.scopes.contains(PERMISSIONS) {
        let found = broker.storage.permissions_of(facts.owner.identity_id).await?;
        // The user was deleted a moment ago, and the token with the user.
        let Some(found) = found else { return Ok(Introspection::Inactive) };
        Some(found)
    } else {
        None
    };
    Ok(Introspection::Active(Box::new(ActiveToken {
        issuer: broker.issuer().to_owned(),
        auth_time: record.session.and_then(|state| state.session.auth_time),
        user,
        permissions,
        facts,
    })))
}

//! Resource servers prove who they are by id and secret (RFC 6749 section 2.3.1), or by an assertion that they have signed
//! (RFC 7523). Every endpoint that they call begins with [`authenticate`].

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client_assertion::{ClientAssertion, Refused};
use crate::domain::ids::ResourceServerId;
use crate::domain::public_key::PublicKey;
use crate::domain::resource_server::{ResourceServer, ResourceServerSecret};
use crate::error::{Error, ErrorCode, Result};
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::state::limits::{Counted, count};

/// What a caller of an OAuth endpoint says about itself.
pub enum ClientCredentials {
    /// Nothing.
    None,
    /// Its `client_id`, as a public client does (RFC 6749 section 3.2.1).
    Id(String),
    /// Its `client_id` and `client_secret`.
    Secret {
        /// The id.
        id: String,
        /// The secret.
        secret: String,
    },
    /// A signed assertion.
    Assertion {
        /// The `client_id`, if it was sent beside it.
        id: Option<String>,
        /// The assertion.
        assertion: String,
    },
}

/// The paths of the endpoints that resource servers call. An assertion may be addressed to their URLs.
pub const ENDPOINTS: [&str; 2] = ["/oauth2/introspect", "/oauth2/revoke"];

impl std::fmt::Debug for ClientCredentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ClientCredentials(…)")
    }
}

/// The resource server that these credentials belong to.
///
/// # Errors
/// `invalid_client` (401), the same for no credentials, wrong ones, an unknown id and a disabled resource server;
/// `rate_limited` once the address has failed too often: right credentials are accepted all the same;
/// `temporarily_unavailable` if the database is unreachable or, for an assertion, the key store.
pub async fn authenticate(
    broker: &Broker,
    caller: &Caller,
    credentials: &ClientCredentials,
) -> Result<ResourceServer> {
    match credentials {
        ClientCredentials::None | ClientCredentials::Id(_) => Err(ErrorCode::UnauthenticatedClient.into()),
        ClientCredentials::Secret { id, secret } => {
            let id: Option<ResourceServerId> = id.parse().ok();
            match verified(broker, id.clone(), secret).await? {
                Some(server) => Ok(server),
                None => Err(refuse(broker, caller, id.as_ref())),
            }
        }
        ClientCredentials::Assertion { id, assertion } => {
            asserted(broker, caller, id.as_deref(), assertion).await
        }
    }
}

/// The resource server that has signed this assertion, which is used up.
async fn asserted(
    broker: &Broker,
    caller: &Caller,
    id: Option<&str>,
    assertion: &str,
) -> Result<ResourceServer> {
    let refused = |issuer: Option<&ResourceServerId>, reason: Refused| {
        Err(refuse(broker, caller, issuer).caused_by(reason))
    };
    let assertion = match ClientAssertion::parse(assertion) {
        Ok(assertion) => assertion,
        Err(reason) => return refused(None, reason),
    };
    let issuer = &assertion.issuer;
    if id.is_some_and(|id| id != issuer.as_str()) {
        return refused(Some(issuer), Refused("client_id is not its issuer"));
    }
    let found = broker.storage.find_resource_server(issuer.clone()).await?;
    let Some(server) = found.filter(|server| server.disabled_at.is_none()) else {
        return refused(Some(issuer), Refused("the resource server is unknown or disabled"));
    };
    let keys = broker.storage.resource_server_keys(issuer.clone()).await?;
    let keys: Vec<PublicKey> = keys.into_iter().map(|stored| stored.key).collect();
    let endpoints = ENDPOINTS.map(|path| format!("{}{path}", broker.issuer()));
    let audiences = [broker.issuer(), &endpoints[0], &endpoints[1]];
    let verified = match assertion.verify(&keys, &audiences, broker.clock.now()) {
        Ok(verified) => verified,
        Err(reason) => return refused(Some(issuer), reason),
    };
    let life = verified.life.to_std().unwrap_or_default();
    // As a proof of DPoP: an assertion that lost its mark could be used again.
    if !broker.key_store.mark_proof(&verified.used_name, false, life).await? {
        return refused(Some(issuer), Refused("jti was used before"));
    }
    Ok(server)
}

/// Texts that cannot be an id or a secret are refused without a query, whatever the other one is.
async fn verified(
    broker: &Broker,
    id: Option<ResourceServerId>,
    secret: &str,
) -> Result<Option<ResourceServer>> {
    let (Some(id), Ok(secret)) = (id, ResourceServerSecret::parse(secret)) else { return Ok(None) };
    let keys = broker.keys.current();
    let found = broker.storage.find_resource_server(id.clone()).await?;
    if found.is_none() {
        ResourceServer::verify_unregistered(&id, &secret, &keys);
    }
    Ok(found.filter(|server| server.verify(&secret, &keys).is_some()))
}

/// Refuses credentials. Those of an address over its limit are not recorded one by one.
fn refuse(broker: &Broker, caller: &Caller, id: Option<&ResourceServerId>) -> Error {
    if let Err(limited) = count(broker, caller, Counted::FailedResourceServer) {
        return limited;
    }
    let code = ErrorCode::UnauthenticatedClient;
    let event = Event::new(broker, caller, AuditKind::ResourceServerRefused).reason(code);
    match id {
        Some(id) => event.resource_server(id).record(),
        None => event.record(),
    }
    code.into()
}

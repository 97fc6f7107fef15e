//! Resource servers prove who they are by id and secret (RFC 6749 section 2.3.1). Every endpoint that they call begins
//! with [`authenticate`].

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::ids::ResourceServerId;
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
}

impl std::fmt::Debug for ClientCredentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ClientCredentials(…)")
    }
}

/// The resource server that these credentials belong to.
///
/// # Errors
/// `invalid_client` (401), the same for no secret, a wrong one, an unknown id and a disabled resource server;
/// `rate_limited` once the address has failed too often: right credentials are accepted all the same;
/// `temporarily_unavailable` if the database is unreachable.
pub async fn authenticate(
    broker: &Broker,
    caller: &Caller,
    credentials: &ClientCredentials,
) -> Result<ResourceServer> {
    let ClientCredentials::Secret { id, secret } = credentials else {
        return Err(ErrorCode::UnauthenticatedClient.into());
    };
    let id: Option<ResourceServerId> = id.parse().ok();
    match verified(broker, id.clone(), secret).await? {
        Some(server) => Ok(server),
        None => Err(refuse(broker, caller, id.as_ref())),
    }
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

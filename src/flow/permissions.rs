//! `/api/permissions`: the permissions and groups that the provider reported at the login.

use crate::domain::user::Permissions;
use crate::error::{ErrorCode, Result};
use crate::flow::authenticate::Authenticated;
use crate::state::Broker;

/// Permissions and groups of the user whom a token acts for.
///
/// # Errors
/// `temporarily_unavailable` if the database is unreachable; `invalid_token` if the user was deleted a moment ago.
pub async fn permissions(broker: &Broker, authenticated: &Authenticated) -> Result<Permissions> {
    let found = broker.storage.permissions_of(authenticated.identity_id()).await?;
    found.ok_or_else(|| ErrorCode::InvalidToken.into())
}

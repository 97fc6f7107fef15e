//! `/api/permissions`: what the provider lets the person do, as it said at the login.

use crate::domain::user::Permissions;
use crate::error::{ErrorCode, Result};
use crate::flow::authenticate::Authenticated;
use crate::state::Broker;

/// Permissions and groups of whoever is signed in.
///
/// # Errors
/// `temporarily_unavailable` while the database is away; `invalid_token` where the user was deleted a moment ago.
pub async fn permissions(broker: &Broker, signed_in: &Authenticated) -> Result<Permissions> {
    let found = broker.storage.permissions_of(signed_in.session.id).await?;
    found.ok_or_else(|| ErrorCode::InvalidToken.into())
}

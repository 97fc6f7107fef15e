//! What providers let people do.

use diesel::prelude::*;

use super::Db;
use crate::domain::ids::SessionId;
use crate::domain::user::Permissions;
use crate::storage::error::StorageError;
use crate::storage::rows::PermissionsRow;
use crate::storage::schema::{identities, sessions};
use crate::storage::types::Id;

/// As the identity that this session came from has them.
pub fn of(db: &mut Db, session_id: SessionId) -> Result<Option<Permissions>, StorageError> {
    let row = sessions::table
        .find(Id::from(session_id))
        .inner_join(identities::table)
        .select(PermissionsRow::as_select())
        .first(db)
        .optional()?;
    row.map(TryInto::try_into).transpose()
}

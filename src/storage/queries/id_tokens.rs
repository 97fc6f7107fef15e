//! ID tokens that are kept for the provider's logout: used once.

use diesel::prelude::*;

use super::sessions::IN_A_STATEMENT;
use super::tokens::lock_user;
use super::{Db, write};
use crate::domain::ids::SessionId;
use crate::storage::error::StorageError;
use crate::storage::schema::sessions;
use crate::storage::types::Id;

/// Takes the sealed ID token of a session out of its row.
pub fn take(db: &mut Db, session_id: SessionId) -> Result<Option<Vec<u8>>, StorageError> {
    write(db, |db| {
        let session = || sessions::table.find(Id::from(session_id));
        let owner: Option<Id> = session().select(sessions::user_id).first(db).optional()?;
        let Some(owner) = owner else { return Ok(None) };
        lock_user(db, owner)?;
        let sealed: Option<Vec<u8>> =
            session().select(sessions::sealed_id_token).first(db).optional()?.flatten();
        if sealed.is_some() {
            let nothing = sessions::sealed_id_token.eq(None::<Vec<u8>>);
            diesel::update(session()).set(nothing).execute(db)?;
        }
        Ok(sealed)
    })
}

/// Forgets the ID tokens of these sessions, inside a transaction that holds the rows of their users.
pub fn forget(db: &mut Db, ids: &[Id]) -> QueryResult<()> {
    for ids in ids.chunks(IN_A_STATEMENT) {
        let ended = sessions::table.filter(sessions::id.eq_any(ids));
        diesel::update(ended).set(sessions::sealed_id_token.eq(None::<Vec<u8>>)).execute(db)?;
    }
    Ok(())
}

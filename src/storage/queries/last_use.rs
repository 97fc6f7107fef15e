//! When tokens, and with them sessions, were last used.

use diesel::prelude::*;

use super::{Db, write};
use crate::domain::lifetimes::LAST_USE_GRAIN;
use crate::storage::error::StorageError;
use crate::storage::records::TokenUse;
use crate::storage::schema::{api_tokens, sessions};
use crate::storage::types::{Id, Time};

/// Writes these uses down, each in a transaction of its own; says how many tokens' rows changed. Of uses that
/// come closer to each other than the grain the first one counts, whichever instance saw it.
///
/// The session comes before the token, as wherever both are changed, so that nobody waits in a circle.
pub fn note(db: &mut Db, uses: &[TokenUse]) -> Result<usize, StorageError> {
    uses.iter().map(|used| note_one(db, used)).sum()
}

fn note_one(db: &mut Db, used: &TokenUse) -> Result<usize, StorageError> {
    let (at, stale) = (Time(used.at), Time(used.at - LAST_USE_GRAIN));
    write(db, |db| {
        let session = sessions::table
            .find(Id::from(used.session))
            .filter(sessions::last_used_at.is_null().or(sessions::last_used_at.le(stale)));
        diesel::update(session).set(sessions::last_used_at.eq(at)).execute(db)?;
        let token = api_tokens::table
            .filter(api_tokens::handle_digest.eq(used.handle.as_bytes().as_slice()))
            .filter(api_tokens::last_used_at.is_null().or(api_tokens::last_used_at.le(stale)));
        Ok(diesel::update(token).set(api_tokens::last_used_at.eq(at)).execute(db)?)
    })
}

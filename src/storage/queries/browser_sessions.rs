//! The sessions of browsers, found by the digest of their cookies.

use diesel::prelude::*;

use super::Db;
use crate::domain::browser_session::SessionDigest;
use crate::storage::error::StorageError;
use crate::storage::records::BrowserSessionRecord;
use crate::storage::rows::BrowserSessionRow;
use crate::storage::schema::{identities, sessions, users};

pub fn find(db: &mut Db, digest: &SessionDigest) -> Result<Option<Box<BrowserSessionRecord>>, StorageError> {
    let row = sessions::table
        .inner_join(identities::table)
        .inner_join(users::table)
        .filter(sessions::cookie_digest.eq(digest.as_bytes().as_slice()))
        .select(BrowserSessionRow::as_select())
        .first(db)
        .optional()?;
    row.map(|row| BrowserSessionRecord::try_from(row).map(Box::new)).transpose()
}

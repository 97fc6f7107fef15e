//! Counting what is live.

use diesel::prelude::*;

use super::Db;
use crate::domain::clock::Timestamp;
use crate::storage::error::StorageError;
use crate::storage::live::LiveCounts;
use crate::storage::liveness::{
    is_current, is_enabled, is_in_open_session, is_live_session, is_personal_token, is_session_token,
};
use crate::storage::schema::{sessions, tokens, users};
use crate::storage::types::Time;

pub fn count(db: &mut Db, now: Timestamp) -> Result<LiveCounts, StorageError> {
    let now = Time(now);
    let live_tokens = || {
        tokens::table
            .left_join(sessions::table)
            .inner_join(users::table)
            .filter(is_current(now))
            .filter(is_in_open_session(now))
            .filter(is_enabled())
    };
    Ok(LiveCounts {
        sessions: sessions::table
            .inner_join(users::table)
            .filter(is_live_session(now))
            .count()
            .get_result(db)?,
        session_tokens: live_tokens().filter(is_session_token()).count().get_result(db)?,
        personal_tokens: live_tokens().filter(is_personal_token()).count().get_result(db)?,
    })
}

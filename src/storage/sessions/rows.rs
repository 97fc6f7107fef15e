//! Rows of `sessions`.

use diesel::prelude::*;

use crate::domain::session::{Browser, Session, SessionRecord, SessionState};
use crate::storage::error::StorageError;
use crate::storage::schema::sessions;
use crate::storage::types::{Id, Time, profile_text};
use crate::storage::users::rows::{IdentityRow, UserRow, user};

/// What decides whether a session is live.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub struct StateRow {
    id: Id,
    auth_time: Option<Time>,
    created_at: Time,
    expires_at: Time,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
}

impl From<StateRow> for SessionState {
    fn from(row: StateRow) -> Self {
        Self {
            session: Session {
                id: row.id.into(),
                created_at: row.created_at.0,
                expires_at: row.expires_at.0,
                auth_time: row.auth_time.map(|time| time.0),
            },
            revoked_at: row.revoked_at.map(|time| time.0),
            last_used_at: row.last_used_at.map(|time| time.0),
        }
    }
}

/// A session with its identity and its user.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub struct RecordRow {
    #[diesel(embed)]
    state: StateRow,
    identity_id: Id,
    user_agent: Option<String>,
    address_prefix: String,
    #[diesel(embed)]
    identity: IdentityRow,
    #[diesel(embed)]
    user: UserRow,
}

impl TryFrom<RecordRow> for SessionRecord {
    type Error = StorageError;

    fn try_from(row: RecordRow) -> Result<Self, StorageError> {
        let address_prefix = row.address_prefix.parse();
        Ok(Self {
            state: row.state.into(),
            identity_id: row.identity_id.into(),
            browser: Browser {
                user_agent: profile_text(row.user_agent),
                address_prefix: address_prefix
                    .map_err(|_| StorageError::unreadable("sessions.address_prefix"))?,
            },
            user_disabled_at: row.user.disabled_at.map(|time| time.0),
            user: user(row.user.id, row.identity)?,
        })
    }
}

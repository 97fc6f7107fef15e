//! Ending what a provider says is over: sessions by its `sid`, or all of a `sub`.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::id_tokens;
use super::sessions::{IN_A_STATEMENT, end_these};
use super::tokens::lock_user;
use super::{Db, write};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::provider_logout::{LogoutScope, ProviderLogout};
use crate::storage::error::StorageError;
use crate::storage::records::EndedSession;
use crate::storage::schema::{identities, sessions};
use crate::storage::types::{Id, Time};

/// The sessions that it means and that nobody has ended yet.
pub fn find(db: &mut Db, logout: &ProviderLogout) -> Result<Vec<EndedSession>, StorageError> {
    let providers = logout.providers.iter().map(|provider| provider.as_str());
    let mut meant = sessions::table
        .inner_join(identities::table)
        .filter(identities::provider_id.eq_any(providers))
        .filter(sessions::revoked_at.is_null())
        .order((sessions::user_id, sessions::id))
        .select((sessions::id, sessions::user_id))
        .into_boxed();
    let subject = match &logout.scope {
        LogoutScope::Session { id, subject } => {
            meant = meant.filter(sessions::provider_session.eq(id.as_str()));
            subject.as_ref()
        }
        LogoutScope::Person(subject) => Some(subject),
    };
    if let Some(subject) = subject {
        meant = meant.filter(identities::subject.eq(subject.as_str()));
    }
    let rows: Vec<(Id, Id)> = meant.load(db)?;
    Ok(rows.into_iter().map(session).collect())
}

/// Ends these sessions, with their tokens; says which of them nobody had ended before.
pub fn end(db: &mut Db, found: &[EndedSession], now: Timestamp) -> Result<Vec<EndedSession>, StorageError> {
    write(db, |db| {
        // A `sid` alone may belong to several people: always locked in the same order.
        let users: BTreeSet<UserId> = found.iter().map(|found| found.user).collect();
        for user in users {
            lock_user(db, user.into())?;
        }
        let ids: Vec<Id> = found.iter().map(|found| found.session.into()).collect();
        let mut ended = Vec::new();
        for ids in ids.chunks(IN_A_STATEMENT) {
            let open =
                sessions::table.filter(sessions::id.eq_any(ids)).filter(sessions::revoked_at.is_null());
            let rows: Vec<(Id, Id)> = open.select((sessions::id, sessions::user_id)).load(db)?;
            ended.extend(rows.into_iter().map(session));
        }
        end_these(db, &ids, Time(now))?;
        id_tokens::forget(db, &ids)?; // the provider's logout is done: nobody will ask for it with them
        Ok(ended)
    })
}

fn session((session, user): (Id, Id)) -> EndedSession {
    EndedSession { session: session.into(), user: user.into() }
}

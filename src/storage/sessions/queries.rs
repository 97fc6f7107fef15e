//! Finding and listing sessions.

use diesel::dsl::{auto_type, exists};
use diesel::prelude::*;

use super::Db;
use crate::domain::browser_session::SessionDigest;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, SessionId, UserId};
use crate::domain::provider_logout::{LogoutScope, ProviderLogout};
use crate::domain::session::SessionRecord;
use crate::storage::error::StorageError;
use crate::storage::liveness::{is_live_session, is_revocable, is_unended, was_open};
use crate::storage::schema::{identities, sessions, tokens, users};
use crate::storage::sessions::rows::RecordRow;
use crate::storage::sessions::{EndedSession, SessionFilter};
use crate::storage::sign_in::PreviousSession;
use crate::storage::types::{Id, Time};

/// Sessions with their identities and users.
#[auto_type(no_type_alias)]
fn records() -> _ {
    sessions::table.inner_join(identities::table).inner_join(users::table)
}

pub fn find_by_cookie(
    db: &mut Db,
    digest: &SessionDigest,
) -> Result<Option<Box<SessionRecord>>, StorageError> {
    let row = records()
        .filter(sessions::cookie_digest.eq(digest.as_bytes().as_slice()))
        .select(RecordRow::as_select())
        .first(db)
        .optional()?;
    row.map(|row| SessionRecord::try_from(row).map(Box::new)).transpose()
}

pub fn latest_client(db: &mut Db, session: SessionId) -> Result<Option<ClientId>, StorageError> {
    let client: Option<String> = tokens::table
        .filter(tokens::session_id.eq(Id::from(session)))
        .order((tokens::issued_at.desc(), tokens::id.desc()))
        .select(tokens::client_id)
        .first(db)
        .optional()?;
    let client = client.map(|client| client.parse());
    client.transpose().map_err(|_| StorageError::unreadable("tokens.client_id"))
}

/// The browser of the session with this cookie, if that was open when the login began.
pub fn browser_of_cookie(db: &mut Db, previous: &PreviousSession) -> QueryResult<Option<Id>> {
    let row: Option<(Option<Id>, Id)> = sessions::table
        .filter(sessions::cookie_digest.eq(previous.digest.as_bytes().as_slice()))
        .filter(was_open(Time(previous.login_began)))
        .select((sessions::browser_id, sessions::id))
        .first(db)
        .optional()?;
    Ok(row.map(browser))
}

/// The browser of a session: its own id, unless it took over the browser of an earlier session.
pub fn browser((taken_over, own): (Option<Id>, Id)) -> Id {
    taken_over.unwrap_or(own)
}

pub fn own(
    db: &mut Db,
    user: UserId,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<SessionRecord>, StorageError> {
    let now = Time(now);
    let unexpired_token =
        tokens::table.filter(tokens::session_id.eq(sessions::id.nullable())).filter(is_revocable(now));
    let rows: Vec<RecordRow> = records()
        .filter(sessions::user_id.eq(Id::from(user)))
        .filter(is_live_session(now))
        .filter(sessions::cookie_digest.is_not_null().or(exists(unexpired_token)))
        .order((sessions::created_at.desc(), sessions::id))
        .limit(limit)
        .select(RecordRow::as_select())
        .load(db)?;
    rows.into_iter().map(SessionRecord::try_from).collect()
}

pub fn list(db: &mut Db, filter: &SessionFilter) -> Result<Option<Vec<SessionRecord>>, StorageError> {
    let mut query = records().select(RecordRow::as_select()).into_boxed();
    if let Some(after) = filter.after.map(Id::from) {
        let marker = sessions::table.find(after).select(sessions::created_at).first(db).optional()?;
        let Some(marker): Option<Time> = marker else { return Ok(None) };
        let older = sessions::created_at.lt(marker);
        query = query.filter(older.or(sessions::created_at.eq(marker).and(sessions::id.lt(after))));
    }
    if let Some(user) = filter.user {
        query = query.filter(sessions::user_id.eq(Id::from(user)));
    }
    if let Some(now) = filter.live_at {
        query = query.filter(is_live_session(Time(now)));
    }
    let rows = query
        .order((sessions::created_at.desc(), sessions::id.desc()))
        .limit(filter.limit.into())
        .load::<RecordRow>(db)?;
    rows.into_iter().map(SessionRecord::try_from).collect::<Result<_, _>>().map(Some)
}

pub fn of_provider_logout(db: &mut Db, logout: &ProviderLogout) -> Result<Vec<EndedSession>, StorageError> {
    let providers = logout.providers.iter().map(|provider| provider.as_str());
    let mut meant = sessions::table
        .inner_join(identities::table)
        .filter(identities::provider_id.eq_any(providers))
        .filter(is_unended())
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
    Ok(rows.into_iter().map(ended).collect())
}

pub fn ended((session, user): (Id, Id)) -> EndedSession {
    EndedSession { session: session.into(), user: user.into() }
}

//! Users, as an administrator finds and changes them.

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::sessions::{end_all_locked, is_open};
use super::tokens::{is_live, lock_user};
use super::{Db, audit, write};
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::user::UserReference;
use crate::storage::administration::records::{
    Deleted, Disabled, Holdings, IdentityRecord, UserFilter, UserRecord,
};
use crate::storage::administration::rows::AdminUserRow;
use crate::storage::error::StorageError;
use crate::storage::schema::{api_tokens, audit_events, identities, sessions, users};
use crate::storage::types::{Id, Time};

#[diesel::declare_sql_function]
extern "SQL" {
    /// In SQLite, of ASCII letters only.
    fn lower(text: Nullable<Text>) -> Nullable<Text>;
}

pub fn list(db: &mut Db, filter: &UserFilter) -> Result<Option<Vec<UserRecord>>, StorageError> {
    let mut query = users::table.select(AdminUserRow::as_select()).into_boxed();
    if let Some(after) = filter.after.map(Id::from) {
        let marker: Option<Time> = users::table.find(after).select(users::created_at).first(db).optional()?;
        let Some(marker) = marker else { return Ok(None) };
        let older = users::created_at.lt(marker);
        query = query.filter(older.or(users::created_at.eq(marker).and(users::id.lt(after))));
    }
    if filter.disabled {
        query = query.filter(users::disabled_at.is_not_null());
    }
    let mine = || identities::table.filter(identities::user_id.eq(users::id));
    if let Some(provider) = &filter.provider {
        query = query.filter(exists(mine().filter(identities::provider_id.eq(provider.as_str()))));
    }
    if let Some(text) = &filter.search {
        let pattern = || lower(containing(text));
        let subject = identities::subject.nullable();
        let named = mine().filter(lower(subject).like(pattern()).escape('\\'));
        query = query.filter(
            lower(users::username)
                .like(pattern())
                .escape('\\')
                .or(lower(users::display_name).like(pattern()).escape('\\'))
                .or(lower(users::email).like(pattern()).escape('\\'))
                .or(exists(named)),
        );
    }
    let rows = query
        .order((users::created_at.desc(), users::id.desc()))
        .limit(filter.limit.into())
        .load::<AdminUserRow>(db)?;
    with_identities(db, rows).map(Some)
}

/// The pattern of what has `text` in it.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "%"
}

pub fn find(db: &mut Db, user: &UserReference, limit: i64) -> Result<Vec<UserRecord>, StorageError> {
    let query = users::table.select(AdminUserRow::as_select()).into_boxed();
    let query = match user {
        UserReference::Id(id) => query.filter(users::id.eq(Id::from(*id))),
        UserReference::Identity(provider, subject) => {
            let identity = identities::table
                .filter(identities::user_id.eq(users::id))
                .filter(identities::provider_id.eq(provider.as_str()))
                .filter(identities::subject.eq(subject));
            query.filter(exists(identity))
        }
        UserReference::Username(name) => query.filter(users::username.eq(name)),
    };
    let rows = query.order(users::created_at).limit(limit).load::<AdminUserRow>(db)?;
    with_identities(db, rows)
}

fn with_identities(db: &mut Db, rows: Vec<AdminUserRow>) -> Result<Vec<UserRecord>, StorageError> {
    let found: Vec<(Id, String, String)> = identities::table
        .filter(identities::user_id.eq_any(rows.iter().map(|row| row.id)))
        .order((identities::provider_id, identities::subject))
        .select((identities::user_id, identities::provider_id, identities::subject))
        .load(db)?;
    let mut records: Vec<UserRecord> = rows.into_iter().map(UserRecord::from).collect();
    for (user, provider, subject) in found {
        if let Some(record) = records.iter_mut().find(|record| record.id == user.into()) {
            record.identities.push(IdentityRecord { provider, subject });
        }
    }
    Ok(records)
}

pub fn holdings(db: &mut Db, user: UserId, now: Timestamp) -> Result<Holdings, StorageError> {
    let (user, now) = (Id::from(user), Time(now));
    let live_sessions = sessions::table.filter(sessions::user_id.eq(user)).filter(is_open(now));
    let live_tokens = api_tokens::table
        .inner_join(sessions::table)
        .filter(api_tokens::user_id.eq(user))
        .filter(is_live(now))
        .filter(is_open(now));
    Ok(Holdings {
        live_sessions: live_sessions.count().get_result(db)?,
        live_tokens: live_tokens.count().get_result(db)?,
    })
}

/// Takes the user's row; says whether there is one.
fn lock(db: &mut Db, user: Id) -> QueryResult<bool> {
    lock_user(db, user)?;
    diesel::select(exists(users::table.find(user))).get_result(db)
}

pub fn disable(db: &mut Db, user: UserId, event: AuditEvent) -> Result<Option<Disabled>, StorageError> {
    let (user, now) = (Id::from(user), Time(event.at));
    write(db, |db| {
        if !lock(db, user)? {
            return Ok(None);
        }
        let enabled = users::table.find(user).filter(users::disabled_at.is_null());
        let changed = diesel::update(enabled).set(users::disabled_at.eq(now)).execute(db)? > 0;
        let sessions_ended = end_all_locked(db, &[user], now)?;
        audit::insert(db, vec![event])?;
        Ok(Some(Disabled { changed, sessions_ended }))
    })
}

pub fn enable(db: &mut Db, user: UserId, event: AuditEvent) -> Result<Option<bool>, StorageError> {
    let user = Id::from(user);
    write(db, |db| {
        if !lock(db, user)? {
            return Ok(None);
        }
        let disabled = users::table.find(user).filter(not(users::disabled_at.is_null()));
        let enabled = diesel::update(disabled).set(users::disabled_at.eq(None::<Time>)).execute(db)? > 0;
        audit::insert(db, vec![event])?;
        Ok(Some(enabled))
    })
}

pub fn delete(db: &mut Db, user: UserId, event: AuditEvent) -> Result<Option<Deleted>, StorageError> {
    let user = Id::from(user);
    write(db, |db| {
        if !lock(db, user)? {
            return Ok(None);
        }
        let sessions: i64 = sessions::table.filter(sessions::user_id.eq(user)).count().get_result(db)?;
        diesel::delete(users::table.find(user)).execute(db)?;
        let known = audit_events::table
            .filter(audit_events::user_id.eq(user))
            .filter(audit_events::address.is_not_null());
        let audit_events = diesel::update(known).set(audit_events::address.eq(None::<String>)).execute(db)?;
        audit::insert(db, vec![event])?;
        Ok(Some(Deleted { sessions: usize::try_from(sessions).unwrap_or_default(), audit_events }))
    })
}

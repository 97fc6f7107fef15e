//! Finding, locking and changing users.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::personal_tokens::revoke_all_by_admin;
use super::session_ending::end_all_of_users;
use super::{Db, audit, write};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::{IdentityId, UserId};
use crate::domain::user::{Permissions, UserReference};
use crate::storage::error::StorageError;
use crate::storage::liveness::{is_disabled, is_enabled};
use crate::storage::schema::{audit_events, identities, sessions, users};
use crate::storage::types::{Id, Time};
use crate::storage::users::rows::{ListedIdentity, ListedUser, PermissionsRow};
use crate::storage::users::{Deleted, Disabled, UserFilter, UserRecord};

#[diesel::declare_sql_function]
extern "SQL" {
    /// In SQLite, only of ASCII letters.
    fn lower(text: Nullable<Text>) -> Nullable<Text>;
}

/// Locks the user's row until the end of the transaction and returns whether there is one. It does so by an update that
/// changes nothing, which works in both databases.
pub fn lock(db: &mut Db, user: Id) -> QueryResult<bool> {
    let unchanged = users::disabled_at.eq(users::disabled_at);
    Ok(diesel::update(users::table.find(user)).set(unchanged).execute(db)? > 0)
}

/// Locks the user's row like [`lock`], but only if the user is enabled.
pub fn lock_enabled(db: &mut Db, user: Id) -> QueryResult<bool> {
    let enabled = users::table.find(user).filter(is_enabled());
    Ok(diesel::update(enabled).set(users::disabled_at.eq(users::disabled_at)).execute(db)? > 0)
}

pub fn permissions(db: &mut Db, identity: IdentityId) -> Result<Option<Permissions>, StorageError> {
    let row = identities::table.find(Id::from(identity)).select(PermissionsRow::as_select());
    row.first(db).optional()?.map(TryInto::try_into).transpose()
}

pub fn list(db: &mut Db, filter: &UserFilter) -> Result<Option<Vec<UserRecord>>, StorageError> {
    let mut query = users::table.select(ListedUser::as_select()).into_boxed();
    if let Some(after) = filter.after.map(Id::from) {
        let marker: Option<Time> = users::table.find(after).select(users::created_at).first(db).optional()?;
        let Some(marker) = marker else { return Ok(None) };
        let older = users::created_at.lt(marker);
        query = query.filter(older.or(users::created_at.eq(marker).and(users::id.lt(after))));
    }
    if filter.disabled {
        query = query.filter(is_disabled());
    }
    let own = || identities::table.filter(identities::user_id.eq(users::id));
    if let Some(provider) = &filter.provider {
        query = query.filter(exists(own().filter(identities::provider_id.eq(provider.as_str()))));
    }
    if let Some(text) = &filter.search {
        let pattern = || lower(containing(text));
        let found = lower(identities::subject.nullable())
            .like(pattern())
            .escape('\\')
            .or(lower(identities::username).like(pattern()).escape('\\'))
            .or(lower(identities::display_name).like(pattern()).escape('\\'))
            .or(lower(identities::email).like(pattern()).escape('\\'));
        query = query.filter(exists(own().filter(found)));
    }
    let rows = query
        .order((users::created_at.desc(), users::id.desc()))
        .limit(filter.limit.into())
        .load::<ListedUser>(db)?;
    with_identities(db, rows).map(Some)
}

/// The pattern of every text that contains `text`.
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
    let query = users::table.select(ListedUser::as_select()).into_boxed();
    let own = identities::table.filter(identities::user_id.eq(users::id));
    let query = match user {
        UserReference::Id(id) => query.filter(users::id.eq(Id::from(*id))),
        UserReference::Identity(provider, subject) => {
            let identity = own
                .filter(identities::provider_id.eq(provider.as_str()))
                .filter(identities::subject.eq(subject));
            query.filter(exists(identity))
        }
        UserReference::Username(name) => query.filter(exists(own.filter(identities::username.eq(name)))),
    };
    let rows = query.order(users::created_at).limit(limit).load::<ListedUser>(db)?;
    with_identities(db, rows)
}

fn with_identities(db: &mut Db, rows: Vec<ListedUser>) -> Result<Vec<UserRecord>, StorageError> {
    let mut found: Vec<ListedIdentity> = identities::table
        .filter(identities::user_id.eq_any(rows.iter().map(|row| row.id)))
        .order((identities::provider_id, identities::subject))
        .select(ListedIdentity::as_select())
        .load(db)?;
    let mut with_own = |row: ListedUser| {
        let own = found.extract_if(.., |identity| identity.user_id == row.id).collect();
        row.with(own)
    };
    Ok(rows.into_iter().map(&mut with_own).collect())
}

pub fn disable(db: &mut Db, user: UserId, event: AuditEvent) -> Result<Option<Disabled>, StorageError> {
    let (user, now) = (Id::from(user), Time(event.at));
    write(db, |db| {
        if !lock(db, user)? {
            return Ok(None);
        }
        let enabled = users::table.find(user).filter(is_enabled());
        let changed = diesel::update(enabled).set(users::disabled_at.eq(now)).execute(db)? > 0;
        let sessions_ended = end_all_of_users(db, &[user], now)?;
        let personal_tokens_revoked = revoke_all_by_admin(db, &[user], &event)?;
        audit::insert(db, vec![event])?;
        Ok(Some(Disabled { changed, sessions_ended, personal_tokens_revoked }))
    })
}

pub fn enable(db: &mut Db, user: UserId, event: AuditEvent) -> Result<Option<bool>, StorageError> {
    let user = Id::from(user);
    write(db, |db| {
        if !lock(db, user)? {
            return Ok(None);
        }
        let disabled = users::table.find(user).filter(is_disabled());
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
        let located = audit_events::table
            .filter(audit_events::user_id.eq(user))
            .filter(audit_events::address.is_not_null());
        let audit_events =
            diesel::update(located).set(audit_events::address.eq(None::<String>)).execute(db)?;
        audit::insert(db, vec![event])?;
        Ok(Some(Deleted { sessions: usize::try_from(sessions).unwrap_or_default(), audit_events }))
    })
}

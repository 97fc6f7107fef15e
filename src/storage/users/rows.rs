//! Rows of `users` and `identities`.

use diesel::prelude::*;

use super::IdentityRecord;
use crate::domain::clock::Timestamp;
use crate::domain::profile::{NameList, Profile};
use crate::domain::user::{Permissions, User};
use crate::storage::error::StorageError;
use crate::storage::schema::{identities, users};
use crate::storage::types::{Id, Time, profile_text, text};

/// The columns of `identities` that each login updates.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = identities, treat_none_as_null = true)]
pub struct IdentityProfile {
    username: Option<String>,
    display_name: Option<String>,
    email: Option<String>,
    email_verified: bool,
    permissions: String,
    groups: String,
    as_of: Time,
}

impl IdentityProfile {
    pub fn new(profile: &Profile, now: Timestamp) -> Result<Self, StorageError> {
        Ok(Self {
            username: text(profile.username.as_ref()),
            display_name: text(profile.display_name.as_ref()),
            email: text(profile.email.as_ref()),
            email_verified: profile.email_verified,
            permissions: to_json(&profile.permissions)?,
            groups: to_json(&profile.groups)?,
            as_of: now.into(),
        })
    }
}

fn to_json(names: &NameList) -> Result<String, StorageError> {
    serde_json::to_string(names)
        .map_err(|_| StorageError::Unexpected("a list of names cannot be written".to_owned()))
}

/// An identity as tokens and sessions show it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = identities)]
pub struct IdentityRow {
    provider_id: String,
    subject: String,
    username: Option<String>,
    display_name: Option<String>,
    email: Option<String>,
    email_verified: bool,
}

/// What decides whether a user may be signed in.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct UserRow {
    pub id: Id,
    pub disabled_at: Option<Time>,
}

/// The user with the profile of this identity.
pub fn user(id: Id, identity: IdentityRow) -> Result<User, StorageError> {
    let IdentityRow { provider_id, subject, username, display_name, email, email_verified } = identity;
    Ok(User {
        id: id.into(),
        provider: provider_id.try_into().map_err(|_| StorageError::unreadable("identities.provider_id"))?,
        subject: subject.parse().map_err(|_| StorageError::unreadable("identities.subject"))?,
        username: profile_text(username),
        display_name: profile_text(display_name),
        email: profile_text(email),
        email_verified,
    })
}

/// The lists of `identities`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = identities)]
pub struct PermissionsRow {
    permissions: String,
    groups: String,
    as_of: Time,
}

impl TryFrom<PermissionsRow> for Permissions {
    type Error = StorageError;

    fn try_from(row: PermissionsRow) -> Result<Self, StorageError> {
        Ok(Self {
            permissions: names(&row.permissions, "identities.permissions")?,
            groups: names(&row.groups, "identities.groups")?,
            as_of: row.as_of.0,
        })
    }
}

fn names(json: &str, column: &'static str) -> Result<NameList, StorageError> {
    serde_json::from_str(json).map_err(|_| StorageError::unreadable(column))
}

/// A user in an administrator's list.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct ListedUser {
    pub id: Id,
    pub disabled_at: Option<Time>,
    pub created_at: Time,
}

/// An identity of a listed user.
#[derive(Queryable, Selectable)]
#[diesel(table_name = identities)]
pub struct ListedIdentity {
    pub user_id: Id,
    #[diesel(embed)]
    identity: IdentityRow,
    as_of: Time,
}

impl ListedUser {
    /// The record of the user with these identities, which are all of the user's.
    pub fn with(self, identities: Vec<ListedIdentity>) -> super::UserRecord {
        let newest = identities.iter().max_by_key(|listed| listed.as_of.0);
        let profile = newest.map(|listed| &listed.identity);
        super::UserRecord {
            id: self.id.into(),
            username: profile.and_then(|profile| profile.username.clone()),
            display_name: profile.and_then(|profile| profile.display_name.clone()),
            email: profile.and_then(|profile| profile.email.clone()),
            email_verified: profile.is_some_and(|profile| profile.email_verified),
            disabled_at: self.disabled_at.map(|at| at.0),
            created_at: self.created_at.0,
            profile_as_of: newest.map_or(self.created_at.0, |listed| listed.as_of.0),
            identities: identities
                .into_iter()
                .map(|listed| IdentityRecord {
                    provider: listed.identity.provider_id,
                    subject: listed.identity.subject,
                })
                .collect(),
        }
    }
}

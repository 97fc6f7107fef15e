//! The rows of `users` and `identities`.

use diesel::prelude::*;

use crate::domain::clock::Timestamp;
use crate::domain::profile::{NameList, Profile, ProfileText};
use crate::domain::user::{Permissions, User};
use crate::storage::error::StorageError;
use crate::storage::schema::{identities, users};
use crate::storage::types::{Id, Time};

pub(super) fn text(text: Option<&ProfileText>) -> Option<String> {
    text.map(|text| text.as_str().to_owned())
}

pub(super) fn profile_text(text: Option<String>) -> Option<ProfileText> {
    text.as_deref().and_then(ProfileText::clean)
}

fn to_json(names: &NameList) -> Result<String, StorageError> {
    serde_json::to_string(names)
        .map_err(|_| StorageError::Unexpected("a list of names cannot be written".to_owned()))
}

/// The columns of `users` that a login brings up to date.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = users, treat_none_as_null = true)]
pub struct UserProfile {
    username: Option<String>,
    display_name: Option<String>,
    email: Option<String>,
    email_verified: bool,
    updated_at: Time,
}

impl UserProfile {
    pub fn new(profile: &Profile, now: Timestamp) -> Self {
        Self {
            username: text(profile.username.as_ref()),
            display_name: text(profile.display_name.as_ref()),
            email: text(profile.email.as_ref()),
            email_verified: profile.email_verified,
            updated_at: now.into(),
        }
    }
}

/// The columns of `identities` that a login brings up to date.
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

/// What a token's check needs of `identities`.
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

/// What a token's check needs of `users`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct UserRow {
    pub(super) id: Id,
    pub(super) disabled_at: Option<Time>,
}

pub(super) fn user(id: Id, identity: IdentityRow) -> Result<User, StorageError> {
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

//! The row of a new session.

use diesel::prelude::*;

use super::{NewDevice, SignIn};
use crate::domain::clock::Timestamp;
use crate::domain::token::TokenOwner;
use crate::storage::schema::sessions;
use crate::storage::types::{Id, Time, text};

#[derive(Insertable)]
#[diesel(table_name = sessions)]
pub struct NewSession {
    id: Id,
    user_id: Id,
    identity_id: Id,
    cookie_digest: Option<Vec<u8>>,
    provider_session: Option<String>,
    auth_time: Option<Time>,
    created_at: Time,
    expires_at: Time,
    user_agent: Option<String>,
    address_prefix: String,
    sealed_id_token: Option<Vec<u8>>,
    browser_id: Option<Id>,
}

impl NewSession {
    /// The session of a login. `browser_id` is that of a browser which had a session before.
    pub fn new(login: &SignIn, user_id: Id, identity_id: Id, browser_id: Option<Id>) -> Self {
        Self {
            id: login.session_id.into(),
            user_id,
            identity_id,
            cookie_digest: login.browser_session.map(|browser| browser.digest.as_bytes().to_vec()),
            provider_session: text(login.profile.provider_session.as_ref()),
            auth_time: login.auth_time.map(Time),
            created_at: login.now.into(),
            expires_at: login.session_expires_at.into(),
            user_agent: text(login.browser.user_agent.as_ref()),
            address_prefix: login.browser.address_prefix.to_string(),
            sealed_id_token: login.sealed_id_token.clone(),
            browser_id,
        }
    }

    /// The session of a device. The provider's session is the browser's, and so is the ID token for its logout.
    pub fn of_device(
        device: &NewDevice,
        owner: TokenOwner,
        auth_time: Option<Timestamp>,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            id: device.session_id.into(),
            user_id: owner.user_id.into(),
            identity_id: owner.identity_id.into(),
            cookie_digest: None,
            provider_session: None,
            auth_time: auth_time.map(Time),
            created_at: device.now.into(),
            expires_at: expires_at.into(),
            user_agent: text(device.browser.user_agent.as_ref()),
            address_prefix: device.browser.address_prefix.to_string(),
            sealed_id_token: None,
            browser_id: None,
        }
    }
}

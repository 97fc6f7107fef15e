//! A completed login: user, identity, session and token in one transaction.

use diesel::prelude::*;

use super::issuing::{Among, insert, revoke_oldest};
use super::session_ending::end_unused;
use super::tokens::records;
use super::{Db, sessions as sessions_queries, users as users_queries, write};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, SessionId, UserId};
use crate::domain::session::SessionRecord;
use crate::domain::standing::TokenRecord;
use crate::domain::token::{StoredToken, TokenOwner};
use crate::storage::error::StorageError;
use crate::storage::liveness::{is_current, is_open, is_session_token};
use crate::storage::schema::{identities, sessions, tokens, users};
use crate::storage::sign_in::rows::NewSession;
use crate::storage::sign_in::{BrowserSignedIn, DeviceConnected, NewDevice, SignIn, SignInRefused, SignedIn};
use crate::storage::tokens::rows::RecordRow;
use crate::storage::types::{Id, Time};
use crate::storage::users::rows::IdentityProfile;

/// The user and the identity of a login.
struct Account {
    user_id: Id,
    identity_id: Id,
    first_login: bool,
}

pub fn sign_in(
    db: &mut Db,
    login: &SignIn,
    issue: impl FnOnce(TokenOwner) -> StoredToken,
    reusable: impl Fn(&TokenRecord) -> bool,
) -> Result<Result<SignedIn, SignInRefused>, StorageError> {
    write(db, |db| {
        let account = find_or_create(db, login)?;
        if !account.first_login && !update_profile(db, login, &account)? {
            return Ok(Err(SignInRefused::UserDisabled));
        }
        let first_login = account.first_login;
        if let Some(client) = login.client_id.as_ref().filter(|_| login.reuse)
            && let Some(token) = newest_reusable(db, login, client, account.user_id, reusable)?
        {
            return Ok(Ok(SignedIn { is_same_browser: false, ended: Vec::new(), first_login, token }));
        }
        let browser = begin_session(db, login, &account)?;
        let token = issue(TokenOwner {
            user_id: account.user_id.into(),
            identity_id: account.identity_id.into(),
            session_id: Some(login.session_id),
        });
        insert(db, &token, None)?;
        revoke_oldest(db, &token, login.now, login.live_tokens, Among::User)?;
        let ended = end_surplus(db, login, &account, browser)?;
        Ok(Ok(SignedIn { is_same_browser: browser.is_some(), ended, first_login, token }))
    })
}

pub fn sign_in_browser(
    db: &mut Db,
    login: &SignIn,
) -> Result<Result<BrowserSignedIn, SignInRefused>, StorageError> {
    write(db, |db| {
        let account = find_or_create(db, login)?;
        if !account.first_login && !update_profile(db, login, &account)? {
            return Ok(Err(SignInRefused::UserDisabled));
        }
        let browser = begin_session(db, login, &account)?;
        let ended = end_surplus(db, login, &account, browser)?;
        Ok(Ok(BrowserSignedIn { user: account.user_id.into(), ended }))
    })
}

pub fn connect_device(
    db: &mut Db,
    device: &NewDevice,
    issue: impl FnOnce(TokenOwner, Timestamp) -> StoredToken,
    judge: impl FnOnce(&SessionRecord) -> bool,
) -> Result<DeviceConnected, StorageError> {
    write(db, |db| {
        let found = sessions_queries::find_by_cookie(db, &device.approved_in)?;
        let Some(owner) = found.map(|found| Id::from(found.user.id)) else {
            return Ok(DeviceConnected::NotSignedIn);
        };
        users_queries::lock(db, owner)?;
        // Only now nothing about the user changes any more.
        let found = sessions_queries::find_by_cookie(db, &device.approved_in)?;
        let Some(browser) = found.filter(|found| judge(found)) else {
            return Ok(DeviceConnected::NotSignedIn);
        };
        let (expires_at, auth_time) = (browser.state.session.expires_at, browser.state.session.auth_time);
        let owner = TokenOwner {
            user_id: browser.user.id,
            identity_id: browser.identity_id,
            session_id: Some(device.session_id),
        };
        // Waits for a parallel approval in another browser and then inserts no row.
        let inserted = diesel::insert_into(sessions::table)
            .values(NewSession::of_device(device, owner, auth_time, expires_at))
            .on_conflict(sessions::id)
            .do_nothing()
            .execute(db)?;
        if inserted == 0 {
            return connected_before(db, device, owner.user_id);
        }
        let token = issue(owner, expires_at);
        insert(db, &token, None)?;
        revoke_oldest(db, &token, device.now, device.live_tokens, Among::User)?;
        Ok(DeviceConnected::Connected { token: Box::new(token), auth_time })
    })
}

/// The token of a device that is connected already, if this user did it and its session has not ended.
fn connected_before(db: &mut Db, device: &NewDevice, user: UserId) -> Result<DeviceConnected, StorageError> {
    let rows: Vec<RecordRow> = records()
        .filter(tokens::session_id.eq(Id::from(device.session_id)))
        .filter(tokens::user_id.eq(Id::from(user)))
        .filter(is_open(Time(device.now)))
        .order((tokens::issued_at, tokens::id))
        .limit(1)
        .select(RecordRow::as_select())
        .load(db)?;
    let Some(row) = rows.into_iter().next() else { return Ok(DeviceConnected::Taken) };
    let record = TokenRecord::try_from(row)?;
    let auth_time = record.session.and_then(|state| state.session.auth_time);
    Ok(DeviceConnected::Connected { token: Box::new(record.token), auth_time })
}

/// Writes the session. Returns the browser, if the session is not the first of it: then it is one of the same browser.
fn begin_session(db: &mut Db, login: &SignIn, account: &Account) -> QueryResult<Option<Id>> {
    let previous = login.browser_session.and_then(|browser| browser.previous);
    let browser =
        previous.map(|previous| sessions_queries::browser_of_cookie(db, &previous)).transpose()?.flatten();
    let session = NewSession::new(login, account.user_id, account.identity_id, browser);
    diesel::insert_into(sessions::table).values(session).execute(db)?;
    Ok(browser)
}

/// Ends the sessions of the user in the browser that are too many because no one has used them.
fn end_surplus(
    db: &mut Db,
    login: &SignIn,
    account: &Account,
    browser: Option<Id>,
) -> QueryResult<Vec<SessionId>> {
    let Some(browser) = browser else { return Ok(Vec::new()) };
    end_unused(db, account.user_id, browser, login.session_id.into(), Time(login.now))
}

/// By (provider, subject), and by nothing else.
fn find(db: &mut Db, login: &SignIn) -> QueryResult<Option<Account>> {
    let found: Option<(Id, Id)> = identities::table
        .filter(identities::provider_id.eq(login.profile.provider.as_str()))
        .filter(identities::subject.eq(login.profile.subject.as_str()))
        .select((identities::user_id, identities::id))
        .first(db)
        .optional()?;
    Ok(found.map(|(user_id, identity_id)| Account { user_id, identity_id, first_login: false }))
}

fn find_or_create(db: &mut Db, login: &SignIn) -> Result<Account, StorageError> {
    if let Some(account) = find(db, login)? {
        return Ok(account);
    }
    let created_at = Time(login.now);
    let new =
        Account { user_id: login.user_id.into(), identity_id: login.identity_id.into(), first_login: true };
    let user = (users::id.eq(new.user_id), users::created_at.eq(created_at));
    diesel::insert_into(users::table).values(user).execute(db)?;
    let identity = (
        identities::id.eq(new.identity_id),
        identities::user_id.eq(new.user_id),
        identities::provider_id.eq(login.profile.provider.as_str()),
        identities::subject.eq(login.profile.subject.as_str()),
        identities::created_at.eq(created_at),
        IdentityProfile::new(&login.profile, login.now)?,
    );
    // Waits for a parallel first login of the same person and then inserts no row.
    let inserted = diesel::insert_into(identities::table)
        .values(identity)
        .on_conflict((identities::provider_id, identities::subject))
        .do_nothing()
        .execute(db)?;
    if inserted == 1 {
        return Ok(new);
    }
    diesel::delete(users::table.find(new.user_id)).execute(db)?;
    find(db, login)?
        .ok_or_else(|| StorageError::Unexpected("an identity was deleted during its login".to_owned()))
}

/// Locks the user's row and writes the profile. Returns `false` and changes nothing if the user is disabled.
fn update_profile(db: &mut Db, login: &SignIn, account: &Account) -> Result<bool, StorageError> {
    if !users_queries::lock_enabled(db, account.user_id)? {
        return Ok(false);
    }
    let profile = IdentityProfile::new(&login.profile, login.now)?;
    diesel::update(identities::table.find(account.identity_id)).set(profile).execute(db)?;
    Ok(true)
}

fn newest_reusable(
    db: &mut Db,
    login: &SignIn,
    client: &ClientId,
    user_id: Id,
    reusable: impl Fn(&TokenRecord) -> bool,
) -> Result<Option<StoredToken>, StorageError> {
    let now = Time(login.now);
    let rows: Vec<RecordRow> = records()
        .filter(tokens::user_id.eq(user_id))
        .filter(tokens::client_id.eq(client.as_str()))
        .filter(is_session_token())
        .filter(is_current(now))
        .filter(is_open(now))
        .order((tokens::issued_at.desc(), tokens::id.desc()))
        .select(RecordRow::as_select())
        .load(db)?;
    for row in rows {
        let record = TokenRecord::try_from(row)?;
        if reusable(&record) {
            return Ok(Some(record.token));
        }
    }
    Ok(None)
}

//! A completed login: user, identity, session and token in one transaction.

use diesel::prelude::*;

use super::browser_sessions::end_previous;
use super::sessions::is_open;
use super::tokens::{Among, insert, is_live, revoke_oldest};
use super::{Db, write};
use crate::domain::ids::{SessionId, UserId};
use crate::storage::error::StorageError;
use crate::storage::records::{SignIn, SignInRefused, SignedIn, StoredToken};
use crate::storage::rows::{IdentityProfile, NewSession, TokenRow, UserProfile};
use crate::storage::schema::{api_tokens, identities, sessions, users};
use crate::storage::types::{Id, Time};

/// Whose login it is.
struct Account {
    user_id: Id,
    identity_id: Id,
    first_login: bool,
}

pub fn sign_in(
    db: &mut Db,
    login: &SignIn,
    issue: impl FnOnce(UserId, SessionId) -> StoredToken,
    reusable: impl Fn(&StoredToken) -> bool,
) -> Result<Result<SignedIn, SignInRefused>, StorageError> {
    write(db, |db| {
        let account = find_or_create(db, login)?;
        if !account.first_login && !update_profile(db, login, &account)? {
            return Ok(Err(SignInRefused::UserDisabled));
        }
        let first_login = account.first_login;
        if login.reuse
            && let Some(token) = newest_reusable(db, login, account.user_id, reusable)?
        {
            return Ok(Ok(SignedIn { ended: None, first_login, token }));
        }
        let session = NewSession::new(login, account.user_id, account.identity_id);
        diesel::insert_into(sessions::table).values(session).execute(db)?;
        let token = issue(account.user_id.into(), login.session_id);
        insert(db, &token, None)?;
        let previous = login.browser_session.and_then(|browser| browser.previous);
        let ended =
            previous.map(|digest| end_previous(db, &digest, account.user_id, login.now)).transpose()?;
        revoke_oldest(db, &token, login.now, login.live_tokens, Among::User)?;
        Ok(Ok(SignedIn { ended: ended.flatten(), first_login, token }))
    })
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
    let user = (
        users::id.eq(new.user_id),
        users::created_at.eq(created_at),
        UserProfile::new(&login.profile, login.now),
    );
    diesel::insert_into(users::table).values(user).execute(db)?;
    let identity = (
        identities::id.eq(new.identity_id),
        identities::user_id.eq(new.user_id),
        identities::provider_id.eq(login.profile.provider.as_str()),
        identities::subject.eq(login.profile.subject.as_str()),
        identities::created_at.eq(created_at),
        IdentityProfile::new(&login.profile, login.now)?,
    );
    // Waits for a parallel first login of the same person, and then writes nothing.
    let written = diesel::insert_into(identities::table)
        .values(identity)
        .on_conflict((identities::provider_id, identities::subject))
        .do_nothing()
        .execute(db)?;
    if written == 1 {
        return Ok(new);
    }
    diesel::delete(users::table.find(new.user_id)).execute(db)?;
    find(db, login)?.ok_or_else(|| StorageError::Unexpected("an identity came and went".to_owned()))
}

/// Takes the user's row and writes the profile; changes nothing of a disabled user and says no.
fn update_profile(db: &mut Db, login: &SignIn, account: &Account) -> Result<bool, StorageError> {
    let enabled = users::table.find(account.user_id).filter(users::disabled_at.is_null());
    let profile = UserProfile::new(&login.profile, login.now);
    if diesel::update(enabled).set(profile).execute(db)? == 0 {
        return Ok(false);
    }
    let profile = IdentityProfile::new(&login.profile, login.now)?;
    diesel::update(identities::table.find(account.identity_id)).set(profile).execute(db)?;
    Ok(true)
}

fn newest_reusable(
    db: &mut Db,
    login: &SignIn,
    user_id: Id,
    reusable: impl Fn(&StoredToken) -> bool,
) -> Result<Option<StoredToken>, StorageError> {
    let now = Time(login.now);
    let rows = api_tokens::table
        .inner_join(sessions::table)
        .filter(api_tokens::user_id.eq(user_id))
        .filter(api_tokens::client_id.eq(login.client_id.as_str()))
        .filter(is_live(now))
        .filter(is_open(now))
        .order((api_tokens::issued_at.desc(), api_tokens::id.desc()))
        .select(TokenRow::as_select())
        .load(db)?;
    for row in rows {
        let token = StoredToken::try_from(row)?;
        if reusable(&token) {
            return Ok(Some(token));
        }
    }
    Ok(None)
}

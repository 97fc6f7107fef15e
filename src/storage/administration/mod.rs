//! What an administrator asks of the database: lists, and changes, each with its audit event in the same
//! transaction.

pub mod records;
pub(super) mod rows;

use self::records::{
    AuditEntry, AuditFilter, AuditPosition, Deleted, Disabled, Holdings, Order, SessionFilter, SessionRecord,
    TokenFilter, TokenListing, UserFilter, UserRecord,
};
use super::blocking::{Backends, Bound, on_backend};
#[cfg(feature = "postgres")]
use super::postgres;
use super::records::Purged;
use super::{Storage, StorageError, sqlite};
use crate::domain::api_token::HandleDigest;
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ResourceServerId, SessionId, TokenId, UserId};
use crate::domain::resource_server::{ResourceServer, StoredSecret};
use crate::domain::user::UserReference;

/// Users.
impl Storage {
    /// The users that match; nothing when the one to go on behind is not there.
    pub async fn list_users(&self, filter: UserFilter) -> Result<Option<Vec<UserRecord>>, StorageError> {
        on_backend!(self, Bound::Answer, administration_users::list(&filter))
    }

    /// The users that a name stands for: one, none, or, by a username, several; `limit` at most.
    pub async fn find_users(&self, user: UserReference, limit: u32) -> Result<Vec<UserRecord>, StorageError> {
        on_backend!(self, Bound::Answer, administration_users::find(&user, limit.into()))
    }

    /// What a user holds.
    pub async fn holdings_of(&self, user: UserId, now: Timestamp) -> Result<Holdings, StorageError> {
        on_backend!(self, Bound::Answer, administration_users::holdings(user, now))
    }

    /// Disables a user and ends their sessions; nothing when there is no such user.
    pub async fn disable_user(
        &self,
        user: UserId,
        event: AuditEvent,
    ) -> Result<Option<Disabled>, StorageError> {
        on_backend!(self, Bound::Answer, administration_users::disable(user, event))
    }

    /// Enables a user again; says whether they were disabled, or nothing when there is no such user.
    pub async fn enable_user(&self, user: UserId, event: AuditEvent) -> Result<Option<bool>, StorageError> {
        on_backend!(self, Bound::Answer, administration_users::enable(user, event))
    }

    /// Deletes a user with identities, sessions and tokens, and the addresses of their audit events; nothing
    /// when there is no such user.
    pub async fn delete_user(
        &self,
        user: UserId,
        event: AuditEvent,
    ) -> Result<Option<Deleted>, StorageError> {
        on_backend!(self, Bound::Answer, administration_users::delete(user, event))
    }
}

/// Sessions and tokens.
impl Storage {
    /// The sessions that match; nothing when the one to go on behind is not there.
    pub async fn list_all_sessions(
        &self,
        filter: SessionFilter,
    ) -> Result<Option<Vec<SessionRecord>>, StorageError> {
        on_backend!(self, Bound::Answer, administration_sessions::list(&filter))
    }

    /// Ends a session; says whether it was open, or nothing when there is no such session.
    pub async fn end_session_by_admin(
        &self,
        session: SessionId,
        event: AuditEvent,
    ) -> Result<Option<bool>, StorageError> {
        on_backend!(self, Bound::Answer, administration_sessions::end(session, event))
    }

    /// Ends the open sessions of a user; says how many, or nothing when there is no such user.
    pub async fn end_sessions_by_admin(
        &self,
        user: UserId,
        event: AuditEvent,
    ) -> Result<Option<usize>, StorageError> {
        on_backend!(self, Bound::Answer, administration_sessions::end_all_of(user, event))
    }

    /// Ends every open session; says how many. Works through the users batch by batch, so that nobody waits
    /// long; a login that begins meanwhile may stay.
    pub async fn end_every_session(&self, event: AuditEvent) -> Result<usize, StorageError> {
        self.record_audit(vec![event.clone()]).await?;
        let (mut ended, mut after) = (0, None);
        loop {
            let event = event.clone();
            let batch = on_backend!(self, Bound::Answer, administration_sessions::end_batch(after, &event))?;
            ended += batch.ended;
            match batch.last {
                Some(last) => after = Some(last),
                None => return Ok(ended),
            }
        }
    }

    /// The tokens that match; nothing when the one to go on behind is not there.
    pub async fn list_tokens(&self, filter: TokenFilter) -> Result<Option<Vec<TokenListing>>, StorageError> {
        on_backend!(self, Bound::Answer, administration_tokens::list(&filter))
    }

    /// The token with this handle.
    pub async fn find_token_listing(
        &self,
        handle: HandleDigest,
    ) -> Result<Option<TokenListing>, StorageError> {
        on_backend!(self, Bound::Answer, administration_tokens::find(&handle))
    }

    /// Revokes the token of a row; gives the row as it was before, or nothing when there is none.
    pub async fn revoke_token_by_admin(
        &self,
        token: TokenId,
        event: AuditEvent,
    ) -> Result<Option<TokenListing>, StorageError> {
        on_backend!(self, Bound::Answer, administration_tokens::revoke(token, event))
    }
}

/// Resource servers.
impl Storage {
    /// All resource servers, by name.
    pub async fn resource_servers(&self) -> Result<Vec<ResourceServer>, StorageError> {
        on_backend!(self, Bound::Answer, resource_servers::all())
    }

    /// The resource server of this name.
    pub async fn find_resource_server(
        &self,
        id: ResourceServerId,
    ) -> Result<Option<ResourceServer>, StorageError> {
        on_backend!(self, Bound::Answer, resource_servers::find(&id))
    }

    /// Registers a resource server; says whether the name was free.
    pub async fn add_resource_server(
        &self,
        server: ResourceServer,
        event: AuditEvent,
    ) -> Result<bool, StorageError> {
        on_backend!(self, Bound::Answer, resource_servers::add(&server, event))
    }

    /// Changes a resource server in one transaction: `change` gets it as it is, alone with it, and says what to
    /// do, or why not; what was done comes back. Nothing when there is no such resource server.
    pub async fn change_resource_server<E: Send + 'static>(
        &self,
        id: ResourceServerId,
        event: AuditEvent,
        change: impl FnOnce(&ResourceServer) -> Result<ResourceServerChange, E> + Send + 'static,
    ) -> Result<Option<Result<ResourceServerChange, E>>, StorageError> {
        on_backend!(self, Bound::Answer, resource_servers::change(&id, event, change))
    }
}

/// What to do with a resource server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceServerChange {
    /// Add this secret.
    AddSecret(StoredSecret),
    /// Remove all secrets but the newest.
    KeepNewestSecret,
    /// Disable it, or enable it with `None`.
    SetDisabled(Option<Timestamp>),
    /// Remove it with its secrets.
    Remove,
    /// Leave it as it is, and write no event.
    Nothing,
}

/// The audit trail, and what is dead.
impl Storage {
    /// The audit events that match, in this order, from behind a position on.
    pub async fn read_audit(
        &self,
        filter: AuditFilter,
        order: Order,
        after: Option<AuditPosition>,
    ) -> Result<Vec<AuditEntry>, StorageError> {
        on_backend!(self, Bound::Answer, administration_audit::read(&filter, order, after))
    }

    /// What [`Storage::purge`] would delete.
    pub async fn count_purgeable(
        &self,
        now: Timestamp,
        audit_before: Timestamp,
    ) -> Result<Purged, StorageError> {
        on_backend!(self, Bound::Answer, administration_purge::count(now, audit_before))
    }
}

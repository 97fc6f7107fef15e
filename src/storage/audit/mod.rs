//! The audit trail.

pub(super) mod rows;

use serde::Serialize;

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, SessionId, UserId};

/// An audit event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRecord {
    /// When it happened.
    pub at: Timestamp,
    /// What happened: a name of [`AuditKind`](crate::domain::audit::AuditKind).
    pub kind: String,
    /// The request that caused it.
    pub request_id: String,
    /// The address that the request came from.
    pub address: Option<String>,
    /// The client.
    pub client: Option<String>,
    /// The provider.
    pub provider: Option<String>,
    /// The user.
    pub user: Option<UserId>,
    /// The session.
    pub session: Option<SessionId>,
    /// The short one-way id of the token.
    pub token: Option<String>,
    /// The error code, if it failed.
    pub reason: Option<String>,
    /// The administrator who did it.
    pub actor: Option<String>,
    /// The resource server.
    pub resource_server: Option<String>,
}

/// Which audit events to read.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only events about this user.
    pub user: Option<UserId>,
    /// Only events of this kind.
    pub kind: Option<String>,
    /// Only events of this client.
    pub client: Option<ClientId>,
    /// Only events at or after this moment.
    pub since: Option<Timestamp>,
    /// Only events before this moment.
    pub until: Option<Timestamp>,
    /// At most this many.
    pub limit: u32,
}

/// A position in the audit trail: behind this event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPosition {
    /// The event's time.
    pub at: Timestamp,
    /// The event's number.
    pub id: i64,
}

/// In which order the audit trail is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// For people.
    NewestFirst,
    /// For an archive.
    OldestFirst,
}

/// An audit event with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// The number that the database assigned, never used twice.
    pub id: i64,
    /// The event.
    #[serde(flatten)]
    pub event: AuditRecord,
}

impl AuditEntry {
    /// The position behind this event.
    pub fn position(&self) -> AuditPosition {
        AuditPosition { at: self.event.at, id: self.id }
    }
}

impl Storage {
    /// Adds events to the audit trail.
    pub async fn record_audit(&self, events: Vec<AuditEvent>) -> Result<(), StorageError> {
        on_backend!(self, audit::record(events.clone()))
    }

    /// The events that match, in this order, from a position on.
    pub async fn read_audit(
        &self,
        filter: AuditFilter,
        order: Order,
        after: Option<AuditPosition>,
    ) -> Result<Vec<AuditEntry>, StorageError> {
        on_backend!(self, audit::read(&filter, order, after))
    }
}

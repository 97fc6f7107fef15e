//! The audit trail.

pub(super) mod rows;

use serde::Serialize;

use super::Storage;
use super::blocking::on_backend;
use super::error::StorageError;
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, SessionId, UserId};

/// A stored audit event.
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
    /// The client it is about.
    pub client: Option<String>,
    /// The provider it is about.
    pub provider: Option<String>,
    /// The user it is about.
    pub user: Option<UserId>,
    /// The session it is about.
    pub session: Option<SessionId>,
    /// The short one-way id of the token it is about.
    pub token: Option<String>,
    /// The error code, if something failed.
    pub reason: Option<String>,
    /// The administrator who did it.
    pub actor: Option<String>,
    /// The resource server it is about.
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
    /// Only events from this moment on.
    pub since: Option<Timestamp>,
    /// Only events before this moment.
    pub until: Option<Timestamp>,
    /// At most this many.
    pub limit: u32,
}

/// How far the audit trail has been read: up to and including this event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPosition {
    /// Its time.
    pub at: Timestamp,
    /// Its number.
    pub id: i64,
}

/// In which direction the audit trail is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// For looking at it.
    NewestFirst,
    /// For exporting it.
    OldestFirst,
}

/// An audit event with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// The event's number, which is never reused.
    pub id: i64,
    /// The event.
    #[serde(flatten)]
    pub event: AuditRecord,
}

impl AuditEntry {
    /// The position after it.
    pub fn position(&self) -> AuditPosition {
        AuditPosition { at: self.event.at, id: self.id }
    }
}

impl Storage {
    /// Adds events to the audit trail.
    pub async fn record_audit(&self, events: Vec<AuditEvent>) -> Result<(), StorageError> {
        on_backend!(self, audit::record(events))
    }

    /// The audit events that match, in this order, starting after a position.
    pub async fn read_audit(
        &self,
        filter: AuditFilter,
        order: Order,
        after: Option<AuditPosition>,
    ) -> Result<Vec<AuditEntry>, StorageError> {
        on_backend!(self, audit::read(&filter, order, after))
    }
}

//! What administrators do at the command line: on the live database, while brokers run.
//!
//! Every change writes an audit event with the administrator's name, in the same transaction; a purge and the end of
//! everyone's sessions, which are many transactions, have one event for the whole command. A running broker asks the
//! database on every call, so a change takes effect with the next one.

pub mod audit;
pub mod purge;
pub mod resource_servers;
pub mod sessions;
pub mod tokens;
pub mod users;

use std::sync::Arc;

use chrono::TimeDelta;

use crate::domain::audit::{Actor, AuditEvent, AuditKind};
use crate::domain::clock::Clock;
use crate::domain::entropy::Entropy;
use crate::domain::key_ring::KeyRing;
use crate::domain::request_id::RequestId;
use crate::state::ClientRegistry;
use crate::storage::{Storage, StorageError};

/// What a command may use: the counterpart of [`Broker`](crate::state::Broker).
pub struct Administration {
    /// The database.
    pub storage: Storage,
    /// The registered clients.
    pub clients: ClientRegistry,
    /// The server's own keys.
    pub keys: Arc<KeyRing>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// How long audit events are kept.
    pub audit_kept: TimeDelta,
    /// The administrator at the command line, if known.
    pub actor: Option<Actor>,
    /// In audit events it takes the place of a request's id; each run of a command has its own.
    pub run_id: RequestId,
}

impl std::fmt::Debug for Administration {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Administration").field("run_id", &self.run_id.as_str()).finish_non_exhaustive()
    }
}

impl AsRef<Storage> for Administration {
    fn as_ref(&self) -> &Storage {
        &self.storage
    }
}

impl Administration {
    fn event(&self, kind: AuditKind) -> AuditEvent {
        AuditEvent { actor: self.actor.clone(), ..AuditEvent::new(kind, self.clock.now(), &self.run_id) }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// What it names does not exist.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as requested.
    #[error("{0}")]
    Refused(String),
    /// The database is unreachable.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, AdministrationError>;

fn not_found<T>(what: impl Into<String>) -> Result<T> {
    Err(AdministrationError::NotFound(what.into()))
}

//! What administrators do at the command line, on the live database, beside running brokers.
//!
//! Every change writes an audit event with the administrator's name, in the same transaction. A running broker
//! asks the database on every call, so that what is done here acts on the next one.

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
use crate::domain::entropy::{self, Entropy};
use crate::domain::key_ring::KeyRing;
use crate::storage::{Storage, StorageError};

/// What a command may use: the counterpart of [`Broker`](crate::state::Broker).
pub struct Administration {
    /// The database.
    pub storage: Storage,
    /// The server's own keys.
    pub keys: Arc<KeyRing>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// How long audit events are kept.
    pub audit_kept: TimeDelta,
    /// Who is at the command line, where that is known.
    pub actor: Option<Actor>,
    /// Stands where audit events have the id of a request; one for each command that is run.
    pub run_id: String,
}

impl std::fmt::Debug for Administration {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Administration").field("run_id", &self.run_id).finish_non_exhaustive()
    }
}

impl Administration {
    /// Names a run of a command, as in `cli-1f0a2b3c4d5e6f70`.
    pub fn run_id(entropy: &dyn Entropy) -> String {
        format!("cli-{:016x}", u64::from_be_bytes(entropy::bytes(entropy)))
    }

    fn event(&self, kind: AuditKind) -> AuditEvent {
        AuditEvent { actor: self.actor.clone(), ..AuditEvent::new(kind, self.clock.now(), &self.run_id) }
    }
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// What it names does not exist.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as it was asked for.
    #[error("{0}")]
    Refused(String),
    /// The database cannot answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, AdministrationError>;

fn not_found<T>(what: impl Into<String>) -> Result<T> {
    Err(AdministrationError::NotFound(what.into()))
}

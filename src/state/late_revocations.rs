//! Sessions that must end while the database is unavailable. They are ended as soon as it is available.
//!
//! Redeeming a one-time key needs no database, so a replayed key can reveal a stolen session while the database is
//! unavailable. And a logout of a provider must not be lost if the database fails in the middle of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Broker;
use crate::domain::audit::AuditEvent;
use crate::domain::ids::SessionId;
use crate::storage::StorageError;

/// The maximum number of sessions that wait.
const CAPACITY: usize = 1024;

/// The delay before a retry after the database was unavailable.
const RETRY: Duration = Duration::from_secs(1);

/// The sessions that wait, each with the audit event that is recorded when it has ended.
#[derive(Debug, Default)]
pub struct LateRevocations {
    waiting: Mutex<BTreeMap<SessionId, AuditEvent>>,
    added: Notify,
}

impl LateRevocations {
    pub(super) fn add(&self, session: SessionId, event: AuditEvent) {
        let mut waiting = self.waiting();
        if waiting.len() >= CAPACITY && !waiting.contains_key(&session) {
            log_not_ended(session);
            return;
        }
        waiting.entry(session).or_insert(event);
        drop(waiting);
        self.added.notify_one();
    }

    /// Ends sessions as they are added, and retries until it succeeds.
    pub async fn end_for_ever(&self, broker: &Broker) {
        loop {
            self.added.notified().await;
            while let Err(error) = self.end(broker).await {
                tracing::warn!(%error, "cannot end sessions in the database; will retry");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Ends the sessions that wait. After an error, the remaining sessions keep waiting.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn end(&self, broker: &Broker) -> Result<(), StorageError> {
        loop {
            let Some(session) = self.waiting().keys().next().copied() else { return Ok(()) };
            let now = broker.clock.now();
            let ended = broker.storage.end_session(session, now).await?;
            let event = self.waiting().remove(&session);
            if let Some(event) = event.filter(|_| ended) {
                broker.audit.record(AuditEvent { at: now, ..event });
            }
            tracing::info!(session_id = %session, "ended a session that waited for the database");
        }
    }

    /// Logs the sessions that this instance could not end before it stopped.
    pub fn give_up(&self) {
        std::mem::take(&mut *self.waiting()).into_keys().for_each(log_not_ended);
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<SessionId, AuditEvent>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_not_ended(session: SessionId) {
    tracing::error!(session_id = %session, "a session that must end could not be ended; run `token-broker sessions end`");
}

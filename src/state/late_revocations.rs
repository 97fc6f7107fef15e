//! Sessions that must end although the database is away: they are ended as soon as it is back.
//!
//! Redeeming needs no database, so a replayed key may show that a session is stolen while none can be ended; and
//! a provider's logout must not be lost when the database goes away in the middle of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Broker;
use crate::domain::audit::AuditEvent;
use crate::domain::ids::SessionId;
use crate::storage::StorageError;

/// Sessions that wait, at most.
const WAITING: usize = 1024;

/// How long to wait before asking a database again that was away.
const RETRY: Duration = Duration::from_secs(1);

/// The sessions that wait, each with what is recorded once it has ended.
#[derive(Debug, Default)]
pub struct LateRevocations {
    waiting: Mutex<BTreeMap<SessionId, AuditEvent>>,
    some: Notify,
}

impl LateRevocations {
    pub(super) fn add(&self, session: SessionId, event: AuditEvent) {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING && !waiting.contains_key(&session) {
            by_hand(session);
            return;
        }
        waiting.entry(session).or_insert(event);
        drop(waiting);
        self.some.notify_one();
    }

    /// Ends sessions as they come, each as often as it takes.
    pub async fn end_for_ever(&self, broker: &Broker) {
        loop {
            self.some.notified().await;
            while let Err(error) = self.end(broker).await {
                tracing::warn!(%error, "sessions that must end wait for the database");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Ends the sessions that wait. Those that were not ended wait on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end(&self, broker: &Broker) -> Result<(), StorageError> {
        loop {
            let Some(session) = self.waiting().keys().next().copied() else { return Ok(()) };
            let now = broker.clock.now();
            let ended = broker.storage.end_session(session, now).await?;
            let event = self.waiting().remove(&session);
            if let Some(event) = event.filter(|_| ended) {
                broker.audit.record(AuditEvent { at: now, ..event });
            }
            tracing::info!(session_id = %session, "a session that had to end was ended");
        }
    }

    /// Says which sessions will not be ended by this instance any more.
    pub fn give_up(&self) {
        std::mem::take(&mut *self.waiting()).into_keys().for_each(by_hand);
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<SessionId, AuditEvent>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_hand(session: SessionId) {
    tracing::error!(session_id = %session, "a session must end and was not ended: run `token-broker sessions end`");
}

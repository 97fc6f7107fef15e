//! Sessions that must end although the database is away: they are ended as soon as it is back.
//!
//! Redeeming needs no database, so a replayed key may show that a session is stolen while none can be ended; and
//! a provider's logout must not be lost when the database goes away in the middle of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::domain::clock::Clock;
use crate::domain::ids::SessionId;
use crate::storage::Storage;

/// Sessions that wait, at most.
const QUEUE: usize = 1024;

/// The waiting line.
#[derive(Debug, Clone)]
pub struct LateRevocations {
    queue: mpsc::Sender<SessionId>,
}

/// The other end of the waiting line.
#[derive(Debug)]
pub struct LateRevoker {
    queue: mpsc::Receiver<SessionId>,
}

/// A new waiting line.
pub fn late_revocations() -> (LateRevocations, LateRevoker) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (LateRevocations { queue: sender }, LateRevoker { queue: receiver })
}

impl LateRevocations {
    pub(crate) fn add(&self, session: SessionId) {
        if self.queue.try_send(session).is_err() {
            tracing::error!(session_id = %session, "a session could not be noted: end it by hand");
        }
    }
}

impl LateRevoker {
    /// Ends the sessions that wait, each as often as it takes.
    pub async fn run(mut self, storage: Storage, clock: Arc<dyn Clock>) {
        while let Some(session) = self.queue.recv().await {
            while let Err(error) = storage.end_session(session, clock.now()).await {
                tracing::warn!(%error, session_id = %session, "a session that must end waits for the database");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tracing::info!(session_id = %session, "a session that had to end was ended");
        }
    }
}

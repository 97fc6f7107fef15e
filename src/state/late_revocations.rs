//! Sessions that end outside of the request that causes it: at once, or as soon as the database is available.
//!
//! Redeeming a one-time key needs no database, so a replayed key can reveal a stolen session while the database is
//! unavailable, and a sign-in whose key is redeemed ends the sessions that the browser had before. And a logout of a
//! provider must not be lost if the database fails in the middle of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Broker;
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::SessionId;
use crate::storage::StorageError;

/// The maximum number of sessions that wait to be ended.
const SESSIONS: usize = 1024;

/// The maximum number of sign-ins that wait to end the older sessions of their browsers. They have room of their own:
/// no number of sign-ins keeps a stolen session alive.
const SIGN_INS: usize = 16_384;

/// The delay before a retry after the database was unavailable.
const RETRY: Duration = Duration::from_secs(1);

/// What waits, each with the audit event that is recorded for every session that ends.
#[derive(Debug, Default)]
pub struct LateRevocations {
    waiting: Mutex<Waiting>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Sessions that end.
    sessions: BTreeMap<SessionId, AuditEvent>,
    /// Sessions of a sign-in that ends what its browser had before it began.
    sign_ins: BTreeMap<SessionId, (Timestamp, AuditEvent)>,
}

/// What is ended next.
enum Next {
    Session(SessionId),
    OlderThan(SessionId, Timestamp),
}

impl LateRevocations {
    /// Ends a session.
    pub(super) fn add(&self, session: SessionId, event: AuditEvent) {
        let mut waiting = self.waiting();
        if waiting.sessions.len() >= SESSIONS && !waiting.sessions.contains_key(&session) {
            log_not_ended(session);
            return;
        }
        waiting.sessions.entry(session).or_insert(event);
        drop(waiting);
        self.added.notify_one();
    }

    /// Ends the sessions that the browser of `session` had before its sign-in began.
    pub(super) fn add_older(&self, session: SessionId, sign_in_began: Timestamp, event: AuditEvent) {
        let mut waiting = self.waiting();
        if waiting.sign_ins.len() >= SIGN_INS && !waiting.sign_ins.contains_key(&session) {
            log_older_not_ended(session);
            return;
        }
        waiting.sign_ins.entry(session).or_insert((sign_in_began, event));
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

    /// Ends what waits, stolen sessions first. After an error, the rest keeps waiting.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn end(&self, broker: &Broker) -> Result<(), StorageError> {
        while let Some(next) = self.next() {
            let now = broker.clock.now();
            let (ended, event) = match next {
                Next::Session(session) => {
                    let ended = broker.storage.end_session(session, now).await?;
                    tracing::info!(session_id = %session, "ended a session that waited for the database");
                    let event = self.waiting().sessions.remove(&session);
                    (ended.into_iter().map(|ended| (ended, None)).collect::<Vec<_>>(), event)
                }
                Next::OlderThan(session, sign_in_began) => {
                    let ended = broker.storage.end_older_sessions(session, sign_in_began, now).await?;
                    let event = self.waiting().sign_ins.remove(&session).map(|(_, event)| event);
                    (ended.into_iter().map(|ended| (ended.session, Some(ended.user))).collect(), event)
                }
            };
            let Some(event) = event else { continue };
            for (session, user) in ended {
                let event = event.clone();
                let user = user.or(event.user);
                broker.audit.record(AuditEvent { at: now, session: Some(session), user, ..event });
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Next> {
        let waiting = self.waiting();
        let session = waiting.sessions.keys().next().map(|session| Next::Session(*session));
        session.or_else(|| {
            let (session, (began, _)) = waiting.sign_ins.first_key_value()?;
            Some(Next::OlderThan(*session, *began))
        })
    }

    /// Logs what this instance could not end before it stopped.
    pub fn give_up(&self) {
        let Waiting { sessions, sign_ins } = std::mem::take(&mut *self.waiting());
        sessions.into_keys().for_each(log_not_ended);
        sign_ins.into_keys().for_each(log_older_not_ended);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_not_ended(session: SessionId) {
    tracing::error!(session_id = %session, "a session that must end could not be ended; run `token-broker sessions end`");
}

/// They end with this session: see `Storage::end_session`.
fn log_older_not_ended(session: SessionId) {
    tracing::warn!(
        session_id = %session,
        "the sessions that a browser had before it signed in again could not be ended; those of the same user end when this session ends"
    );
}

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
use crate::domain::ids::{SessionId, UserId};
use crate::storage::StorageError;
use crate::storage::sessions::EndedSession;

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
    /// Sessions that end: with the other ones of their browser, or, if a user is named, whose it is, alone.
    sessions: BTreeMap<SessionId, (Option<UserId>, AuditEvent)>,
    /// Sessions of a sign-in that ends what its browser had before it began.
    sign_ins: BTreeMap<SessionId, (Timestamp, AuditEvent)>,
}

/// What is ended next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Session(SessionId, Option<UserId>),
    OlderThan(SessionId, Timestamp),
}

impl LateRevocations {
    /// Ends a session with the other ones of its browser, or alone if this is the session `alone_of` a user. Who wants more
    /// to end prevails.
    pub(super) fn add(&self, session: SessionId, alone_of: Option<UserId>, event: AuditEvent) {
        let mut waiting = self.waiting();
        if waiting.sessions.len() >= SESSIONS && !waiting.sessions.contains_key(&session) {
            log_not_ended(session);
            return;
        }
        let (alone, _) = waiting.sessions.entry(session).or_insert((alone_of, event));
        *alone = alone.and(alone_of);
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
            match next {
                Next::Session(session, alone_of) => self.end_session(broker, session, alone_of).await?,
                Next::OlderThan(session, began) => self.end_older(broker, session, began).await?,
            }
        }
        Ok(())
    }

    async fn end_session(
        &self,
        broker: &Broker,
        session: SessionId,
        alone_of: Option<UserId>,
    ) -> Result<(), StorageError> {
        let now = broker.clock.now();
        let mut ended = match alone_of {
            None => broker.storage.end_session(session, now).await?,
            Some(user) => {
                let named = vec![EndedSession { session, user }];
                let ended = broker.storage.end_provider_sessions(named, now).await?;
                ended.into_iter().map(|ended| ended.session).collect()
            }
        };
        tracing::info!(session_id = %session, "ended a session that waited for the database");
        let Some(event) = self.remove(session, alone_of) else { return Ok(()) };
        // It waited because an attempt failed, which may have ended it all the same: only its answer was lost.
        if ended.is_empty() {
            ended.push(session);
        }
        ended.into_iter().for_each(|session| record(broker, &event, session, event.user, now));
        Ok(())
    }

    /// Removes a session that has ended in this way, unless more was to end in the meantime. Returns its event.
    fn remove(&self, session: SessionId, alone_of: Option<UserId>) -> Option<AuditEvent> {
        let mut waiting = self.waiting();
        let (alone, _) = waiting.sessions.get(&session)?;
        if *alone != alone_of {
            return None;
        }
        waiting.sessions.remove(&session).map(|(_, event)| event)
    }

    async fn end_older(
        &self,
        broker: &Broker,
        session: SessionId,
        sign_in_began: Timestamp,
    ) -> Result<(), StorageError> {
        let now = broker.clock.now();
        let ended = broker.storage.end_older_sessions(session, sign_in_began, now).await?;
        let Some((_, event)) = self.waiting().sign_ins.remove(&session) else { return Ok(()) };
        ended.into_iter().for_each(|ended| record(broker, &event, ended.session, Some(ended.user), now));
        Ok(())
    }

    fn next(&self) -> Option<Next> {
        let waiting = self.waiting();
        let session = waiting.sessions.iter().next();
        session.map(|(session, (alone_of, _))| Next::Session(*session, *alone_of)).or_else(|| {
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

fn record(broker: &Broker, event: &AuditEvent, session: SessionId, user: Option<UserId>, now: Timestamp) {
    broker.audit.record(AuditEvent { at: now, session: Some(session), user, ..event.clone() });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::AuditKind;
    use crate::domain::caller::Caller;
    use crate::domain::entropy::SystemEntropy;
    use crate::state::audit_trail::{Event, audit_trail};
    use crate::state::testing;
    use crate::storage::{Storage, StorageSettings};

    fn event(broker: &Broker) -> AuditEvent {
        let address = "192.0.2.1".parse().unwrap();
        let caller = Caller { request_id: "r".parse().unwrap(), address, user_agent: None, origin: None };
        Event::new(broker, &caller, AuditKind::SessionEnded).into_event()
    }

    fn ids() -> (SessionId, UserId) {
        (SessionId::random(&SystemEntropy), UserId::random(&SystemEntropy))
    }

    #[test]
    fn a_session_ends_alone_only_if_no_one_wants_more_to_end() {
        let (broker, (session, user)) = (testing::broker(), ids());
        let late = &broker.late_revocations;
        late.add(session, Some(user), event(&broker));
        assert_eq!(late.next(), Some(Next::Session(session, Some(user))));
        late.add(session, None, event(&broker));
        assert_eq!(late.next(), Some(Next::Session(session, None)));
        late.add(session, Some(user), event(&broker));
        assert_eq!(late.next(), Some(Next::Session(session, None)));
    }

    /// While the session was being ended alone.
    #[test]
    fn what_was_widened_in_the_meantime_keeps_waiting() {
        let (broker, (session, user)) = (testing::broker(), ids());
        let late = &broker.late_revocations;
        late.add(session, Some(user), event(&broker));
        late.add(session, None, event(&broker));
        assert!(late.remove(session, Some(user)).is_none());
        assert!(late.remove(session, None).is_some());
        assert_eq!(late.next(), None);
    }

    /// The database carries out the first attempt, and only its answer is lost.
    #[actix_web::test]
    async fn the_end_of_a_session_is_recorded_if_the_first_attempt_had_ended_it() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("broker.sqlite").display());
        let storage = Storage::new(&StorageSettings::new(url.parse().unwrap())).unwrap();
        storage.migrate().await.unwrap();
        let (audit, _writer) = audit_trail();
        let broker = Broker { storage, audit, ..testing::broker() };
        for alone in [false, true] {
            let (session, user) = ids();
            let before = broker.audit.waiting();
            broker.late_revocations.add(session, alone.then_some(user), event(&broker));
            broker.late_revocations.end(&broker).await.unwrap();
            assert_eq!(broker.audit.waiting() - before, 1);
            assert_eq!(broker.late_revocations.next(), None);
        }
    }
}

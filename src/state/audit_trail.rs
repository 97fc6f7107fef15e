//! Remembers what matters for security: a log line at once, a counter, and a row soon after.
//!
//! Rows are written off the request's path, so that no request waits for them and none fails without the
//! database. The queue is bounded: under a flood rows are dropped, counted and reported, log lines are not.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::domain::audit::{AuditEvent, AuditKind};
use crate::domain::caller::Caller;
use crate::domain::ids::{ClientId, ProviderId, ResourceServerId, SessionId, UserId};
use crate::domain::request_id::RequestId;
use crate::domain::token::HandleDigest;
use crate::error::ErrorCode;
use crate::state::Broker;
use crate::storage::Storage;

/// Events that wait for the database, at most.
const QUEUE: usize = 4096;

/// Rows written in one statement, at most.
const BATCH: usize = 256;

/// The waiting line of audit rows.
#[derive(Debug, Clone)]
pub struct AuditTrail {
    queue: mpsc::Sender<AuditEvent>,
}

/// The other end of the waiting line.
#[derive(Debug)]
pub struct AuditWriter {
    queue: mpsc::Receiver<AuditEvent>,
}

/// A new waiting line.
pub fn audit_trail() -> (AuditTrail, AuditWriter) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (AuditTrail { queue: sender }, AuditWriter { queue: receiver })
}

impl AuditTrail {
    pub(super) fn record(&self, event: AuditEvent) {
        log(&event);
        metrics::counter!("token_broker_events_total", "event" => event.kind.as_str()).increment(1);
        // Under a flood every request is one of these: they are logged and counted, but fill no table.
        let kept = event.kind != AuditKind::RateLimited;
        if kept && self.queue.try_send(event).is_err() {
            metrics::counter!("token_broker_audit_rows_dropped_total").increment(1);
        }
    }
}

impl AuditWriter {
    /// Writes rows until `stop` comes, and then those that wait. While the database is away it keeps what it
    /// holds and tries again; once stopped it gives up instead.
    pub async fn run(mut self, storage: Storage, mut stop: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                }
                _ = &mut stop, if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            }
            self.write(&storage, &mut batch, &mut stop).await;
        }
    }

    async fn write(
        &mut self,
        storage: &Storage,
        batch: &mut Vec<AuditEvent>,
        stop: &mut oneshot::Receiver<()>,
    ) {
        while let Err(error) = storage.record_audit(batch.clone()).await {
            tracing::warn!(%error, rows = batch.len(), "audit rows wait for the database");
            if self.queue.is_closed() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                _ = &mut *stop => self.queue.close(),
            }
        }
        batch.clear();
    }
}

/// Collects what is known about an event while a step goes on.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    broker: &'a Broker,
    event: AuditEvent,
}

impl<'a> Event<'a> {
    pub(crate) fn new(broker: &'a Broker, caller: &Caller, kind: AuditKind) -> Self {
        let event = AuditEvent {
            address: Some(caller.address),
            ..AuditEvent::new(kind, broker.clock.now(), &caller.request_id)
        };
        Self { broker, event }
    }

    /// Without the address: the caller asks for someone else.
    pub(crate) fn without_address(mut self) -> Self {
        self.event.address = None;
        self
    }

    pub(crate) fn resource_server(mut self, id: &ResourceServerId) -> Self {
        self.event.resource_server = Some(id.clone());
        self
    }

    pub(crate) fn client(mut self, client: &ClientId) -> Self {
        self.event.client = Some(client.clone());
        self
    }

    pub(crate) fn provider(mut self, provider: &ProviderId) -> Self {
        self.event.provider = Some(provider.clone());
        self
    }

    pub(crate) fn user(mut self, user: UserId) -> Self {
        self.event.user = Some(user);
        self
    }

    pub(crate) fn session(mut self, session: SessionId) -> Self {
        self.event.session = Some(session);
        self
    }

    pub(crate) fn token(mut self, token: HandleDigest) -> Self {
        self.event.token = Some(token);
        self
    }

    pub(crate) fn reason(mut self, reason: ErrorCode) -> Self {
        self.event.reason = Some(reason.as_str().into());
        self
    }

    #[cfg(test)]
    pub(crate) fn into_event(self) -> AuditEvent {
        self.event
    }

    pub(crate) fn record(self) {
        self.broker.audit.record(self.event);
    }

    /// Ends this session as soon as the database can, and records the event then.
    pub(crate) fn end_later(self, session: SessionId) {
        self.broker.late_revocations.add(session, self.event);
    }
}

/// Records something of the broker itself, which no request has caused.
pub(super) fn record_own(broker: &Broker, kind: AuditKind, reason: String) {
    let id = RequestId::with_prefix("broker", &*broker.entropy);
    let event = AuditEvent::new(kind, broker.clock.now(), &id);
    broker.audit.record(AuditEvent { reason: Some(reason.into()), ..event });
}

fn log(event: &AuditEvent) {
    tracing::info!(
        target: "audit",
        event = event.kind.as_str(),
        request_id = event.request_id.as_str(),
        address = event.address.map(tracing::field::display),
        client_id = event.client.as_ref().map(tracing::field::display),
        provider = event.provider.as_ref().map(tracing::field::display),
        user_id = event.user.map(tracing::field::display),
        session_id = event.session.map(tracing::field::display),
        token = event.token.map(|token| token.short_id()),
        reason = event.reason.as_deref(),
    );
}

//! The audit trail: each security event is logged and counted at once, and written to the database shortly after.
//!
//! A background task writes the rows, so that no request waits for them or fails if the database is unavailable. The
//! queue is bounded: if it is full, rows are dropped and counted, but the events are still logged.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::domain::audit::{AuditEvent, AuditKind};
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientId, ProviderId, ResourceServerId, SessionId, UserId};
use crate::domain::metric;
use crate::domain::request_id::RequestId;
use crate::domain::token::HandleDigest;
use crate::error::ErrorCode;
use crate::state::Broker;
use crate::storage::Storage;
use crate::storage::sessions::EndedSession;

/// The maximum number of events that wait for the database.
const QUEUE_CAPACITY: usize = 4096;

/// The maximum number of rows in one statement.
const BATCH_SIZE: usize = 256;

/// The sending end of the queue of audit events.
#[derive(Debug, Clone)]
pub struct AuditTrail {
    queue: mpsc::Sender<AuditEvent>,
}

/// The receiving end of the queue, which writes the events to the database.
#[derive(Debug)]
pub struct AuditWriter {
    queue: mpsc::Receiver<AuditEvent>,
}

/// A new queue of audit events.
pub fn audit_trail() -> (AuditTrail, AuditWriter) {
    for kind in AuditKind::ALL {
        // Named once, it is reported, as 0.
        let _ = metrics::counter!(metric::EVENTS.name, "event" => kind.as_str());
    }
    let _ = metrics::counter!(metric::AUDIT_ROWS_DROPPED.name);
    let _ = metrics::counter!(metric::LAST_USES_DROPPED.name);
    let (sender, receiver) = mpsc::channel(QUEUE_CAPACITY);
    (AuditTrail { queue: sender }, AuditWriter { queue: receiver })
}

impl AuditTrail {
    pub(super) fn record(&self, event: AuditEvent) {
        log(&event);
        count(&event);
        // Under a flood, every request causes one of these. They are logged and counted, but must not fill the table.
        let stored = event.kind != AuditKind::RateLimited;
        if stored && self.queue.try_send(event).is_err() {
            metrics::counter!(metric::AUDIT_ROWS_DROPPED.name).increment(1);
        }
    }

    /// How many events wait for the database.
    pub(super) fn waiting(&self) -> usize {
        QUEUE_CAPACITY - self.queue.capacity()
    }
}

impl AuditWriter {
    /// Writes events until `stop` is signalled, and then the events that are still in the queue. While the database is
    /// unavailable, it retries every second; after `stop`, it tries once and drops what cannot be written.
    pub async fn run(mut self, storage: Storage, mut stop: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH_SIZE);
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, BATCH_SIZE) => {
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
            tracing::warn!(%error, rows = batch.len(), "cannot write audit events to the database; will retry");
            if self.queue.is_closed() {
                metrics::counter!(metric::AUDIT_ROWS_DROPPED.name).increment(batch.len() as u64);
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

/// An audit event that is filled in while a request is processed.
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

    /// A reason that is more precise than the error code that the caller gets.
    pub(crate) fn reason_name(mut self, reason: &'static str) -> Self {
        self.event.reason = Some(reason.into());
        self
    }

    #[cfg(test)]
    pub(crate) fn into_event(self) -> AuditEvent {
        self.event
    }

    pub(crate) fn record(self) {
        self.broker.audit.record(self.event);
    }

    /// Ends this session as soon as the database is available, and then records the event, for each session that ends
    /// with it.
    pub(crate) fn end_later(self, session: SessionId) {
        self.broker.late_revocations.add(session, None, self.event);
    }

    /// The same for this session alone: the other ones of its browser stay.
    pub(crate) fn end_alone_later(self, EndedSession { session, user }: EndedSession) {
        self.broker.late_revocations.add(session, Some(user), self.event);
    }

    /// Ends the sessions that the browser of `session` had before its sign-in began, without waiting for the database,
    /// and records the event for each of them.
    pub(crate) fn end_older_later(self, session: SessionId, sign_in_began: Timestamp) {
        self.broker.late_revocations.add_older(session, sign_in_began, self.event);
    }
}

/// Records an event of the broker itself, which no request has caused.
pub(super) fn record_own(broker: &Broker, kind: AuditKind, reason: String) {
    let id = RequestId::with_prefix("broker", &*broker.entropy);
    let event = AuditEvent::new(kind, broker.clock.now(), &id);
    broker.audit.record(AuditEvent { reason: Some(reason.into()), ..event });
}

/// The result of a sign-in in metrics, if it did not fail.
const SUCCEEDED: &str = "succeeded";

/// How a sign-in at a provider fails. Other codes are counted as well, but not from the start.
const FAILURES: &[ErrorCode] = &[
    ErrorCode::AccessDenied,
    ErrorCode::InsufficientUserAuthentication,
    ErrorCode::InvalidIdToken,
    ErrorCode::IssuerMismatch,
    ErrorCode::ProviderError,
    ErrorCode::ProviderTimeout,
    ErrorCode::ServerError,
    ErrorCode::TemporarilyUnavailable,
];

/// Makes `/metrics` report the sign-ins of this provider from the start.
pub fn register_provider(provider: &ProviderId) {
    for result in FAILURES.iter().map(|code| code.as_str()).chain([SUCCEEDED]) {
        let _ = sign_ins(provider, result.to_owned());
    }
}

fn sign_ins(provider: &ProviderId, result: String) -> metrics::Counter {
    metrics::counter!(metric::SIGN_INS.name, "provider" => provider.to_string(), "result" => result)
}

fn count(event: &AuditEvent) {
    metrics::counter!(metric::EVENTS.name, "event" => event.kind.as_str()).increment(1);
    let result = match event.kind {
        AuditKind::LoginSucceeded => Some(SUCCEEDED.into()),
        AuditKind::LoginFailed => event.reason.clone(),
        _ => None,
    };
    // A sign-in whose provider is not known has not been at one.
    if let (Some(provider), Some(result)) = (&event.provider, result) {
        sign_ins(provider, result.into_owned()).increment(1);
    }
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

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::state::testing;

    #[test]
    fn rows_that_a_stopping_writer_cannot_write_are_counted() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let rendered = recorder.handle();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        metrics::with_local_recorder(&recorder, || {
            runtime.block_on(async {
                let (trail, writer) = audit_trail();
                let broker = Broker { audit: trail, ..testing::broker() };
                for _ in 0..3 {
                    record_own(&broker, AuditKind::ServerKeysRefused, "test".to_owned());
                }
                let (stop, stopped) = oneshot::channel();
                stop.send(()).unwrap();
                writer.run(broker.storage, stopped).await;
            });
        });
        let text = rendered.render();
        assert!(text.contains(&format!("{} 3\n", metric::AUDIT_ROWS_DROPPED.name)), "{text}");
    }
}

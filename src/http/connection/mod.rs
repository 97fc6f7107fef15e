//! What one connection may send, and by when: every head and every body has a deadline and a limit, also on a
//! connection that serves many requests.
//!
//! The framework limits only the first head of a connection, and takes in what is left of a chunked body that no
//! handler reads for as long as the caller likes. A [`Connection`] therefore follows which part of a request is due:
//! [`GuardedStream`] asks it before it reads, and the middleware tells it when a request starts, when its body is
//! complete and when it is answered.

mod refusal;
mod shares;
mod stream;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::ConnectionType;
use actix_web::web::Bytes;
use futures_util::Stream;
use tokio::sync::Notify;

use crate::domain::clock::{Moment, monotonic};
pub use refusal::Refusals;
pub use shares::{Share, Shares};
pub use stream::GuardedStream;

/// The largest head of a request, in bytes: request line and header fields.
const HEAD_LIMIT: usize = 16 * 1024;

/// How long the head of a request may take, from its first byte; for the first request, from the connection on.
pub const HEAD_TIME: Duration = Duration::from_secs(10);

/// The most that is read of a body, in bytes: what a handler accepts, and what may arrive until it has refused it.
const BODY_LIMIT: usize = 80 * 1024;

/// How long a body may take. A handler that waits for it gives up a little earlier, with an answer.
const BODY_TIME: Duration = Duration::from_secs(12);

/// The most that is read after an answer that did not wait for the body, in bytes, so that the caller gets to read it.
const REST_LIMIT: usize = 64 * 1024;

/// How long reading the rest of such a body may take.
const REST_TIME: Duration = Duration::from_secs(2);

/// How long a caller may take none of the bytes of its answer.
const STALL_TIME: Duration = Duration::from_secs(30);

/// How long a caller may take for one whole answer.
const ANSWER_TIME: Duration = Duration::from_secs(300);

/// What the caller is expected to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The head of the first request.
    FirstHead,
    /// The head of the next request.
    Head,
    /// The rest of the body of the request that is being served.
    Body,
    /// Nothing: the request is complete and is being served.
    Nothing,
    /// The rest of a body for which its answer did not wait. The connection ends after it.
    Rest,
}

/// What one connection may send. Its stream and its requests share it.
#[derive(Debug, Clone)]
pub struct Connection(Rc<State>);

#[derive(Debug)]
struct State {
    due: Cell<Due>,
    /// Since when that is due.
    since: Cell<Moment>,
    /// The bytes of it that have arrived.
    received: Cell<usize>,
    /// How long the connection may be idle between two requests.
    keep_alive: Duration,
    /// Since when an answer is being sent; `None` once the socket has taken all of it.
    sending: Cell<Option<Moment>>,
    /// Whether the connection ends with the answer to the current request.
    last: Cell<bool>,
    /// Whether nothing more may be sent to the caller.
    silent: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    flushed: Notify,
}

/// Why no more is read from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    /// The head of a request is too large.
    #[error("the head of the request is too large")]
    Head,
    /// More arrived than may.
    #[error("the body of the request is too large")]
    Body,
    /// What is due did not arrive in time.
    #[error("the request did not arrive in time")]
    Late,
}

/// A request that must not be answered, because it follows one with `Connection: close` (RFC 9112 section 9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterTheLast;

impl Connection {
    fn new(keep_alive: Duration) -> Self {
        Self(Rc::new(State {
            due: Cell::new(Due::FirstHead),
            since: Cell::new(monotonic()),
            received: Cell::new(0),
            keep_alive,
            sending: Cell::new(None),
            last: Cell::new(false),
            silent: Cell::new(false),
            reader: RefCell::new(None),
            flushed: Notify::new(),
        }))
    }

    /// The connection of a request; `None` if the request did not come through a guarded stream, as in unit tests.
    pub fn of(request: &ServiceRequest) -> Option<Self> {
        request.request().conn_data::<Self>().cloned()
    }

    /// Notes that `request` is being served, and watches its body.
    ///
    /// # Errors
    /// The request must not be answered; nothing more can be sent on this connection.
    pub async fn begin(&self, request: &mut ServiceRequest) -> Result<(), AfterTheLast> {
        if self.0.last.get() {
            let sent = async {
                while self.0.sending.get().is_some() {
                    self.0.flushed.notified().await;
                }
            };
            let _ = tokio::time::timeout(ANSWER_TIME, sent).await;
            self.0.silent.set(true);
            return Err(AfterTheLast);
        }
        self.0.last.set(request.head().connection_type() == ConnectionType::Close);
        match request.take_payload() {
            Payload::None => self.now_due(Due::Nothing),
            payload => {
                self.now_due(Due::Body);
                let watched = WatchedBody { payload, connection: self.clone() };
                request.set_payload(Payload::Stream { payload: Box::pin(watched) });
            }
        }
        Ok(())
    }

    /// Notes that the request is answered. `true` if the connection must end with this answer, because the body of
    /// the request has not arrived or was not read.
    pub fn answered(&self) -> bool {
        let body_is_due = self.0.due.get() == Due::Body;
        if body_is_due {
            self.0.last.set(true);
        }
        let early = self.0.received.get();
        self.0.sending.set(Some(monotonic()));
        self.now_due(if body_is_due { Due::Rest } else { Due::Head });
        if !body_is_due {
            // What arrived during the request belongs to the next head.
            self.0.received.set(early);
        }
        if body_is_due || early > 0 {
            self.wake_reader();
        }
        body_is_due
    }

    /// Notes that the socket has taken everything that was to be sent. What is due next is due from now on.
    fn sent(&self) {
        self.0.flushed.notify_waiters();
        if self.0.sending.take().is_some() {
            self.0.since.set(monotonic());
            if matches!(self.0.due.get(), Due::Rest) || self.0.received.get() > 0 {
                self.wake_reader();
            }
        }
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.0.reader.take() {
            reader.wake();
        }
    }

    fn now_due(&self, due: Due) {
        self.0.due.set(due);
        self.0.since.set(monotonic());
        self.0.received.set(0);
    }

    /// How many bytes may still be read now.
    fn may_read(&self) -> usize {
        let limit = match self.0.due.get() {
            Due::FirstHead | Due::Head | Due::Nothing => HEAD_LIMIT,
            Due::Body => BODY_LIMIT,
            Due::Rest => REST_LIMIT,
        };
        limit.saturating_sub(self.0.received.get())
    }

    /// Until when what is due must have arrived; `None` while the caller need not send anything.
    fn deadline(&self) -> Option<Moment> {
        if self.0.sending.get().is_some() {
            return None;
        }
        let time = match self.0.due.get() {
            // The framework answers 408 at this time; this is for the case that the answer is not taken.
            Due::FirstHead => HEAD_TIME + REST_TIME,
            Due::Head if self.0.received.get() == 0 => self.0.keep_alive,
            Due::Head => HEAD_TIME,
            Due::Body => BODY_TIME,
            Due::Rest => REST_TIME,
            Due::Nothing => return None,
        };
        Some(self.0.since.get() + time)
    }

    /// Notes that bytes have arrived.
    fn arrived(&self, bytes: usize) {
        let before = self.0.received.get();
        if before == 0 && self.0.due.get() == Due::Head {
            self.0.since.set(monotonic());
        }
        self.0.received.set(before + bytes);
    }
}

/// The body of a request, which tells its connection when it is complete.
struct WatchedBody {
    payload: Payload,
    connection: Connection,
}

impl Stream for WatchedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.payload).poll_next(context);
        if matches!(polled, Poll::Ready(None)) && self.connection.0.due.get() == Due::Body {
            self.connection.now_due(Due::Nothing);
        }
        polled
    }
}

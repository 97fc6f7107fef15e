//! The stream of one connection, which reads no more and waits no longer than its [`Connection`] allows.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::refusal::framework_answer;
use super::{ANSWER_TIME, Connection, Due, Refusal, Refusals, STALL_TIME, Share};
use crate::domain::clock::{Moment, monotonic};
use crate::error::ErrorCode;

/// What the framework sends to a caller that waits before it sends its body (RFC 9110 section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A TCP connection with its limits.
#[derive(Debug)]
pub struct GuardedStream {
    stream: TcpStream,
    connection: Connection,
    /// Ends the wait for what is due. It may fire early, and is then set again.
    timer: Pin<Box<Sleep>>,
    /// Since when the caller takes nothing of its answer.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Whether the framework has been given a full head's worth of bytes to parse.
    parsing: bool,
    /// Answers to what never becomes a request.
    refusals: Refusals,
    /// Such an answer, as far as it has not been sent yet.
    refusal: Option<Vec<u8>>,
    /// Counts the connection until it ends.
    _share: Share,
}

impl GuardedStream {
    /// Guards a connection that has just been accepted.
    pub fn new(stream: TcpStream, share: Share, keep_alive: Duration, refusals: Refusals) -> Self {
        let connection = Connection::new(keep_alive);
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self {
            stream,
            connection,
            timer,
            stalled: None,
            parsing: false,
            refusals,
            refusal: None,
            _share: share,
        }
    }

    /// What the connection may send, for its requests.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Nothing more may be read for now: waits for the parser or the answer, or refuses what is too much.
    fn poll_full(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        *self.connection.0.reader.borrow_mut() = Some(context.waker().clone());
        match self.connection.0.due.get() {
            // Bytes of later requests wait until this one is answered, and its answer is sent.
            Due::Nothing => Poll::Pending,
            _ if self.connection.0.sending.get().is_some() => Poll::Pending,
            // The handler looks at what it was given first; it has until the deadline to refuse it.
            Due::Body => self.poll_late(context),
            // What was read may hold a whole head: the framework looks at it first.
            Due::FirstHead | Due::Head if !self.parsing => {
                self.parsing = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Due::FirstHead | Due::Head => Poll::Ready(Err(self.refuse(context, Refusal::Head))),
            Due::Rest => Poll::Ready(Err(self.refuse(context, Refusal::Body))),
        }
    }

    fn refuse(&mut self, context: &mut Context<'_>, refusal: Refusal) -> io::Error {
        let has_begun = self.connection.0.due.get() == Due::Head && self.connection.0.received.get() > 0;
        let code = match refusal {
            Refusal::Head => Some(ErrorCode::HeadTooLarge),
            Refusal::Late if has_begun => Some(ErrorCode::RequestTimeout),
            Refusal::Late | Refusal::Body => None,
        };
        if let Some(code) = code {
            // One attempt: the caller has had its time.
            let answer = self.refusals.answer(code, self.stream.peer_addr().ok());
            let _ = Pin::new(&mut self.stream).poll_write(context, &answer);
        }
        self.connection.0.silent.set(true);
        io::Error::other(refusal)
    }

    /// Sends the rest of the refusal, in place of the `replaced` bytes of the framework.
    fn poll_refusal(&mut self, context: &mut Context<'_>, replaced: usize) -> Poll<io::Result<usize>> {
        while let Some(rest) = self.refusal.take_if(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(context, &rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) => self.refusal = Some(rest[sent..].to_vec()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.refusal = Some(rest);
                    return Poll::Pending;
                }
            }
        }
        self.refusal = None;
        Poll::Ready(Ok(replaced))
    }

    /// Sends what the framework has written, or what takes its place.
    fn poll_send(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.refusal.is_some() {
            return self.poll_refusal(context, bytes.len());
        }
        // The answer is there already: the caller need not send its body.
        if bytes.len() > CONTINUE.len() && bytes.starts_with(CONTINUE) {
            return Poll::Ready(Ok(CONTINUE.len()));
        }
        match framework_answer(bytes) {
            // The connection ends with an answer that has been given: a second one would belong to no request.
            Some((0, _)) if self.connection.0.last.get() => Poll::Ready(Ok(bytes.len())),
            Some((0, code)) => {
                self.refusal = Some(self.refusals.answer(code, self.stream.peer_addr().ok()));
                self.poll_refusal(context, bytes.len())
            }
            Some((begin, _)) => Pin::new(&mut self.stream).poll_write(context, &bytes[..begin]),
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    /// Nothing has arrived: waits until what is due is too late.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        *self.connection.0.reader.borrow_mut() = Some(context.waker().clone());
        loop {
            let Some(deadline) = self.connection.deadline() else { return Poll::Pending };
            if deadline <= monotonic() {
                return Poll::Ready(Err(self.refuse(context, Refusal::Late)));
            }
            if needs_reset(&self.timer, deadline) {
                self.timer.as_mut().reset(Instant::from_std(deadline));
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Whether a timer has fired or would fire too late. One that fires early is left as it is, since setting it costs more.
fn needs_reset(timer: &Sleep, deadline: Moment) -> bool {
    timer.is_elapsed() || timer.deadline() > Instant::from_std(deadline)
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let allowed = this.connection.may_read();
        if allowed == 0 {
            return this.poll_full(context);
        }
        this.parsing = false;
        let before = buffer.filled().len();
        let read = if allowed >= buffer.remaining() {
            Pin::new(&mut this.stream).poll_read(context, buffer)
        } else {
            read_part(Pin::new(&mut this.stream), context, buffer, allowed)
        };
        match read {
            Poll::Pending => this.poll_late(context),
            Poll::Ready(Ok(())) => {
                this.connection.arrived(buffer.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            failed => failed,
        }
    }
}

/// Reads at most `limit` bytes into a larger buffer.
fn read_part(
    stream: Pin<&mut TcpStream>,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
    limit: usize,
) -> Poll<io::Result<()>> {
    let mut part = ReadBuf::new(buffer.initialize_unfilled_to(limit));
    let read = stream.poll_read(context, &mut part);
    let filled = part.filled().len();
    buffer.advance(filled);
    read
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.connection.0.silent.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.connection.0.sending.get().is_some_and(|since| since.elapsed() > ANSWER_TIME) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let written = this.poll_send(context, bytes);
        if written.is_ready() {
            this.stalled = None;
            return written;
        }
        let stalled = this.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_TIME)));
        match stalled.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.connection.sent();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! The way of log lines to standard error. Neither a flood of events nor a reader that stops reading, nor a full disk,
//! stops a request: lines that find no room are dropped and counted.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::domain::metric;

use crate::domain::clock::{Moment, monotonic};

/// How many lines wait at most.
const QUEUED_LINES: usize = 8_192;

/// How many bytes wait at most.
const QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// The period of the limit.
const PERIOD: Duration = Duration::from_secs(1);

/// How long the last lines may take when the program ends.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The pause before another attempt to write to a pipe that is full.
const PIPE_PAUSE: Duration = Duration::from_millis(20);

/// The target of the line that every request causes.
const REQUESTS: &str = "token_broker::http::middleware::answer";

/// The queue of this process; it lives as long as the process.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// Why a line was dropped.
#[derive(Debug, Clone, Copy)]
enum Reason {
    /// There were too many in this second.
    Rate,
    /// Earlier lines wait for their reader.
    Reader,
    /// It could not be written.
    Write,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Rate, Self::Reader, Self::Write];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Reader => "reader",
            Self::Write => "write",
        }
    }
}

/// Makes `/metrics` report dropped lines from the start.
pub fn register() {
    for reason in Reason::ALL {
        metrics::counter!(metric::LOG_LINES_DROPPED.name, "reason" => reason.as_str()).increment(0);
    }
}

/// Lines that share a limit. A flood of one kind leaves the others alone.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Request,
    Event,
    Warning,
}

/// Lines that wait for the thread that writes them. Clones are the same queue.
#[derive(Clone)]
pub struct LogQueue(Arc<Shared>);

struct Shared {
    sender: SyncSender<Message>,
    waiting_bytes: AtomicUsize,
    per_second: u32,
    window: Mutex<Window>,
    /// Lines dropped and not reported yet, by reason.
    dropped: [AtomicU64; 3],
}

struct Window {
    since: Moment,
    lines: [u32; 3],
}

enum Message {
    Line(Vec<u8>),
    /// Tells that everything before it is written.
    Flush(SyncSender<()>),
}

impl LogQueue {
    /// A queue for `target`, which takes at most `per_second` lines of each kind.
    pub fn new(target: impl Write + Send + 'static, per_second: u32) -> Self {
        let (sender, receiver) = sync_channel(QUEUED_LINES);
        let window = Mutex::new(Window { since: monotonic(), lines: [0; 3] });
        let (waiting_bytes, dropped) = (AtomicUsize::new(0), Default::default());
        let queue = Self(Arc::new(Shared { sender, waiting_bytes, per_second, window, dropped }));
        let of_thread = queue.clone();
        // Without its thread the queue fills up, and lines are dropped and counted.
        let _ = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || of_thread.write_all_to(target, &receiver));
        queue
    }

    /// A queue for standard error, which [`report_dropped`] and [`flush`] mean from now on.
    pub fn to_standard_error(per_second: u32) -> Self {
        QUEUE.get_or_init(|| Self::new(io::stderr(), per_second)).clone()
    }

    fn write_all_to(&self, mut target: impl Write, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line) => {
                    if write_line(&mut target, &line).is_err() {
                        self.drop_line(Reason::Write);
                    }
                    self.0.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
                }
                Message::Flush(written) => {
                    let _ = written.send(()); // the caller may have given up
                }
            }
        }
    }

    fn push(&self, kind: Kind, line: &[u8]) {
        if !self.is_within_rate(kind) {
            return self.drop_line(Reason::Rate);
        }
        let waiting = self.0.waiting_bytes.fetch_add(line.len(), Ordering::Relaxed);
        let pushed = waiting < QUEUED_BYTES && self.0.sender.try_send(Message::Line(line.to_vec())).is_ok();
        if !pushed {
            self.0.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.drop_line(Reason::Reader);
        }
    }

    fn is_within_rate(&self, kind: Kind) -> bool {
        let mut window = self.0.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.since.elapsed() >= PERIOD {
            *window = Window { since: monotonic(), lines: [0; 3] };
        }
        let lines = &mut window.lines[kind as usize];
        *lines = lines.saturating_add(1);
        *lines <= self.0.per_second
    }

    fn drop_line(&self, reason: Reason) {
        self.0.dropped[reason as usize].fetch_add(1, Ordering::Relaxed);
        metrics::counter!(metric::LOG_LINES_DROPPED.name, "reason" => reason.as_str()).increment(1);
    }

    /// Logs how many lines were dropped since the last report, unless the queue is still full.
    fn report(&self) {
        if self.0.waiting_bytes.load(Ordering::Relaxed) >= QUEUED_BYTES / 2 {
            return;
        }
        for reason in Reason::ALL {
            let lines = self.0.dropped[reason as usize].swap(0, Ordering::Relaxed);
            if lines > 0 {
                tracing::warn!(lines, reason = reason.as_str(), "log lines were dropped");
            }
        }
    }

    fn flush(&self) {
        let (written, all_written) = sync_channel(1);
        let mut flush = Message::Flush(written);
        let begun = monotonic();
        while let Err(TrySendError::Full(message)) = self.0.sender.try_send(flush) {
            if begun.elapsed() >= LAST_LINES {
                return;
            }
            std::thread::sleep(PIPE_PAUSE);
            flush = message;
        }
        let _ = all_written.recv_timeout(LAST_LINES);
    }
}

/// Writes a line. A pipe that another process has made non-blocking is waited for.
fn write_line(target: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match target.write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PIPE_PAUSE),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Logs how many lines were dropped since the last call, if any.
pub fn report_dropped() {
    if let Some(queue) = QUEUE.get() {
        queue.report();
    }
}

/// Waits until the lines so far are written, for a second at most: before the program ends.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush();
    }
}

impl<'w> MakeWriter<'w> for LogQueue {
    type Writer = LineWriter;

    fn make_writer(&'w self) -> LineWriter {
        LineWriter { queue: self.clone(), kind: Kind::Event }
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> LineWriter {
        let kind = match metadata.target() {
            _ if *metadata.level() <= Level::WARN && metadata.target() != REQUESTS => Kind::Warning,
            REQUESTS => Kind::Request,
            _ => Kind::Event,
        };
        LineWriter { queue: self.clone(), kind }
    }
}

/// Takes one line with each call.
pub struct LineWriter {
    queue: LogQueue,
    kind: Kind,
}

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(self.kind, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;

    /// A target that tells of each line, and takes none while it is locked.
    struct Reader {
        lock: Arc<Mutex<()>>,
        lines: Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _reads = self.lock.lock().unwrap();
            let text = String::from_utf8(line.to_vec()).unwrap();
            if text.starts_with("full disk") {
                return Err(ErrorKind::StorageFull.into());
            }
            self.lines.send(text).unwrap();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue(per_second: u32) -> (LogQueue, Arc<Mutex<()>>, Receiver<String>) {
        let (lines, received) = std::sync::mpsc::channel();
        let lock = Arc::new(Mutex::new(()));
        (LogQueue::new(Reader { lock: lock.clone(), lines }, per_second), lock, received)
    }

    fn dropped(queue: &LogQueue) -> [u64; 3] {
        Reason::ALL.map(|reason| queue.0.dropped[reason as usize].load(Ordering::Relaxed))
    }

    #[test]
    fn each_kind_of_line_has_its_own_limit_per_second() {
        let (queue, _, received) = queue(2);
        for _ in 0..5 {
            queue.push(Kind::Request, b"request");
        }
        queue.push(Kind::Event, b"event");
        queue.push(Kind::Warning, b"warning");
        queue.flush();
        let lines: Vec<_> = received.try_iter().collect();
        assert_eq!(lines, ["request", "request", "event", "warning"]);
        assert_eq!(dropped(&queue), [3, 0, 0]);
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_nothing_else() {
        let (queue, lock, received) = queue(u32::MAX);
        let stopped = lock.lock().unwrap();
        for _ in 0..QUEUED_LINES + 100 {
            queue.push(Kind::Event, b"line");
        }
        let [_, lost, _] = dropped(&queue);
        assert!((98..=100).contains(&lost), "{lost}");
        let large = vec![b'x'; QUEUED_BYTES];
        drop(stopped);
        queue.flush();
        assert_eq!(u64::try_from(received.try_iter().count()).unwrap(), QUEUED_LINES as u64 + 100 - lost);
        let _stopped = lock.lock().unwrap();
        for _ in 0..3 {
            queue.push(Kind::Event, &large);
        }
        assert!(dropped(&queue)[Reason::Reader as usize] > lost, "the number of bytes is also limited");
    }

    #[test]
    fn a_full_disk_is_counted_and_the_next_line_is_tried() {
        let (queue, _, received) = queue(u32::MAX);
        queue.push(Kind::Event, b"full disk");
        queue.push(Kind::Event, b"line");
        queue.flush();
        assert_eq!(received.try_iter().collect::<Vec<_>>(), ["line"]);
        assert_eq!(dropped(&queue), [0, 0, 1]);
    }
}

//! The log of brokers at the most verbose level, in the format of the product.
//!
//! A process has one log. It is recorded only while a test listens. A test selects the lines of its own requests by
//! request id.

use std::io;
use std::sync::{Arc, Mutex, Once, PoisonError};

use serde_json::Value;
use token_broker::domain::clock::SystemClock;
use token_broker::telemetry;
use tracing_subscriber::util::SubscriberInitExt;

static KEPT: Mutex<Kept> = Mutex::new(Kept { listeners: 0, bytes: Vec::new() });

struct Kept {
    listeners: usize,
    bytes: Vec<u8>,
}

/// Records the log until it is dropped.
pub struct Listener {
    from: usize,
}

impl Listener {
    /// Starts recording.
    pub fn start() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let subscriber = telemetry::json("trace", Arc::new(SystemClock), || Writer);
            subscriber.try_init().expect("no other log is installed in this program");
        });
        let mut kept = kept();
        kept.listeners += 1;
        Self { from: kept.bytes.len() }
    }

    /// All recorded lines, from all brokers of this program.
    pub fn text(&self) -> String {
        String::from_utf8(kept().bytes[self.from..].to_vec()).unwrap()
    }

    /// The events of one request.
    pub fn of(&self, request_id: &str) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["request_id"] == request_id).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut kept = kept();
        kept.listeners -= 1;
        if kept.listeners == 0 {
            kept.bytes = Vec::new();
        }
    }
}

fn kept() -> std::sync::MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = kept();
        if kept.listeners > 0 {
            kept.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

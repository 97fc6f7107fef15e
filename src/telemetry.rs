//! Logs and metrics. A log has one line per event: JSON for machines or plain text for people.
//!
//! Log lines are made safe here, whatever the caller passed: texts are cut at 256 characters, control characters
//! are escaped, and libraries never log below `info`, because their finer levels print headers, bodies and commands,
//! which contain credentials.

pub mod metrics;
mod writer;

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};
use tracing_log::NormalizeEvent;
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use self::writer::LogQueue;
pub use self::writer::{flush, report_dropped};
use crate::domain::clock::Clock;
use crate::domain::display::is_unsafe;

/// The longest text of a field, in characters.
const TEXT_LIMIT: usize = 256;

/// The crate whose events may be finer than `info`; all other events come from libraries.
const OWN: &str = "token_broker";

/// What is written to standard error.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The form of a line.
    pub format: LogFormat,
    /// Which events are written.
    pub filter: LogFilter,
    /// How many lines are written in a second at most: of requests, of other events, and of warnings and errors, each.
    pub lines_per_second: u32,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    Json,
    /// Plain text, for people.
    Pretty,
}

/// Which events are written, as `tracing` directives: `info,token_broker::flow=debug`.
#[derive(Debug, Clone)]
pub struct LogFilter(String);

/// The text is no list of `tracing` directives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a level or a list of module=level, as in info,token_broker=debug")]
pub struct InvalidLogFilter;

impl FromStr for LogFilter {
    type Err = InvalidLogFilter;

    fn from_str(directives: &str) -> Result<Self, Self::Err> {
        // A single word must be a level: as a target it would silence everything else.
        let is_level = |text: &str| !text.trim().is_empty() && text.trim().parse::<LevelFilter>().is_ok();
        let is_directive = |directive: &str| match directive.split_once('=') {
            Some((target, level)) => !target.trim().is_empty() && is_level(level),
            None => is_level(directive),
        };
        let is_valid = directives.split(',').all(is_directive) && directives.parse::<Targets>().is_ok();
        if is_valid { Ok(Self(directives.to_owned())) } else { Err(InvalidLogFilter) }
    }
}

/// Sends every event of this process to standard error. Lines that find no room there are dropped, counted and, by
/// [`report_dropped`], reported.
///
/// # Errors
///
/// The process already has a log.
pub fn init(settings: &LogSettings, clock: Arc<dyn Clock>) -> Result<(), TryInitError> {
    let filter = &settings.filter.0;
    let queue = LogQueue::to_standard_error(settings.lines_per_second);
    match settings.format {
        LogFormat::Json => json(filter, clock, queue).try_init(),
        LogFormat::Pretty => pretty(filter, clock, queue).try_init(),
    }
}

/// A subscriber that writes one JSON object per line to `writer`.
///
/// Members: `timestamp` (RFC 3339, UTC, microseconds), `level`, `target`, then the fields of the event and of
/// its spans. If two fields have the same name, the inner one wins. A filter that cannot be parsed means `info`.
pub fn json<W>(filter: &str, clock: Arc<dyn Clock>, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = JsonLines { writer, clock }.with_filter(directives(filter).and(filter_fn(is_safe)));
    tracing_subscriber::registry().with(lines)
}

/// A subscriber that writes plain text lines to `writer`. A filter that cannot be parsed means `info`.
pub fn pretty<W>(filter: &str, clock: Arc<dyn Clock>, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .compact()
        .with_ansi(false)
        .with_timer(Time(clock))
        .fmt_fields(CleanFields)
        .with_writer(writer)
        .with_filter(directives(filter).and(filter_fn(is_safe)));
    tracing_subscriber::registry().with(lines)
}

/// Replaces the default panic report, which quotes the message of the panic, with an event that does not.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(place, thread, "a panic was caught: this is a bug");
    }));
}

/// Configuration checks the filter before; an unusable one means `info`.
fn directives(filter: &str) -> Targets {
    filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO))
}

/// Whether an event of this kind may be written whatever the filter says.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().split("::").next() == Some(OWN)
}

struct JsonLines<W> {
    writer: W,
    clock: Arc<dyn Clock>,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    target: &'a str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = JsonFields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<JsonFields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = JsonFields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<JsonFields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        // Events of the `log` crate carry their origin in fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let line = Line {
            timestamp: timestamp(&*self.clock),
            level: metadata.level().as_str(),
            target: metadata.target(),
            fields: fields.0,
        };
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            // If the log cannot be written, there is nowhere to report it.
            let _ = self.writer.make_writer_for(metadata).write_all(&text);
        }
    }
}

fn timestamp(clock: &dyn Clock) -> String {
    clock.now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Fields as JSON members, sanitised.
#[derive(Default)]
struct JsonFields(Map<String, Value>);

impl JsonFields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        match field.name() {
            name if name.starts_with("log.") => {}
            // The line itself has members with these names.
            name @ ("timestamp" | "level" | "target") => {
                self.0.insert(format!("{name}_"), value.into());
            }
            name => {
                self.0.insert(name.to_owned(), value.into());
            }
        }
    }
}

impl Visit for JsonFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, Clean::text(format_args!("{value}")));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, Clean::text(format_args!("{value:?}")));
    }
}

/// A text of bounded length without characters that end the line, control a terminal or reverse the text.
#[derive(Default)]
struct Clean {
    text: String,
    characters: usize,
}

impl Clean {
    fn text(text: fmt::Arguments<'_>) -> String {
        let mut clean = Self::default();
        // An error only means that the text is full.
        let _ = clean.write_fmt(text);
        clean.text
    }
}

impl fmt::Write for Clean {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.characters == TEXT_LIMIT {
                self.text.push('…');
                self.characters += 1;
            }
            if self.characters > TEXT_LIMIT {
                return Err(fmt::Error);
            }
            self.characters += 1;
            if is_unsafe(c) { self.text.extend(c.escape_default()) } else { self.text.push(c) }
        }
        Ok(())
    }
}

/// Fields as `name=value`, sanitised.
struct CleanFields;

impl<'w> FormatFields<'w> for CleanFields {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        writer: Writer<'w>,
        fields: R,
    ) -> fmt::Result {
        let clean = format::debug_fn(|writer, field, value| match field.name() {
            "message" => write!(writer, "{}", Clean::text(format_args!("{value:?}"))),
            name => write!(writer, "{name}={}", Clean::text(format_args!("{value:?}"))),
        });
        tracing_subscriber::field::MakeExt::delimited(clean, " ").format_fields(writer, fields)
    }
}

struct Time(Arc<dyn Clock>);

impl FormatTime for Time {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(&timestamp(&*self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;
    use crate::domain::clock::StoppedClock;

    /// Log lines kept in memory.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> Vec<String> {
            let bytes = std::mem::take(&mut *self.0.lock().unwrap());
            String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
        }
    }

    fn clock() -> Arc<dyn Clock> {
        Arc::new(StoppedClock::at("2026-11-22T10:00:00.000042Z".parse().unwrap()))
    }

    fn logged_as_json(filter: &str, events: impl FnOnce()) -> Vec<Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(json(filter, clock(), move || writer.clone()), events);
        lines.take().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_one_json_object_with_the_fields_of_its_spans() {
        let lines = logged_as_json("info", || {
            let request = tracing::info_span!("request", request_id = "r1", user = tracing::field::Empty);
            let _entered = request.enter();
            request.record("user", "u1");
            tracing::warn!(count = 3, good = true, request_id = "r2", level = "x", "it happened");
        });
        let expected = serde_json::json!({
            "timestamp": "2026-11-22T10:00:00.000042Z", "level": "WARN", "target": "token_broker::telemetry::tests",
            "message": "it happened", "count": 3, "good": true, "request_id": "r2", "user": "u1", "level_": "x",
        });
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn control_characters_are_escaped_and_foreign_text_is_cut() {
        let hostile = "a\r\nb\u{1b}[31m\u{9b}\u{202e}\u{2028}\0";
        let long = "ü".repeat(100_000);
        let lines = logged_as_json("info", || tracing::info!(hostile, ?long, "{hostile}"));
        let escaped = r"a\r\nb\u{1b}[31m\u{9b}\u{202e}\u{2028}\u{0}";
        assert_eq!((&lines[0]["hostile"], &lines[0]["message"]), (&escaped.into(), &escaped.into()));
        assert_eq!(lines[0]["long"].as_str().unwrap(), format!("\"{}…", "ü".repeat(255)));

        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(pretty("info", clock(), move || writer.clone()), || {
            let _entered = tracing::info_span!("request", hostile).entered();
            tracing::info!(hostile = %hostile, "{hostile}");
        });
        let lines = lines.take();
        assert_eq!(lines.len(), 1);
        assert!(!lines[0].chars().any(is_unsafe), "{lines:?}");
        assert!(lines[0].starts_with("2026-11-22T10:00:00.000042Z  INFO"), "{lines:?}");
    }

    #[test]
    fn libraries_stay_at_info_whatever_the_filter_says() {
        let lines = logged_as_json("trace,hyper=trace,redis::aio=trace", || {
            tracing::trace!(target: "hyper::proto", "secret");
            tracing::debug!(target: "redis::aio", "secret");
            tracing::debug!(target: "token_broker_helper", "secret");
            tracing::info!(target: "actix_server", "started");
            tracing::trace!(target: "token_broker::flow", "ours");
        });
        let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["started", "ours"]);
    }

    #[test]
    fn a_panic_is_logged_without_its_message() {
        let before = std::panic::take_hook();
        install_panic_hook();
        let lines = logged_as_json("error", || {
            let secret = "tbk_secret";
            assert!(std::panic::catch_unwind(|| panic!("{secret}")).is_err());
        });
        std::panic::set_hook(before);
        assert_eq!(lines.len(), 1);
        assert!(lines[0]["place"].as_str().unwrap().starts_with("src/telemetry.rs:"), "{lines:?}");
        assert!(!lines[0].to_string().contains("secret"), "{lines:?}");
    }

    #[test]
    fn filters_are_checked() {
        assert!("info,token_broker::flow=debug".parse::<LogFilter>().is_ok());
        assert!("warn".parse::<LogFilter>().is_ok());
        for bad in ["", "verbose", "info,=x=y", "token_broker=loud", "info,token_broker"] {
            assert_eq!(bad.parse::<LogFilter>().unwrap_err(), InvalidLogFilter, "{bad}");
        }
    }
}

//! The metrics: one list of names, labels and meanings for the code that records them, for `/metrics` and for
//! `docs/reference-metrics.md`.
//!
//! All names have one prefix. Counters end in `_total`, and durations are histograms in seconds. Labels have a closed set
//! of values: no label contains a user, a session, an address or anything else that a caller can make up.

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The full name.
    pub name: &'static str,
    /// What kind of numbers it has.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it measures.
    pub help: &'static str,
}

/// What kind of numbers a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows, from zero at the start of the process.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// How many observations there were in each range, in seconds.
    Histogram,
}

impl Kind {
    /// The name that Prometheus uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What all names begin with.
pub const PREFIX: &str = "token_broker_";

/// The upper bounds of the ranges of every histogram, in seconds.
pub const BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric = Metric {
                name: concat!("token_broker_", $name),
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All metrics, in the order of the reference.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD_INFO = Gauge "build_info" ["version"] "Always 1; the label is the version of the program.";

    READY = Gauge "ready" ["function"] "Whether this function works at the moment: log_in, redeem or verify.";
    PART_UP = Gauge "part_up" ["part"] "Whether this part works at the moment: a store, a provider or the server keys.";

    HTTP_REQUESTS = Counter "http_requests_total" ["listener", "method", "route", "status"] "Answered requests, by listener (public, gateways or admin) and class of the status (2xx).";
    HTTP_REQUEST_DURATION = Histogram "http_request_duration_seconds" ["listener", "method", "route"] "Time from the head of a request to its answer.";
    REFUSALS = Counter "refusals_total" ["listener", "code"] "Requests that were answered with an error, by error code.";

    SIGN_INS = Counter "sign_ins_total" ["provider", "result"] "Callbacks of a provider: succeeded, or the error code of the failure.";
    EVENTS = Counter "events_total" ["event"] "Security events, by the kind of the audit trail.";
    LIVE_SESSIONS = Gauge "live_sessions" [] "Sessions that are neither ended nor expired, of users who are not disabled; counted at least every few minutes.";
    LIVE_TOKENS = Gauge "live_tokens" ["kind"] "Tokens that are neither revoked, rotated nor expired, of such sessions and users; counted together with them.";

    CONNECTIONS_REFUSED = Counter "connections_refused_total" [] "Connections that were closed at once, because their address had too many.";

    DATABASE_DURATION = Histogram "database_duration_seconds" ["group", "result"] "Time for one query or transaction of the database, with waiting for a connection, by group of queries.";
    DATABASE_CONNECTIONS = Gauge "database_connections" ["state"] "Open connections to the database: idle or busy.";
    DATABASE_CONNECTIONS_LIMIT = Gauge "database_connections_limit" [] "The setting database.pool_size.";
    CLOCK_AHEAD_OF_DATABASE = Gauge "clock_ahead_of_database_seconds" [] "How far the clock of this instance is ahead of the clock of PostgreSQL; negative if it is behind.";
    KEY_STORE_DURATION = Histogram "key_store_duration_seconds" ["operation", "result"] "Time for one operation of the store of one-time keys.";
    PROVIDER_DURATION = Histogram "provider_duration_seconds" ["provider", "call", "result"] "Time for one call of a provider.";

    LOG_LINES_DROPPED = Counter "log_lines_dropped_total" ["reason"] "Lines that are not in the log: too many in one second (rate), or no one reads them (reader), or they cannot be written (write).";
    AUDIT_ROWS_WAITING = Gauge "audit_rows_waiting" [] "Audit events that wait to be written to the database.";
    AUDIT_ROWS_DROPPED = Counter "audit_rows_dropped_total" [] "Audit events that are only in the log, because too many waited for the database, or it was unavailable when the broker stopped.";
    LAST_USES_WAITING = Gauge "last_uses_waiting" [] "Times of last use that wait to be written to the database.";
    LAST_USES_DROPPED = Counter "last_uses_dropped_total" [] "Times of last use that were dropped, because too many waited for the database.";

    SERVER_KEY_KNOWN = Gauge "server_key_known" ["key"] "Whether this instance accepts credentials of this server key.";
    SERVER_KEY_ISSUES = Gauge "server_key_issues" ["key"] "Whether this instance issues credentials with this server key.";
    SERVER_KEYS_FILE_UNUSABLE = Gauge "server_keys_file_unusable" [] "Whether the file of the server keys cannot be used; the previous keys stay in effect.";

    PROCESS_CPU_SECONDS = Counter "process_cpu_seconds_total" [] "Processor time of the process, user and system; Linux only, as for the other metrics of the process.";
    PROCESS_RESIDENT_MEMORY = Gauge "process_resident_memory_bytes" [] "Memory in use.";
    PROCESS_START_TIME = Gauge "process_start_time_seconds" [] "When the process was started, in seconds since 1970.";
    PROCESS_THREADS = Gauge "process_threads" [] "Threads.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" [] "Open file descriptors.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" [] "The limit of open file descriptors.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for Metric { name, kind, help, .. } in ALL {
            assert!(name.starts_with(PREFIX), "{name}");
            assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            let is_duration = name.ends_with("_duration_seconds");
            assert_eq!(is_duration, *kind == Kind::Histogram, "{name}");
            assert!(help.ends_with('.'), "{help}");
        }
        for (at, metric) in ALL.iter().enumerate() {
            assert!(ALL[..at].iter().all(|other| other.name != metric.name), "{}", metric.name);
        }
        assert!(BUCKETS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

//! The background tasks of a broker: they prepare the database, watch the stores and the server keys, write audit
//! rows, and purge expired rows.

mod clock_watch;

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::rt::{self, task::JoinHandle};
use actix_web::web;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::config::{Config, Problems, PurgeSettings, ServerKeysFile};
use crate::state::Broker;
use crate::state::audit_trail::AuditWriter;
use crate::state::gauges;
use crate::state::health::{Part, stores, wait_for_slow_providers};
use crate::state::key_change;
use crate::storage::purge::Purged;
use crate::storage::{Backend, Storage, StorageError};
use crate::telemetry::{self, metrics};

/// How long to wait before retrying an unavailable database.
const RETRY: Duration = Duration::from_secs(2);

/// How often the health of the stores is checked.
const WATCH: Duration = Duration::from_secs(5);

/// How often the file of the server keys is read.
const SERVER_KEYS: Duration = Duration::from_secs(1);

/// How long writing the last rows may take when the broker stops.
const LAST_ROWS: Duration = Duration::from_secs(3);

/// The tasks, not started yet.
pub(crate) struct Tasks {
    broker: web::Data<Broker>,
    purge: PurgeSettings,
    server_keys: Option<ServerKeysFile>,
    audit_writer: AuditWriter,
    /// Whether anyone can read the metrics.
    has_metrics: bool,
}

/// The running tasks.
pub(crate) struct RunningTasks {
    broker: web::Data<Broker>,
    endless: Vec<JoinHandle<()>>,
    audit_writer: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Tasks {
    pub(crate) fn new(config: &Config, broker: web::Data<Broker>, audit_writer: AuditWriter) -> Self {
        let (purge, server_keys) = (config.purge.clone(), config.server_keys.file.clone());
        let has_metrics = config.server.admin_listen.is_some();
        Self { broker, purge, server_keys, audit_writer, has_metrics }
    }

    pub(crate) fn spawn(self) -> RunningTasks {
        let storage = self.broker.storage.clone();
        let (stop, stopped) = oneshot::channel();
        let audit_writer = rt::spawn(self.audit_writer.run(storage, stopped));
        let (broker, purge) = (self.broker.clone(), self.purge);
        let watch = watch_stores(broker.clone());
        let database = async move {
            prepare_database(&broker.storage).await;
            purge_for_ever(&broker, &purge).await;
        };
        let (notes, late, slow) = (self.broker.clone(), self.broker.clone(), self.broker.clone());
        let last_uses = async move { notes.last_uses.write_for_ever(&notes.storage).await };
        let late_revocations = async move { late.late_revocations.end_for_ever(&late).await };
        let (counted, has_metrics) = (self.broker.clone(), self.has_metrics);
        let live = async move {
            if has_metrics {
                gauges::count_live_for_ever(&counted).await;
            }
        };
        let endless = vec![
            rt::spawn(live),
            rt::spawn(last_uses),
            rt::spawn(watch_server_keys(self.broker.clone(), self.server_keys)),
            rt::spawn(late_revocations),
            rt::spawn(watch),
            rt::spawn(async move { wait_for_slow_providers(&slow).await }),
            rt::spawn(database),
            rt::spawn(keep_metrics_small()),
            rt::spawn(report_dropped_lines()),
            rt::spawn(clock_watch::watch(self.broker.clone())),
        ];
        RunningTasks { broker: self.broker, endless, audit_writer, stop }
    }
}

impl RunningTasks {
    /// Stops the tasks. Waiting revocations, audit rows and last-use times are written first, within [`LAST_ROWS`].
    pub(crate) async fn finish(self) {
        self.endless.iter().for_each(JoinHandle::abort);
        let Self { broker, audit_writer, stop, .. } = self;
        let last = async {
            let _ = broker.late_revocations.end(&broker).await;
            let _ = stop.send(()); // after the revocations, which also write audit rows
            tokio::join!(audit_writer, broker.last_uses.write(&broker.storage))
        };
        let _ = tokio::time::timeout(LAST_ROWS, last).await;
        broker.late_revocations.give_up();
    }
}

/// Says every second how many log lines were dropped.
async fn report_dropped_lines() {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        telemetry::report_dropped();
    }
}

/// Drains histogram buffers: without a scrape they would grow without bound.
async fn keep_metrics_small() {
    let metrics = metrics::recorder();
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        every.tick().await;
        metrics.run_upkeep();
    }
}

/// Logs when a store becomes unavailable and when it recovers, independently of requests.
async fn watch_stores(broker: web::Data<Broker>) {
    let mut unavailable = BTreeSet::new();
    // A new SQLite file gets its tables first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut every = tokio::time::interval(WATCH);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        for Part { name, problem } in stores(&broker).await {
            match problem {
                Some(problem) if unavailable.insert(name.clone()) => {
                    tracing::warn!(part = name, problem, "a part of the service does not work");
                }
                None if unavailable.remove(&name) => tracing::info!(part = name, "recovered"),
                _ => {}
            }
        }
    }
}

/// Reloads the server keys when their file changes and on SIGHUP.
async fn watch_server_keys(broker: web::Data<Broker>, file: Option<ServerKeysFile>) {
    let mut every = tokio::time::interval(SERVER_KEYS);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hang_up = HangUp::listen();
    let mut seen: Option<Result<SecretString, Problems>> = None;
    loop {
        let requested = tokio::select! {
            _ = every.tick(), if file.is_some() => false,
            () = hang_up.heard() => true,
        };
        let Some(file) = file.clone() else {
            tracing::warn!("the server keys come from the environment; restart the broker to change them");
            continue;
        };
        let known = file.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || known.read().transpose()).await else { continue };
        let Some(read) = read else {
            tracing::warn!("the server keys file was not read: too many files are open; trying again");
            continue;
        };
        if !requested && seen.as_ref().is_some_and(|seen| is_same(seen, &read)) {
            continue;
        }
        match read.as_ref().map_err(Problems::clone).and_then(|text| file.ring(text)) {
            Ok(ring) => key_change::replace(&broker, ring),
            Err(problems) => key_change::refuse(&broker, problems.in_one_line()),
        }
        seen = Some(read);
    }
}

fn is_same(one: &Result<SecretString, Problems>, other: &Result<SecretString, Problems>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one.expose_secret() == other.expose_secret(),
        (Err(one), Err(other)) => one == other,
        _ => false,
    }
}

/// SIGHUP, which would end the process without a handler.
struct HangUp {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl HangUp {
    fn listen() -> Self {
        Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    async fn heard(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}

/// Migrates a SQLite file. For PostgreSQL, where the server's role should not be allowed to change the schema, it only
/// reports missing migrations. Waits until the database is available.
async fn prepare_database(storage: &Storage) {
    let migrate = storage.backend() == Backend::Sqlite;
    loop {
        let outcome = if migrate { storage.migrate().await } else { storage.pending_migrations().await };
        match outcome {
            Ok(names) if names.is_empty() => return,
            Ok(names) if migrate => {
                tracing::info!(migrations = names.join(" "), "migrated the database schema");
                return;
            }
            Ok(names) => tracing::error!(
                migrations = names.join(" "),
                "the database schema is behind this program: run `token-broker migrate`"
            ),
            Err(error) => tracing::warn!(%error, "waiting for the database"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn purge_for_ever(broker: &Broker, settings: &PurgeSettings) {
    let mut every = tokio::time::interval(settings.interval);
    loop {
        every.tick().await;
        match purge(broker, settings).await {
            Ok(purged) => tracing::info!(
                tokens = purged.tokens,
                sessions = purged.sessions,
                audit_events = purged.audit_events,
                "purged expired rows"
            ),
            Err(error) => tracing::warn!(%error, "the purge failed; the next one is at the usual interval"),
        }
    }
}

async fn purge(broker: &Broker, settings: &PurgeSettings) -> Result<Purged, StorageError> {
    let now = broker.storage.purge_time(broker.clock.now()).await?;
    broker.storage.purge(now, now - settings.audit_kept, Storage::PURGE_BATCH).await
}

//! What a broker does beside answering: prepares the database, watches the stores, writes audit rows, purges
//! what is dead.

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
use crate::state::health::{Part, stores};
use crate::state::key_change;
use crate::storage::{Backend, Storage};
use crate::telemetry::metrics_recorder;

/// How long to wait before asking a database again that was away.
const RETRY: Duration = Duration::from_secs(2);

/// How often the stores are asked whether they work.
const WATCH: Duration = Duration::from_secs(5);

/// How often the file of the server keys is looked at.
const SERVER_KEYS: Duration = Duration::from_secs(1);

/// How long the last audit rows may take when the broker stops.
const LAST_ROWS: Duration = Duration::from_secs(3);

/// The tasks, not begun yet.
pub(crate) struct Tasks {
    broker: web::Data<Broker>,
    purge: PurgeSettings,
    server_keys: Option<ServerKeysFile>,
    audit_writer: AuditWriter,
}

/// The tasks, under way.
pub(crate) struct RunningTasks {
    broker: web::Data<Broker>,
    endless: Vec<JoinHandle<()>>,
    audit_writer: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Tasks {
    pub(crate) fn new(config: &Config, broker: web::Data<Broker>, audit_writer: AuditWriter) -> Self {
        let (purge, server_keys) = (config.purge.clone(), config.server_keys.file.clone());
        Self { broker, purge, server_keys, audit_writer }
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
        let (notes, late) = (self.broker.clone(), self.broker.clone());
        let last_uses = async move { notes.last_uses.write_for_ever(&notes.storage).await };
        let late_revocations = async move { late.late_revocations.end_for_ever(&late).await };
        let endless = vec![
            rt::spawn(last_uses),
            rt::spawn(watch_server_keys(self.broker.clone(), self.server_keys)),
            rt::spawn(late_revocations),
            rt::spawn(watch),
            rt::spawn(database),
            rt::spawn(keep_metrics_small()),
        ];
        RunningTasks { broker: self.broker, endless, audit_writer, stop }
    }
}

impl RunningTasks {
    /// Ends the tasks; the sessions, rows and notes that wait are written first, for a bounded time.
    pub(crate) async fn finish(self) {
        self.endless.iter().for_each(JoinHandle::abort);
        let Self { broker, audit_writer, stop, .. } = self;
        let last = async {
            let _ = broker.late_revocations.end(&broker).await;
            let _ = stop.send(()); // behind them: they leave rows, too
            tokio::join!(audit_writer, broker.last_uses.write(&broker.storage))
        };
        let _ = tokio::time::timeout(LAST_ROWS, last).await;
        broker.late_revocations.give_up();
    }
}

/// Samples wait for a scrape that may never come: this folds them together.
async fn keep_metrics_small() {
    let metrics = metrics_recorder();
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        every.tick().await;
        metrics.run_upkeep();
    }
}

/// Says in the log when a store goes away and when it is back, from the start on, whether or not anybody asks.
async fn watch_stores(broker: web::Data<Broker>) {
    let mut away = BTreeSet::new();
    // A SQLite file that has just been made gets its tables first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut every = tokio::time::interval(WATCH);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        for Part { name, problem } in stores(&broker).await {
            match problem {
                Some(problem) if away.insert(name.clone()) => {
                    tracing::warn!(part = name, problem, "a part of the service does not work");
                }
                None if away.remove(&name) => tracing::info!(part = name, "works again"),
                _ => {}
            }
        }
    }
}

/// Reads the server keys again when their file has changed, and when SIGHUP asks for it.
async fn watch_server_keys(broker: web::Data<Broker>, file: Option<ServerKeysFile>) {
    let mut every = tokio::time::interval(SERVER_KEYS);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hang_up = HangUp::listen();
    let mut seen: Option<Result<SecretString, Problems>> = None;
    loop {
        let asked = tokio::select! {
            _ = every.tick(), if file.is_some() => false,
            () = hang_up.heard() => true,
        };
        let Some(file) = file.clone() else {
            tracing::warn!("the server keys come from the environment: they change with the next start only");
            continue;
        };
        let known = file.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || known.read()).await else { continue };
        if !asked && seen.as_ref().is_some_and(|seen| is_same(seen, &read)) {
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

/// SIGHUP, which would end the process if nobody listened.
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

/// Brings a SQLite file up to date; of PostgreSQL, where the server's role should not change the schema, it only
/// says what is missing. Waits for a database that is away.
async fn prepare_database(storage: &Storage) {
    let migrate = storage.backend() == Backend::Sqlite;
    loop {
        let outcome = if migrate { storage.migrate().await } else { storage.pending_migrations().await };
        match outcome {
            Ok(names) if names.is_empty() => return,
            Ok(names) if migrate => {
                tracing::info!(migrations = names.join(" "), "the database schema is up to date now");
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
        let now = broker.clock.now();
        let audit_before = now - settings.audit_kept;
        match broker.storage.purge(now, audit_before, Storage::PURGE_BATCH).await {
            Ok(purged) => tracing::info!(
                tokens = purged.tokens,
                sessions = purged.sessions,
                audit_events = purged.audit_events,
                "purged what is dead"
            ),
            Err(error) => tracing::warn!(%error, "nothing was purged; trying again at the next turn"),
        }
    }
}

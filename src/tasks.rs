//! What a broker does beside answering: prepares the database, writes audit rows, purges what is dead.

use std::time::Duration;

use actix_web::rt::{self, task::JoinHandle};
use actix_web::web;
use chrono::TimeDelta;
use tokio::sync::oneshot;

use crate::config::{Config, PurgeConfig};
use crate::flow::audit_trail::AuditWriter;
use crate::state::Broker;
use crate::storage::{Backend, Storage};

/// How long to wait before asking a database again that was away.
const RETRY: Duration = Duration::from_secs(2);

/// Rows deleted in one transaction.
const PURGE_BATCH: i64 = 500;

/// How long the last audit rows may take when the broker stops.
const LAST_ROWS: Duration = Duration::from_secs(3);

/// The tasks, not begun yet.
pub(crate) struct Tasks {
    broker: web::Data<Broker>,
    purge: PurgeConfig,
    audit_writer: AuditWriter,
}

/// The tasks, under way.
pub(crate) struct RunningTasks {
    endless: JoinHandle<()>,
    audit_writer: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Tasks {
    pub(crate) fn new(config: &Config, broker: web::Data<Broker>, audit_writer: AuditWriter) -> Self {
        Self { broker, purge: config.purge.clone(), audit_writer }
    }

    pub(crate) fn spawn(self) -> RunningTasks {
        let storage = self.broker.storage.clone();
        let (stop, stopped) = oneshot::channel();
        let audit_writer = rt::spawn(self.audit_writer.run(storage, stopped));
        let (broker, purge) = (self.broker, self.purge);
        let endless = rt::spawn(async move {
            prepare_database(&broker.storage).await;
            purge_for_ever(&broker, &purge).await;
        });
        RunningTasks { endless, audit_writer, stop }
    }
}

impl RunningTasks {
    /// Ends the tasks; the audit rows that wait are written first, for a bounded time.
    pub(crate) async fn finish(self) {
        self.endless.abort();
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(LAST_ROWS, self.audit_writer).await;
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

async fn purge_for_ever(broker: &Broker, settings: &PurgeConfig) {
    let mut every = tokio::time::interval(Duration::from_secs(settings.interval_seconds.into()));
    loop {
        every.tick().await;
        let now = broker.clock.now();
        let audit_before = now - TimeDelta::days(settings.audit_days.into());
        match broker.storage.purge(now, audit_before, PURGE_BATCH).await {
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

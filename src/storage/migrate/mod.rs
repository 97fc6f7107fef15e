//! Bringing the schema up to date, while brokers are running.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use super::Storage;
use super::blocking::{Bound, on_backend};
use super::error::StorageError;
use crate::domain::clock::{Timestamp, monotonic};

/// How long a migration is started again if it does not get the locks that it needs.
const PATIENCE: Duration = Duration::from_secs(60);

impl Storage {
    /// Checks in less than a second that the database answers, has the schema of this program and accepts changes.
    ///
    /// # Errors
    /// [`StorageError::ReadOnly`] if only the last is not so.
    pub async fn check(&self) -> Result<(), StorageError> {
        on_backend!(self, Bound::Check, migrate::check())
    }

    /// The time of the database server; `None` for a file, which has the clock of this machine.
    pub async fn server_time(&self) -> Result<Option<Timestamp>, StorageError> {
        on_backend!(self, Bound::Check, migrate::server_time())
    }

    /// Applies the pending migrations, all or none, and returns their names. Several instances may call it at the same
    /// moment: one applies them while the others wait.
    ///
    /// On PostgreSQL, requests of running brokers come first: a migration that does not get a lock within a fraction of a
    /// second gives up everything it has, and starts again after a pause, for a minute at most.
    pub async fn migrate(&self) -> Result<Vec<String>, StorageError> {
        self.migrate_and_report(|text| tracing::warn!("{text}")).await
    }

    /// As [`Self::migrate`]; `report` receives a sentence whenever the migration has to wait.
    pub async fn migrate_and_report(&self, report: impl FnMut(&str)) -> Result<Vec<String>, StorageError> {
        until_it_has_its_locks(report, || async { on_backend!(self, Bound::Connection, migrate::apply()) })
            .await
    }

    /// Applies a migration that this program does not have, in the way it applies its own: for tests of how running
    /// instances behave during the upgrade to a later version. `version` consists of digits.
    pub async fn apply_later_migration(
        &self,
        version: &'static str,
        statements: &'static str,
    ) -> Result<(), StorageError> {
        let report = |text: &str| tracing::warn!("{text}");
        let attempt =
            || async { on_backend!(self, Bound::Connection, migrate::apply_foreign(version, statements)) };
        until_it_has_its_locks(report, attempt).await
    }

    /// The pending migrations; changes nothing.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StorageError> {
        on_backend!(self, migrate::pending())
    }

    /// Reverts every migration, which deletes all data.
    pub async fn revert_all_migrations(&self) -> Result<(), StorageError> {
        on_backend!(self, Bound::Connection, migrate::revert_all())
    }
}

/// Runs a migration until it gets the locks that it needs, with growing pauses in which requests proceed.
async fn until_it_has_its_locks<T, A: Future<Output = Result<T, StorageError>>>(
    mut report: impl FnMut(&str),
    attempt: impl FnMut() -> A,
) -> Result<T, StorageError> {
    let end = monotonic() + PATIENCE;
    let pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(3))
        .without_max_times();
    attempt
        .retry(pauses)
        .when(|error| matches!(error, StorageError::Conflict(_)) && monotonic() < end)
        .notify(|error, pause| {
            let pause = pause.as_millis();
            report(&format!(
                "the migration waits for running requests and starts again in {pause} ms ({error})"
            ));
        })
        .await
}

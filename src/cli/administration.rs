//! What the commands on the live database share.

use std::sync::Arc;

use actix_web::rt::System;
use chrono::TimeDelta;
use clap::Args;

use super::output::clean;
use super::serve::runtime;
use super::{ConfigFile, Failure, operator};
use crate::config::Config;
use crate::domain::clock::SystemClock;
use crate::domain::entropy::SystemEntropy;
use crate::flow::administration::{Administration, AdministrationError};
use crate::server;
use crate::storage::Storage;

/// How every administrative command is used.
pub(super) const HELP: &str = "Works on the live database, safe while brokers are running; what it changes acts \
    on their next call. Every change is in the audit trail, with your name.\n\n\
    Exit codes: 0 done, 1 failed while running, 2 refused (command line, configuration, not confirmed), \
    3 not found.";

/// The options of every administrative command.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    config: ConfigFile,
    /// Answer in JSON, for scripts (docs/administration.md tells the members).
    #[arg(long)]
    pub(super) json: bool,
}

impl Common {
    /// Does `work` on the database of the configuration.
    pub(super) fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Administration) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.config.administer(work)
    }
}

impl ConfigFile {
    /// Does `work` on the database of the configuration, which must have this program's tables.
    pub(super) fn administer<T>(
        &self,
        work: impl AsyncFnOnce(&Administration) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let administration = administration(&self.load()?.config)?;
        System::new().block_on(async {
            administration.storage.ping().await.map_err(runtime)?;
            work(&administration).await
        })
    }
}

fn administration(config: &Config) -> Result<Administration, Failure> {
    let storage = Storage::new(&server::storage_settings(config))
        .map_err(|error| Failure::Configuration(error.to_string()))?;
    Ok(Administration {
        storage,
        keys: config.server_keys.ring.clone(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        audit_kept: TimeDelta::days(config.purge.audit_days.into()),
        actor: operator::name(),
        run_id: Administration::run_id(&SystemEntropy),
    })
}

/// How many rows a list has.
#[derive(Debug, Args)]
pub(super) struct Limit {
    /// So many at most, 1 to 1000.
    #[arg(long = "limit", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rows: u32,
}

impl Limit {
    /// Whether a list of so many rows may go on.
    pub(super) fn is_reached(&self, rows: usize) -> bool {
        u32::try_from(rows).is_ok_and(|rows| rows >= self.rows)
    }
}

impl From<AdministrationError> for Failure {
    fn from(error: AdministrationError) -> Self {
        let text = clean(&error.to_string());
        match error {
            AdministrationError::NotFound(_) => Self::NotFound(text),
            AdministrationError::Refused(_) => Self::Configuration(text),
            AdministrationError::Storage(_) => Self::Runtime(text),
        }
    }
}

//! What the commands on the live database share.

use std::sync::Arc;

use actix_web::rt::System;
use clap::Args;

use super::output::{Console, clean};
use super::serve::runtime;
use super::{ConfigFile, Failure, operator};
use crate::config::Config;
use crate::domain::clock::SystemClock;
use crate::domain::entropy::SystemEntropy;
use crate::domain::ids::UserId;
use crate::domain::request_id::RequestId;
use crate::flow::administration::{self, Administration, AdministrationError, users};
use crate::state::ClientRegistry;
use crate::storage::Storage;

/// How the commands that change something are used.
pub(super) const HELP: &str = "Works on the live database, safe while brokers are running; what it changes acts \
    on their next call, and is in the audit trail with your name.\n\n\
    Exit codes: 0 done, 1 failed while running, 2 refused (command line, configuration, not confirmed), \
    3 not found.";

/// How the commands that only read are used.
pub(super) const READ_HELP: &str = "Reads the live database; changes nothing.\n\n\
    Exit codes: 0 done, 1 failed while running, 2 refused (command line, configuration), 3 not found.";

/// The options of every administrative command.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    config: ConfigFile,
    /// Answer in JSON, for scripts (docs/administration.md lists the members).
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
        let administration = open(&self.load()?.config)?;
        System::new().block_on(async {
            administration.storage.ping().await.map_err(runtime)?;
            work(&administration).await
        })
    }
}

fn open(config: &Config) -> Result<Administration, Failure> {
    let storage =
        Storage::new(&config.database).map_err(|error| Failure::Configuration(error.to_string()))?;
    Ok(Administration {
        storage,
        clients: ClientRegistry::new(config.clients.clone()),
        keys: config.server_keys.ring.clone(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        audit_kept: config.purge.audit_kept,
        actor: operator::name(),
        run_id: RequestId::with_prefix("cli", &SystemEntropy),
    })
}

/// How many rows a list has.
#[derive(Debug, Args)]
pub(super) struct Limit {
    /// At most this many, 1 to 1000.
    #[arg(long = "limit", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rows: u32,
}

impl Limit {
    /// Says how to see more where the list may go on; `how` gets its last row.
    pub(super) fn remark_more<T>(
        &self,
        found: &[T],
        how: impl FnOnce(&T) -> String,
        console: &mut Console<'_>,
    ) -> Result<(), Failure> {
        match found.last() {
            Some(last) if u32::try_from(found.len()).is_ok_and(|rows| rows >= self.rows) => {
                console.remark(&format!("there may be more: {}", how(last)))
            }
            _ => Ok(()),
        }
    }
}

/// Whose sessions or tokens a list has.
#[derive(Debug, Args)]
pub(super) struct Owned {
    /// Only this user's: id, provider/subject, or a username that only one user has.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Include ended ones, until they are purged.
    #[arg(long)]
    pub(super) all: bool,
}

impl Owned {
    /// Reads the list, of the user that is named, if one is.
    pub(super) fn find<T>(
        &self,
        common: &Common,
        list: impl AsyncFnOnce(&Administration, Option<UserId>) -> administration::Result<T>,
    ) -> Result<T, Failure> {
        common.run(async |administration| {
            let user = match &self.user {
                Some(name) => Some(users::find(administration, name).await?.id),
                None => None,
            };
            Ok(list(administration, user).await?)
        })
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

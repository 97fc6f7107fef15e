//! Options and helpers shared by the commands that work on the live database.

use std::sync::Arc;

use actix_web::rt::System;
use clap::Args;

use super::output::{Console, clean};
use super::serve::runtime;
use super::{ConfigFile, Failure, operator};
use crate::config::{self, Config};
use crate::domain::clock::SystemClock;
use crate::domain::entropy::SystemEntropy;
use crate::domain::ids::UserId;
use crate::domain::request_id::RequestId;
use crate::flow::administration::{self, Administration, AdministrationError, users};
use crate::state::ClientRegistry;
use crate::storage::{Storage, StorageError, StorageSettings};

/// The end of the help of commands that change the database.
pub(super) const HELP: &str = "Works on the live database and is safe while brokers are running. Changes take \
    effect at the next request and are recorded in the audit trail under your user name.\n\n\
    Exit codes: 0 success, 1 failed while running, 2 refused (command line, configuration, not confirmed), \
    3 not found.";

/// The end of the help of commands that only read the database.
pub(super) const READ_HELP: &str = "Reads the live database and changes nothing.\n\n\
    Exit codes: 0 success, 1 failed while running, 2 refused (command line, configuration), 3 not found.";

/// The options of every administrative command.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    config: ConfigFile,
    /// Write JSON, for scripts (docs/administration.md lists the members).
    #[arg(long)]
    pub(super) json: bool,
}

impl Common {
    /// Reads the database that the configuration names; needs no other secret than that of the database.
    pub(super) fn read<T>(
        &self,
        work: impl AsyncFnOnce(&Storage) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.config.read_database(work)
    }

    /// Runs `work` on the database that the configuration names.
    pub(super) fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Administration) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.config.administer(work)
    }
}

impl ConfigFile {
    /// Runs `work` on the database that the configuration names. Fails unless its schema is that of this version.
    pub(super) fn administer<T>(
        &self,
        work: impl AsyncFnOnce(&Administration) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let administration = administration(&self.load()?.config)?;
        System::new().block_on(async {
            check(&administration.storage).await?;
            work(&administration).await
        })
    }

    /// Reads the database that the configuration names; needs no other secret than that of the database.
    pub(super) fn read_database<T>(
        &self,
        work: impl AsyncFnOnce(&Storage) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let storage = self.storage()?;
        System::new().block_on(async {
            check(&storage).await?;
            work(&storage).await
        })
    }

    /// The database that the configuration names.
    pub(super) fn storage(&self) -> Result<Storage, Failure> {
        open(&config::database(&self.path, config::environment())?)
    }
}

/// Fails unless the database can be read and has the schema of this version.
async fn check(storage: &Storage) -> Result<(), Failure> {
    match storage.check().await {
        // Reading works, and a command that writes reports it.
        Ok(()) | Err(StorageError::ReadOnly(_)) => Ok(()),
        Err(error) => Err(runtime(error)),
    }
}

/// The database of these settings.
pub(super) fn open(settings: &StorageSettings) -> Result<Storage, Failure> {
    Storage::new(settings).map_err(|error| Failure::Configuration(error.to_string()))
}

fn administration(config: &Config) -> Result<Administration, Failure> {
    Ok(Administration {
        storage: open(&config.database)?,
        clients: ClientRegistry::new(config.clients.clone()),
        keys: config.server_keys.ring.clone(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        audit_kept: config.purge.audit_kept,
        actor: operator::name(),
        run_id: RequestId::with_prefix("cli", &SystemEntropy),
    })
}

/// The option that limits the number of rows of a list.
#[derive(Debug, Args)]
pub(super) struct Limit {
    /// Maximum number of rows, 1 to 1000.
    #[arg(long = "limit", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rows: u32,
}

impl Limit {
    /// Writes how to see more rows, if the list may be longer. `hint` is called with the last row.
    pub(super) fn notice_more<T>(
        &self,
        found: &[T],
        hint: impl FnOnce(&T) -> String,
        console: &mut Console<'_>,
    ) -> Result<(), Failure> {
        match found.last() {
            Some(last) if u32::try_from(found.len()).is_ok_and(|rows| rows >= self.rows) => {
                console.notice(&format!("More results may be available: {}", hint(last)))
            }
            _ => Ok(()),
        }
    }
}

/// The options that select the sessions or tokens of a list.
#[derive(Debug, Args)]
pub(super) struct Owned {
    /// Only those of this user: id, provider/subject, or a username that only one user has.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Include ended, expired and revoked ones that have not been purged yet.
    #[arg(long)]
    pub(super) all: bool,
}

impl Owned {
    /// Reads the list, limited to the user of `--user` if it was given.
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

//! The database, through Diesel: users, sessions, tokens, resource servers, audit events.
//!
//! A folder per aggregate holds its records, rows and queries. One enum of two concrete pools (SQLite, PostgreSQL) serves
//! both databases: each query is written once and compiled for either connection type (`queries`), so that all of Diesel can
//! be used and nothing falls back from one database to the other. Functions here know rows and transactions; `flow` decides
//! what is allowed and what comes next.
//!
//! ```no_run
//! # use token_broker::storage::{Storage, StorageError, StorageSettings};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = Storage::new(&StorageSettings::new("sqlite:token-broker.sqlite".parse()?))?;
//! storage.migrate().await?;
//! # Ok(())
//! # }
//! ```

mod any_of;
pub mod audit;
mod blocking;
mod error;
pub mod live;
mod liveness;
mod migrate;
mod places;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
pub mod purge;
pub mod resource_servers;
mod schema;
pub mod sessions;
mod settings;
pub mod sign_in;
#[cfg_attr(feature = "postgres", expect(clippy::duplicate_mod, reason = "one text, two connection types"))]
mod sqlite;
pub mod tokens;
mod types;
pub mod users;

use std::sync::Arc;

pub use blocking::Connections;
use blocking::Workers;
pub use error::StorageError;
pub use settings::{DatabaseUrl, Pooler, StorageSettings, StorageSettingsError};

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file: development, and one machine.
    Sqlite,
    /// A server: any number of brokers.
    Postgres,
}

/// The database. Cheap to clone. Every method but the migrating ones ends within seconds, whatever the database
/// does; a write that got no answer in time may have happened.
#[derive(Debug, Clone)]
pub struct Storage {
    workers: Arc<Workers>,
}

impl AsRef<Self> for Storage {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Storage {
    /// Chooses the database by the URL's scheme. Connects later, when it is first needed: succeeds while a
    /// PostgreSQL server is unavailable.
    pub fn new(settings: &StorageSettings) -> Result<Self, StorageSettingsError> {
        Ok(Self { workers: Arc::new(Workers::new(settings)?) })
    }

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        self.workers.backend()
    }

    /// The connections that are open at the moment.
    pub fn connections(&self) -> Connections {
        self.workers.connections()
    }
}

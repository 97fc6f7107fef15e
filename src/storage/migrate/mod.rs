//! Applying migrations.

use super::Storage;
use super::blocking::{Bound, on_backend};
use super::error::StorageError;

impl Storage {
    /// Whether the database answers and has the schema of this program: one small query.
    pub async fn ping(&self) -> Result<(), StorageError> {
        on_backend!(self, migrate::ping())
    }

    /// Applies the missing migrations, all or none, and names them. Several instances may call it at the same moment: one
    /// works, the others wait.
    pub async fn migrate(&self) -> Result<Vec<String>, StorageError> {
        on_backend!(self, Bound::Connection, migrate::apply())
    }

    /// The migrations that are missing. Changes nothing.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StorageError> {
        on_backend!(self, migrate::pending())
    }

    /// Reverts every migration, with all data.
    pub async fn revert_all_migrations(&self) -> Result<(), StorageError> {
        on_backend!(self, Bound::Connection, migrate::revert_all())
    }
}

//! Bringing the schema up to date.

use super::Storage;
use super::blocking::{Bound, on_backend};
use super::error::StorageError;

impl Storage {
    /// Whether the database answers and has the schema of this program: one small query.
    pub async fn ping(&self) -> Result<(), StorageError> {
        on_backend!(self, migrate::ping())
    }

    /// Applies the pending migrations, all or none, and returns their names. Several instances may call it at the same
    /// moment: one applies them while the others wait.
    pub async fn migrate(&self) -> Result<Vec<String>, StorageError> {
        on_backend!(self, Bound::Connection, migrate::apply())
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

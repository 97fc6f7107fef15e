//! The database, through Diesel: users, identities, sessions, API tokens, audit events.
//!
//! One enum of two concrete pools (SQLite, PostgreSQL), every query written once. Functions here know rows and
//! transactions; what is allowed and what comes next is decided in `flow`.

pub mod records;

/// The database cannot answer, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// It cannot be reached, is locked by another writer, or every connection stayed busy for too long.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// It answered with something that this program does not expect. The text holds no values.
    #[error("the database gave an unexpected answer: {0}")]
    Unexpected(String),
}

impl From<StorageError> for crate::error::Error {
    fn from(error: StorageError) -> Self {
        use crate::error::ErrorCode;
        let code = match &error {
            StorageError::Unavailable(_) => ErrorCode::TemporarilyUnavailable,
            StorageError::Unexpected(_) => ErrorCode::ServerError,
        };
        Self::new(code).caused_by(error)
    }
}

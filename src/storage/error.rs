//! What can go wrong, and which of Diesel's errors is what.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

use crate::error::{Error, ErrorCode};

/// The database cannot answer, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// It cannot be reached, is locked by another writer, or every connection stayed busy for too long.
    #[error("the database cannot be used: {0}")]
    Unavailable(String),
    /// The connection was lost, or the server refused to continue, before anything was changed.
    #[error("the database cannot be used: {0}")]
    Lost(String),
    /// It can be read but not changed: a standby, or a database that its administrator or a full disk made read-only.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Its tables are not those that this program needs; the text says which are missing.
    #[error(
        "the database cannot be used: its schema is not this program's: run `token-broker migrate` ({0})"
    )]
    OtherSchema(String),
    /// It ended the transaction in favour of another one: a deadlock, or a conflict of serialisable transactions. The
    /// transaction changed nothing and can be tried once more.
    #[error("the database cannot be used: {0}")]
    Conflict(String),
    /// It answered with something that this program does not expect. The text holds no values.
    #[error("the database gave an unexpected answer: {0}")]
    Unexpected(String),
}

impl StorageError {
    /// A stored value that the domain refuses; `column` says where, never what.
    pub(super) fn unreadable(column: &'static str) -> Self {
        Self::Unexpected(format!("a value of {column} cannot be read"))
    }

    /// The same error of a transaction whose commit was already on its way: it may have happened. Only a server is lost so.
    #[cfg(any(test, feature = "postgres"))]
    pub(super) fn of_a_commit(self) -> Self {
        match self {
            Self::Lost(cause) => Self::Unavailable(format!("{cause}; whether it committed is unknown")),
            other => other,
        }
    }

    /// Tables or columns are missing; `what` says which.
    pub(super) fn schema_is_behind(what: &str) -> Self {
        Self::OtherSchema(what.to_owned())
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        let code = match &error {
            StorageError::Unavailable(_)
            | StorageError::Lost(_)
            | StorageError::ReadOnly(_)
            | StorageError::OtherSchema(_)
            | StorageError::Conflict(_) => ErrorCode::TemporarilyUnavailable,
            StorageError::Unexpected(_) => ErrorCode::ServerError,
        };
        Self::new(code).caused_by(error)
    }
}

impl From<DieselError> for StorageError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, information) => from_database(&kind, &*information),
            DieselError::BrokenTransactionManager => {
                Self::Lost("the connection was lost inside a transaction".to_owned())
            }
            DieselError::RollbackErrorOnCommit { .. } => {
                Self::Unavailable("the connection was lost while a transaction ended".to_owned())
            }
            DieselError::NotFound => Self::Unexpected("a row is missing".to_owned()),
            DieselError::DeserializationError(_) => Self::Unexpected("a value cannot be read".to_owned()),
            DieselError::SerializationError(_) => Self::Unexpected("a value cannot be written".to_owned()),
            other => Self::Unexpected(other.to_string()),
        }
    }
}

/// Why a connection through a pooler in transaction mode is refused.
pub(super) const POOLED: &str = "a pooler in transaction mode is between this program and PostgreSQL: set \
    database.pooler = \"transaction\", or let the URL name the server or a pool in session mode";

/// The primary message is safe: statements are parameterised, and PostgreSQL puts values into the details,
/// which are left out.
fn from_database(kind: &DatabaseErrorKind, information: &dyn DatabaseErrorInformation) -> StorageError {
    let message = match information.constraint_name() {
        Some(name) => format!("{kind:?} of {name}"),
        None => format!("{kind:?}: {}", information.message()),
    };
    match kind {
        DatabaseErrorKind::SerializationFailure => StorageError::Conflict(message),
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
            StorageError::Lost(message)
        }
        DatabaseErrorKind::ReadOnlyTransaction => StorageError::ReadOnly(message),
        DatabaseErrorKind::UniqueViolation
        | DatabaseErrorKind::ForeignKeyViolation
        | DatabaseErrorKind::RestrictViolation
        | DatabaseErrorKind::NotNullViolation
        | DatabaseErrorKind::CheckViolation
        | DatabaseErrorKind::ExclusionViolation => StorageError::Unexpected(message),
        _ if is_read_only_file(information) => StorageError::ReadOnly(message),
        _ if is_of_a_pooler(information) => StorageError::Unavailable(format!("{POOLED} ({message})")),
        _ if is_deadlock(information) => StorageError::Conflict(message),
        _ if is_about_the_statement(information) => StorageError::schema_is_behind(&message),
        _ => StorageError::Unavailable(message),
    }
}

/// What SQLite says about a file, or a folder, that this user may not change.
fn is_read_only_file(information: &dyn DatabaseErrorInformation) -> bool {
    information.message() == "attempt to write a readonly database"
}

/// Prepared statements that are missing or that another session has prepared: PostgreSQL quotes the name that Diesel gave
/// them, in every language.
fn is_of_a_pooler(information: &dyn DatabaseErrorInformation) -> bool {
    information.message().contains("\"__diesel_stmt_")
}

/// Diesel has no kind for a deadlock (SQLSTATE 40P01). PostgreSQL describes it in the language of the server, but names
/// the locks that the processes wait for in the same way in every language.
fn is_deadlock(information: &dyn DatabaseErrorInformation) -> bool {
    information.message() == "deadlock detected"
        || information
            .details()
            .is_some_and(|details| details.contains("ShareLock") || details.contains("ExclusiveLock"))
}

/// Diesel knows neither the SQLSTATE nor SQLite's code of the remaining errors: "database is locked", a
/// statement timeout, a shutdown, a full disk. Those are outages. For an error in the statement itself,
/// PostgreSQL reports a position and SQLite a fixed message. The statements are compiled in and right for the migrated
/// schema, so a table or a column is missing.
fn is_about_the_statement(information: &dyn DatabaseErrorInformation) -> bool {
    let message = information.message();
    information.statement_position().is_some()
        || message.starts_with("no such ")
        || message.contains(" has no column named ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(kind: DatabaseErrorKind, message: &str) -> StorageError {
        DieselError::DatabaseError(kind, Box::new(message.to_owned())).into()
    }

    #[test]
    fn an_outage_is_never_an_answer() {
        for message in
            ["database is locked", "disk I/O error", "canceling statement due to statement timeout"]
        {
            let error = mapped(DatabaseErrorKind::Unknown, message);
            assert!(matches!(error, StorageError::Unavailable(_)), "{message}");
            assert_eq!(Error::from(error).code(), ErrorCode::TemporarilyUnavailable);
        }
        let error = mapped(DatabaseErrorKind::ClosedConnection, "server closed the connection unexpectedly");
        assert!(matches!(error, StorageError::Lost(_)));
        let committed = error.of_a_commit();
        assert!(
            matches!(&committed, StorageError::Unavailable(text) if text.contains("unknown")),
            "{committed}"
        );
    }

    #[test]
    fn a_read_only_database_and_a_pooler_are_told_apart() {
        let error = mapped(
            DatabaseErrorKind::ReadOnlyTransaction,
            "cannot execute UPDATE in a read-only transaction",
        );
        assert!(matches!(error, StorageError::ReadOnly(_)));
        assert_eq!(Error::from(error).code(), ErrorCode::TemporarilyUnavailable);
        let error = mapped(DatabaseErrorKind::Unknown, "attempt to write a readonly database");
        assert!(matches!(error, StorageError::ReadOnly(_)));
        let error =
            mapped(DatabaseErrorKind::Unknown, "prepared statement \"__diesel_stmt_3\" does not exist");
        let text = error.to_string();
        assert!(matches!(error, StorageError::Unavailable(_)) && text.contains("database.pooler"), "{text}");
    }

    #[test]
    fn a_missing_table_or_column_is_an_outage_that_names_its_remedy() {
        for message in
            ["no such table: users", "no such column: users.id", "table users has no column named email"]
        {
            let error = mapped(DatabaseErrorKind::Unknown, message);
            let text = error.to_string();
            assert!(text.contains(message) && text.contains("`token-broker migrate`"), "{text}");
            assert_eq!(Error::from(error).code(), ErrorCode::TemporarilyUnavailable);
        }
    }

    /// What PostgreSQL reports about a statement.
    struct Reported(&'static str, &'static str);

    impl DatabaseErrorInformation for Reported {
        fn message(&self) -> &str {
            self.0
        }

        fn details(&self) -> Option<&str> {
            Some(self.1)
        }

        fn hint(&self) -> Option<&str> {
            None
        }

        fn table_name(&self) -> Option<&str> {
            None
        }

        fn column_name(&self) -> Option<&str> {
            None
        }

        fn constraint_name(&self) -> Option<&str> {
            None
        }

        fn statement_position(&self) -> Option<i32> {
            None
        }
    }

    #[test]
    fn a_deadlock_is_recognised_in_any_language() {
        let reported = |message, details| {
            let reported = Box::new(Reported(message, details));
            StorageError::from(DieselError::DatabaseError(DatabaseErrorKind::Unknown, reported))
        };
        let german = "Prozess 7 wartet auf RowExclusiveLock-Sperre auf Relation 4 der Datenbank 1; blockiert von Prozess 8.";
        for error in [
            mapped(DatabaseErrorKind::Unknown, "deadlock detected"),
            reported("Verklemmung entdeckt", german),
        ] {
            assert!(matches!(error, StorageError::Conflict(_)), "{error}");
            assert_eq!(Error::from(error).code(), ErrorCode::TemporarilyUnavailable);
        }
        let full = reported("could not extend file", "No space left on device");
        assert!(matches!(full, StorageError::Unavailable(_)), "{full}");
    }

    #[test]
    fn a_violated_constraint_is_no_outage() {
        let message = "UNIQUE constraint failed: users.id";
        let error = mapped(DatabaseErrorKind::UniqueViolation, message);
        assert!(matches!(&error, StorageError::Unexpected(text) if text.contains(message)), "{error}");
        assert_eq!(Error::from(error).code(), ErrorCode::ServerError);
    }
}

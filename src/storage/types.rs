//! Ids and times as both databases keep them, each an SQL type of its own, so that one schema serves both; and how the
//! columns that several tables have are read.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, SqlType};
use diesel::sqlite::Sqlite;
use uuid::Uuid;

use super::error::StorageError;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{IdentityId, SessionId, TokenId, UserId};
use crate::domain::key_ring::KeyId;
use crate::domain::profile::ProfileText;

/// The SQL type of ids: `uuid` in PostgreSQL, 16 bytes in SQLite.
#[derive(SqlType, QueryId)]
#[diesel(postgres_type(oid = 2950, array_oid = 2951))]
#[diesel(sqlite_type(name = "Binary"))]
pub struct SqlId;

/// The SQL type of times: `timestamptz` in PostgreSQL, microseconds since 1970 in SQLite.
#[derive(SqlType, QueryId)]
#[diesel(postgres_type(oid = 1184, array_oid = 1185))]
#[diesel(sqlite_type(name = "Long"))]
pub struct SqlTime;

/// An id in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = SqlId)]
pub struct Id(Uuid);

/// A time in a row, in whole microseconds: both databases compare it alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = SqlTime)]
pub struct Time(pub Timestamp);

macro_rules! convert_ids {
    ($($name:ident),*) => {$(
        impl From<$name> for Id {
            fn from(id: $name) -> Self {
                Self(id.as_uuid())
            }
        }

        impl From<Id> for $name {
            fn from(id: Id) -> Self {
                Self::from(id.0)
            }
        }
    )*};
}

convert_ids!(UserId, IdentityId, SessionId, TokenId);

/// A profile text as it is written.
pub fn text(text: Option<&ProfileText>) -> Option<String> {
    text.map(|text| text.as_str().to_owned())
}

/// A profile text that was read.
pub fn profile_text(text: Option<String>) -> Option<ProfileText> {
    text.as_deref().and_then(ProfileText::clean)
}

/// A digest that was read from `column`.
pub fn digest(bytes: Vec<u8>, column: &'static str) -> Result<[u8; 32], StorageError> {
    bytes.try_into().map_err(|_| StorageError::unreadable(column))
}

/// The id of a server key that was read from `column`.
pub fn key_id(number: i64, column: &'static str) -> Result<KeyId, StorageError> {
    u32::try_from(number).map(KeyId).map_err(|_| StorageError::unreadable(column))
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl FromSql<SqlId, Sqlite> for Id {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?;
        Ok(Self(Uuid::from_slice(&bytes)?))
    }
}

impl ToSql<SqlId, Sqlite> for Id {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_bytes().as_slice());
        Ok(IsNull::No)
    }
}

impl FromSql<SqlTime, Sqlite> for Time {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let micros = <i64 as FromSql<BigInt, Sqlite>>::from_sql(value)?;
        Timestamp::from_timestamp_micros(micros).map(Self).ok_or_else(|| "the time is out of range".into())
    }
}

impl ToSql<SqlTime, Sqlite> for Time {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.timestamp_micros());
        Ok(IsNull::No)
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::io::Write;

    use diesel::pg::{Pg, PgValue};
    use diesel::sql_types::Timestamptz;

    use super::*;

    impl FromSql<SqlId, Pg> for Id {
        fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
            Ok(Self(Uuid::from_slice(value.as_bytes())?))
        }
    }

    impl ToSql<SqlId, Pg> for Id {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
            out.write_all(self.0.as_bytes())?;
            Ok(IsNull::No)
        }
    }

    impl FromSql<SqlTime, Pg> for Time {
        fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
            <Timestamp as FromSql<Timestamptz, Pg>>::from_sql(value).map(Self)
        }
    }

    impl ToSql<SqlTime, Pg> for Time {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
            <Timestamp as ToSql<Timestamptz, Pg>>::to_sql(&self.0, out)
        }
    }
}

//! A dump of a store, as an attacker would have it: the raw bytes and the individual values.

use std::collections::BTreeSet;

#[cfg(feature = "postgres")]
use diesel::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::{SqliteConnection, sql_query};

use super::redis::ask;

/// A copy of a store.
#[derive(Default)]
pub struct Dump {
    /// The raw bytes.
    pub bytes: Vec<u8>,
    /// Names and values, one by one.
    pub values: BTreeSet<Vec<u8>>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    text: String,
}

/// What a query calls `text`, in a SQLite file.
pub fn sqlite_texts(url: &str, query: &str) -> Vec<String> {
    let mut file = SqliteConnection::establish(url.trim_start_matches("sqlite:")).unwrap();
    sql_query(query).load::<Row>(&mut file).unwrap().into_iter().map(|row| row.text).collect()
}

/// The raw file with its write-ahead log, and every value of every table.
pub fn sqlite(url: &str) -> Dump {
    let mut dump = Dump::default();
    for table in sqlite_texts(url, "SELECT name AS text FROM sqlite_master WHERE type = 'table'") {
        for column in sqlite_texts(url, &format!("SELECT name AS text FROM pragma_table_info('{table}')")) {
            let query = format!("SELECT hex({column}) AS text FROM {table} WHERE {column} IS NOT NULL");
            dump.values.extend(sqlite_texts(url, &query).iter().filter_map(|text| from_hex(text)));
        }
    }
    let path = url.trim_start_matches("sqlite:");
    for file in [path.to_owned(), format!("{path}-wal"), format!("{path}-journal")] {
        dump.bytes.extend(std::fs::read(file).unwrap_or_default());
    }
    dump
}

/// Every row of every table as JSON, where bytes are hexadecimal.
#[cfg(feature = "postgres")]
pub fn postgres(url: &str) -> Dump {
    let mut server = PgConnection::establish(url).unwrap();
    let mut texts = |query: String| -> Vec<String> {
        sql_query(query).load::<Row>(&mut server).unwrap().into_iter().map(|row| row.text).collect()
    };
    let mut dump = Dump::default();
    let tables =
        "SELECT table_name::text AS text FROM information_schema.tables WHERE table_schema = 'public'";
    for table in texts(tables.to_owned()) {
        let values = format!(
            "SELECT value AS text FROM {table} AS of_table, jsonb_each_text(to_jsonb(of_table)) WHERE value <> ''"
        );
        for value in texts(values) {
            dump.bytes.extend(value.as_bytes());
            dump.bytes.push(b'\n');
            let binary = value.strip_prefix("\\x").and_then(from_hex);
            dump.values.insert(binary.unwrap_or_else(|| value.into_bytes()));
        }
    }
    dump
}

/// Every entry of one Redis database, with its name.
pub fn redis(url: &str) -> Dump {
    let mut values: BTreeSet<Vec<u8>> = BTreeSet::new();
    for name in ask::<Vec<Vec<u8>>>(url, redis::cmd("KEYS").arg("*")).unwrap() {
        let kind: String = ask(url, redis::cmd("TYPE").arg(&name)).unwrap();
        match kind.as_str() {
            "string" => {
                values.insert(ask(url, redis::cmd("GET").arg(&name)).unwrap());
            }
            "hash" => values.extend(ask::<Vec<Vec<u8>>>(url, redis::cmd("HGETALL").arg(&name)).unwrap()),
            other => panic!("a {other} that this dump does not know"),
        }
        values.insert(name);
    }
    Dump { bytes: values.iter().cloned().collect::<Vec<_>>().join(&b'\n'), values }
}

/// Decodes hexadecimal digits.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

//! Direct access to the database and the key store: changing rows, and reading everything that is stored.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use secrecy::ExposeSecret;
use token_broker::domain::token::GenuineToken;

use super::broker::TestBroker;
use super::redis;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Runs a statement on the broker's SQLite file; returns the number of changed rows.
pub fn change(broker: &TestBroker, statement: &str) -> usize {
    diesel::sql_query(statement).execute(&mut connection(broker)).unwrap()
}

/// The number of matching rows of `table`.
pub fn count(broker: &TestBroker, table: &str, condition: &str) -> usize {
    lines(&mut connection(broker), &format!("SELECT '' AS line FROM {table} WHERE {condition}")).len()
}

/// The SQL condition that is true for the row of a token.
pub fn row_of(broker: &TestBroker, token: &str) -> String {
    let genuine = GenuineToken::parse(token, &broker.config.server_keys.ring).unwrap();
    let digest = genuine.handle.digest();
    format!("handle_digest = x'{}'", hex(digest.as_bytes()))
}

/// Every value of every column of every table of the broker's SQLite file.
pub fn database_dump(broker: &TestBroker) -> Vec<Vec<u8>> {
    let mut db = connection(broker);
    let mut values = Vec::new();
    for table in lines(&mut db, "SELECT name AS line FROM sqlite_master WHERE type = 'table'") {
        for column in lines(&mut db, &format!("SELECT name AS line FROM pragma_table_info('{table}')")) {
            let query = format!(
                "SELECT hex(CAST(\"{column}\" AS BLOB)) AS line FROM \"{table}\" WHERE \"{column}\" IS NOT NULL"
            );
            values.extend(lines(&mut db, &query).iter().map(|value| unhex(value)));
        }
    }
    values
}

/// Every name and every value in a Redis database.
pub fn redis_dump(url: &str) -> Vec<Vec<u8>> {
    let names: Vec<Vec<u8>> = redis::ask(url, ::redis::cmd("KEYS").arg("*")).unwrap();
    let mut values = Vec::new();
    for name in names {
        let kind: String = redis::ask(url, ::redis::cmd("TYPE").arg(&name)).unwrap();
        let parts: Vec<Vec<u8>> = match kind.as_str() {
            "hash" => redis::ask(url, ::redis::cmd("HGETALL").arg(&name)).unwrap(),
            "string" => vec![redis::ask(url, ::redis::cmd("GET").arg(&name)).unwrap()],
            other => panic!("what is a {other}?"),
        };
        values.extend(parts);
        values.push(name);
    }
    values
}

/// Encodes bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn connection(broker: &TestBroker) -> SqliteConnection {
    let url = broker.config.database.url.expose_secret();
    let mut db = SqliteConnection::establish(url.strip_prefix("sqlite:").unwrap()).unwrap();
    db.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON").unwrap();
    db
}

fn lines(db: &mut SqliteConnection, query: &str) -> Vec<String> {
    let lines: Vec<Line> = diesel::sql_query(query).load(db).unwrap();
    lines.into_iter().map(|line| line.line).collect()
}

//! The settings of the storage, and which database a URL names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// The settings of the storage.
#[derive(Debug, Clone)]
pub struct StorageSettings {
    /// Which database it is.
    pub url: DatabaseUrl,
    /// How many connections are open at most.
    pub pool_size: u32,
    /// How long a query waits for a connection, and in SQLite for another writer.
    pub wait: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// SQLite only: whether a commit is on the disk before it counts. Without it, a power failure (not a crash of the
    /// process) loses the newest commits, which may include a logout.
    pub synchronous_full: bool,
    /// PostgreSQL only: what stands between this program and the server.
    pub pooler: Pooler,
}

/// What stands between this program and a PostgreSQL server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooler {
    /// Nothing, or a pooler that gives each connection a session of its own.
    None,
    /// A pooler that gives a session to another connection after each transaction, such as PgBouncer with
    /// `pool_mode = transaction`. Then no statement is prepared under a name, and no session has settings.
    Transaction,
}

impl StorageSettings {
    /// How many connections are open at most, if the configuration says nothing.
    pub const POOL_SIZE: u32 = 10;

    /// The defaults for a database: two seconds to get a connection, five seconds for a statement.
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            pool_size: Self::POOL_SIZE,
            wait: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
            synchronous_full: true,
            pooler: Pooler::None,
        }
    }

    /// The database to open, after a check that no size or time is zero.
    pub(super) fn target(&self) -> Result<Target, StorageSettingsError> {
        if self.pool_size == 0 || self.wait.is_zero() || self.statement_timeout.as_millis() == 0 {
            return Err(StorageSettingsError::Zero);
        }
        Ok(self.url.target.clone())
    }
}

/// The URL of a database: `sqlite:path/to/file` or `postgres://user:password@host/database?sslmode=verify-full`.
#[derive(Clone)]
pub struct DatabaseUrl {
    text: SecretString,
    target: Target,
}

impl FromStr for DatabaseUrl {
    type Err = StorageSettingsError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let target = if let Some(path) = url.strip_prefix("sqlite:") {
            Target::Sqlite(sqlite_file(path.strip_prefix("//").unwrap_or(path))?)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Target::Postgres(postgres_url(url)?)
        } else {
            return Err(StorageSettingsError::UnknownScheme);
        };
        Ok(Self { text: url.into(), target })
    }
}

impl ExposeSecret<str> for DatabaseUrl {
    fn expose_secret(&self) -> &str {
        self.text.expose_secret()
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.target {
            Target::Sqlite(_) => "DatabaseUrl(SQLite)",
            Target::Postgres(_) => "DatabaseUrl(PostgreSQL)",
        })
    }
}

/// Why the settings are refused. Never repeats the URL: it may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageSettingsError {
    /// The URL names no database that this program knows.
    #[error("must begin with sqlite:, postgres:// or postgresql://")]
    UnknownScheme,
    /// The URL names a database that this build leaves out.
    #[error(
        "names PostgreSQL, which this build does not support; build it with `cargo build --release --features \
         postgres` (needs libpq-dev) or `--features postgres-static` (needs no system package)"
    )]
    NotCompiledIn,
    /// The URL names no file.
    #[error(
        "must name a file, as in sqlite:token-broker.sqlite; in-memory databases and parameters are not supported"
    )]
    NoFile,
    /// The URL has a parameter that libpq does not know.
    #[error(
        "has an unknown parameter; known are those of libpq, such as sslmode, sslrootcert and target_session_attrs; in a \
         password write ? as %3F and & as %26"
    )]
    UnknownParameter,
    /// A size or time is zero.
    #[error("the pool size, the wait and the statement timeout of the database must be greater than zero")]
    Zero,
}

/// The database that a URL names.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A file.
    Sqlite(PathBuf),
    /// A URL for libpq, with the limits that make a dead host noticed in time.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "refused in this build"))]
    Postgres(SecretString),
}

/// Connecting ends after two seconds (libpq's minimum), and so does a connection whose host stopped answering.
#[cfg(feature = "postgres")]
const POSTGRES_DEFAULTS: [(&str, &str); 6] = [
    ("connect_timeout", "2"),
    ("tcp_user_timeout", "2000"),
    ("keepalives_idle", "5"),
    ("keepalives_interval", "2"),
    ("keepalives_count", "3"),
    ("application_name", "token-broker"),
];

/// The parameters of libpq that a URL may set.
#[cfg(feature = "postgres")]
const LIBPQ: [&str; 38] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "port",
    "require_auth",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

fn sqlite_file(path: &str) -> Result<PathBuf, StorageSettingsError> {
    if path.is_empty() || path.contains(":memory:") || path.contains('?') {
        return Err(StorageSettingsError::NoFile);
    }
    // With "./" in front SQLite never reads the name as a URI.
    Ok(Path::new(".").join(path))
}

#[cfg(feature = "postgres")]
fn postgres_url(url: &str) -> Result<SecretString, StorageSettingsError> {
    let (base, given) = url.split_once('?').unwrap_or((url, ""));
    let names =
        given.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair));
    if names.clone().any(|name| !LIBPQ.contains(&name)) {
        return Err(StorageSettingsError::UnknownParameter);
    }
    let is_given = |name: &str| given.split('&').any(|pair| pair.split('=').next() == Some(name));
    let own = POSTGRES_DEFAULTS.iter().filter(|(name, _)| !is_given(name));
    let mut parameters: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
    // Of several servers only the one that accepts changes counts: a standby answers with yesterday's revocations.
    let hosts = base.rsplit('@').next().unwrap_or_default().split('/').next().unwrap_or_default();
    if hosts.contains(',') && !is_given("target_session_attrs") {
        parameters.push("target_session_attrs=read-write".to_owned());
    }
    parameters.extend((!given.is_empty()).then(|| given.to_owned()));
    Ok(SecretString::from(format!("{base}?{}", parameters.join("&"))))
}

#[cfg(not(feature = "postgres"))]
fn postgres_url(_url: &str) -> Result<SecretString, StorageSettingsError> {
    Err(StorageSettingsError::NotCompiledIn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, StorageSettingsError> {
        StorageSettings::new(url.parse()?).target()
    }

    #[test]
    fn sqlite_urls_name_a_file() {
        for (url, file) in [
            ("sqlite:a.sqlite", "./a.sqlite"),
            ("sqlite://data/a.sqlite", "./data/a.sqlite"),
            ("sqlite:///var/lib/a.sqlite", "/var/lib/a.sqlite"),
            ("sqlite:/var/lib/a.sqlite", "/var/lib/a.sqlite"),
            ("sqlite:file:a", "./file:a"),
        ] {
            assert!(matches!(target(url), Ok(Target::Sqlite(path)) if path == Path::new(file)), "{url}");
        }
        for url in ["sqlite:", "sqlite://", "sqlite::memory:", "sqlite:a?mode=ro", "sqlite:file::memory:"] {
            assert_eq!(target(url).unwrap_err(), StorageSettingsError::NoFile, "{url}");
        }
    }

    #[test]
    fn an_unknown_scheme_is_refused_and_never_becomes_a_file() {
        for url in ["", "a.sqlite", "mysql://h/db", "host=localhost user=x", "postgres:h", "SQLITE:a"] {
            assert_eq!(target(url).unwrap_err(), StorageSettingsError::UnknownScheme, "{url}");
        }
    }

    #[test]
    fn a_size_or_time_of_zero_is_refused() {
        let zero = Duration::ZERO;
        let good = StorageSettings::new("sqlite:a".parse().unwrap());
        for broken in [
            StorageSettings { pool_size: 0, ..good.clone() },
            StorageSettings { wait: zero, ..good.clone() },
            StorageSettings { statement_timeout: zero, ..good },
        ] {
            assert_eq!(broken.target().unwrap_err(), StorageSettingsError::Zero);
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn postgres_urls_get_bounds_and_keep_what_is_given() {
        let Ok(Target::Postgres(url)) =
            target("postgresql://u:p@h1,h2:5433/db?sslmode=require&connect_timeout=9")
        else {
            panic!("a PostgreSQL URL")
        };
        let text = url.expose_secret();
        assert!(text.starts_with("postgresql://u:p@h1,h2:5433/db?tcp_user_timeout=2000&"), "{text}");
        assert!(text.ends_with("&sslmode=require&connect_timeout=9"), "{text}");
        assert_eq!(text.matches("connect_timeout").count(), 1, "{text}");
        assert!(text.contains("&target_session_attrs=read-write&"), "{text}");
        let settings = StorageSettings::new("postgresql://u:p@h/db".parse().unwrap());
        assert!(!format!("{url:?}{settings:?}").contains("u:p"));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn an_unknown_parameter_is_refused_and_not_repeated() {
        for url in
            ["postgres://h/db?sslmod=require", "postgres://u:x?hunter2@h/db", "postgres://h/db?a&sslmode=b"]
        {
            let refusal = target(url).unwrap_err();
            assert_eq!(refusal, StorageSettingsError::UnknownParameter, "{url}");
            assert!(!refusal.to_string().contains("hunter2"));
        }
        assert!(target("postgres://h/db?sslmode=require&sslrootcert=/etc/ca.pem").is_ok());
    }

    #[cfg(not(feature = "postgres"))]
    #[test]
    fn a_database_that_is_not_compiled_in_is_refused_with_the_command_that_builds_it() {
        let refusal = target("postgres://h/db").unwrap_err();
        assert_eq!(refusal, StorageSettingsError::NotCompiledIn);
        assert!(refusal.to_string().contains("cargo build --release --features postgres"));
    }
}

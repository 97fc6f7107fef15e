//! New databases for single tests, and logins to write into them.

use std::time::Duration;

use chrono::TimeDelta;
use tempfile::TempDir;
use token_broker::domain::clock::Timestamp;
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::ids::{IdentityId, SessionId, TokenId, UserId};
use token_broker::domain::key_ring::{KeyId, ServerKey};
use token_broker::domain::lifetimes;
use token_broker::domain::profile::{NameList, Profile, ProfileText};
use token_broker::domain::session::Browser;
use token_broker::domain::standing::{Standing, TokenRecord};
use token_broker::domain::token::{HandleDigest, StoredToken, TokenFacts, TokenHandle, TokenOwner};
use token_broker::domain::token_kind::TokenKind;
use token_broker::storage::sign_in::{SignIn, SignedIn};
use token_broker::storage::tokens::{Rotation, RotationLimits};
use token_broker::storage::{Pooler, Storage, StorageSettings};

/// The settings of a broker with four connections.
pub fn settings(url: &str) -> StorageSettings {
    StorageSettings {
        url: url.parse().unwrap(),
        pool_size: 4,
        wait: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(5),
        synchronous_full: false,
        pooler: Pooler::None,
    }
}

/// An empty database. A SQLite file is removed when it is dropped.
pub struct Database {
    pub url: String,
    pub storage: Storage,
    _folder: Option<TempDir>,
}

impl Database {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("broker.sqlite").display());
        Self { storage: Storage::new(&settings(&url)).unwrap(), url, _folder: Some(folder) }
    }

    #[cfg(feature = "postgres")]
    pub fn postgres() -> Self {
        let url = super::postgres::database();
        Self { storage: Storage::new(&settings(&url)).unwrap(), url, _folder: None }
    }

    pub async fn migrated(self) -> Self {
        self.storage.migrate().await.unwrap();
        self
    }

    /// Another broker on the same database.
    pub fn another_instance(&self) -> Storage {
        Storage::new(&settings(&self.url)).unwrap()
    }
}

/// The time at which the tests run.
pub fn noon() -> Timestamp {
    "2026-06-01T12:00:00.123456Z".parse().unwrap()
}

/// A later time.
pub fn after(seconds: i64) -> Timestamp {
    noon() + TimeDelta::seconds(seconds)
}

/// The login of `subject` at the provider "corp" for the client "web".
pub fn login(subject: &str, now: Timestamp) -> SignIn {
    SignIn {
        sealed_id_token: None,
        profile: Profile {
            provider: "corp".parse().unwrap(),
            subject: subject.parse().unwrap(),
            username: ProfileText::clean(subject),
            display_name: None,
            email: ProfileText::clean("someone@example.com"),
            email_verified: true,
            permissions: NameList::clean(["read", "write"]),
            groups: NameList::default(),
            provider_session: ProfileText::clean("sid"),
        },
        client_id: Some("web".parse().unwrap()),
        session_id: SessionId::random(&SystemEntropy),
        user_id: UserId::random(&SystemEntropy),
        identity_id: IdentityId::random(&SystemEntropy),
        browser: Browser::new("192.0.2.7".parse().unwrap(), Some("Test/1.0")),
        auth_time: Some(now - TimeDelta::minutes(5)),
        now,
        session_expires_at: now + lifetimes::SESSION,
        browser_session: None,
        reuse: false,
        live_tokens: lifetimes::LIVE_TOKENS_PER_USER,
    }
}

/// A new token of the client "web".
pub fn token(owner: TokenOwner, now: Timestamp) -> StoredToken {
    token_of("web", owner, now)
}

/// The owner of the token that a first login will get.
pub fn owner_of(login: &SignIn) -> TokenOwner {
    TokenOwner { user_id: login.user_id, identity_id: login.identity_id, session_id: Some(login.session_id) }
}

fn token_of(client: &str, owner: TokenOwner, now: Timestamp) -> StoredToken {
    let facts = TokenFacts {
        id: TokenId::random(&SystemEntropy),
        handle: TokenHandle::random(&SystemEntropy).digest(),
        key_id: KeyId(u32::MAX),
        kind: TokenKind::Session,
        owner,
        name: None,
        client_id: client.parse().unwrap(),
        audiences: "api".parse().unwrap(),
        scopes: "openid profile".parse().unwrap(),
        issued_at: now,
        expires_at: now + lifetimes::API_TOKEN,
        dpop_jkt: None,
    };
    let binding = facts.binding(&ServerKey::new(KeyId(u32::MAX), vec![7; 32]).unwrap()).to_vec();
    StoredToken { facts, binding, sealed_handle: Some(vec![1, 2, 3]) }
}

/// Signs in; the user must be enabled.
pub async fn sign_in(storage: &Storage, login: SignIn) -> SignedIn {
    sign_in_where(storage, login, |_| true).await
}

/// Signs in. A live token is reused only if `reusable` allows it.
pub async fn sign_in_where(
    storage: &Storage,
    login: SignIn,
    reusable: impl Fn(&TokenRecord) -> bool + Send + 'static,
) -> SignedIn {
    let (client, now) = (login.client_id.clone().unwrap(), login.now);
    let issue = move |owner| token_of(client.as_str(), owner, now);
    storage.sign_in(login, issue, reusable).await.unwrap().unwrap()
}

/// Rotates a valid token.
pub async fn rotate(storage: &Storage, handle: HandleDigest, now: Timestamp) -> Rotation {
    let limits = RotationLimits {
        siblings: lifetimes::ROTATION_SIBLINGS,
        live_tokens: lifetimes::LIVE_TOKENS_PER_USER,
    };
    storage
        .rotate(handle, now, limits, |_| Standing::Live, move |record| successor(record, now))
        .await
        .unwrap()
}

/// A new token in the session of another.
pub fn successor(record: &TokenRecord, now: Timestamp) -> StoredToken {
    token(record.token.facts.owner, now)
}

/// The record of a token that must exist.
pub async fn found(storage: &Storage, handle: HandleDigest) -> TokenRecord {
    *storage.find_token(handle).await.unwrap().expect("the token exists")
}

/// SQL statements on either database, without the broker.
pub mod sql {
    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;
    use diesel::sql_types::{BigInt, Text};

    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text)]
        line: String,
    }

    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }

    fn sqlite(url: &str) -> Option<SqliteConnection> {
        let mut connection = SqliteConnection::establish(url.strip_prefix("sqlite:")?).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        Some(connection)
    }

    /// Locks a SQLite file, like another writer, until it is dropped.
    pub struct SqliteLock(SqliteConnection);

    impl SqliteLock {
        pub fn of(url: &str) -> Self {
            let mut writer = sqlite(url).expect("a SQLite file");
            writer.batch_execute("BEGIN IMMEDIATE").unwrap();
            Self(writer)
        }
    }

    impl Drop for SqliteLock {
        fn drop(&mut self) {
            self.0.batch_execute("ROLLBACK").unwrap();
        }
    }

    /// Runs statements without results.
    pub fn execute(url: &str, statements: &str) {
        match sqlite(url) {
            Some(mut connection) => connection.batch_execute(statements).unwrap(),
            #[cfg(feature = "postgres")]
            None => PgConnection::establish(url).unwrap().batch_execute(statements).unwrap(),
            #[cfg(not(feature = "postgres"))]
            None => panic!("built without PostgreSQL"),
        }
    }

    /// What a query calls `line`.
    pub fn lines(url: &str, query: &str) -> Vec<String> {
        let query = diesel::sql_query(query);
        let lines: Vec<Line> = match sqlite(url) {
            Some(mut connection) => query.load(&mut connection).unwrap(),
            #[cfg(feature = "postgres")]
            None => query.load(&mut PgConnection::establish(url).unwrap()).unwrap(),
            #[cfg(not(feature = "postgres"))]
            None => panic!("built without PostgreSQL"),
        };
        lines.into_iter().map(|line| line.line).collect()
    }

    /// The number of rows of a table.
    pub fn count(url: &str, table: &str) -> usize {
        let query = diesel::sql_query(format!("SELECT count(*) AS count FROM {table}"));
        let found: Count = match sqlite(url) {
            Some(mut connection) => query.get_result(&mut connection).unwrap(),
            #[cfg(feature = "postgres")]
            None => query.get_result(&mut PgConnection::establish(url).unwrap()).unwrap(),
            #[cfg(not(feature = "postgres"))]
            None => panic!("built without PostgreSQL"),
        };
        usize::try_from(found.count).unwrap()
    }
}

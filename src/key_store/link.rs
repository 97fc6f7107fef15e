//! The connection to the Redis servers: opened on first use, shared by all operations, replaced when it is lost.
//!
//! It works in the same way for a single server, for sentinels and for a cluster. A command that the server may have
//! executed is never retried: a second `take` would return the answer for a replay to the first caller.
//!
//! A caller waits for about a second, but connecting can take longer, for example if a sentinel does not answer or the
//! network is slow. So each attempt to connect is a task with its own time limit. It continues when a caller gives up,
//! and all callers share its result.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, PushInfo, PushKind, RedisError, RedisResult,
    ServerErrorKind,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::address::RedisAddress;
use super::servers::{Connection, Servers};
use super::{KeyStoreError, KeyStoreSettingsError};
use crate::domain::clock::monotonic;

/// The delay before a retry of a command that the server declined to execute.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// The time limit of an attempt to connect. Three unresponsive sentinels cost two seconds, an unresponsive primary
/// another two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that reconnects when it is lost.
pub(super) struct Link {
    /// Locked by the attempt in progress.
    servers: Arc<tokio::sync::Mutex<Servers>>,
    newest: Mutex<Attempt>,
    timeout: Duration,
    description: String,
    passwords: Vec<SecretString>,
}

/// An attempt to connect: `None` while it is in progress, then its result.
type Attempt = watch::Receiver<Option<RedisResult<LiveConnection>>>;

#[derive(Clone)]
struct LiveConnection {
    connection: Connection,
    lost: Arc<AtomicBool>,
}

impl Link {
    /// A link to these servers. It connects on first use.
    pub fn new(address: RedisAddress, timeout: Duration) -> Result<Self, KeyStoreSettingsError> {
        let passwords = address.passwords();
        let description = address.description.clone();
        // Only invalid certificates can cause an error here: the URL has already been checked.
        let servers = Servers::new(address, timeout).map_err(|_| KeyStoreSettingsError::Certificates)?;
        let servers = Arc::new(tokio::sync::Mutex::new(servers));
        // A channel without a sender counts as an attempt that was aborted, so the first command starts a new one.
        let newest = Mutex::new(watch::channel(None).1);
        Ok(Self { servers, newest, timeout, description, passwords })
    }

    /// A description of the servers without credentials.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Sends a command and returns its answer. Waits at most for the timeout of the link, which includes connecting.
    pub async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, KeyStoreError> {
        self.with_timeout(self.timeout).send(command).await
    }

    /// The same, for a command whose late answer matters: see [`Series::send_patiently`].
    pub async fn send_patiently<T: FromRedisValue>(
        &self,
        command: &Cmd,
        patience: Duration,
        report: impl FnOnce(KeyStoreError),
    ) -> Result<T, KeyStoreError> {
        self.with_timeout(self.timeout).send_patiently(command, patience, report).await
    }

    /// Sends several commands, which together wait at most this long.
    pub fn with_timeout(&self, timeout: Duration) -> Series<'_> {
        Series { link: self, timeout, deadline: Instant::from_std(monotonic()) + timeout }
    }

    /// The live connection, or the result of the attempt to open one. The attempt continues when the caller gives up.
    async fn connection(&self) -> RedisResult<LiveConnection> {
        let mut attempt = self.attempt();
        let outcome = attempt.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err((ErrorKind::Io, "the attempt to connect was aborted").into()))
    }

    /// The newest attempt if it is in progress or its connection is live, otherwise a new one.
    fn attempt(&self) -> Attempt {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_usable = match &*newest.borrow() {
            // In progress, unless its task was dropped together with the thread that it ran on.
            None => newest.has_changed().is_ok(),
            Some(Ok(connection)) => !connection.is_lost(),
            Some(Err(_)) => false,
        };
        if !is_usable {
            *newest = self.start_attempt();
        }
        newest.clone()
    }

    fn start_attempt(&self) -> Attempt {
        let (sender, attempt) = watch::channel(None);
        let (servers, description) = (Arc::clone(&self.servers), self.description.clone());
        tokio::spawn(async move {
            let connect = async { LiveConnection::open(&mut *servers.lock().await).await };
            let outcome = timeout(CONNECT_TIMEOUT, connect)
                .await
                .unwrap_or_else(|_| Err((ErrorKind::Io, "the servers do not answer").into()));
            if outcome.is_ok() {
                tracing::info!(key_store = description, "connected to the key store");
            }
            sender.send_replace(Some(outcome));
        });
        attempt
    }

    /// The error with the text of the server. Passwords are replaced, because old servers repeat the command in errors.
    fn failure(&self, error: &RedisError) -> KeyStoreError {
        let mut text = error.to_string();
        if text.contains("command not allowed when used memory") {
            return KeyStoreError::Full;
        }
        if let Some(remedy) = remedy(error, &text) {
            text.push_str(": ");
            text.push_str(remedy);
        }
        let passwords = self.passwords.iter().map(ExposeSecret::expose_secret);
        unavailable(passwords.fold(text, |text, password| text.replace(password, "…")))
    }
}

/// Commands that share a deadline.
pub(super) struct Series<'a> {
    link: &'a Link,
    timeout: Duration,
    deadline: Instant,
}

impl Series<'_> {
    /// Sends a command and returns its answer.
    pub async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, KeyStoreError> {
        self.send_patiently(command, Duration::ZERO, |_| ()).await
    }

    /// The same, for a command whose late answer matters: after the timeout it reports the outage, and waits for the
    /// answer for as long as `patience`.
    pub async fn send_patiently<T: FromRedisValue>(
        &self,
        command: &Cmd,
        patience: Duration,
        report: impl FnOnce(KeyStoreError),
    ) -> Result<T, KeyStoreError> {
        let (link, deadline) = (self.link, self.deadline);
        let mut report = Some(report);
        loop {
            let connection = match timeout_at(deadline, link.connection()).await {
                Ok(connection) => connection.map_err(|error| link.failure(&error))?,
                Err(_) => return Err(self.connecting_timed_out()),
            };
            let mut answer = pin!(connection.send(command));
            let answered = match timeout_at(deadline, &mut answer).await {
                Ok(answered) => answered,
                Err(_) => {
                    // The server may have disappeared without closing the connection: no other command waits for it.
                    connection.mark_lost();
                    if let Some(report) = report.take() {
                        report(self.answer_timed_out());
                    }
                    timeout(patience, answer).await.map_err(|_| self.answer_timed_out())?
                }
            };
            let error = match answered {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            connection.mark_lost_after(&error);
            if !is_declined(&error) || Instant::from_std(monotonic()) + RETRY_DELAY >= deadline {
                return Err(link.failure(&error));
            }
            sleep(RETRY_DELAY).await;
        }
    }

    /// A server without TLS waits for the end of a line that a TLS client never sends.
    fn connecting_timed_out(&self) -> KeyStoreError {
        let remedy =
            "check the host and the port, and that the server speaks TLS there if the URL says rediss";
        unavailable(format!("connecting took more than {:?}: {remedy}", self.timeout))
    }

    fn answer_timed_out(&self) -> KeyStoreError {
        unavailable(format!("the answer took more than {:?}", self.timeout))
    }
}

fn unavailable(cause: String) -> KeyStoreError {
    KeyStoreError::Unavailable(cause.into())
}

/// What an operator can do about an error whose cause is in the settings.
fn remedy(error: &RedisError, text: &str) -> Option<&'static str> {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if error.kind() == ErrorKind::AuthenticationFailed || says(&["WRONGPASS", "NOAUTH", "invalid password"]) {
        Some("check user and password in key_store.url")
    } else if says(&["lookup address", "Name or service not known"]) {
        Some("check the host in key_store.url, and the name service")
    } else if says(&["UnknownIssuer", "certificate"]) {
        Some(
            "set key_store.ca_file to the authority of its certificate, and use the name in the certificate as host",
        )
    } else if says(&["corrupt message", "InvalidContentType"]) {
        Some("the server does not speak TLS at this port: use its TLS port, or redis:// on a private network")
    } else if says(&["permissions", "NOPERM", "can't run this command"]) {
        Some("give the Redis user the commands and the prefix in docs/failures.md")
    } else {
        None
    }
}

/// Whether the server says that it has not executed the command and that a retry can succeed.
fn is_declined(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    matches!(
        error.kind(),
        ErrorKind::Server(Ask | BusyLoading | ClusterDown | MasterDown | Moved | ReadOnly | TryAgain)
    )
}

impl LiveConnection {
    async fn open(servers: &mut Servers) -> RedisResult<Self> {
        let lost = Arc::new(AtomicBool::new(false));
        let config = AsyncConnectionConfig::new()
            // The time limits are those of the attempt and of the callers.
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(mark_lost_on_disconnect(Arc::clone(&lost)));
        Ok(Self { connection: servers.connect(&config).await?, lost })
    }

    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self.connection.clone() {
            Connection::Node(mut node) => command.query_async(&mut node).await,
            #[cfg(feature = "redis-cluster")]
            Connection::Cluster(mut cluster) => command.query_async(&mut cluster).await,
        }
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn mark_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Marks the connection as lost after an error, unless the connection itself works: the client of a cluster learns
    /// from a declined command where the key is, and errors such as "out of memory" are ordinary answers.
    fn mark_lost_after(&self, error: &RedisError) {
        let learns = self.connection.is_of_a_cluster() && is_declined(error);
        if !learns && error.kind() != ErrorKind::Extension {
            self.mark_lost();
        }
    }
}

/// Marks a connection as lost when the server closes it, so that no command is sent over it.
fn mark_lost_on_disconnect(
    lost: Arc<AtomicBool>,
) -> impl Fn(PushInfo) -> Result<(), std::convert::Infallible> {
    move |push| {
        if push.kind == PushKind::Disconnection {
            lost.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

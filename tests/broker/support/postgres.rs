//! Private PostgreSQL servers: one shared by all tests, and separate ones for tests of outages.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

use tokio::time::Instant;

use super::process::{ServerProcess, free_port};
use super::wait::PATIENCE;

/// The user that owns the servers when the tests run as root, as which PostgreSQL does not start: "nobody".
const NOBODY: u32 = 65534;

/// The URL of a new, empty database on the shared server.
pub fn database() -> String {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(|| Postgres::start(Folder::EndsWithServer)).database()
}

/// A PostgreSQL server on a free loopback port.
pub struct Postgres {
    process: Option<ServerProcess>,
    home: PathBuf,
    folder: Folder,
    port: u16,
    databases: AtomicU32,
}

/// How long the data is kept. A value in a static is never dropped, but the folder of the server is always removed.
#[derive(Clone, Copy, PartialEq)]
enum Folder {
    EndsWithServer,
    EndsWithHandle,
}

impl Postgres {
    /// A separate server that can be stopped and started again.
    pub fn own() -> Self {
        Self::start(Folder::EndsWithHandle)
    }

    fn start(folder: Folder) -> Self {
        let home = new_home();
        let mut initdb = as_nobody(&program("initdb"));
        let data = home.join("data").display().to_string();
        initdb.extend(
            ["-D", &data, "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
                .map(str::to_owned),
        );
        run(&initdb);
        let mut server =
            Self { process: None, home, folder, port: free_port(), databases: AtomicU32::new(0) };
        server.resume();
        server
    }

    /// Starts the server again after [`Self::stop`], on the same port, with the same data.
    pub fn resume(&mut self) {
        let data = self.home.join("data").display().to_string();
        let port = self.port.to_string();
        let mut command = as_nobody(&program("postgres"));
        command.extend(["-D", &data, "-p", &port, "-h", "127.0.0.1", "-k", ""].map(str::to_owned));
        command.extend(["-c", "fsync=off", "-c", "max_connections=200"].map(str::to_owned));
        let folder = match self.folder {
            Folder::EndsWithServer => self.home.clone(),
            Folder::EndsWithHandle => self.home.join("run"),
        };
        std::fs::create_dir_all(&folder).unwrap();
        let process = ServerProcess::start(&folder, Path::new(&command[0]), &command[1..]);
        let begun = Instant::now();
        while PgConnection::establish(&self.url("postgres")).is_err() {
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL does not start: {}", process.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.process = Some(process);
    }

    /// Stops the server, cutting every connection; the data stays.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// A running standby of this server. It answers queries; [`Self::promote`] makes it the primary.
    pub fn standby(&self) -> Self {
        let home = new_home();
        let mut copy = as_nobody(&program("pg_basebackup"));
        let (data, port) = (home.join("data").display().to_string(), self.port.to_string());
        copy.extend(["-D", &data, "-h", "127.0.0.1", "-p", &port, "-U", "test"].map(str::to_owned));
        copy.extend(["-R", "--checkpoint=fast", "--no-sync"].map(str::to_owned));
        run(&copy);
        let (folder, databases) = (Folder::EndsWithHandle, AtomicU32::new(0));
        let mut standby = Self { process: None, home, folder, port: free_port(), databases };
        standby.resume();
        standby
    }

    /// Makes a standby accept changes.
    pub fn promote(&self) {
        let mut server = PgConnection::establish(&self.url("postgres")).unwrap();
        server.batch_execute("SELECT pg_promote(true, 60)").unwrap();
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server has written to its log.
    pub fn log(&self) -> String {
        self.process.as_ref().map(ServerProcess::log).unwrap_or_default()
    }

    /// Suspends every process of the server until the value is dropped.
    pub fn freeze(&self) -> Frozen {
        let file = std::fs::read_to_string(self.home.join("data/postmaster.pid")).unwrap();
        let postmaster = file.lines().next().unwrap().to_owned();
        // First the main process, which could start others.
        assert!(signal("STOP", std::slice::from_ref(&postmaster)), "kill -STOP {postmaster}");
        let children =
            std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
        let mut processes = vec![postmaster];
        processes.extend(children.split_whitespace().map(str::to_owned));
        assert!(signal("STOP", &processes), "kill -STOP {processes:?}");
        Frozen(processes)
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut server = PgConnection::establish(&self.url("postgres")).unwrap();
        server.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://test@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// A PgBouncer in transaction mode, in front of a server.
pub struct PgBouncer {
    _process: ServerProcess,
    port: u16,
}

impl PgBouncer {
    /// Starts one that opens at most three sessions for each database.
    pub fn before(server: &Postgres) -> Self {
        let (folder, port) = (new_home(), free_port());
        let file = |name: &str| folder.join(name).display().to_string();
        std::fs::write(file("users"), "\"test\" \"\"\n").unwrap();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = 3\n",
            server.port,
            file("users")
        );
        std::fs::write(file("pgbouncer.ini"), settings).unwrap();
        let found =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| Path::new(path).is_file());
        let found = found.expect("pgbouncer is missing: install the Debian package `pgbouncer`");
        let mut command = as_nobody(Path::new(found));
        command.push(file("pgbouncer.ini"));
        let process = ServerProcess::start(&folder, Path::new(&command[0]), &command[1..]);
        let begun = Instant::now();
        while PgConnection::establish(&format!("postgres://test@127.0.0.1:{port}/postgres")).is_err() {
            assert!(begun.elapsed() < PATIENCE, "PgBouncer does not start: {}", process.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { _process: process, port }
    }

    /// The URL of a database of the server, through this pooler.
    pub fn url(&self, database: &str) -> String {
        let name = database.rsplit('/').next().unwrap();
        format!("postgres://test@127.0.0.1:{}/{name}", self.port)
    }
}

/// The processes of a suspended server.
pub struct Frozen(Vec<String>);

impl Drop for Frozen {
    fn drop(&mut self) {
        // A process that has just ended can be missing.
        signal("CONT", &self.0);
    }
}

fn new_home() -> PathBuf {
    let home = tempfile::Builder::new().prefix("token-broker-postgres-").tempdir().unwrap().keep();
    if is_root() {
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    home
}

fn run(command: &[String]) {
    let ran = Command::new(&command[0]).args(&command[1..]).current_dir("/").output().unwrap();
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Whether every process received the signal.
fn signal(name: &str, processes: &[String]) -> bool {
    Command::new("kill").arg(format!("-{name}")).args(processes).status().unwrap().success()
}

/// A program of PostgreSQL: on the path, or in the versioned folder where Debian keeps it.
fn program(name: &str) -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    folders.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folders.into_iter().rev().chain(std::env::split_paths(&path));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: install the Debian package `postgresql`"))
}

fn as_nobody(program: &Path) -> Vec<String> {
    let program = program.display().to_string();
    if !is_root() {
        return vec![program];
    }
    let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()];
    ["setpriv".to_owned()].into_iter().chain(ids).chain([program]).collect()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

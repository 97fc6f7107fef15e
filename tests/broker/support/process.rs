//! Servers that are stopped at the end of the test run, even if it crashes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs `"$@"` until standard input closes, which it does when the test program ends or drops the handle;
/// then stops it and removes its folder.
const UNTIL_STDIN_CLOSES: &str = r#"
signal=$1 folder=$2; shift 2
"$@" </dev/null & server=$!
cat >/dev/null
kill "-$signal" "$server" 2>/dev/null
kill -CONT "$server" 2>/dev/null
wait "$server"
rm -rf "$folder"
"#;

/// A server process with its own folder.
pub struct ServerProcess {
    child: Child,
    folder: PathBuf,
}

impl ServerProcess {
    /// Starts `program` with `arguments`; `folder` is removed when the process ends. Its output goes to `folder/log`.
    pub fn start(folder: &Path, program: &Path, arguments: &[String]) -> Self {
        Self::start_until("INT", folder, program, arguments)
    }

    /// The same for a program that ends with another signal than SIGINT.
    pub fn start_until(signal: &str, folder: &Path, program: &Path, arguments: &[String]) -> Self {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = Command::new("sh")
            .args(["-c", UNTIL_STDIN_CLOSES, "sh", signal])
            .arg(folder)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        Self { child, folder: folder.to_owned() }
    }

    /// The folder of the server.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the server has written so far, for the message of a failing test.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A free loopback port, different on each call. It is below the range from which the system assigns ports, so that no
/// other process gets it before it is used or while its server is stopped.
pub fn free_port() -> u16 {
    const RANGE: std::ops::Range<u32> = 15_000..30_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Test programs that run concurrently start at different ports.
        let step = std::process::id() * 211 + TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(RANGE.start + step % (RANGE.end - RANGE.start)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

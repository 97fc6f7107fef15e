//! The program itself: started with a command line, stopped with a signal.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::wait::until;

/// A running `token-broker`; it is killed when it is dropped.
pub struct Program {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// The result of a finished program.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Program {
    /// Starts it in `folder`, with `name` for its output files and only `settings` in its environment.
    pub fn start(folder: &Path, name: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::start_by(&[], folder, name, arguments, settings)
    }

    /// The same, started by another program, which gets it and its arguments as its last ones.
    pub fn start_by(
        starter: &[&str],
        folder: &Path,
        name: &str,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Self {
        let all = [starter, &[env!("CARGO_BIN_EXE_token-broker")], arguments].concat();
        let (out, err) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        let child = Command::new(all[0])
            .args(&all[1..])
            .current_dir(folder)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)).filter(|_| !starter.is_empty()))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Self { child, out, err }
    }

    /// Runs it until it exits.
    pub async fn run(folder: &Path, arguments: &[&str]) -> Ended {
        Self::start(folder, "run", arguments, &[]).end().await
    }

    /// Waits until its output or its log has a line that contains `text`; returns that line.
    pub async fn line(&mut self, text: &str) -> String {
        until(async || {
            let ended = self.child.try_wait().unwrap().is_some();
            let said = self.said();
            if let Some(line) = said.lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            assert!(!ended, "it ended without {text:?}:\n{said}");
            Err(format!("no {text:?} in:\n{said}"))
        })
        .await
    }

    /// Its output so far.
    pub fn said(&self) -> String {
        [&self.out, &self.err].map(|file| std::fs::read_to_string(file).unwrap()).concat()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(kill.unwrap().success());
    }

    /// Waits until it exits.
    pub async fn end(mut self) -> Ended {
        let status = until(async || self.child.try_wait().unwrap().ok_or_else(|| self.said())).await;
        let read = |file: &Path| std::fs::read_to_string(file).unwrap();
        Ended { code: status.code(), out: read(&self.out), err: read(&self.err) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! `keys`: creates, lists and rotates the server keys in their file.
//!
//! Running brokers read the file again when it changes, so they need no restart. `docs/keys.md` describes planned and
//! emergency rotation.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use super::private_file::{self, LockedFile};
use super::{ConfigFile, Failure};
use crate::config::{self, KeyEntry, KeysFile, KeysFileError};
use crate::domain::clock::{Clock, SystemClock, Timestamp};
use crate::domain::entropy::SystemEntropy;
use crate::domain::key_ring::KeyId;
use crate::flow::administration::resource_servers;

/// The end of the help of every `keys` command.
const HELP: &str = "Running brokers read the file again when it changes and record the change in the audit trail.\n\n\
    Exit codes: 0 success, 1 failed while running, 2 refused (command line, configuration, a key that is still \
    needed), 3 not found.";

/// Create, list and rotate the server keys while the brokers are running
///
/// All brokers of one service share the file that [server_keys] file names, and read it again when it changes. To
/// rotate a key without signing users out: add a key, wait until every broker knows it, issue with it, and retire the
/// old key thirty days later. To invalidate everything that a key has issued at once: add, issue, retire --yes.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a new keys file with one key
    #[command(after_help = HELP)]
    Generate {
        /// Write to this file instead of standard output. The file must not exist; only its owner can read it.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List the keys without their secrets
    #[command(after_help = HELP)]
    List {
        #[command(flatten)]
        file: File,
        /// Write JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Add a new key, which only verifies until `keys issue` is run
    #[command(after_help = HELP)]
    Add {
        #[command(flatten)]
        file: File,
    },
    /// Issue all new tokens and cookies with a key
    ///
    /// Run it only when every broker knows the key: a broker that does not know it refuses what it issues. GET /healthz
    /// of a broker's admin listener and the metric token_broker_server_key_known show which keys the broker knows.
    #[command(after_help = HELP)]
    Issue {
        /// The id of the key, or `newest`.
        #[arg(value_name = "ID", default_value = "newest")]
        id: KeySelector,
        #[command(flatten)]
        file: File,
    },
    /// Remove a key: everything it has issued is refused at once
    ///
    /// Refuses to remove the issuing key. Without --yes it also refuses to remove a key whose tokens and sessions can
    /// still be valid, or that a resource server's secret needs. It looks this up in the database of --config.
    #[command(after_help = HELP)]
    Retire {
        /// The id of the key.
        #[arg(value_name = "ID")]
        id: u32,
        #[command(flatten)]
        file: File,
        /// Remove the key even if it is still needed, for example because its secret has leaked. All users with tokens
        /// issued by it are signed out, and resource server secrets that need it are refused. Does not use the
        /// database.
        #[arg(long)]
        yes: bool,
    },
}

/// The options that name the keys file.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct File {
    /// The configuration file (TOML) of the brokers; its [server_keys] file is the keys file.
    #[arg(long = "config", value_name = "FILE", env = "TOKEN_BROKER_CONFIG")]
    config: Option<PathBuf>,
    /// The keys file; overrides the one that the configuration names.
    #[arg(long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// A key by its id, or the newest one.
#[derive(Debug, Clone, Copy)]
enum KeySelector {
    Newest,
    Id(u32),
}

impl FromStr for KeySelector {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "newest" { Ok(Self::Newest) } else { text.parse().map(Self::Id) }
    }
}

impl Keys {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let now = SystemClock.now();
        match self.command {
            Command::Generate { output } => generate(output.as_deref(), now, out),
            Command::List { file, json } => list(&read(&file.path()?)?, json, out),
            Command::Add { file } => add(&file, now, out),
            Command::Issue { id, file } => issue(id, &file, now, out),
            Command::Retire { id, file, yes } => retire(id, &file, yes, now, out),
        }
    }
}

fn generate(output: Option<&Path>, now: Timestamp, out: &mut dyn Write) -> Result<(), Failure> {
    let text = KeysFile::fresh(&SystemEntropy, now).text();
    match output {
        Some(path) => {
            private_file::create(path, text.expose_secret()).map_err(|error| failed(path, &error))?
        }
        None => write!(out, "{}", text.expose_secret())?,
    }
    Ok(())
}

fn list(keys: &KeysFile, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let entries: Vec<KeyEntry> = keys.entries().collect();
    if json {
        serde_json::to_writer_pretty(&mut *out, &entries).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{:<6}{:<10}{:<22}{:<22}NEEDED UNTIL", "KEY", "STATE", "ADDED", "STOPPED ISSUING")?;
    for key in entries {
        let state = if key.issues { "issues" } else { "verifies" };
        let [added, stopped, until] = [key.added_at, key.stopped_issuing_at, key.needed_until].map(time);
        writeln!(out, "{:<6}{state:<10}{added:<22}{stopped:<22}{until}", key.id)?;
    }
    Ok(())
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn add(file: &File, now: Timestamp, out: &mut dyn Write) -> Result<(), Failure> {
    let path = file.path()?;
    let mut change = Change::open(&path)?;
    let id = change.keys.add(&SystemEntropy, now).map_err(refused)?;
    change.commit()?;
    let options = file.options();
    writeln!(
        out,
        "Key {id} added. It only verifies for now. When every broker knows it (see GET /healthz of each admin \
         listener), run:\n  \
         token-broker keys issue {id} {options}"
    )?;
    Ok(())
}

fn issue(selector: KeySelector, file: &File, now: Timestamp, out: &mut dyn Write) -> Result<(), Failure> {
    let path = file.path()?;
    let mut change = Change::open(&path)?;
    let id = match selector {
        KeySelector::Newest => change.keys.newest(),
        KeySelector::Id(id) => id,
    };
    let before = change.keys.issue(id, now).map_err(refused)?;
    if before == id {
        writeln!(out, "Key {id} is already the issuing key.")?;
        return Ok(());
    }
    let until = time(change.keys.entry(before).map_err(refused)?.needed_until);
    change.commit()?;
    let options = file.options();
    let config = if file.config.is_some() { "" } else { " --config token-broker.toml" };
    writeln!(
        out,
        "Key {id} now issues. After {until}, when everything that key {before} issued has expired, run:\n  \
         token-broker keys retire {before} {options}{config}"
    )?;
    Ok(())
}

/// Removes a key. Without `yes`, it first checks in the file and in the database that nothing needs the key.
fn retire(id: u32, file: &File, yes: bool, now: Timestamp, out: &mut dyn Write) -> Result<(), Failure> {
    let config = match &file.config {
        _ if yes => None,
        Some(path) => Some(ConfigFile { path: path.clone() }),
        None => {
            let text = "--config <FILE> is missing: it names the database, which shows whether the key is still needed";
            return Err(Failure::Configuration(text.to_owned()));
        }
    };
    let path = file.path()?;
    let mut change = Change::open(&path)?;
    let key = change.keys.entry(id).map_err(refused)?;
    change.keys.retire(id).map_err(refused)?;
    if let Some(config) = &config {
        let needs: Vec<String> =
            [sign_ins_that_need(&key, now), secrets_that_need(&key, config)?].into_iter().flatten().collect();
        if !needs.is_empty() {
            return Err(Failure::Configuration(format!(
                "key {id} is still needed and was not removed:\n  {}\nTo remove it anyway, pass --yes.",
                needs.join("\n  ")
            )));
        }
    }
    change.commit()?;
    writeln!(out, "Key {id} removed. Brokers refuse what it issued as soon as they have read the file.")?;
    if config.is_none() {
        writeln!(out, "Run token-broker resource-servers list to see which secrets needed it.")?;
    }
    Ok(())
}

fn sign_ins_that_need(key: &KeyEntry, now: Timestamp) -> Option<String> {
    if key.is_over(now) {
        return None;
    }
    Some(match key.needed_until {
        Some(until) => format!("tokens and sessions that it issued can be valid until {}", time(Some(until))),
        None => {
            "the file does not say when it stopped issuing, so what it issued may still be valid".to_owned()
        }
    })
}

fn secrets_that_need(key: &KeyEntry, config: &ConfigFile) -> Result<Option<String>, Failure> {
    let servers = config.administer(async |administration| {
        Ok(resource_servers::with_secrets_of(administration, KeyId(key.id)).await?)
    })?;
    let names: Vec<&str> = servers.iter().map(|server| server.as_str()).collect();
    Ok((!names.is_empty()).then(|| {
        format!(
            "secrets of these resource servers need it: {} (for each, run resource-servers rotate-secret, configure \
             the new secret in the API, then run resource-servers remove-old-secret)",
            names.join(", ")
        )
    }))
}

/// A keys file that is locked while it is changed.
struct Change<'a> {
    path: &'a Path,
    file: LockedFile,
    keys: KeysFile,
}

impl<'a> Change<'a> {
    /// Locks and reads the file, and waits if another process is changing it.
    fn open(path: &'a Path) -> Result<Self, Failure> {
        let locked = LockedFile::lock(path).and_then(|mut file| file.read().map(|text| (file, text)));
        let (file, text) = locked.map_err(|error| failed(path, &error))?;
        Ok(Self { path, file, keys: parse(path, text)? })
    }

    /// Writes the changed keys and releases the lock.
    fn commit(self) -> Result<(), Failure> {
        let Self { path, file, keys } = self;
        file.replace(keys.text().expose_secret()).map_err(|error| failed(path, &error))
    }
}

impl File {
    /// The path of the keys file.
    fn path(&self) -> Result<Cow<'_, Path>, Failure> {
        match (&self.file, &self.config) {
            (Some(file), _) => Ok(Cow::Borrowed(file)),
            (None, Some(config)) => Ok(config::server_keys_file(config, config::environment())?.into()),
            (None, None) => Err(Failure::Configuration("--config or --file is missing".to_owned())),
        }
    }

    /// The options that name the same file, for the commands that are suggested to the user.
    fn options(&self) -> String {
        let option = |name: &str, path: &Option<PathBuf>| {
            path.as_ref().map(|path| format!("--{name} {}", path.display()))
        };
        let options = [option("file", &self.file), option("config", &self.config)];
        options.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

fn read(path: &Path) -> Result<KeysFile, Failure> {
    parse(path, fs::read_to_string(path).map_err(|error| failed(path, &error))?)
}

fn parse(path: &Path, text: String) -> Result<KeysFile, Failure> {
    KeysFile::parse(&text.into())
        .map_err(|error| Failure::Configuration(format!("{}: {error}", path.display())))
}

fn refused(error: KeysFileError) -> Failure {
    match error {
        KeysFileError::NoSuchKey(_) => Failure::NotFound(error.to_string()),
        _ => Failure::Configuration(error.to_string()),
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Runtime(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use serde_json::Value;

    use super::super::tests::run;

    fn ids(text: &str) -> (i64, Vec<i64>) {
        let file: toml::Table = text.parse().unwrap();
        let ids = file["keys"].as_array().unwrap().iter().map(|key| key["id"].as_integer().unwrap());
        (file["issuing"].as_integer().unwrap(), ids.collect())
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn every_generated_key_is_different() {
        let (code, first, err) = run(&["keys", "generate"]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(ids(&first), (1, vec![1]));
        assert_ne!(first, run(&["keys", "generate"]).1);
    }

    #[test]
    fn a_key_is_added_then_issues_then_is_retired_and_the_file_stays_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server_keys.toml");
        let file = path.to_str().unwrap();
        assert_eq!(run(&["keys", "generate", "--output", file]), (0, String::new(), String::new()));
        let (code, _, err) = run(&["keys", "generate", "--output", file]);
        assert_eq!(code, 1, "an existing file is not overwritten");
        assert!(err.contains(file), "{err}");
        for (step, expected, next) in [
            (&["add"][..], (1, vec![1, 2]), "keys issue 2"),
            (&["issue"], (2, vec![1, 2]), "keys retire 1"),
            (&["issue", "2"], (2, vec![1, 2]), "already the issuing key"),
            (&["issue", "1"], (1, vec![1, 2]), "keys retire 2"),
            (&["issue", "newest"], (2, vec![1, 2]), "keys retire 1"),
            (&["retire", "1", "--yes"], (2, vec![2]), "removed"),
        ] {
            let (code, out, err) = run(&[&["keys"], step, &["--file", file]].concat());
            assert_eq!((code, err.as_str()), (0, ""), "{step:?}");
            assert!(out.contains(next), "{out}");
            assert_eq!(ids(&read(&path)), expected, "{step:?}");
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{step:?}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{step:?}");
        }
    }

    #[test]
    fn the_list_shows_no_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server_keys.toml");
        let file = path.to_str().unwrap();
        run(&["keys", "generate", "--output", file]);
        run(&["keys", "add", "--file", file]);
        run(&["keys", "issue", "--file", file]);
        let (code, table, _) = run(&["keys", "list", "--file", file]);
        let (_, json, _) = run(&["keys", "list", "--file", file, "--json"]);
        assert_eq!((code, table.lines().count()), (0, 3), "{table}");
        assert!(table.lines().nth(1).unwrap().starts_with("1     verifies  20"), "{table}");
        assert!(table.lines().nth(2).unwrap().starts_with("2     issues    20"), "{table}");
        let keys: Vec<Value> = serde_json::from_str(&json).unwrap();
        assert_eq!((&keys[0]["id"], &keys[0]["issues"]), (&1.into(), &false.into()));
        assert!(keys[0]["needed_until"].is_string() && keys[1]["needed_until"].is_null(), "{json}");
        for line in read(&path).lines().filter(|line| line.starts_with("secret")) {
            let secret = line.split('"').nth(1).unwrap();
            assert!(secret.len() == 43 && !table.contains(secret) && !json.contains(secret));
        }
    }

    #[test]
    fn the_keys_file_is_found_even_if_other_settings_are_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let config = file("token-broker.toml");
        std::fs::write(&config, "public_url = 1\n[server_keys]\nfile = \"ring.toml\"\n").unwrap();
        run(&["keys", "generate", "--output", &file("ring.toml")]);
        run(&["keys", "generate", "--output", &file("other.toml")]);
        let (code, out, err) = run(&["keys", "add", "--config", &config]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains(&format!("token-broker keys issue 2 --config {config}\n")), "{out}");
        let (_, out, _) = run(&["keys", "issue", "2", "--config", &config]);
        assert!(out.contains(&format!("token-broker keys retire 1 --config {config}\n")), "{out}");
        assert_eq!(ids(&read(&folder.path().join("ring.toml"))), (2, vec![1, 2]));
        // --file overrides --config.
        assert_eq!(run(&["keys", "add", "--config", &config, "--file", &file("other.toml")]).0, 0);
        assert_eq!(ids(&read(&folder.path().join("other.toml"))), (1, vec![1, 2]));

        let (code, _, err) = run(&["keys", "list", "--config", &file("absent.toml")]);
        assert_eq!(code, 2);
        assert!(err.contains("absent.toml: cannot be read"), "{err}");
        std::fs::write(&config, "[server_keys]\nissuing = 1\n").unwrap();
        let (code, _, err) = run(&["keys", "list", "--config", &config]);
        assert_eq!(code, 2);
        assert!(err.contains("server_keys.file: is missing") && err.contains("--file"), "{err}");
    }

    #[test]
    fn the_help_of_every_command_lists_the_exit_codes() {
        for command in [&[][..], &["generate"], &["list"], &["add"], &["issue"], &["retire"]] {
            let (code, out, _) = run(&[&["keys"], command, &["--help"]].concat());
            assert!(code == 0 && out.contains("Exit codes: 0 success, 1 failed"), "{command:?}: {out}");
        }
    }

    #[test]
    fn a_file_that_is_not_a_keys_file_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token-broker.toml");
        let file = path.to_str().unwrap();
        std::fs::write(&path, "public_url = \"x\"").unwrap();
        for step in [&["add"][..], &["issue"], &["retire", "1", "--yes"], &["list"]] {
            let (code, _, err) = run(&[&["keys"], step, &["--file", file]].concat());
            assert_eq!(code, 2, "{step:?}");
            assert!(err.contains("not a keys file"), "{err}");
            assert_eq!(read(&path), "public_url = \"x\"", "{step:?}");
        }
        assert_eq!(run(&["keys", "issue", "x", "--file", file]).0, 2);
    }

    #[test]
    fn a_link_to_the_file_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.toml"), folder.path().join("link.toml"));
        run(&["keys", "generate", "--output", real.to_str().unwrap()]);
        std::os::unix::fs::symlink("real.toml", &link).unwrap();
        assert_eq!(run(&["keys", "add", "--file", link.to_str().unwrap()]).0, 0);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(ids(&read(&real)), (1, vec![1, 2]));
    }
}

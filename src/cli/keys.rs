//! `keys`: the server's own keys, in their file.
//!
//! The brokers need not be asked or stopped: they read the file again when it changes. `docs/keys.md` tells the
//! whole of a planned and of an emergency replacement.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use super::private_file::{self, Held};
use super::{ConfigFile, Failure};
use crate::config::{self, KeyEntry, KeysFile, KeysFileError};
use crate::domain::clock::{Clock, SystemClock, Timestamp};
use crate::domain::entropy::SystemEntropy;
use crate::domain::key_ring::KeyId;
use crate::flow::administration::resource_servers;

/// How every command of the keys is used.
const HELP: &str = "Running brokers read the file again when it changes, and note the change in the audit trail.\n\n\
    Exit codes: 0 done, 1 failed while running, 2 refused (command line, configuration, a key that is still \
    needed), 3 not found.";

/// Make, list and replace the server's own keys, while the brokers run
///
/// All brokers of one service share the file that [server_keys] file names, and read it again when it changes. To
/// replace a key without signing anybody out: add, wait until every broker knows the new key, issue, and retire the
/// old one thirty days later. To make everything that a key has made worthless at once: add, issue, retire --yes.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a fresh file with one key
    #[command(after_help = HELP)]
    Generate {
        /// Write to this new file, readable by its owner only, instead of standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show which keys there are, without their secrets
    #[command(after_help = HELP)]
    List {
        #[command(flatten)]
        file: File,
        /// Write JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Add a fresh key; it only verifies, until it is told to issue
    #[command(after_help = HELP)]
    Add {
        #[command(flatten)]
        file: File,
    },
    /// Let a key make everything new from now on
    ///
    /// Only when every broker knows it: one that does not refuses what it makes. Which keys a broker knows stands in
    /// GET /healthz of its admin listener and in the metric token_broker_server_key_known.
    #[command(after_help = HELP)]
    Issue {
        /// The key's id, or `newest`.
        #[arg(value_name = "ID", default_value = "newest")]
        id: Which,
        #[command(flatten)]
        file: File,
    },
    /// Remove a key: everything that it has made is refused at once
    ///
    /// Refuses to remove the key that issues. Without --yes it also refuses to remove a key whose tokens and sessions
    /// can still live, or that a resource server's secret needs: the database of --config knows that.
    #[command(after_help = HELP)]
    Retire {
        /// The key's id.
        #[arg(value_name = "ID")]
        id: u32,
        #[command(flatten)]
        file: File,
        /// Remove it whatever needs it, as when its secret has leaked: everybody whose token it made is signed out, and
        /// the resource servers' secrets that need it are refused. Does not ask the database.
        #[arg(long)]
        yes: bool,
    },
}

/// Where the keys file is.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct File {
    /// The configuration file (TOML) of the brokers; its [server_keys] file is the keys file.
    #[arg(long = "config", value_name = "FILE", env = "TOKEN_BROKER_CONFIG")]
    config: Option<PathBuf>,
    /// The keys file itself, whichever the configuration names.
    #[arg(long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// A key by its id, or the newest one.
#[derive(Debug, Clone, Copy)]
enum Which {
    Newest,
    Id(u32),
}

impl FromStr for Which {
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
    let mut change = Change::begin(&path)?;
    let id = change.keys.add(&SystemEntropy, now).map_err(refused)?;
    change.done()?;
    let options = file.options();
    writeln!(
        out,
        "Key {id} is added and verifies. When every broker knows it (GET /healthz of each admin listener):\n  \
         token-broker keys issue {id} {options}"
    )?;
    Ok(())
}

fn issue(which: Which, file: &File, now: Timestamp, out: &mut dyn Write) -> Result<(), Failure> {
    let path = file.path()?;
    let mut change = Change::begin(&path)?;
    let id = match which {
        Which::Newest => change.keys.newest(),
        Which::Id(id) => id,
    };
    let before = change.keys.issue(id, now).map_err(refused)?;
    if before == id {
        writeln!(out, "Key {id} issues already.")?;
        return Ok(());
    }
    let until = time(change.keys.entry(before).map_err(refused)?.needed_until);
    change.done()?;
    let options = file.options();
    let config = if file.config.is_some() { "" } else { " --config token-broker.toml" };
    writeln!(
        out,
        "Key {id} issues now. When what key {before} made is dead, after {until}:\n  \
         token-broker keys retire {before} {options}{config}"
    )?;
    Ok(())
}

/// Unless it is confirmed with `yes`, the database says what still needs the key.
fn retire(id: u32, file: &File, yes: bool, now: Timestamp, out: &mut dyn Write) -> Result<(), Failure> {
    let config = match &file.config {
        _ if yes => None,
        Some(path) => Some(ConfigFile { path: path.clone() }),
        None => {
            let text =
                "--config <FILE> is missing: the brokers' database knows whether something needs the key";
            return Err(Failure::Configuration(text.to_owned()));
        }
    };
    let path = file.path()?;
    let mut change = Change::begin(&path)?;
    let key = change.keys.entry(id).map_err(refused)?;
    change.keys.retire(id).map_err(refused)?;
    if let Some(config) = &config {
        let needs: Vec<String> =
            [sign_ins_that_need(&key, now), secrets_that_need(&key, config)?].into_iter().flatten().collect();
        if !needs.is_empty() {
            return Err(Failure::Configuration(format!(
                "key {id} stays:\n  {}\nTo refuse all that it has made, add --yes.",
                needs.join("\n  ")
            )));
        }
    }
    change.done()?;
    writeln!(out, "Key {id} is gone. Brokers refuse what it made as soon as they have read the file.")?;
    if config.is_none() {
        writeln!(out, "token-broker resource-servers list shows whose secrets need a gone key.")?;
    }
    Ok(())
}

fn sign_ins_that_need(key: &KeyEntry, now: Timestamp) -> Option<String> {
    if key.is_over(now) {
        return None;
    }
    Some(match key.needed_until {
        Some(until) => format!("tokens and sessions that it made can live until {}", time(Some(until))),
        None => "the file does not say when it stopped issuing, so that what it made may live".to_owned(),
    })
}

fn secrets_that_need(key: &KeyEntry, config: &ConfigFile) -> Result<Option<String>, Failure> {
    let servers = config.administer(async |administration| {
        Ok(resource_servers::with_secrets_of(administration, KeyId(key.id)).await?)
    })?;
    let names: Vec<&str> = servers.iter().map(|server| server.as_str()).collect();
    Ok((!names.is_empty()).then(|| {
        format!(
            "secrets of resource servers need it, of: {} (for each: resource-servers rotate-secret, give it the new \
             one, resource-servers remove-old-secret)",
            names.join(", ")
        )
    }))
}

/// A keys file that nobody else changes meanwhile.
struct Change<'a> {
    path: &'a Path,
    held: Held,
    keys: KeysFile,
}

impl<'a> Change<'a> {
    /// Reads the file in order to change it, when nobody else does any more.
    fn begin(path: &'a Path) -> Result<Self, Failure> {
        let taken = Held::take(path).and_then(|mut held| held.read().map(|text| (held, text)));
        let (held, text) = taken.map_err(|error| failed(path, &error))?;
        Ok(Self { path, held, keys: parse(path, text)? })
    }

    fn done(self) -> Result<(), Failure> {
        let Self { path, held, keys } = self;
        held.replace(keys.text().expose_secret()).map_err(|error| failed(path, &error))
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

    /// The options that lead to the same file again, to be shown.
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
    fn every_fresh_key_is_another() {
        let (code, first, err) = run(&["keys", "generate"]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(ids(&first), (1, vec![1]));
        assert_ne!(first, run(&["keys", "generate"]).1);
    }

    #[test]
    fn ad_11_a_key_is_added_first_issues_later_and_goes_last_and_the_file_stays_private() {
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
            (&["issue", "2"], (2, vec![1, 2]), "issues already"),
            (&["issue", "1"], (1, vec![1, 2]), "keys retire 2"),
            (&["issue", "newest"], (2, vec![1, 2]), "keys retire 1"),
            (&["retire", "1", "--yes"], (2, vec![2]), "is gone"),
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
    fn ad_01_the_list_shows_everything_but_secrets() {
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
    fn ad_11_the_configuration_says_which_file_it_is_whatever_else_is_wrong_in_it() {
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
        // A file that is named wins.
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
    fn every_command_names_its_exit_codes() {
        for command in [&[][..], &["generate"], &["list"], &["add"], &["issue"], &["retire"]] {
            let (code, out, _) = run(&[&["keys"], command, &["--help"]].concat());
            assert!(code == 0 && out.contains("Exit codes: 0 done, 1 failed"), "{command:?}: {out}");
        }
    }

    #[test]
    fn another_file_is_left_alone() {
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

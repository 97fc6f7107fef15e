//! `generate-key`: the server's own keys.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::{Failure, private_file};
use crate::config::{NotAKeysFile, generate_keys_file, issue_with_newest};
use crate::domain::entropy::SystemEntropy;

/// Make a server key: a fresh file of keys, or one more key in an existing file, which issues in a second step
///
/// All brokers of one service share the file; name it in [server_keys] file. To replace a key without signing
/// anybody out: --add-to FILE and start every broker again, so that each knows the new key; then --issue-newest
/// FILE and start every broker again, so that the new key issues; and remove the old key once what it made is over
/// (tokens: seven days). To make everything a key has issued worthless at once, remove it.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct GenerateKey {
    /// Write to this new file, readable by its owner only, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Add the key to this file; it only verifies, until --issue-newest.
    #[arg(long, value_name = "FILE")]
    add_to: Option<PathBuf>,
    /// Make no key: let the newest one in this file issue, and the older ones still verify. Only when every broker
    /// was started again since --add-to: one that does not know the key refuses what it makes.
    #[arg(long, value_name = "FILE")]
    issue_newest: Option<PathBuf>,
}

impl GenerateKey {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        if let Some(path) = &self.add_to {
            change(path, |existing| generate_keys_file(Some(existing), &SystemEntropy))?;
            let file = path.display();
            writeln!(out, "Start every broker again, then: token-broker generate-key --issue-newest {file}")?;
        } else if let Some(path) = &self.issue_newest {
            change(path, issue_with_newest)?;
            writeln!(out, "Start every broker again, and remove the old key seven days later.")?;
        } else {
            let fresh = generate_keys_file(None, &SystemEntropy).map_err(misused)?;
            let fresh = fresh.expose_secret();
            match &self.output {
                Some(path) => private_file::create(path, fresh).map_err(|error| failed(path, &error))?,
                None => write!(out, "{fresh}")?,
            }
        }
        Ok(())
    }
}

/// Replaces a keys file, in one step, by what `change` makes of it.
fn change(
    path: &Path,
    change: impl FnOnce(&SecretString) -> Result<SecretString, NotAKeysFile>,
) -> Result<(), Failure> {
    let existing = fs::read_to_string(path).map_err(|error| failed(path, &error))?;
    let changed = change(&existing.into()).map_err(misused)?;
    private_file::replace(path, changed.expose_secret()).map_err(|error| failed(path, &error))
}

fn misused(error: NotAKeysFile) -> Failure {
    Failure::Configuration(error.to_string())
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Runtime(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::run;

    fn ids(text: &str) -> (i64, Vec<i64>) {
        let file: toml::Table = text.parse().unwrap();
        let ids = file["keys"].as_array().unwrap().iter().map(|key| key["id"].as_integer().unwrap());
        (file["issuing"].as_integer().unwrap(), ids.collect())
    }

    #[test]
    fn every_fresh_key_is_another() {
        let (code, first, err) = run(&["generate-key"]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(ids(&first), (1, vec![1]));
        assert_ne!(first, run(&["generate-key"]).1);
    }

    #[test]
    fn ad_11_a_key_is_added_first_and_issues_later_and_the_file_stays_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server_keys.toml");
        let file = path.to_str().unwrap();
        assert_eq!(run(&["generate-key", "--output", file]), (0, String::new(), String::new()));
        let (code, _, err) = run(&["generate-key", "--output", file]);
        assert_eq!(code, 1, "an existing file is not overwritten");
        assert!(err.contains(file), "{err}");
        for (step, issuing, next) in [("--add-to", 1, "--issue-newest"), ("--issue-newest", 2, "remove")] {
            let (code, out, err) = run(&["generate-key", step, file]);
            assert_eq!((code, err.as_str()), (0, ""), "{step}");
            assert!(out.contains("Start every broker again") && out.contains(next), "{out}");
            assert_eq!(ids(&std::fs::read_to_string(&path).unwrap()), (issuing, vec![1, 2]), "{step}");
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{step}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{step}");
        }
        assert_eq!(run(&["generate-key", "--add-to", file, "--issue-newest", file]).0, 2, "one at a time");

        std::fs::write(&path, "public_url = \"x\"").unwrap();
        for step in ["--add-to", "--issue-newest"] {
            let (code, _, err) = run(&["generate-key", step, file]);
            assert_eq!(code, 2, "{step}");
            assert!(err.contains("not a keys file"), "{err}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "public_url = \"x\"", "{step}");
        }
    }
}

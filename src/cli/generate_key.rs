//! `generate-key`: the server's own keys.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use secrecy::ExposeSecret;

use super::{Failure, private_file};
use crate::config::generate_keys_file;
use crate::domain::entropy::SystemEntropy;

/// Make a server key: a fresh file of keys, or one more key in an existing file
///
/// All brokers of one service share the file; name it in [server_keys] file. To replace a key: --add-to FILE,
/// start every broker again, and remove the old key once what it made is over (tokens: seven days). With several
/// brokers set "issuing" back to the old key for the first round, so that each knows the new key before one of
/// them uses it. To make everything a key has issued worthless at once, remove it.
#[derive(Debug, Args)]
pub(super) struct GenerateKey {
    /// Write to this new file, readable by its owner only, instead of standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "add_to")]
    output: Option<PathBuf>,
    /// Add the key to this file; it issues from then on, and the older ones still verify.
    #[arg(long, value_name = "FILE")]
    add_to: Option<PathBuf>,
}

impl GenerateKey {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let failed = |path: &PathBuf| {
            let path = path.display().to_string();
            move |error: std::io::Error| Failure::Runtime(format!("{path}: {error}"))
        };
        let fresh = |existing| {
            generate_keys_file(existing, &SystemEntropy)
                .map_err(|error| Failure::Configuration(error.to_string()))
        };
        match (self.output, self.add_to) {
            (_, Some(path)) => {
                let existing = std::fs::read_to_string(&path).map_err(failed(&path))?.into();
                private_file::replace(&path, fresh(Some(&existing))?.expose_secret())
                    .map_err(failed(&path))?;
            }
            (Some(path), None) => {
                private_file::create(&path, fresh(None)?.expose_secret()).map_err(failed(&path))?;
            }
            (None, None) => write!(out, "{}", fresh(None)?.expose_secret())?,
        }
        Ok(())
    }
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
    fn ad_11_one_command_rotates_the_key_and_the_file_stays_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server_keys.toml");
        let file = path.to_str().unwrap();
        assert_eq!(run(&["generate-key", "--output", file]), (0, String::new(), String::new()));
        let (code, _, err) = run(&["generate-key", "--output", file]);
        assert_eq!(code, 1, "an existing file is not overwritten");
        assert!(err.contains(file), "{err}");
        assert_eq!(run(&["generate-key", "--add-to", file]), (0, String::new(), String::new()));
        assert_eq!(ids(&std::fs::read_to_string(&path).unwrap()), (2, vec![1, 2]));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        std::fs::write(&path, "public_url = \"x\"").unwrap();
        let (code, _, err) = run(&["generate-key", "--add-to", file]);
        assert_eq!(code, 2);
        assert!(err.contains("not a keys file"), "{err}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "public_url = \"x\"");
    }
}

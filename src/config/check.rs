//! Collects everything that is wrong with a configuration, so that it can be fixed in one go.
//!
//! A problem names the key and what to write there; it never repeats a value, because values may be secrets.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, io};

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use url::Url;

use super::Mode;
use super::secret::{self, Secret};
use crate::domain::loopback::is_loopback_url;

/// One thing to fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the key, as in `clients[1].redirect_uris[0]`.
    pub key: String,
    /// What is wrong and what to write instead.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.key, self.text)
    }
}

/// Why there is no configuration: everything that has to be fixed first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn one(key: &str, text: &str) -> Self {
        Self(vec![Problem { key: key.to_owned(), text: text.to_owned() }])
    }

    /// The problems in one line, for the log.
    pub fn in_one_line(&self) -> String {
        let lines: Vec<_> = self.0.iter().map(Problem::to_string).collect();
        lines.join("; ")
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the configuration cannot be used:")?;
        self.0.iter().try_for_each(|problem| write!(out, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

/// The running check of one configuration.
#[derive(Debug)]
pub(super) struct Check {
    /// Which rules apply.
    pub(super) mode: Mode,
    /// The folder of the configuration file, which relative paths start from.
    folder: PathBuf,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Keys whose value could not be read: they are set, so they must not be reported as missing.
    unreadable: Vec<String>,
    /// Whether a file could not be opened because the process or the machine has too many open: no fault of the file.
    pub(super) short_of_descriptors: bool,
}

impl Check {
    pub(super) fn new(mode: Mode, folder: &Path) -> Self {
        let folder = folder.to_owned();
        let (problems, warnings) = (Vec::new(), Vec::new());
        Self { mode, folder, problems, warnings, unreadable: Vec::new(), short_of_descriptors: false }
    }

    /// Whether the rules of production apply.
    pub(super) fn production(&self) -> bool {
        self.mode == Mode::Production
    }

    /// Reports something that must be fixed.
    pub(super) fn problem(&mut self, key: impl Into<String>, text: impl fmt::Display) {
        let key = key.into();
        if !self.unreadable.iter().any(|known| known.starts_with(&key)) {
            self.problems.push(Problem { key, text: text.to_string() });
        }
    }

    /// Reports a value that is set but has the wrong type.
    pub(super) fn unreadable(&mut self, key: impl Into<String>, text: impl fmt::Display) {
        let key = key.into();
        self.problem(key.clone(), text);
        self.unreadable.push(key);
    }

    /// Reports something that works but that an operator should know.
    pub(super) fn warn(&mut self, key: impl Into<String>, text: impl fmt::Display) {
        self.warnings.push(Problem { key: key.into(), text: text.to_string() });
    }

    /// Ends the check.
    ///
    /// # Errors
    /// Everything that has to be fixed.
    pub(super) fn finish(self) -> Result<Vec<Problem>, Problems> {
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(Problems(self.problems)) }
    }

    /// A value that must be set; `fix` says what to write.
    pub(super) fn required<T>(&mut self, key: &str, value: Option<T>, fix: &str) -> Option<T> {
        if value.is_none() {
            self.problem(key, format_args!("is missing: {fix}"));
        }
        value
    }

    /// A string that is parsed into the type of the part that uses it.
    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(&mut self, key: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error| self.problem(key, error)).ok()
    }

    /// A string that names one of a few choices, spelt as serde spells them.
    pub(super) fn choice<'de, T: Deserialize<'de>>(&mut self, key: &str, text: &'de str) -> Option<T> {
        let choice = T::deserialize(IntoDeserializer::<serde::de::value::Error>::into_deserializer(text));
        choice.map_err(|error| self.problem(key, expectation(&error.to_string()))).ok()
    }

    /// A number that must be in `range`.
    pub(super) fn within<N>(&mut self, key: &str, number: N, range: RangeInclusive<N>) -> Option<N>
    where
        N: PartialOrd + fmt::Display,
    {
        if range.contains(&number) {
            return Some(number);
        }
        self.problem(key, format_args!("must be {} to {}", range.start(), range.end()));
        None
    }

    /// An address of the broker or of a provider: https, or in development also http on this machine.
    pub(super) fn url(&mut self, key: &str, text: &str) -> Option<Url> {
        let Ok(url) = Url::parse(text) else {
            self.problem(key, "must be an absolute URL, as in https://login.example.com");
            return None;
        };
        let loopback = is_loopback_url(&url);
        let fault = if !url.username().is_empty() || url.password().is_some() {
            "must not contain a user name or password"
        } else if url.fragment().is_some() {
            "must not contain a fragment ('#')"
        } else if self.production() && loopback {
            "must not be on this machine in production: use the public host"
        } else if url.scheme() == "https" || (url.scheme() == "http" && loopback && !self.production()) {
            return Some(url);
        } else {
            "must be https (http only for localhost, 127.0.0.1 and [::1] in development)"
        };
        self.problem(key, fault);
        None
    }

    /// A secret from the environment or from a file.
    pub(super) fn secret(
        &mut self,
        key: &str,
        literal: Option<Secret>,
        file: Option<&Path>,
    ) -> Option<SecretString> {
        let file_key = format!("{key}_file");
        match (literal, file) {
            (Some(_), Some(_)) => {
                self.problem(key, format_args!("must not be set together with {file_key}: remove one"));
                None
            }
            (Some(literal), None) => self.filled(key, literal.0),
            (None, Some(file)) => {
                let secret = self.file(&file_key, file, true)?;
                self.filled(&file_key, secret)
            }
            (None, None) => {
                self.problem(key, format_args!("is missing: name a file in {file_key}"));
                None
            }
        }
    }

    fn filled(&mut self, key: &str, secret: SecretString) -> Option<SecretString> {
        use secrecy::ExposeSecret;
        if secret.expose_secret().is_empty() {
            self.problem(key, "is empty");
            return None;
        }
        Some(secret)
    }

    /// The path of a file that a setting names.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// The text of a file. A `private` file must not be readable by other users.
    pub(super) fn file(&mut self, key: &str, path: &Path, private: bool) -> Option<SecretString> {
        let path = self.path(path);
        match secret::read(&path) {
            Ok((text, exposed)) => {
                if private && exposed {
                    let text = "is readable by other users: chmod 400 the file, or 440 if its group is one of this \
                                process (defaultMode: 0400 for a container's secret mount)";
                    if self.production() { self.problem(key, text) } else { self.warn(key, text) }
                }
                Some(text)
            }
            Err(error) => {
                self.short_of_descriptors |= is_shortage(&error);
                let fix = fix(key, &path, &error);
                self.problem(key, format_args!("{} cannot be read: {error}: {fix}", path.display()));
                None
            }
        }
    }
}

/// Whether too many files are open, in this process (EMFILE) or on this machine (ENFILE).
#[cfg(unix)]
fn is_shortage(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
}

/// Not told apart.
#[cfg(not(unix))]
fn is_shortage(_: &io::Error) -> bool {
    false
}

/// What to do about a file that cannot be read, by the setting that names it.
fn fix(key: &str, path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::NotFound {
        return "it must be readable by the user that runs this, mode 0400".to_owned();
    }
    match key.rsplit('.').next().unwrap_or_default() {
        "client_secret_file" => "write the client secret into this file, mode 0400".to_owned(),
        "url_file" => "write the URL into this file, mode 0400".to_owned(),
        "ca_file" => "put the PEM certificates of the authority there, or remove the setting".to_owned(),
        _ => format!("create it with token-broker keys generate --output {}", path.display()),
    }
}

/// What a serde error expected, without the value that it found.
pub(super) fn expectation(message: &str) -> String {
    match message.rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("unknown field") => {
            format!("is not a setting; the settings here are {}", expected.trim_start_matches("one of "))
        }
        Some((_, expected)) => format!("must be {expected}"),
        None => "cannot be read".to_owned(),
    }
}

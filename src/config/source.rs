//! The sources of settings: the TOML file, overridden by the environment.
//!
//! `TOKEN_BROKER__SERVER__LISTEN` is the key `server.listen`. In the lists `providers`, `clients`, `policies`
//! and `server_keys.keys` the next part is the entry's id, in capitals and with `_` for `-`, so that a secret never
//! ends up in another entry when their order changes: `TOKEN_BROKER__PROVIDERS__CORP__CLIENT_SECRET`.
//! An id that is not in the file adds a new entry. An empty variable counts as not set.

use std::collections::HashMap;

use config::{ConfigError, File, FileFormat, Map, Source, Value, ValueKind};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde_path_to_error::{Path, Segment};

use super::check::{Check, expectation};

const PREFIX: &str = "TOKEN_BROKER__";

/// Lists whose entries the environment names by id.
const LISTS_WITH_IDS: [&str; 4] = ["providers", "clients", "policies", "server_keys.keys"];

/// Keys that must not appear in a file that is not itself a secret. So must URLs with a password.
const SECRETS: [&str; 2] = ["client_secret", "secret"];

/// Reads both sources into one tree of settings. What cannot be read is reported in `check` and left out; a file that is
/// not TOML returns `None`.
pub(super) fn read(
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    check: &mut Check,
) -> Option<Value> {
    if let Err(error) = text.parse::<toml::Table>() {
        check.problem(place(text, error.span()), format_args!("is not TOML: {}", error.message()));
        return None;
    }
    let source = File::from_str(text, FileFormat::Toml);
    let Ok(file) = source.collect() else {
        check.problem("the file", "has a number that is out of range");
        return None;
    };
    if check.production() {
        refuse_literal_secrets("", &file, check);
    }
    let mut builder = config::Config::builder().add_source(source);
    let mut ids = ids_in(&file);
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|_| !value.is_empty()) else { continue };
        let set = builder.clone().set_override(key_path(rest, &mut ids), value);
        match set {
            Ok(next) => builder = next,
            Err(_) => check.problem(name, "does not name a setting: see docs/configuration.md"),
        }
    }
    for (list, ids) in ids {
        let begun = ids.iter().enumerate().filter(|(_, id)| !id.in_file);
        for (index, id) in begun {
            // The path was built here from a list's name and a number: it always parses.
            if let Ok(next) = builder.clone().set_override(format!("{list}[{index}].id"), id.text.as_str()) {
                builder = next;
            }
        }
    }
    let tree = builder.build().and_then(config::Config::try_deserialize);
    tree.map_err(|error| check.problem("the configuration", explain(&error))).ok()
}

/// The id of an entry of a list, as the environment spells it.
struct ListedId {
    text: String,
    in_file: bool,
}

fn ids_in(file: &Map<String, Value>) -> HashMap<&'static str, Vec<ListedId>> {
    let entry = |value: &Value| {
        let ValueKind::Table(table) = &value.kind else { return String::new() };
        let id = table.get("id").and_then(|id| id.clone().into_string().ok()).unwrap_or_default();
        id.to_lowercase().replace('-', "_")
    };
    let list = |path: &'static str| {
        let mut parts = path.split('.');
        let mut value = file.get(parts.next()?)?;
        for part in parts {
            let ValueKind::Table(table) = &value.kind else { return None };
            value = table.get(part)?;
        }
        let ValueKind::Array(entries) = &value.kind else { return None };
        Some(entries.iter().map(|value| ListedId { text: entry(value), in_file: true }).collect())
    };
    LISTS_WITH_IDS.into_iter().map(|path| (path, list(path).unwrap_or_default())).collect()
}

/// The key that the name of a variable means.
fn key_path(name: &str, ids: &mut HashMap<&'static str, Vec<ListedId>>) -> String {
    let mut path = String::new();
    for part in name.to_lowercase().split("__") {
        if let Some(ids) = ids.get_mut(path.as_str()) {
            let index = ids.iter().position(|id| id.text == part).unwrap_or_else(|| {
                ids.push(ListedId { text: part.to_owned(), in_file: false });
                ids.len() - 1
            });
            path.push_str(&format!("[{index}]"));
        } else if part.bytes().all(|b| b.is_ascii_digit()) && !path.is_empty() {
            path.push_str(&format!("[{part}]"));
        } else {
            let dot = if path.is_empty() { "" } else { "." };
            path.push_str(dot);
            path.push_str(part);
        }
    }
    path
}

/// The section at `key` in its written form. Every value that does not fit is reported in `check` and taken out, until
/// the rest can be read.
pub(super) fn section<T: DeserializeOwned>(mut tree: Value, key: &str, check: &mut Check) -> Option<T> {
    loop {
        let error = match serde_path_to_error::deserialize(tree.clone()) {
            Ok(section) => return Some(section),
            Err(error) => error,
        };
        let dot = if key.is_empty() { "" } else { "." };
        check.unreadable(format!("{key}{dot}{}", error.path()), explain(error.inner()));
        if !remove(&mut tree, error.path()) {
            return None;
        }
    }
}

/// Takes the value at `path` out; if it is in a list, the whole list, so that no other entry changes its number.
fn remove(tree: &mut Value, path: &Path) -> bool {
    let keys: Vec<&Segment> = path.iter().collect();
    let last = keys.iter().rposition(|key| matches!(key, Segment::Map { .. }));
    let Some((Segment::Map { key: last }, parents)) = last.and_then(|at| keys[..=at].split_last()) else {
        return false;
    };
    let mut value = tree;
    for parent in parents {
        let child = match (parent, &mut value.kind) {
            (Segment::Map { key }, ValueKind::Table(table)) => table.get_mut(key),
            (Segment::Seq { index }, ValueKind::Array(entries)) => entries.get_mut(*index),
            _ => None,
        };
        let Some(child) = child else { return false };
        value = child;
    }
    match &mut value.kind {
        ValueKind::Table(table) => table.remove(last).is_some(),
        _ => false,
    }
}

fn explain(error: &ConfigError) -> String {
    match error {
        ConfigError::At { error, .. } => explain(error),
        ConfigError::Type { expected, .. } => format!("must be {expected}"),
        ConfigError::Message(message) => expectation(message),
        _ => "cannot be read".to_owned(),
    }
}

/// `line 3, column 7`, of a byte position.
fn place(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}")
}

/// The configuration file is copied, shown and committed: in production it may name secrets but not contain them.
fn refuse_literal_secrets(path: &str, table: &Map<String, Value>, check: &mut Check) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match &value.kind {
            ValueKind::Table(table) => refuse_literal_secrets(&path, table, check),
            ValueKind::Array(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    if let ValueKind::Table(table) = &entry.kind {
                        refuse_literal_secrets(&format!("{path}[{index}]"), table, check);
                    }
                }
            }
            ValueKind::String(url) if key == "url" && super::store_url::has_password(url) => {
                check.problem(path, "contains a password: put the URL into a file and name that in url_file");
            }
            _ if SECRETS.contains(&key.as_str()) => {
                let (what, file) = match key.as_str() {
                    "secret" => ("the keys", "server_keys.file".to_owned()),
                    _ => ("it", format!("{key}_file")),
                };
                let text = "must not be in the configuration file";
                check.problem(path, format_args!("{text}: put {what} into a file and name that in {file}"));
            }
            _ => {}
        }
    }
}

/// A list of strings: a TOML array, or one string with commas, as in the environment.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct TextOrList;

    impl<'de> Visitor<'de> for TextOrList {
        type Value = Vec<String>;

        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("a list of strings, or one string with commas")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(entries))
        }
    }

    deserializer.deserialize_any(TextOrList)
}

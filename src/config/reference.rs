//! Generates `docs/configuration.md` from the written forms, and keeps `token-broker.example.toml` in line with them.

use std::fmt::Write;

use serde_json::Value;

use super::RawConfig;
use super::check::Check;
use super::providers::{KINDS, RawCommon};
use super::{Mode, source};

const INTRODUCTION: &str = "\
# Configuration

`token-broker serve --config token-broker.toml` reads a TOML file; `token-broker.example.toml` shows every setting.
`token-broker check-config` reports what is wrong and prints the settings in effect, secrets masked.

- Every setting can come from the environment, which overrides the file: `[server] listen` is
  `TOKEN_BROKER__SERVER__LISTEN`. Lists are written with commas. An empty variable counts as not set.
- An entry of `providers`, `clients`, `policies` and `server_keys.keys` is addressed by its id, with `-` replaced by `_`:
  `TOKEN_BROKER__PROVIDERS__CORP__CLIENT_SECRET`. An id that is not in the file adds a new entry.
- Secrets come from files or the environment. In production the broker does not start with a secret in the
  configuration file, or in a file that other users can read.
- Relative paths start from the folder of the configuration file.

<!-- Generated from src/config: UPDATE_DOCS=1 cargo test --lib config::reference -->
";

/// A section as documented.
struct Section {
    /// The path of its keys; `[]` marks a list.
    path: String,
    /// The kind of provider that has these keys, if not all have them.
    kind: Option<&'static str>,
    text: String,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    text: String,
    default: Option<Value>,
}

/// The sections in alphabetical order.
fn sections() -> Vec<Section> {
    let schema: Value = schemars::schema_for!(RawConfig).into();
    let mut sections = Vec::new();
    add_section("", &schema, &schema, &mut sections);
    let providers = provider_sections();
    let at = sections.iter().position(|section| *section.path > *"providers").unwrap_or(sections.len());
    sections.splice(at..at, providers);
    sections
}

/// The keys of all providers, then those of each kind. A section that several kinds have is there once.
fn provider_sections() -> Vec<Section> {
    let schema: Value = schemars::schema_for!(RawCommon).into();
    let mut sections = Vec::new();
    add_section("providers[]", &schema, &schema, &mut sections);
    for kind in KINDS {
        let schema: Value = (kind.schema)().into();
        let mut own = Vec::new();
        add_section("providers[]", &schema, &schema, &mut own);
        own[0].kind = Some(kind.name);
        own.retain(|section| {
            section.kind.is_some() || sections.iter().all(|known| known.path != section.path)
        });
        sections.append(&mut own);
    }
    sections
}

fn add_section(path: &str, object: &Value, schema: &Value, sections: &mut Vec<Section>) {
    let text = |object: &Value| object["description"].as_str().unwrap_or_default().replace('\n', " ");
    let at = sections.len();
    sections.push(Section { path: path.to_owned(), kind: None, text: text(object), keys: Vec::new() });
    for (name, property) in object["properties"].as_object().unwrap() {
        let (list, inner) = match property["items"].as_object() {
            Some(_) => ("[]", &property["items"]),
            None => ("", property),
        };
        match inner["$ref"].as_str().and_then(|path| schema.pointer(path.trim_start_matches('#'))) {
            Some(inner) => {
                let dot = if path.is_empty() { "" } else { "." };
                add_section(&format!("{path}{dot}{name}{list}"), inner, schema, sections);
            }
            None => {
                let text = text(property);
                let said = text.contains("Default:") || text.contains("Required");
                let default = property.get("default").filter(|default| !default.is_null() && !said).cloned();
                sections[at].keys.push(Key { name: name.clone(), text, default });
            }
        }
    }
}

fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in sections() {
        let path = section.path.replace("[]", "");
        let mut title = match section.path.as_str() {
            "" => "Top level".to_owned(),
            list if list.ends_with("[]") => format!("`[[{path}]]`"),
            _ => format!("`[{path}]`"),
        };
        if let Some(kind) = section.kind {
            title.push_str(&format!(" with `kind = \"{kind}\"`"));
        }
        writeln!(page, "\n## {title}\n\n{}\n\n| key | default | meaning |\n|---|---|---|", section.text)
            .unwrap();
        for key in section.keys {
            let default = key.default.map(|default| format!("`{default}`")).unwrap_or_default();
            writeln!(page, "| `{}` | {default} | {} |", key.name, key.text.replace('|', "\\|")).unwrap();
        }
    }
    page
}

#[test]
fn the_reference_is_current() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test --lib config::reference"
    );
}

#[test]
fn every_key_has_a_meaning() {
    for section in sections() {
        assert!(section.path.is_empty() || !section.text.is_empty(), "{}", section.path);
        for key in section.keys {
            assert!(!key.text.is_empty(), "{}.{}", section.path, key.name);
        }
    }
}

/// The example with all the keys that are commented out: `#key = …` is one, `# text` is a comment.
fn example_with_every_key() -> toml::Table {
    let example = include_str!("../../token-broker.example.toml");
    let is_key = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let lines = example.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if is_key(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n").parse().unwrap()
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let example = toml::Value::Table(example_with_every_key());
    let mut check = Check::new(Mode::Development, std::path::Path::new(""));
    let tree = source::read(&toml::to_string(&example).unwrap(), [], &mut check).unwrap();
    assert!(RawConfig::read(tree, &mut check).is_some());
    check.finish().unwrap();
    for section in sections() {
        let mut tables = vec![&example];
        for part in section.path.split('.').filter(|part| !part.is_empty()) {
            tables = tables.iter().filter_map(|table| table.get(part.trim_end_matches("[]"))).collect();
            if part.ends_with("[]") {
                tables = tables.iter().flat_map(|list| list.as_array().unwrap()).collect();
            }
        }
        if let Some(kind) = section.kind {
            tables.retain(|table| table.get("kind").and_then(toml::Value::as_str) == Some(kind));
        }
        for key in section.keys {
            let shown: Vec<_> = tables.iter().filter_map(|table| table.get(&key.name)).collect();
            assert!(!shown.is_empty(), "{}.{} is not in the example", section.path, key.name);
        }
    }
}

#[test]
fn the_example_names_the_defaults() {
    let example = serde_json::to_value(example_with_every_key()).unwrap();
    for section in sections().iter().filter(|section| !section.path.contains('[')) {
        let table = match section.path.as_str() {
            "" => &example,
            path => &example[path],
        };
        for key in &section.keys {
            let chosen = ["listen", "trusted_proxies"].contains(&key.name.as_str());
            if let (Some(default), false) = (&key.default, chosen) {
                assert_eq!(&table[&key.name], default, "{}.{}", section.path, key.name);
            }
        }
    }
}

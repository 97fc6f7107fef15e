//! Presets: what is known about popular providers. `kind = "github"` means one of the generic kinds with these
//! settings; every setting that is written beside it wins. `check-config` prints the result.
//!
//! The presets are in `presets.toml`. To add one, add a table there and an answer of its own to the tests.

use std::sync::LazyLock;

use config::{File, FileFormat, Map, Source, Value, ValueKind};

/// The presets by name.
#[expect(clippy::expect_used, reason = "the file is a part of the program, and a test reads it")]
static PRESETS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    File::from_str(include_str!("presets.toml"), FileFormat::Toml).collect().expect("presets.toml is TOML")
});

/// The settings of a provider with its preset filled in, if its kind names one.
pub(super) fn expand(settings: Map<String, Value>) -> Map<String, Value> {
    let kind = settings.get("kind").and_then(|kind| kind.clone().into_string().ok());
    let Some(preset) = kind.and_then(|kind| table(PRESETS.get(&kind)?)) else { return settings };
    let mut expanded = preset.clone();
    merge(&mut expanded, settings);
    if let Some(generic) = preset.get("kind") {
        expanded.insert("kind".to_owned(), generic.clone());
    }
    expanded
}

/// The names of the presets, separated by commas.
pub(super) fn names() -> String {
    let mut names: Vec<&str> = PRESETS.keys().map(String::as_str).collect();
    names.sort_unstable();
    names.join(", ")
}

/// Puts `over` on top of `settings`. Tables are merged, everything else is replaced.
fn merge(settings: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        match (settings.get_mut(&name).map(|known| &mut known.kind), value.kind) {
            (Some(ValueKind::Table(known)), ValueKind::Table(over)) => merge(known, over),
            (_, kind) => drop(settings.insert(name, Value::new(None, kind))),
        }
    }
}

fn table(value: &Value) -> Option<&Map<String, Value>> {
    match &value.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

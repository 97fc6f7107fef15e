//! What a layer may name.

use regex::Regex;

use crate::sources::{assert_none, files, sources};

/// Which other top-level modules a layer may name. Modules that are not listed wire the layers together.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("provider", &["domain", "error"]),
    ("key_store", &["domain", "error"]),
    ("storage", &["domain", "error"]),
    ("state", &["domain", "error", "provider", "key_store", "storage"]),
    ("flow", &["domain", "error", "provider", "key_store", "storage", "state"]),
    ("http", &["domain", "error", "flow", "state"]),
];

/// What a layer must not name besides: it is another layer's business.
const FOREIGN: &[(&str, &str)] = &[
    (
        "domain",
        r"\b(actix_\w+|diesel|redis|reqwest|tokio)\b|\bstd::(\{[^;]*\b)?(fs|process|env)\b|\b(Tcp|Udp|Unix)(Stream|Socket|Listener)\b",
    ),
    ("state", r"\bactix_\w+"),
    ("flow", r"\bactix_\w+"),
    ("http", r"\b(diesel|redis|reqwest)\b"),
];

/// Reads of the clock and of randomness, and the files that are there for them.
const AMBIENT: &str = r"\b(Utc|Local|SystemTime)::now\b|\bstd::time::(\{[^}]*\b)?Instant\b|\bSysRng\b|\brand::(rng|random)\b|\bnew_v4\b|\bnow_v7\b";
const AMBIENT_FILES: &[&str] = &["src/domain/clock.rs", "src/domain/entropy.rs"];

#[test]
fn layers_name_only_what_is_beneath_them() {
    let name = Regex::new(r"^src/(\w+)").unwrap();
    let modules = files("src").iter().map(|path| name.captures(path).unwrap()[1].to_owned()).collect();
    let mut violations = Vec::new();
    for source in sources() {
        let Some((layer, allowed)) = ARROWS.iter().find(|(layer, _)| source.is_in(layer)) else { continue };
        for named in source.named_of(&modules) {
            if named != *layer && !allowed.contains(&named.as_str()) {
                violations.push(format!("{}: {layer} names {named}", source.path));
            }
        }
    }
    assert_none(violations);
}

#[test]
fn layers_leave_libraries_to_the_layer_that_wraps_them() {
    let mut violations = Vec::new();
    for source in sources() {
        for (layer, pattern) in FOREIGN.iter().filter(|(layer, _)| source.is_in(layer)) {
            for found in Regex::new(pattern).unwrap().find_iter(&source.code) {
                violations.push(format!("{}: {layer} names {}", source.path, found.as_str()));
            }
        }
    }
    assert_none(violations);
}

#[test]
fn time_and_randomness_are_read_in_one_place_each() {
    let ambient = Regex::new(AMBIENT).unwrap();
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| !AMBIENT_FILES.contains(&source.path.as_str())) {
        for found in ambient.find_iter(&source.code) {
            violations.push(format!("{}: {}", source.path, found.as_str()));
        }
    }
    assert_none(violations);
}

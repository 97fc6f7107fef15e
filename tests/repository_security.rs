//! `docs/security.md` and the tests say the same: every requirement names tests, and every named test exists.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "test names say what is tested")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use regex::Regex;

/// The two letters of the areas.
const AREAS: &str = "LS|CB|PR|OK|TK|BR|IN|OA|DP|PT|SE|HD|ER|AD|DS|SC";

const LIST: &str = "docs/security.md";

#[test]
fn every_requirement_names_tests_that_exist() {
    let row = Regex::new(&format!(r"(?m)^\| ((?:{AREAS})-\d\d) \|.*\| ([^|]*) \|$")).unwrap();
    let name = Regex::new(r"`([^`:]+)::([^`]+)`").unwrap();
    let list = read(LIST);
    let (mut ids, mut violations) = (BTreeSet::new(), Vec::new());
    for found in row.captures_iter(&list) {
        let (id, tests) = (&found[1], &found[2]);
        if !ids.insert(id.to_owned()) {
            violations.push(format!("{id} is in the list twice"));
        }
        if !name.is_match(tests) {
            violations.push(format!("{id} names no test"));
        }
        for test in name.captures_iter(tests) {
            if !is_test(&test[1], &test[2]) {
                violations.push(format!("{id}: {} has no test {}", &test[1], &test[2]));
            }
        }
    }
    assert!(ids.len() > 100, "the list was not read: {ids:?}");
    assert_none(&violations);
}

#[test]
fn requirements_are_quoted_by_id_in_the_list_only() {
    let id = Regex::new(&format!(r"\b(?:{AREAS})-\d\d\b|\bfn (?:{})_\d\d_", AREAS.to_lowercase())).unwrap();
    let mut violations = Vec::new();
    for path in tracked() {
        let is_text = [".rs", ".md", ".mjs", ".js", ".ts", ".toml", ".html", ".css"]
            .iter()
            .any(|end| path.ends_with(end));
        if !is_text || path == LIST {
            continue;
        }
        for (number, line) in (1..).zip(read(&path).lines()) {
            if id.is_match(line) {
                violations.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none(&violations);
}

/// Whether the file has this test: a function in Rust, by itself or in a list that runs it on both databases, or a title in
/// JavaScript.
fn is_test(path: &str, name: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(root().join(path)) else { return false };
    if path.ends_with(".rs") {
        let function = Regex::new(&format!(r"\bfn {}\b", regex::escape(name))).unwrap();
        return function.is_match(&text);
    }
    let title = Regex::new(&format!(r#"\b(?:test|it)\(\s*['"`]{}['"`]"#, regex::escape(name))).unwrap();
    title.is_match(&text.replace("\\'", "'"))
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

fn tracked() -> Vec<String> {
    let listed = Command::new("git").args(["ls-files"]).current_dir(root()).output().unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<String> =
        files.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect();
    assert!(files.len() > 100, "the files of the repository were not found");
    files
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

//! `docs/security.md` and the tests say the same: every requirement names tests, and every named test exists.

use std::collections::BTreeSet;

use regex::Regex;

use crate::sources::{assert_none, files, read, root};

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
    assert_none(violations);
}

#[test]
fn requirements_are_quoted_by_id_in_the_list_only() {
    let id = Regex::new(&format!(r"\b(?:{AREAS})-\d\d\b|\bfn (?:{})_\d\d_", AREAS.to_lowercase())).unwrap();
    let mut violations = Vec::new();
    for path in files("") {
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
    assert_none(violations);
}

/// Whether the file has this test: a function with the attribute `test` or in a list that runs it on both databases,
/// or a title in JavaScript.
fn is_test(path: &str, name: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(root().join(path)) else { return false };
    let name = regex::escape(name);
    if path.ends_with(".rs") {
        let function =
            format!(r"#\[(?:\w+::)*test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*|//.*\s*)*(?:async )?fn {name}\b");
        let listed = format!(r"(?s)\bon_both! \{{[^}}]*\b{name}\b");
        return [function, listed].iter().any(|pattern| Regex::new(pattern).unwrap().is_match(&text));
    }
    let title = Regex::new(&format!(r#"\b(?:test|it)\(\s*['"`]{name}['"`]"#)).unwrap();
    title.is_match(&text.replace("\\'", "'"))
}

//! A file that a text refers to is in the repository, and the texts use the words of the field.

use std::path::Path;

use regex::Regex;

use crate::sources::{assert_none, files, lines_that_match, root, text};

/// Texts that people read: the sources and their comments, the documentation, the scripts.
fn is_text(path: &str) -> bool {
    let ends = [".md", ".rs", ".mjs", ".js", ".ts", ".tsx", ".toml", ".css", ".html", ".sql", ".yml"];
    ends.iter().any(|end| path.ends_with(end)) || matches!(path, "tests/run" | ".ci/run")
}

#[test]
fn links_lead_to_files_of_the_repository() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut violations = Vec::new();
    for path in files("").into_iter().filter(|path| path.ends_with(".md")) {
        let folder = root().join(&path).parent().unwrap().to_owned();
        for found in link.captures_iter(&text(&path).unwrap()) {
            let target = found[1].split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') && !folder.join(target).exists() {
                violations.push(format!("{path}: {target} does not exist"));
            }
        }
    }
    assert_none(violations);
}

#[test]
fn files_that_a_text_names_exist() {
    let named = Regex::new(
        r"(?:^|[^\w./@-])((?:docs|tests|src|openapi|migrations|frontend-sample|client|e2e|examples)/[\w/.-]+\.(?:md|rs|txt|toml|json|mjs|js|ts|tsx|sql))\b|(?:^|[^\w./-])([A-Za-z][\w-]*\.md)\b",
    )
    .unwrap();
    let all = files("");
    let mut violations = Vec::new();
    for path in all.iter().filter(|path| is_text(path)) {
        for (number, line) in (1..).zip(text(path).unwrap_or_default().lines()) {
            for found in named.captures_iter(line) {
                let name = found.get(1).or(found.get(2)).unwrap().as_str();
                let beside = Path::new(path).ancestors().skip(1).chain([Path::new("frontend-sample")]);
                let is_beside = beside.map(|folder| root().join(folder).join(name)).any(|file| file.exists());
                let is_anywhere = found.get(2).is_some() && all.iter().any(|file| file.ends_with(name));
                if !is_beside && !is_anywhere {
                    violations.push(format!("{path}:{number}: {name} does not exist"));
                }
            }
        }
    }
    assert_none(violations);
}

#[test]
fn texts_use_the_words_of_the_field() {
    let words = "mend|mends|mended|nobody|somebody|everybody|whoever";
    let old = format!(
        r"(?i)(?:^|[\s(])(?:{words})(?:'s)?(?:[\s.,;:)]|$)|\b(?:is|are|was|were|be) away\b|, too(?:[.,;:)]|$| \()"
    );
    assert_none(lines_that_match(&Regex::new(&old).unwrap(), |path| {
        is_text(path)
            && (path.ends_with(".md") || path.starts_with("src/") || path.starts_with("frontend-sample/"))
    }));
}

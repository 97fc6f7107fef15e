//! The files of the repository, and the sources of the program without comments and tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Fails with every violation on a line of its own.
pub fn assert_none(violations: Vec<String>) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// A source file of the program, without comments and tests.
pub struct Source {
    /// Relative to the root.
    pub path: String,
    /// Its text without comments and tests.
    pub code: String,
    /// Its lines without tests.
    pub length: usize,
}

/// The sources of the program, without those of tests.
pub fn sources() -> Vec<Source> {
    let sources: Vec<Source> = files("src")
        .into_iter()
        .filter(|path| path.ends_with(".rs") && !is_test(path))
        .map(|path| {
            let text = read(&path);
            let text = split_at_tests(&text).0;
            Source { code: without_comments(text), length: text.lines().count(), path }
        })
        .collect();
    assert!(sources.len() > 10, "the sources were not found");
    sources
}

impl Source {
    pub fn is_in(&self, module: &str) -> bool {
        let inside = self.path.strip_prefix("src/").and_then(|path| path.strip_prefix(module));
        inside.is_some_and(|rest| rest.starts_with(['/', '.']))
    }

    /// Those of the top-level modules that stand behind `crate::`, and behind as many `super::` as lead to the same place.
    pub fn named_of(&self, modules: &BTreeSet<String>) -> BTreeSet<String> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let depth = inner.split('/').count();
        let named = Regex::new(&format!(r"\bcrate::(\{{[^;]*|\w+)|(?:\bsuper::){{{depth}}}(\w+)")).unwrap();
        named
            .captures_iter(&self.code)
            .flat_map(|found| group(found.get(1).or(found.get(2)).unwrap().as_str()))
            .filter(|name| modules.contains(name))
            .collect()
    }
}

/// The first names of `a`, or of `{a::b, c::{d, e}}`.
fn group(text: &str) -> Vec<String> {
    let Some(list) = text.strip_prefix('{') else { return vec![text.to_owned()] };
    let (mut depth, mut names, mut name) = (0, Vec::new(), String::new());
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(std::mem::take(&mut name)),
            _ if depth == 0 => name.push(letter),
            _ => {}
        }
    }
    names.push(name);
    names.iter().filter_map(|name| name.trim().split("::").next().map(str::to_owned)).collect()
}

pub fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

pub fn split_at_tests(text: &str) -> (&str, &str) {
    text.split_at(text.find("\n#[cfg(test)]\nmod tests").unwrap_or(text.len()))
}

fn without_comments(text: &str) -> String {
    let code = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    code.collect::<Vec<_>>().join("\n")
}

/// `path:line: text` for every line of the repository's text files that matches.
pub fn lines_that_match(pattern: &Regex, of: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for path in files("").into_iter().filter(|path| of(path)) {
        for (number, line) in (1..).zip(text(&path).unwrap_or_default().lines()) {
            if pattern.is_match(line) {
                found.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    found
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of a file, or nothing for pictures and the like.
pub fn text(path: &str) -> Option<String> {
    String::from_utf8(std::fs::read(root().join(path)).unwrap()).ok()
}

/// The files of a folder of the repository, below it too, relative to the root; without what builds leave there.
pub fn files(folder: &str) -> Vec<String> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                let built = matches!(name, "target" | "node_modules" | ".git" | "dist" | "demo-data");
                folders.extend((!built).then(|| path.clone()));
            } else if name != ".git" {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

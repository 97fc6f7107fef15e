//! The rules of the repository that neither the compiler nor clippy holds. Every failure lists each violation.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "test names say what is tested")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use regex::Regex;

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

const LONGEST_FILE: usize = 400;

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

#[test]
fn files_and_functions_are_short() {
    let mut violations = Vec::new();
    for source in sources() {
        if source.length > LONGEST_FILE {
            violations.push(format!("{}: {} lines without its tests", source.path, source.length));
        }
        // Clippy counts the lines of functions; nobody is excused from it.
        if source.code.contains("too_many_lines") {
            violations.push(format!("{}: switches clippy::too_many_lines off", source.path));
        }
    }
    if !read("Cargo.toml").contains("too_many_lines = \"deny\"") {
        violations.push("Cargo.toml: clippy::too_many_lines is not denied".to_owned());
    }
    if !read("clippy.toml").contains("too-many-lines-threshold = 60") {
        violations.push("clippy.toml: functions can be longer than 60 lines".to_owned());
    }
    assert_none(violations);
}

#[test]
fn nothing_is_left_for_later() {
    let later = Regex::new(&[r"\b(TO", "DO|FIX", "ME|XX", r"X)\b"].concat()).unwrap();
    assert_none(lines_that_match(&later, |_| true));
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let machine = Regex::new(r"/(home|Users|root)/\w|/work/(main|wt|shared)\b|artifact[o]ry").unwrap();
    assert_none(lines_that_match(&machine, |_| true));
}

#[test]
fn packages_come_from_the_public_registries_only() {
    let foreign = Regex::new(r#"^source = "|"resolved": ""#).unwrap();
    let public = Regex::new(
        r#"^source = "registry\+https://github\.com/rust-lang/crates\.io-index"|"resolved": "https://registry\.npmjs\.org/"#,
    )
    .unwrap();
    let locks = lines_that_match(&foreign, |path| {
        path.ends_with("Cargo.lock") || path.ends_with("package-lock.json")
    });
    assert!(!locks.is_empty(), "no lock file was found");
    assert_none(
        locks.into_iter().filter(|line| !public.is_match(line.split_once(": ").unwrap().1)).collect(),
    );
}

#[test]
fn scripts_can_be_run() {
    let mut violations = Vec::new();
    for path in ["tests/run", ".ci/run"] {
        if !root().join(path).exists() {
            violations.push(format!("{path}: is missing"));
        }
    }
    for path in files("") {
        let executable = root().join(&path).metadata().unwrap().permissions().mode() & 0o111 == 0o111;
        if text(&path).is_some_and(|text| text.starts_with("#!/")) != executable {
            violations.push(format!("{path}: has the executable bit or a first line #!, and not both"));
        }
    }
    assert_none(violations);
}

fn assert_none(violations: Vec<String>) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// A source file of the program, without comments and tests.
struct Source {
    path: String,
    code: String,
    length: usize,
}

fn sources() -> Vec<Source> {
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
    fn is_in(&self, module: &str) -> bool {
        let inside = self.path.strip_prefix("src/").and_then(|path| path.strip_prefix(module));
        inside.is_some_and(|rest| rest.starts_with(['/', '.']))
    }

    /// Those of the top-level modules that stand behind `crate::`, and behind as many `super::` as lead to the same place.
    fn named_of(&self, modules: &BTreeSet<String>) -> BTreeSet<String> {
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

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn split_at_tests(text: &str) -> (&str, &str) {
    text.split_at(text.find("\n#[cfg(test)]\nmod tests").unwrap_or(text.len()))
}

fn without_comments(text: &str) -> String {
    let code = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    code.collect::<Vec<_>>().join("\n")
}

/// `path:line: text` for every line of the repository's text files that matches.
fn lines_that_match(pattern: &Regex, of: impl Fn(&str) -> bool) -> Vec<String> {
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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of a file, or nothing for pictures and the like.
fn text(path: &str) -> Option<String> {
    String::from_utf8(std::fs::read(root().join(path)).unwrap()).ok()
}

/// The files of a folder of the repository, below it too, relative to the root; without what builds leave there.
fn files(folder: &str) -> Vec<String> {
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

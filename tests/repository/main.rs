//! The rules of the repository that neither the compiler nor clippy holds. Every failure lists each violation.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "test names say what is tested")]

mod circles;
mod layers;
mod references;
mod security;
mod sources;
mod supply_chain;

use std::os::unix::fs::PermissionsExt;

use regex::Regex;

use sources::{assert_none, files, lines_that_match, read, root, sources, text};

/// The longest source file, in lines without tests.
const LONGEST_FILE: usize = 400;

/// Nine of ten source files are shorter, in lines without tests.
const USUAL_FILE: usize = 270;

#[test]
fn files_and_functions_are_short() {
    let mut violations = Vec::new();
    let mut lengths: Vec<usize> = sources().iter().map(|source| source.length).collect();
    lengths.sort_unstable();
    let ninth_of_ten = lengths[lengths.len() * 9 / 10];
    if ninth_of_ten >= USUAL_FILE {
        violations.push(format!("one of ten files has {ninth_of_ten} lines or more without its tests"));
    }
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

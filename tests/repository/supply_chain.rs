//! The dependencies are such as `deny.toml` allows, as far as that can be checked without the network. `cargo deny check` also
//! asks for advisories and withdrawn versions.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use toml::Table;

use crate::sources::{assert_none, read, root};

/// The optional features that `tests/run` builds, so that their crates are on this machine.
const FEATURES: &str = "postgres,redis-sentinel,redis-cluster";

fn table(path: &str) -> Table {
    read(path).parse().unwrap()
}

/// The list `section.name` of `deny.toml`.
fn rules(section: &str, name: &str) -> Vec<toml::Value> {
    table("deny.toml")[section][name].as_array().unwrap().clone()
}

/// A package of the lock file.
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

fn locked() -> Vec<Locked> {
    let lock = table("Cargo.lock");
    let packages = lock["package"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let text = |key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            Locked {
                name: text("name").unwrap(),
                version: text("version").unwrap(),
                source: text("source"),
                checksum: text("checksum"),
            }
        })
        .collect()
}

/// The packages of the dependency tree on this platform, without this one: name, version and licence.
fn tree() -> Vec<(String, String, String)> {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1", "--features", FEATURES])
        .args(["--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    packages
        .filter(|package| !package["source"].is_null())
        .map(|package| (text(package, "name"), text(package, "version"), text(package, "license")))
        .collect()
}

/// The numbers of a version, without what follows `-` or `+`.
fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap();
    release.split('.').map(|number| number.parse().unwrap()).collect()
}

#[test]
fn every_package_has_the_checksum_of_a_release() {
    let registries = rules("sources", "allow-registry");
    let allowed: Vec<String> =
        registries.iter().map(|url| format!("registry+{}", url.as_str().unwrap())).collect();
    let packages = locked();
    assert!(packages.len() > 100, "the lock file was not read");
    let mut violations = Vec::new();
    for Locked { name, version, source, checksum } in packages {
        if name == env!("CARGO_PKG_NAME") {
            continue;
        }
        if !source.is_some_and(|source| allowed.contains(&source)) {
            violations.push(format!("{name} {version} does not come from crates.io"));
        }
        if checksum.is_none_or(|checksum| checksum.len() != 64) {
            violations.push(format!("{name} {version} has no checksum"));
        }
        if version.split('+').next().unwrap().contains('-') {
            violations.push(format!("{name} {version} is a pre-release"));
        }
    }
    assert_none(violations);
}

/// Whether a rule such as `diesel:<2.2.3`, or a name alone, means this version.
fn is_meant(rule: &str, name: &str, version: &str) -> bool {
    let (of, below) = rule.split_once(":<").map_or((rule, None), |(of, below)| (of, Some(below)));
    of == name && below.is_none_or(|below| numbers(version) < numbers(below))
}

#[test]
fn no_package_is_of_a_version_that_is_denied() {
    let rules = rules("bans", "deny");
    let mut violations = Vec::new();
    for required in ["actix-http:<3.12.1", "jsonwebtoken:<10.3.0", "diesel:<2.2.3"] {
        if !rules.iter().any(|rule| rule["crate"].as_str() == Some(required)) {
            violations.push(format!("deny.toml does not deny {required}"));
        }
    }
    for (name, version, _) in tree() {
        for rule in &rules {
            if is_meant(rule["crate"].as_str().unwrap(), &name, &version) {
                violations.push(format!("{name} {version}: {}", rule["reason"].as_str().unwrap()));
            }
        }
    }
    assert_none(violations);
    assert!(is_meant("a:<1.10.0", "a", "1.9.9") && !is_meant("a:<1.10.0", "a", "1.10.0"));
    assert!(is_meant("a", "a", "1.0.0") && !is_meant("a", "b", "1.0.0"));
}

/// Whether a licence expression (SPDX; older packages write `/` for `OR`) can be satisfied with the allowed licences.
/// `AND` binds more tightly than `OR`. An exception (`WITH`) only adds permissions.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    alternatives(&mut rest, allowed) && rest.is_empty()
}

fn alternatives(words: &mut &[&str], allowed: &[&str]) -> bool {
    let mut good = requirements(words, allowed);
    while let [first, rest @ ..] = *words
        && *first == "OR"
    {
        *words = rest;
        good |= requirements(words, allowed);
    }
    good
}

fn requirements(words: &mut &[&str], allowed: &[&str]) -> bool {
    let mut good = licence(words, allowed);
    while let [first, rest @ ..] = *words
        && *first == "AND"
    {
        *words = rest;
        good &= licence(words, allowed);
    }
    good
}

fn licence(words: &mut &[&str], allowed: &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let good = alternatives(words, allowed);
            let closed = words.first() == Some(&")");
            *words = words.get(1..).unwrap_or_default();
            good && closed
        }
        [name, "WITH", _, rest @ ..] | [name, rest @ ..] => {
            *words = rest;
            allowed.contains(name)
        }
        [] => false,
    }
}

#[test]
fn packages_are_under_allowed_licences() {
    let list = rules("licenses", "allow");
    let allowed: Vec<&str> = list.iter().map(|licence| licence.as_str().unwrap()).collect();
    let refused = tree().into_iter().filter(|(_, _, licence)| !is_allowed(licence, &allowed));
    assert_none(refused.map(|(name, version, licence)| format!("{name} {version}: {licence:?}")).collect());
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "ISC", "Apache-2.0"];
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL-3.0",
        "(GPL-3.0 OR MIT) AND ISC",
        "Apache-2.0 WITH LLVM-exception OR X",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "GPL-3.0 OR MIT AND X",
        "(MIT",
        "MIT ISC",
        "(MIT OR X) AND (X OR Y)",
    ] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}

#[test]
fn a_crate_in_two_versions_has_a_reason() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in locked() {
        versions.entry(package.name).or_default().push(package.version);
    }
    let mut doubled = Vec::new();
    for (name, mut versions) in versions {
        versions.sort_by_key(|version| numbers(version));
        versions.pop();
        let plain = |version: &String| version.split('+').next().unwrap().to_owned();
        doubled.extend(versions.iter().map(|version| format!("{name}@{}", plain(version))));
    }
    let skipped = rules("bans", "skip");
    let text = |entry: &toml::Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let named: Vec<String> = skipped.iter().map(|entry| text(entry, "crate")).collect();
    let unexplained = doubled.iter().filter(|package| !named.contains(package));
    let mut violations: Vec<String> = unexplained
        .map(|package| format!("{package}: a newer version is there too, and deny.toml gives no reason"))
        .collect();
    let outdated = named.iter().filter(|package| !doubled.contains(package));
    violations.extend(
        outdated.map(|package| format!("deny.toml: {package} is no longer the older of two versions")),
    );
    let silent = skipped.iter().filter(|entry| text(entry, "reason").is_empty());
    violations.extend(silent.map(|entry| format!("deny.toml: {} has no reason", text(entry, "crate"))));
    assert_none(violations);
}

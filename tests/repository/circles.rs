//! No source files that import each other in a circle. A module and its own children count as one.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::sources::{assert_none, sources};

/// A module's path, as `["flow", "login"]`.
type Module = Vec<String>;

/// Which modules a module names; each with a path by which it does.
type Arrows = BTreeMap<Module, BTreeMap<Module, String>>;

#[test]
fn files_do_not_import_each_other_in_circles() {
    let arrows = arrows();
    assert!(arrows.values().map(BTreeMap::len).sum::<usize>() > 100, "the imports were not found");
    let mut violations = Vec::new();
    for circle in circles(&arrows) {
        let mut text = format!("circle of {}:", circle.len());
        for from in &circle {
            for (to, path) in arrows[from].iter().filter(|(to, _)| circle.contains(*to)) {
                text += &format!("\n  {} -> {} by {path}", from.join("::"), to.join("::"));
            }
        }
        violations.push(text);
    }
    assert_none(violations);
}

#[test]
fn a_circle_is_found() {
    let module = |name: &str| vec![name.to_owned()];
    let arrow = |from: &str, to: &[&str]| {
        (module(from), to.iter().map(|to| (module(to), String::new())).collect::<BTreeMap<_, _>>())
    };
    let arrows =
        Arrows::from([arrow("a", &["b"]), arrow("b", &["c"]), arrow("c", &["a", "d"]), arrow("d", &[])]);
    assert_eq!(circles(&arrows), [BTreeSet::from(["a", "b", "c"].map(module))]);
    assert_eq!(
        leaves("super::{a::{B, c as d}, e::F}"),
        [vec!["super", "a", "B"], vec!["super", "a", "c"], vec!["super", "e", "F"]]
    );
}

fn arrows() -> Arrows {
    let use_item = Regex::new(r"\buse\s+([^;]+);").unwrap();
    let qualified = Regex::new(r"\b(?:crate|super|self)(?:::\w+)+").unwrap();
    let only_for_tests = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;").unwrap();
    let sources = sources();
    let mut for_tests: BTreeSet<Module> = BTreeSet::new();
    let mut codes: BTreeMap<Module, &str> = BTreeMap::new();
    for source in &sources {
        let inner = source.path.trim_start_matches("src/").trim_end_matches(".rs");
        let root = matches!(inner, "lib" | "main");
        let inner = if root { "" } else { inner.strip_suffix("/mod").unwrap_or(inner) };
        let module: Module = inner.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        for found in only_for_tests.captures_iter(&source.code) {
            for_tests.insert([&module[..], &[found[1].to_owned()]].concat());
        }
        if !root {
            codes.insert(module, &source.code);
        }
    }
    codes.retain(|module, _| !for_tests.iter().any(|tests| module.starts_with(tests)));

    let mut arrows = Arrows::new();
    for (here, code) in &codes {
        let mut named: Vec<Vec<String>> =
            use_item.captures_iter(code).flat_map(|found| leaves(&found[1])).collect();
        let without_use = use_item.replace_all(code, "");
        named.extend(qualified.find_iter(&without_use).flat_map(|found| leaves(found.as_str())));
        let targets = arrows.entry(here.clone()).or_default();
        for path in named {
            let Some(target) = resolve(here, &path, &codes) else { continue };
            let one_house = target == here[..here.len() - 1] || *here == target[..target.len() - 1];
            if target != *here && !one_house {
                targets.entry(target).or_insert_with(|| path.join("::"));
            }
        }
    }
    arrows
}

/// The paths of a use tree: `a::{b, c::{d as e}}` is `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((head, list)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.split("::").map(|name| name.trim().to_owned()).collect()];
    };
    let list = list.rsplit_once('}').map_or(list, |(list, _)| list);
    let head: Vec<String> =
        head.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(leaves).map(|leaf| [&head[..], &leaf].concat()).collect()
}

/// The module with a file of its own that a path leads to or through.
fn resolve(here: &Module, path: &[String], modules: &BTreeMap<Module, &str>) -> Option<Module> {
    let mut base = here.clone();
    let mut names = path;
    match names.first().map(String::as_str) {
        Some("crate") => {
            base.clear();
            names = &names[1..];
        }
        Some("super" | "self") => {
            while let Some(name @ ("super" | "self")) = names.first().map(String::as_str) {
                if name == "super" {
                    base.pop();
                }
                names = &names[1..];
            }
        }
        // A child of this module, or another crate.
        Some(first) => {
            let child = [&here[..], &[first.to_owned()]].concat();
            modules.get(&child)?;
        }
        None => return None,
    }
    let mut target = [&base[..], names].concat();
    while !target.is_empty() {
        if modules.contains_key(&target) {
            return Some(target);
        }
        target.pop();
    }
    None
}

/// The groups of two or more modules that reach each other.
fn circles(arrows: &Arrows) -> Vec<BTreeSet<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        arrows.keys().map(|module| (module, reached_from(module, arrows))).collect();
    let mut circles = Vec::new();
    for (module, others) in &reached {
        let circle: BTreeSet<Module> =
            others.iter().filter(|other| reached[**other].contains(module)).map(|m| (*m).clone()).collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reached_from<'a>(module: &'a Module, arrows: &'a Arrows) -> BTreeSet<&'a Module> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![module]);
    while let Some(module) = next.pop() {
        next.extend(arrows[module].keys().filter(|to| reached.insert(*to)));
    }
    reached
}

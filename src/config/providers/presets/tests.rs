use std::fmt::Write;

use super::*;

fn written(toml: &str) -> Map<String, Value> {
    File::from_str(toml, FileFormat::Toml).collect().unwrap()
}

fn text(settings: &Map<String, Value>, path: &[&str]) -> String {
    let (last, parents) = path.split_last().unwrap();
    let found = parents.iter().fold(settings, |settings, name| table(&settings[*name]).unwrap());
    found[*last].clone().into_string().unwrap()
}

#[test]
fn what_is_written_beside_a_preset_wins() {
    let expanded = expand(written(
        r#"
        kind = "gitlab"
        id = "ours"
        issuer = "https://gitlab.example.com"
        claims = { groups = "$.groups_direct[*]" }
        "#,
    ));
    assert_eq!(text(&expanded, &["kind"]), "oidc");
    assert_eq!(text(&expanded, &["issuer"]), "https://gitlab.example.com");
    assert_eq!(text(&expanded, &["display_name"]), "GitLab");
    let github = expand(written("kind = \"github\"\nclaims = { display_name = \"$.login\" }"));
    assert_eq!(text(&github, &["claims", "display_name"]), "$.login");
    assert_eq!(text(&github, &["claims", "subject"]), "$.id", "the other claims stay");
    let documents = expand(written("kind = \"github\"\nprofile = []"));
    assert_eq!(documents["profile"].clone().into_array().unwrap().len(), 0, "lists are replaced");
}

#[test]
fn other_kinds_are_left_as_they_are() {
    for kind in ["oidc", "oauth2", "unknown", "GitHub"] {
        let settings = written(&format!("kind = \"{kind}\"\nid = \"x\""));
        assert_eq!(expand(settings.clone()), settings, "{kind}");
    }
    assert_eq!(expand(written("id = \"x\"")), written("id = \"x\""));
}

/// The table of docs/providers.md.
fn list() -> String {
    let mut list =
        "| preset | provider | kind | beside `client_id` and the secret |\n|---|---|---|---|\n".to_owned();
    let mut names: Vec<&String> = PRESETS.keys().collect();
    names.sort_unstable();
    for name in names {
        let preset = table(&PRESETS[name]).unwrap();
        let kind = text(preset, &["kind"]);
        let needs = if kind == "oidc" && !preset.contains_key("issuer") { "`issuer`" } else { "" };
        writeln!(list, "| `{name}` | {} | `{kind}` | {needs} |", text(preset, &["display_name"])).unwrap();
    }
    list
}

#[test]
fn the_documentation_lists_the_presets() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md");
    const BEGIN: &str =
        "<!-- Generated from src/config/providers/presets.toml: UPDATE_DOCS=1 cargo test --lib presets -->\n";
    const END: &str = "<!-- End of the generated list -->\n";
    let page = std::fs::read_to_string(FILE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(FILE, format!("{before}{BEGIN}{}{END}{after}", list())).unwrap();
    } else {
        assert!(written == list(), "docs/providers.md is stale: UPDATE_DOCS=1 cargo test --lib presets");
    }
}

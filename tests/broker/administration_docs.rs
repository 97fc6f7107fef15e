//! `docs/administration.md`: its commands are run as written and must print the output shown.
//!
//! `UPDATE_DOCS=1` writes the actual output into the page.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use token_broker::domain::standing::Standing;

use crate::support::administration::Desk;
use crate::support::broker::TestBroker;

const PAGE: &str = "docs/administration.md";
const COMMANDS: &str = "```sh\n";
const OUTPUT: &str = "```\n```text\n";
const END: &str = "```\n";

/// The text without values that differ between runs and machines.
fn normalized(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, replacement) in [
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "(an id of thirty-six characters) ",
        ),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "(time)"),
        (r"\b[0-9a-f]{8}\b", "(log id)"),
        (r"tbs_[0-9A-Za-z]{50}", "(secret)"),
        (r"\bby \w+( \(sudo \w+\))?,", "by (user),"),
        (r"\d+ events written", "(number) events written"),
        (r"\s+", " "),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, replacement).into_owned();
    }
    text
}

/// Runs the commands of one block; returns their output, including notices.
fn run(desk: &Desk, script: &str, ids: &[(&str, String)]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_token-broker")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let ended = Command::new("sh")
        .args(["-e", "-c", &format!("exec 2>&1\n{script}")])
        .current_dir(desk.folder())
        .env("PATH", path)
        .env("TOKEN_BROKER_CONFIG", "token-broker.toml")
        .env_remove("SUDO_USER")
        .envs(ids.iter().map(|(name, id)| (name, id)))
        .output()
        .unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{script}\n{out}");
    out
}

#[actix_web::test]
async fn the_commands_of_the_page_print_what_it_shows() {
    let broker = TestBroker::start();
    broker.sign_in(&broker.browser(), "dev", "bob").await;
    let leaked = broker.sign_in(&broker.browser(), "dev", "alice").await;
    for _ in 0..2 {
        broker.sign_in(&broker.browser(), "dev", "alice").await;
    }
    let desk = Desk::of(&broker);
    let live = desk.json(&["tokens", "list", "--user", "alice"]);
    let id = |index: usize, name: &str| live[index][name].as_str().unwrap().to_owned();
    let ids = [("TOKEN_ID", id(0, "id")), ("SESSION", id(0, "session"))];
    desk.file("leaked.txt", &leaked);
    for key in ["stock.pem", "stock-new.pem"] {
        desk.file(key, &rcgen::KeyPair::generate().unwrap().public_key_pem());
    }

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&file).unwrap();
    let (mut real, mut scripts) = (String::new(), String::new());
    let mut pieces = page.split(COMMANDS);
    real.push_str(pieces.next().unwrap());
    for piece in pieces {
        let (script, rest) = piece.split_once(OUTPUT).unwrap_or_else(|| panic!("no output behind {piece}"));
        let (_, rest) = rest.split_once(END).unwrap();
        scripts.push_str(script);
        real.extend([COMMANDS, script, OUTPUT, &run(&desk, script, &ids), END, rest]);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() && normalized(&page) != normalized(&real) {
        std::fs::write(&file, &real).unwrap();
        return;
    }
    assert_eq!(normalized(&page), normalized(&real), "UPDATE_DOCS=1 writes the page anew");
    assert!(page.lines().filter(|line| !line.starts_with('|')).all(|line| line.chars().count() <= 120));
    all_commands_are_shown(&desk, &scripts);
}

/// The table of the JSON output is what scripts rely on.
#[actix_web::test]
async fn the_page_names_every_member_of_a_listed_token() {
    let broker = TestBroker::start();
    broker.sign_in(&broker.browser(), "dev", "alice").await;
    let listed = Desk::of(&broker).json(&["tokens", "list"]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(file).unwrap();
    let row = page.lines().find(|line| line.starts_with("| `tokens list` |")).unwrap();
    for member in listed[0].as_object().unwrap().keys() {
        assert!(row.contains(&format!("`{member}`")), "{member}");
    }
    for standing in [Standing::KeyRemoved, Standing::Forged, Standing::Idle, Standing::ClientGone] {
        assert!(row.contains(&format!("`{}`", standing.as_str())), "{standing:?}");
    }
}

/// Checks that the page has an example of every command in the help.
fn all_commands_are_shown(desk: &Desk, scripts: &str) {
    let mut missing = BTreeSet::new();
    for command in ["users", "sessions", "tokens", "resource-servers", "audit"] {
        let help = desk.done(&[command, "--help"]);
        let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
        for name in list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()) {
            let example = format!("token-broker {command} {name}");
            if !name.is_empty() && name != "help" && !scripts.contains(&example) {
                missing.insert(example);
            }
        }
    }
    assert_eq!(missing, BTreeSet::new(), "no example");
}

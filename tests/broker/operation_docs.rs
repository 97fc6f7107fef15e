//! `docs/operation.md` and `docs/migrating-from-django.md`: their commands are run as written, and what they name exists.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use secrecy::ExposeSecret;
use serde_json::json;
use token_broker::error::ErrorCode;

use crate::support::administration::{CONFIG, Desk};
use crate::support::broker::TestBroker;
use crate::support::yaml;

const BINARY: &str = env!("CARGO_BIN_EXE_token-broker");

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The blocks of this language, without their indentation.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let block = |piece: &str| {
        let lines = piece.lines().take_while(|line| line.trim() != "```");
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    file(page).split(&fence).skip(1).map(block).collect()
}

/// Runs a block with `sh -e` in `folder`.
fn run(script: &str, folder: &Path) -> String {
    let program = Path::new(BINARY).parent().unwrap().display();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    let ended = Command::new("sh")
        .args(["-e", "-c", &format!("exec 2>&1\n{script}")])
        .current_dir(folder)
        .env("PATH", path)
        .env("TOKEN_BROKER_CONFIG", "token-broker.toml")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{script}\n{said}");
    said
}

#[actix_web::test]
async fn the_commands_of_the_operation_page_work() {
    let broker = TestBroker::start();
    let leaked = broker.sign_in(&broker.browser(), "dev", "bob").await;
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let desk = Desk::of(&broker);
    desk.file("leaked.txt", &leaked);
    let database = broker.config.database.url.expose_secret().trim_start_matches("sqlite:").to_owned();
    std::os::unix::fs::symlink(&database, desk.folder().join("broker.sqlite")).unwrap();
    std::fs::create_dir(desk.folder().join("backup")).unwrap();

    let blocks = blocks("docs/operation.md", "sh");
    let [urls, backup, forget, leak, leave] = &blocks[..] else { panic!("{blocks:?}") };
    let elsewhere = tempfile::tempdir().unwrap();
    run(urls, elsewhere.path());
    for (name, scheme) in [("database_url", "postgres://"), ("key_store_url", "rediss://")] {
        assert!(std::fs::read_to_string(elsewhere.path().join(name)).unwrap().starts_with(scheme));
    }
    run(backup, desk.folder());
    let saved = run("sqlite3 backup.sqlite 'SELECT count(*) FROM tokens'", desk.folder());
    assert_eq!(saved.trim(), "2", "also what is only in the write-ahead log");
    assert!(desk.folder().join("backup/server_keys.toml").exists());

    assert!(run(leak, desk.folder()).contains("revoked"));
    assert_eq!(broker.call("/api/me", &leaked).await.status, 401);
    assert!(run(leave, desk.folder()).contains("is now disabled"));
    assert_eq!(broker.call("/api/me", &alice).await.status, 401);
    let said = run(forget, desk.folder());
    assert!(said.contains("Key 2 now issues.") && said.contains("Key 1 removed."), "{said}");
}

/// A restored file works with the server keys of the backup, and only with them.
#[actix_web::test]
async fn a_restored_backup_knows_its_tokens() {
    let broker = TestBroker::start();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let desk = Desk::of(&broker);
    let database = broker.config.database.url.expose_secret().trim_start_matches("sqlite:").to_owned();
    run(&format!("sqlite3 {database} '.backup restored.sqlite'"), desk.folder());
    desk.file("database_url", &format!("sqlite:{}", desk.folder().join("restored.sqlite").display()));
    // What happened after the backup is forgotten.
    assert_eq!(broker.post("/api/logout", &token, &json!({})).await.status, 200);
    assert_eq!(desk.json(&["tokens", "list"])[0]["state"], "live");
    std::fs::remove_file(desk.folder().join("server_keys.toml")).unwrap();
    desk.done(&["keys", "generate", "--output", "server_keys.toml"]);
    assert_ne!(desk.json(&["tokens", "list"])[0]["state"], "live");
}

#[test]
fn every_alert_is_in_the_runbook() {
    let page = file("docs/operation.md");
    let (_, runbook) = page.split_once("## Runbook").unwrap();
    let alerts = yaml::documents(&file("deploy/monitoring/alerts.yml")).remove(0);
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(names.len(), rules.len(), "each has its own name");
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(runbook.contains(name), "{name} is not in the runbook");
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{name}: {severity:?}");
        assert!(rule["annotations"]["summary"].is_string() && rule["annotations"]["description"].is_string());
    }
    let named = Regex::new(r"TokenBroker\w+").unwrap();
    for name in named.find_iter(runbook) {
        assert!(names.contains(name.as_str()), "there is no alert {}", name.as_str());
    }
}

/// Commands in sentences and in blocks that a test cannot run.
#[test]
fn the_pages_name_commands_and_codes_that_exist() {
    let command = Regex::new(r"token-broker ((?:[a-z][a-z-]+ ?){1,2})").unwrap();
    let code = Regex::new(r"`([a-z]+_[a-z_]+)`").unwrap();
    let places = Regex::new(r"`(?:# |\$ )?(token-broker [a-z][^`]*)`").unwrap();
    let (mut checked, mut codes) = (BTreeSet::new(), 0);
    for page in ["docs/operation.md", "docs/migrating-from-django.md"] {
        let text = file(page);
        let lines = blocks(page, "sh").into_iter().chain(blocks(page, "console")).collect::<String>();
        let in_sentences =
            places.captures_iter(&text).map(|found| format!("{}\n", &found[1])).collect::<String>();
        for line in [lines, in_sentences].concat().lines() {
            let Some(found) = command.captures(line) else { continue };
            checked.insert(
                found[1].split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>(),
            );
        }
        for found in code.captures_iter(&text) {
            codes += usize::from(ErrorCode::ALL.iter().any(|code| code.as_str() == &found[1]));
        }
    }
    assert!(checked.len() > 8 && codes > 3, "{checked:?} {codes}");
    for words in checked {
        let known = |words: &[String]| {
            Command::new(BINARY).args(words).arg("--help").output().unwrap().status.success()
        };
        // The second word can be an argument, such as a shell's name.
        assert!(known(&words) || known(&words[..1]), "token-broker {}", words.join(" "));
    }
}

#[test]
fn the_client_of_the_migration_page_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let (rest, _) = CONFIG.split_once("[[providers]]").unwrap();
    let block = &blocks("docs/migrating-from-django.md", "toml")[0];
    for (name, text) in [
        ("token-broker.toml", format!("{rest}\n{block}").as_str()),
        ("secret", "a-secret-of-the-tests-only"),
        ("database_url", "sqlite:broker.sqlite"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let prepare = "chmod 400 secret database_url; token-broker keys generate --output server_keys.toml";
    run(prepare, folder.path());
    let shown = run("token-broker check-config", folder.path());
    assert!(shown.contains("legacy: is on"), "{shown}");
    let redirect = "# to register at ops as redirect URI: https://auth.example.com/oauth2_callback/\n";
    assert!(shown.contains(redirect), "{shown}");
}

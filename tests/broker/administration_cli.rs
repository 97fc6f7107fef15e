//! Behaviour common to all administrative commands: help, refusals and failures.

use std::time::Duration;

use reqwest::Method;
use token_broker::domain::clock::monotonic;

use crate::support::administration::Desk;
use crate::support::broker::TestBroker;
use crate::support::browser::Browser;
use crate::support::outage::assert_in_time;
use crate::support::process::free_port;
use crate::support::storage::Database;

const ID: &str = "0b5bbd2e-28c3-4f20-9a0e-1f1f0ffb5f6a";

/// One command of each group that uses the database.
const COMMANDS: [&[&str]; 9] = [
    &["users", "list"],
    &["users", "disable", "alice"],
    &["users", "delete", "alice", "--yes"],
    &["sessions", "end-all", "--everyone", "--yes"],
    &["tokens", "list"],
    &["resource-servers", "add", "orders", "--audience", "https://api.example.com"],
    &["audit", "list"],
    &["audit", "export"],
    &["purge"],
];

/// Those that need no other secret than the database's, so nothing else is checked for them.
const READS_ONLY_THE_DATABASE: [&[&str]; 3] = [&["users", "list"], &["audit", "list"], &["audit", "export"]];

#[actix_web::test]
async fn an_unavailable_database_is_reported_within_5_seconds() {
    let closed_port = free_port();
    let mut databases = vec!["sqlite:missing/folder/broker.sqlite".to_owned()];
    if cfg!(feature = "postgres") {
        databases.push(format!("postgres://u:hunter2@127.0.0.1:{closed_port}/db"));
    }
    for database in databases {
        let desk = Desk::at(&database);
        std::thread::scope(|scope| {
            for command in COMMANDS {
                let desk = &desk;
                scope.spawn(move || {
                    let begun = monotonic();
                    let ended = desk.run(command);
                    assert_in_time(begun, Duration::from_secs(5), &command.join(" "));
                    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{command:?}: {ended:?}");
                    assert!(ended.err.starts_with("token-broker: the database cannot be used"), "{ended:?}");
                    assert!(!ended.err.contains("hunter2"), "{ended:?}");
                });
            }
        });
    }
}

#[actix_web::test]
async fn a_database_without_tables_is_refused_with_a_hint_to_migrate() {
    let mut databases = vec![Database::sqlite()];
    #[cfg(feature = "postgres")]
    databases.push(Database::postgres());
    for database in databases {
        let desk = Desk::at(&database.url);
        for command in COMMANDS {
            let ended = desk.run(command);
            assert_eq!(ended.code, Some(1), "{command:?}: {ended:?}");
            assert!(ended.err.contains("`token-broker migrate`"), "{ended:?}");
        }
    }
}

#[actix_web::test]
async fn a_configuration_that_serve_refuses_is_refused_by_commands() {
    let database = Database::sqlite().migrated().await;
    let desk = Desk::at(&database.url);
    desk.done(&["users", "list"]);
    let secret = desk.folder().join("server_keys.toml");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    for command in COMMANDS {
        if READS_ONLY_THE_DATABASE.contains(&command) {
            desk.done(command);
        } else {
            let complaint = desk.refused(2, command);
            assert!(complaint.contains("server_keys.file"), "{complaint}");
        }
    }
    desk.refused(2, &["users", "list", "--config", "missing.toml"]);
}

#[actix_web::test]
async fn exit_codes_are_3_for_not_found_and_2_for_wrong_usage() {
    let database = Database::sqlite().migrated().await;
    let desk = Desk::at(&database.url);
    let missing: [&[&str]; 10] = [
        &["users", "show", "alice"],
        &["users", "disable", "alice"],
        &["users", "enable", ID],
        &["users", "delete", "corp/alice", "--yes"],
        &["users", "delete", "alice"],
        &["sessions", "list", "--user", "alice"],
        &["sessions", "end-all", "--user", "alice", "--yes"],
        &["tokens", "list", "--user", "alice"],
        &["audit", "list", "--user", "alice"],
        &["resource-servers", "remove", "orders"],
    ];
    for command in missing {
        assert!(desk.refused(3, command).contains("there is no"), "{command:?}");
    }
    let misused: [&[&str]; 6] = [
        &["users"],
        &["users", "show"],
        &["users", "list", "--limit", "many"],
        &["sessions", "end"],
        &["resource-servers", "add", "orders"],
        &["purge", "--yes", "--now"],
    ];
    for command in misused {
        assert!(desk.refused(2, command).contains("--help"), "{command:?}");
    }
    for list in ["users", "sessions", "tokens", "resource-servers", "audit"] {
        assert_eq!(desk.json(&[list, "list"]), serde_json::json!([]));
        let ended = desk.run(&[list, "list"]);
        assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), "", "No results.\n"), "{list}");
    }
}

/// The help of every command, found from the help of the one above it.
#[actix_web::test]
async fn the_help_of_every_command_lists_the_exit_codes() {
    let desk = Desk::at("sqlite:unused");
    let mut found = 0;
    for command in ["users", "sessions", "tokens", "resource-servers", "audit", "purge"] {
        let help = desk.done(&[command, "--help"]);
        let commands =
            help.split("Commands:\n").nth(1).and_then(|list| list.split("\n\n").next()).unwrap_or_default();
        let names = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        let inner: Vec<&str> = names.filter(|name| !["", "help"].contains(name)).collect();
        for path in inner.iter().map(|name| vec![command, name]).chain([vec![command]]) {
            let help = desk.done(&[&path[..], &["--help"]].concat());
            assert!(help.contains("Exit codes: 0 success"), "{path:?}: {help}");
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{path:?}: {help}");
            found += 1;
        }
    }
    assert_eq!(found, 28, "a command more or less than this test knows");
}

#[actix_web::test]
async fn there_is_no_administration_over_http() {
    let broker = TestBroker::start();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let document: serde_json::Value =
        serde_json::from_str(&token_broker::http::openapi::document_json()).unwrap();
    let served: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let administrative = ["admin", "users", "resource_servers", "audit", "purge", "disable"];
    for path in &served {
        assert!(!administrative.iter().any(|word| path.contains(word)), "{path} is on the public listener");
    }
    let browser = Browser::new();
    let authorization = format!("Bearer {token}");
    for base in [&broker.real_url, &broker.admin_url] {
        for root in ["", "/api", "/admin", "/api/admin", "/oauth2"] {
            for what in ["users", "users/alice", "users/alice/disable", "resource-servers", "audit", "purge"]
            {
                for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                    let url = format!("{base}{root}/{what}");
                    let answer = browser.send(method, &url, &[("authorization", &authorization)], None).await;
                    assert_eq!(answer.status, 404, "{url}: {answer:?}");
                }
            }
        }
    }
    // The endpoints of the admin listener are read-only.
    for path in ["/metrics", "/healthz"] {
        let answer = browser.send(Method::POST, &format!("{}{path}", broker.admin_url), &[], None).await;
        assert_eq!(answer.status, 405, "{path}: {answer:?}");
    }
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

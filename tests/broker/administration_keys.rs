//! `keys`: concurrent commands on the shared file, and keys that resource servers still need.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use crate::support::administration::Desk;
use crate::support::storage::Database;

const FILE: [&str; 2] = ["--file", "server_keys.toml"];

fn path(desk: &Desk) -> PathBuf {
    desk.folder().join("server_keys.toml")
}

fn read(desk: &Desk) -> String {
    std::fs::read_to_string(path(desk)).unwrap()
}

fn ids(desk: &Desk) -> Vec<u64> {
    let listed = desk.json(&[&["keys", "list"], &FILE[..]].concat());
    listed.as_array().unwrap().iter().map(|key| key["id"].as_u64().unwrap()).collect()
}

/// Runs `keys retire` with these arguments, which must be refused and change nothing; returns the error.
fn stays(desk: &Desk, arguments: &[&str], code: i32) -> String {
    let before = read(desk);
    let complaint = desk.refused(code, &[&["keys", "retire"], arguments, &FILE[..]].concat());
    assert_eq!(read(desk), before, "{arguments:?}");
    complaint
}

fn retired(desk: &Desk, arguments: &[&str]) -> String {
    desk.done(&[&["keys", "retire"], arguments, &FILE[..]].concat())
}

/// Makes key 2 the issuing key, long enough ago that everything key 1 issued has expired.
fn replace_long_ago(desk: &Desk) {
    desk.done(&[&["keys", "add"], &FILE[..]].concat());
    desk.done(&[&["keys", "issue", "2"], &FILE[..]].concat());
    let text = read(desk);
    let stopped = text.lines().find(|line| line.starts_with("stopped")).unwrap();
    desk.file("server_keys.toml", &text.replace(stopped, "stopped_issuing_at = \"2020-01-01T00:00:00Z\""));
}

#[actix_web::test]
async fn concurrent_commands_lose_no_key_and_readers_see_a_complete_file() {
    let desk = Desk::at("sqlite:unused");
    std::thread::scope(|scope| {
        let adding: Vec<_> =
            (0..12).map(|_| scope.spawn(|| desk.run(&[&["keys", "add"], &FILE[..]].concat()))).collect();
        while adding.iter().any(|thread| !thread.is_finished()) {
            let text = read(&desk);
            assert!(toml::from_str::<toml::Table>(&text).unwrap()["keys"].as_array().is_some(), "{text}");
        }
        for thread in adding {
            let ended = thread.join().unwrap();
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        }
    });
    assert_eq!(ids(&desk), (1..=13).collect::<Vec<_>>());
    assert_eq!(std::fs::metadata(path(&desk)).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A command was killed between writing the new file and putting it in its place.
#[actix_web::test]
async fn leftovers_of_a_killed_command_are_harmless() {
    let desk = Desk::at("sqlite:unused");
    desk.file("server_keys.toml.new", "half a fi");
    desk.done(&[&["keys", "add"], &FILE[..]].concat());
    assert_eq!(ids(&desk), [1, 2]);
    assert!(!desk.folder().join("server_keys.toml.new").exists());
}

/// A process that holds the lock blocks the others only until it ends.
#[actix_web::test]
async fn a_command_waits_for_the_previous_one() {
    let desk = Desk::at("sqlite:unused");
    let held = std::fs::File::open(path(&desk)).unwrap();
    held.lock().unwrap();
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| desk.run(&[&["keys", "add"], &FILE[..]].concat()));
        // Readers do not wait, and see the old file.
        for _ in 0..5 {
            assert_eq!(ids(&desk), [1]);
        }
        assert!(!adding.is_finished());
        drop(held);
        assert_eq!(adding.join().unwrap().code, Some(0));
    });
    assert_eq!(ids(&desk), [1, 2]);
}

#[actix_web::test]
async fn a_needed_key_is_not_removed_by_mistake() {
    let database = Database::sqlite().migrated().await;
    let desk = Desk::at(&database.url);
    desk.done(&[&["keys", "add"], &FILE[..]].concat());
    for (arguments, code, hint) in [
        (&["1"][..], 2, "keys issue"),
        (&["1", "--yes"], 2, "keys issue"),
        (&["3", "--yes"], 3, "keys list"),
        (&["2"], 2, "does not say when it stopped issuing"),
    ] {
        let complaint = stays(&desk, arguments, code);
        assert!(complaint.contains(hint), "{complaint}");
    }
    desk.done(&[&["keys", "issue", "2"], &FILE[..]].concat());
    let complaint = stays(&desk, &["1"], 2);
    assert!(complaint.contains("can be valid until") && complaint.contains("--yes"), "{complaint}");
    retired(&desk, &["1", "--yes"]);
    assert_eq!(ids(&desk), [2]);
}

#[actix_web::test]
async fn a_key_that_a_resource_server_needs_is_not_removed_by_mistake() {
    let mut databases = vec![Database::sqlite().migrated().await];
    #[cfg(feature = "postgres")]
    databases.push(Database::postgres().migrated().await);
    for database in databases {
        let desk = Desk::at(&database.url);
        for name in ["orders", "billing"] {
            desk.done(&["resource-servers", "add", name, "--audience", "https://api.example.com"]);
        }
        desk.done(&["resource-servers", "disable", "billing"]);
        replace_long_ago(&desk);
        desk.done(&["resource-servers", "add", "fresh", "--audience", "https://api.example.com"]);

        let complaint = stays(&desk, &["1"], 2);
        for text in ["billing, orders (", "resource-servers rotate-secret", "remove-old-secret", "--yes"] {
            assert!(complaint.contains(text), "{text} is not in {complaint}");
        }
        assert!(!complaint.contains("fresh") && !complaint.contains("can be valid until"), "{complaint}");
        desk.done(&["resource-servers", "remove", "billing", "--yes"]);
        desk.done(&["resource-servers", "rotate-secret", "orders"]);
        assert!(stays(&desk, &["1"], 2).contains(": orders ("), "the old secret still works");
        desk.done(&["resource-servers", "remove-old-secret", "orders", "--yes"]);
        retired(&desk, &["1"]);
        assert_eq!(ids(&desk), [2]);
        let listed = desk.json(&["resource-servers", "list"]);
        assert!(
            listed.as_array().unwrap().iter().all(|server| server["secrets"][0]["works"] == true),
            "{listed}"
        );
    }
}

/// Both reasons are reported together, so that `--yes` confirms both.
#[actix_web::test]
async fn all_reasons_to_keep_a_key_are_reported_before_the_confirmation() {
    let database = Database::sqlite().migrated().await;
    let desk = Desk::at(&database.url);
    desk.done(&["resource-servers", "add", "orders", "--audience", "https://api.example.com"]);
    desk.done(&[&["keys", "add"], &FILE[..]].concat());
    desk.done(&[&["keys", "issue", "2"], &FILE[..]].concat());
    let complaint = stays(&desk, &["1"], 2);
    assert!(complaint.contains("can be valid until") && complaint.contains(": orders ("), "{complaint}");
    assert!(retired(&desk, &["1", "--yes"]).contains("resource-servers list"));
    let listed = desk.json(&["resource-servers", "list"]);
    assert_eq!(listed[0]["secrets"][0]["works"], json!(false));
}

/// It is unknown whether a resource server needs the key, so it is not removed.
#[actix_web::test]
async fn a_key_is_not_removed_while_the_database_is_unavailable() {
    let desk = Desk::at("sqlite:missing/folder/broker.sqlite");
    replace_long_ago(&desk);
    assert!(stays(&desk, &["1"], 1).contains("the database cannot be used"));
    assert!(stays(&desk, &["1", "--config", "missing.toml"], 2).contains("missing.toml"));
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_token-broker"))
        .args(["keys", "retire", "1", "--file"])
        .arg(path(&desk))
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("--config <FILE>"));
    assert_eq!(ids(&desk), [1, 2]);
    // In an emergency, `--yes` needs no database.
    retired(&desk, &["1", "--yes"]);
    assert_eq!(ids(&desk), [2]);
}

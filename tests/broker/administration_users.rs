//! `users`: listing, disabling, enabling and deleting users while a broker is running.

use secrecy::ExposeSecret;
use serde_json::Value;
use token_broker::domain::audit::{AuditEvent, AuditKind};

use crate::support::administration::{Desk, dump_of, holds};
use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
use crate::support::storage::sql;
#[cfg(feature = "postgres")]
use crate::support::storage::{Database, login, noon, sign_in};

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

async fn id_of(broker: &TestBroker, token: &str) -> String {
    broker.call("/api/me", token).await.json()["user"]["id"].as_str().unwrap().to_owned()
}

/// The newest audit events of a kind, as `audit list` shows them.
fn events(desk: &Desk, kind: &str) -> Vec<Value> {
    desk.json(&["audit", "list", "--kind", kind]).as_array().unwrap().clone()
}

#[actix_web::test]
async fn a_disabled_user_is_refused_at_once_and_can_log_in_after_being_enabled() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        let desk = Desk::of(&broker);
        let browser = broker.browser();
        let token = broker.sign_in(&browser, "dev", "alice").await;
        let elsewhere = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let other = broker.sign_in(&broker.browser(), "dev", "bob").await;
        let alice = id_of(&broker, &token).await;

        let said = desk.done(&["users", "disable", "alice"]);
        assert_eq!(
            said,
            format!("alice ({alice}) is now disabled; 2 sessions ended, 0 personal tokens revoked\n")
        );
        for instance in [&broker, &twin] {
            assert_eq!([status(instance, &token).await, status(instance, &elsewhere).await], [401, 401]);
            assert_eq!(status(instance, &other).await, 200, "other users are not affected");
        }
        let refused = broker.log_in(&broker.browser(), "dev", "alice", "").await;
        assert_eq!(refused.error(), "access_denied");
        let again = desk.json(&["users", "disable", &alice]);
        let unchanged = serde_json::json!({
            "user": alice, "changed": false, "sessions_ended": 0, "personal_tokens_revoked": 0
        });
        assert_eq!(again, unchanged);
        let listed = desk.json(&["users", "list", "--disabled"]);
        assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &Value::from(alice.as_str())));

        assert!(desk.done(&["users", "enable", &alice]).contains("can log in again"));
        assert_eq!(status(&broker, &token).await, 401, "what was ended stays ended");
        let fresh = broker.sign_in(&broker.browser(), "dev", "alice").await;
        assert_eq!((status(&twin, &fresh).await, id_of(&twin, &fresh).await), (200, alice.clone()));

        for (kind, times) in [("admin_user_disabled", 2), ("admin_user_enabled", 1)] {
            let events = events(&desk, kind);
            assert_eq!(events.len(), times, "{events:?}");
            assert_eq!(events[0]["user"], alice.as_str());
            assert!(events[0]["actor"].as_str().is_some_and(|name| !name.is_empty()), "{events:?}");
            assert!(events[0]["request_id"].as_str().unwrap().starts_with("cli-"), "{events:?}");
        }
    }
}

#[actix_web::test]
async fn only_the_id_of_a_deleted_user_remains_in_the_audit_trail() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let other = broker.sign_in(&broker.browser(), "dev", "bob").await;
        let (alice, bob) = (id_of(&broker, &token).await, id_of(&broker, &other).await);
        let profile = desk.json(&["users", "show", "alice"]);
        let email = profile["email"].as_str().unwrap();
        for text in [email, "alice"] {
            assert!(holds(&dump_of(&broker), text), "{text} is there");
        }
        broker.audited("key_redeemed").await;

        let question = desk.refused(2, &["users", "delete", "alice"]);
        assert!(question.contains("--yes"), "{question}");
        assert_eq!(status(&broker, &token).await, 200, "nothing was changed");
        let done = desk.json(&["users", "delete", "alice", "--yes"]);
        assert_eq!((&done["user"], &done["sessions"]), (&Value::from(alice.as_str()), &Value::from(1)));
        assert!(done["audit_events_anonymised"].as_u64().unwrap() >= 2, "{done}");

        assert_eq!([status(&broker, &token).await, status(&broker, &other).await], [401, 200]);
        let dump = dump_of(&broker);
        for text in [email, "alice", profile["display_name"].as_str().unwrap()] {
            assert!(!holds(&dump, text), "{text} is still there");
        }
        for table in ["users", "identities", "sessions", "tokens"] {
            assert_eq!(broker.rows(table), 1, "bob's row in {table}");
        }
        let trail = desk.json(&["audit", "list", "--user", &alice]);
        assert!(trail.as_array().unwrap().len() >= 4, "{trail}");
        assert_eq!(trail[0]["kind"], "admin_user_deleted");
        assert!(trail.as_array().unwrap().iter().all(|event| event["address"].is_null()), "{trail}");
        let others = desk.json(&["audit", "list", "--user", &bob]);
        assert_eq!(others[0]["address"], "127.0.0.1", "{others}");

        assert_eq!(desk.run(&["users", "show", &alice]).code, Some(3));
        let back = broker.sign_in(&broker.browser(), "dev", "alice").await;
        assert_ne!(id_of(&broker, &back).await, alice, "a new user");
    }
}

/// Events are written with a short delay: the user may be deleted first.
#[actix_web::test]
async fn an_event_written_after_the_deletion_keeps_no_address() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        broker.sign_in(&broker.browser(), "dev", "alice").await;
        let written = broker.audited("key_redeemed").await;
        let user = written.user.unwrap();
        desk.done(&["users", "delete", "alice", "--yes"]);
        let of_nobody = AuditEvent {
            address: Some("192.0.2.7".parse().unwrap()),
            ..AuditEvent::new(AuditKind::TokenRotated, broker.now(), &"late".parse().unwrap())
        };
        let late = AuditEvent { user: Some(user), ..of_nobody.clone() };
        broker.storage().record_audit(vec![late, of_nobody]).await.unwrap();
        let rows = audit::newest(&broker.storage(), 2).await;
        let address =
            |known: bool| rows.iter().find(|row| row.user.is_some() == known).unwrap().address.clone();
        assert_eq!((address(true), address(false)), (None, Some("192.0.2.7".to_owned())));
    }
}

/// On PostgreSQL the trail's own transaction may have seen the user and not have written yet when the deletion
/// comes: the trigger holds it there.
#[cfg(feature = "postgres")]
#[actix_web::test]
async fn an_event_written_during_the_deletion_keeps_no_address() {
    use diesel::Connection;
    use diesel::connection::SimpleConnection;

    let database = Database::postgres().migrated().await;
    let user = sign_in(&database.storage, login("alice", noon())).await.token.facts.owner.user_id;
    let about = |event| AuditEvent { user: Some(user), ..event };
    let late = AuditEvent {
        address: Some("192.0.2.7".parse().unwrap()),
        ..about(AuditEvent::new(AuditKind::TokenRotated, noon(), &"held".parse().unwrap()))
    };
    let mut gate = diesel::PgConnection::establish(&database.url).unwrap();
    gate.batch_execute(
        "CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
         CREATE TRIGGER gate BEFORE INSERT ON audit_events FOR EACH ROW
             WHEN (NEW.request_id = 'held') EXECUTE FUNCTION wait_at_gate();
         SELECT pg_advisory_lock(1)",
    )
    .unwrap();
    let waiting = "(SELECT 1 FROM pg_locks WHERE NOT granted
        AND (database = (SELECT oid FROM pg_database WHERE datname = current_database()) OR database IS NULL)) w";
    let writer = database.another_instance();
    let writing = tokio::spawn(async move { writer.record_audit(vec![late]).await });
    while sql::count(&database.url, waiting) < 1 {
        tokio::task::yield_now().await;
    }
    let administrator = database.another_instance();
    let event = about(AuditEvent::new(AuditKind::AdminUserDeleted, noon(), &"cli".parse().unwrap()));
    let deleting = tokio::spawn(async move { administrator.delete_user(user, event).await });
    while sql::count(&database.url, waiting) < 2 && !deleting.is_finished() {
        tokio::task::yield_now().await;
    }
    gate.batch_execute("SELECT pg_advisory_unlock(1)").unwrap();
    writing.await.unwrap().unwrap();
    assert!(deleting.await.unwrap().unwrap().is_some());
    let trail = audit::newest(&database.storage, 2).await;
    assert_eq!(trail.len(), 2, "{trail:?}");
    assert!(trail.iter().all(|event| event.user == Some(user) && event.address.is_none()), "{trail:?}");
}

#[actix_web::test]
async fn a_user_is_named_by_id_identity_or_unique_username() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        let ids = [
            id_of(&broker, &broker.sign_in(&broker.browser(), "dev", "alice").await).await,
            id_of(&broker, &broker.sign_in(&broker.browser(), "ops", "alice").await).await,
            id_of(&broker, &broker.sign_in(&broker.browser(), "ops", "bob").await).await,
        ];
        let several = desk.refused(2, &["users", "show", "alice"]);
        assert!(
            several.contains(&ids[0]) && several.contains(&ids[1]) && !several.contains(&ids[2]),
            "{several}"
        );
        for id in &ids {
            let user = desk.json(&["users", "show", id]);
            assert_eq!((&user["id"], &user["live_sessions"]), (&Value::from(id.as_str()), &Value::from(1)));
            let identity = &user["identities"][0];
            let (provider, subject) =
                (identity["provider"].as_str().unwrap(), identity["subject"].as_str().unwrap());
            assert_eq!(desk.json(&["users", "show", &format!("{provider}/{subject}")]), user);
        }
        assert_eq!(desk.json(&["users", "show", "bob"])["id"], ids[2].as_str());
        let stranger = "0b5bbd2e-28c3-4f20-9a0e-1f1f0ffb5f6a";
        for name in ["carol", "ALICE", "dev/nobody", "nowhere/alice", stranger, "", "%"] {
            let complaint = desk.refused(3, &["users", "show", name]);
            assert!(complaint.contains("there is no user"), "{complaint}");
        }
    }
}

#[actix_web::test]
async fn users_are_searched_and_listed_page_by_page() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        for (provider, user) in [("dev", "alice"), ("dev", "bob"), ("ops", "alice"), ("ops", "bob")] {
            broker.sign_in(&broker.browser(), provider, user).await;
        }
        let names = |arguments: &[&str]| -> Vec<String> {
            let users = desk.json(&[&["users", "list"], arguments].concat());
            let name = |user: &Value| {
                format!(
                    "{}/{}",
                    user["identities"][0]["provider"].as_str().unwrap(),
                    user["username"].as_str().unwrap()
                )
            };
            users.as_array().unwrap().iter().map(name).collect()
        };
        let all = ["ops/bob", "ops/alice", "dev/bob", "dev/alice"];
        assert_eq!(names(&[]), all, "newest first");
        assert_eq!(names(&["--search", "LIC"]), ["ops/alice", "dev/alice"]);
        assert_eq!(names(&["--search", "lic", "--provider", "ops"]), ["ops/alice"]);
        assert_eq!(names(&["--provider", "dev"]), ["dev/bob", "dev/alice"]);
        for nothing in ["%", "_", "\\", "'; DROP TABLE users; --", "zzz"] {
            assert_eq!(names(&["--search", nothing]), [""; 0], "{nothing}");
        }
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut arguments = vec!["users", "list", "--limit", "3"];
            if let Some(after) = &after {
                arguments.extend(["--after", after]);
            }
            let page = desk.json(&arguments);
            let page = page.as_array().unwrap();
            seen.extend(page.iter().map(|user| user["id"].as_str().unwrap().to_owned()));
            match page.last() {
                Some(last) => after = Some(last["id"].as_str().unwrap().to_owned()),
                None => break,
            }
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4);
        let ended = desk.run(&["users", "list", "--limit", "3"]);
        assert!(ended.err.contains("--after "), "{ended:?}");
        assert_eq!(
            desk.refused(3, &["users", "list", "--after", "0b5bbd2e-28c3-4f20-9a0e-1f1f0ffb5f6a"])
                .lines()
                .count(),
            1
        );
    }
}

#[actix_web::test]
async fn control_characters_in_names_do_not_reach_the_terminal() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        broker.sign_in(&broker.browser(), "dev", "alice").await;
        let url = broker.config.database.url.expose_secret();
        // Like an attacker who writes to the database directly.
        sql::execute(
            url,
            "UPDATE identities SET username = 'a\u{1b}[2J\u{9b}31m\u{202e}\nz', email = '\u{1b}]0;x\u{7}'",
        );
        let id = desk.json(&["users", "list"])[0]["id"].as_str().unwrap().to_owned();
        let commands: [&[&str]; 6] = [
            &["users", "list"],
            &["users", "show", &id],
            &["sessions", "list"],
            &["tokens", "list"],
            &["users", "list", "--json"],
            &["users", "disable", &id],
        ];
        for command in commands {
            let said = desk.done(command);
            let obeyed = said.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(obeyed, None, "{command:?}: {said:?}");
            assert!(said.contains("[2J"), "{command:?}: {said}");
        }
    }
}

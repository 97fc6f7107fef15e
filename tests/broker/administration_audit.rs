//! `audit` and `purge`: the audit trail, and deleting expired rows.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use chrono::TimeDelta;
use serde_json::{Value, json};
use token_broker::domain::audit::{AuditEvent, AuditKind};
use token_broker::domain::clock::{Clock, SystemClock, Timestamp};

use crate::support::administration::Desk;
use crate::support::broker::{Setup, TestBroker};
use crate::support::storage::{self, Database, sql};

fn event(kind: AuditKind, at: Timestamp, number: usize) -> AuditEvent {
    AuditEvent {
        address: Some("192.0.2.7".parse().unwrap()),
        client: Some("web".parse().unwrap()),
        reason: Some("invalid_token".into()),
        ..AuditEvent::new(kind, at, &format!("request-{number}").parse().unwrap())
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Many events of the same microsecond, which cannot be ordered by time alone.
#[actix_web::test]
async fn an_export_is_complete_stable_and_in_order_over_2500_events() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        broker.ready().await;
        let desk = Desk::of(&broker);
        let begin = broker.now() - TimeDelta::hours(2);
        let events = (0..2_500).map(|number| {
            let minute = TimeDelta::minutes(i64::try_from(number / 500).unwrap());
            event(AuditKind::TokenRefused, begin + minute, number)
        });
        broker.storage().record_audit(events.rev().collect()).await.unwrap();

        let ended = desk.run(&["audit", "export"]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), "2500 events written\n"));
        let exported = lines(&ended.out);
        let requests: BTreeSet<&str> =
            exported.iter().map(|event| event["request_id"].as_str().unwrap()).collect();
        assert_eq!((exported.len(), requests.len()), (2_500, 2_500), "each once");
        let order = |event: &Value| (event["at"].as_str().unwrap().to_owned(), event["id"].as_i64().unwrap());
        assert!(exported.is_sorted_by_key(order), "oldest first");
        assert_eq!(exported[0]["address"], "192.0.2.7");
        assert_eq!(desk.done(&["audit", "export"]), ended.out, "the same again");

        let said = desk.run(&["audit", "export", "--output", "trail.jsonl"]);
        assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
        let file = desk.folder().join("trail.jsonl");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), ended.out);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            desk.run(&["audit", "export", "--output", "trail.jsonl"]).code,
            Some(1),
            "not overwritten"
        );

        let time = |minute: i64| (begin + TimeDelta::minutes(minute)).to_rfc3339();
        let part = desk.done(&["audit", "export", "--since", &time(1), "--until", &time(3)]);
        assert_eq!(lines(&part).len(), 1_000, "from the first minute, before the third");
        assert_eq!(desk.done(&["audit", "export", "--since", "1h"]), "", "nothing is that young");
    }
}

#[actix_web::test]
async fn events_are_found_by_user_kind_client_and_time() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        broker.sign_in(&broker.browser(), "dev", "alice").await;
        broker.sign_in(&broker.browser(), "dev", "bob").await;
        broker.audited("key_redeemed").await;
        let old = event(AuditKind::TokenRefused, broker.now() - TimeDelta::days(3), 1);
        broker.storage().record_audit(vec![old]).await.unwrap();

        let kinds = |arguments: &[&str]| -> Vec<String> {
            let found = desk.json(&[&["audit", "list"], arguments].concat());
            found.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(kinds(&["--kind", "login_succeeded"]), ["login_succeeded"; 2]);
        assert_eq!(kinds(&["--client", "web"]), ["token_refused"]);
        assert_eq!(kinds(&["--until", "2d"]), ["token_refused"]);
        assert!(!kinds(&["--since", "2d"]).contains(&"token_refused".to_owned()));
        assert_eq!(kinds(&["--limit", "1"]).len(), 1);
        let of_alice = kinds(&["--user", "alice"]);
        assert!(of_alice.contains(&"login_succeeded".to_owned()), "{of_alice:?}");
        assert_eq!(of_alice, kinds(&["--user", "bob"]), "the same story");
        assert_eq!(kinds(&["--kind", "nonsense"]), [""; 0]);
        for wrong in [["--since", "yesterday"], ["--limit", "0"], ["--limit", "1001"], ["--client", "A B"]] {
            desk.refused(2, &[&["audit", "list"], &wrong[..]].concat());
        }
        let table = desk.done(&["audit", "list", "--until", "2d"]);
        assert!(table.contains("client web, address 192.0.2.7, reason invalid_token"), "{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    }
}

#[actix_web::test]
async fn a_purge_deletes_what_its_dry_run_counted() {
    let mut databases = vec![Database::sqlite()];
    #[cfg(feature = "postgres")]
    databases.push(Database::postgres());
    for database in databases {
        // Without a broker, which would also purge.
        let Database { url, storage, .. } = &database.migrated().await;
        let desk = Desk::at(url);
        let now = SystemClock.now();
        let live = storage::sign_in(storage, storage::login("alice", now)).await.token.facts.handle;
        for days in [1, 9, 40] {
            storage::sign_in(storage, storage::login("old", now - TimeDelta::days(days))).await;
        }
        let ended = storage::sign_in(storage, storage::login("old", now - TimeDelta::days(3))).await;
        storage
            .end_session(ended.token.facts.owner.session_id.unwrap(), now - TimeDelta::days(2))
            .await
            .unwrap();
        let kept = event(AuditKind::TokenRefused, now - TimeDelta::days(89), 1);
        let old = event(AuditKind::TokenRefused, now - TimeDelta::days(91), 2);
        storage.record_audit(vec![kept, old]).await.unwrap();

        // A token of nine days, one of forty with its session, and the ended session with its token.
        let expected = json!({ "tokens": 3, "sessions": 2, "audit_events": 1 });
        assert_eq!(desk.json(&["purge", "--dry-run"]), expected);
        assert_eq!(desk.json(&["purge", "--dry-run"]), expected, "it only counts");
        assert_eq!(desk.json(&["purge"]), expected);
        assert_eq!(desk.done(&["purge"]), "0 tokens, 0 sessions, 0 audit events deleted\n");
        assert_eq!((sql::count(url, "tokens"), sql::count(url, "sessions")), (2, 3));
        storage::found(storage, live).await;
        let trail = desk.json(&["audit", "list", "--kind", "admin_purged"]);
        assert_eq!(trail.as_array().unwrap().len(), 2, "{trail}");
        assert_eq!(desk.json(&["audit", "list", "--kind", "token_refused"]).as_array().unwrap().len(), 1);
    }
}

//! `audit list --follow`: events appear as they are written.

use chrono::TimeDelta;
use token_broker::domain::audit::{AuditEvent, AuditKind};

use crate::support::administration::Desk;
use crate::support::broker::TestBroker;
use crate::support::program::Program;

fn start(desk: &Desk, name: &str, more: &[&str]) -> Program {
    let arguments = [&["audit", "list", "--follow"], more].concat();
    Program::start(desk.folder(), name, &arguments, &[("TOKEN_BROKER_CONFIG", "token-broker.toml")])
}

#[actix_web::test]
async fn new_events_appear_once_and_also_if_they_are_written_late() {
    let broker = TestBroker::start();
    broker.sign_in(&broker.browser(), "dev", "bob").await;
    broker.audited("key_redeemed").await;
    let desk = Desk::of(&broker);
    let mut all = start(&desk, "all", &["--since", "1h", "--json"]);
    let mut refused = start(&desk, "refused", &["--since", "1h", "--kind", "token_refused"]);
    all.line("\"key_redeemed\"").await;
    let write = async |request: &str, age: i64| {
        let at = broker.now() - TimeDelta::seconds(age);
        let event = AuditEvent {
            reason: Some("\u{1b}[31mexpired".into()),
            ..AuditEvent::new(AuditKind::TokenRefused, at, &request.parse().unwrap())
        };
        broker.storage().record_audit(vec![event]).await.unwrap();
    };
    write("in-time", 0).await;
    all.line("in-time").await;
    // An instance that was slower.
    write("late", 30).await;
    all.line("late").await;
    write("last", 0).await;
    all.line("last").await;
    for request in ["in-time", "late", "last"] {
        assert_eq!(all.said().matches(request).count(), 1, "{request}: {}", all.said());
    }
    let line = refused.line("token_refused").await;
    assert!(line.contains("reason \\u{1b}[31mexpired"), "{line}");
    assert!(!refused.said().contains("key_redeemed"), "{}", refused.said());

    desk.refused(2, &["audit", "list", "--follow", "--limit", "3"]);
    desk.refused(2, &["audit", "list", "--follow", "--until", "1h"]);
}

//! `resource-servers`: secrets are shown once, two can be valid at a time, and none is stored.

use serde_json::{Value, json};
use token_broker::domain::resource_server::ResourceServerSecret;

use crate::support::administration::{Desk, dump_of};
use crate::support::broker::{Setup, TestBroker};

const AUDIENCE: &str = "https://api.example.com";

/// Whether the stored resource server accepts this secret.
async fn works(broker: &TestBroker, id: &str, secret: &str) -> bool {
    let server = broker.storage().find_resource_server(id.parse().unwrap()).await.unwrap().unwrap();
    let Ok(secret) = ResourceServerSecret::parse(secret.trim()) else { return false };
    server.verify(&secret, &broker.config.server_keys.ring).is_some()
}

#[actix_web::test]
async fn secrets_are_shown_once_and_two_can_be_valid_and_none_is_stored() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        broker.ready().await;
        let desk = Desk::of(&broker);
        let added = desk.run(&["resource-servers", "add", "orders", "--audience", AUDIENCE]);
        assert_eq!(added.code, Some(0), "{added:?}");
        let old = added.out.trim_end();
        assert!(old.starts_with("tbs_") && old.len() == 54 && !old.contains('\n'), "alone: {added:?}");
        assert!(!added.err.contains("tbs_"), "{added:?}");
        assert!(works(&broker, "orders", old).await);

        let new = desk.done(&["resource-servers", "rotate-secret", "orders"]);
        let new = new.trim_end();
        assert_ne!(new, old);
        assert!(works(&broker, "orders", old).await && works(&broker, "orders", new).await, "two at a time");
        let third = desk.refused(2, &["resource-servers", "rotate-secret", "orders"]);
        assert!(third.contains("remove-old-secret"), "{third}");

        assert!(desk.refused(2, &["resource-servers", "remove-old-secret", "orders"]).contains("--yes"));
        assert!(works(&broker, "orders", old).await, "nothing was changed");
        let removed = desk.json(&["resource-servers", "remove-old-secret", "orders", "--yes"]);
        assert_eq!(removed, json!({ "resource_server": "orders", "removed": true }));
        assert!(!works(&broker, "orders", old).await && works(&broker, "orders", new).await);
        let nothing = desk.json(&["resource-servers", "remove-old-secret", "orders", "--yes"]);
        assert_eq!(nothing["removed"], false);
        assert!(works(&broker, "orders", new).await, "the newest is never removed");

        let dump = dump_of(&broker);
        assert!(dump.values.iter().any(|value| value == AUDIENCE.as_bytes()), "it was dumped");
        for secret in [old, new] {
            let raw = ResourceServerSecret::parse(secret).unwrap();
            let bytes = *token_broker::domain::credential::decode::<32>("tbs_", &raw.expose()).unwrap();
            for value in &dump.values {
                let has = |needle: &[u8]| value.windows(needle.len()).any(|window| window == needle);
                assert!(!has(secret.as_bytes()) && !has(&secret.as_bytes()[4..44]) && !has(&bytes));
            }
        }
        let views: [&[&str]; 3] =
            [&["resource-servers", "list"], &["resource-servers", "list", "--json"], &["audit", "export"]];
        for view in views {
            assert!(!desk.done(view).contains("tbs_"), "{view:?}");
        }
    }
}

#[actix_web::test]
async fn a_disabled_or_removed_resource_server_is_refused() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        broker.ready().await;
        let desk = Desk::of(&broker);
        let add = ["resource-servers", "add", "orders", "--audience", AUDIENCE, "--personal-data"];
        let secret = desk.json(&add)["secret"].as_str().unwrap().to_owned();
        assert!(desk.refused(2, &add).contains("already"), "a name is taken once");
        assert!(works(&broker, "orders", &secret).await, "and the first one stays");

        assert_eq!(desk.json(&["resource-servers", "disable", "orders"])["changed"], true);
        assert!(!works(&broker, "orders", &secret).await);
        let listed = desk.json(&["resource-servers", "list"]);
        assert!(listed[0]["disabled_at"].is_string() && listed[0]["personal_data"] == true, "{listed}");
        assert_eq!(desk.json(&["resource-servers", "disable", "orders"])["changed"], false);
        assert_eq!(desk.json(&["resource-servers", "enable", "orders"])["changed"], true);
        assert!(works(&broker, "orders", &secret).await);

        assert!(desk.refused(2, &["resource-servers", "remove", "orders"]).contains("--yes"));
        desk.done(&["resource-servers", "remove", "orders", "--yes"]);
        assert_eq!(desk.json(&["resource-servers", "list"]), json!([]));
        assert_eq!((broker.rows("resource_servers"), broker.rows("resource_server_secrets")), (0, 0));
        for command in ["rotate-secret", "disable", "enable", "remove", "remove-old-secret"] {
            let yes: &[&str] = if command.starts_with("remove") { &["--yes"] } else { &[] };
            desk.refused(3, &[&["resource-servers", command, "orders"], yes].concat());
        }
        for (id, audience) in
            [("Orders", AUDIENCE), ("a b", AUDIENCE), ("", AUDIENCE), ("x", ""), ("x", "a b")]
        {
            desk.refused(2, &["resource-servers", "add", id, "--audience", audience]);
        }

        let trail = desk.json(&["audit", "list"]);
        let kinds: Vec<&str> =
            trail.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
        let expected =
            ["removed", "enabled", "disabled", "added"].map(|what| format!("admin_resource_server_{what}"));
        assert_eq!(kinds, expected, "each change once, and nothing for what changed nothing");
        let named = |event: &Value| event["resource_server"] == "orders" && event["actor"].is_string();
        assert!(trail.as_array().unwrap().iter().all(named), "{trail}");
    }
}

/// Two administrators rotate concurrently: there are never three secrets.
#[actix_web::test]
async fn parallel_rotations_leave_two_secrets() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        broker.ready().await;
        let desk = Desk::of(&broker);
        desk.done(&["resource-servers", "add", "orders", "--audience", AUDIENCE]);
        let codes = std::thread::scope(|scope| {
            let rotate = || desk.run(&["resource-servers", "rotate-secret", "orders"]).code;
            let started: Vec<_> = (0..4).map(|_| scope.spawn(rotate)).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
        assert_eq!(codes.iter().filter(|code| **code == Some(2)).count(), 3, "{codes:?}");
        assert_eq!(broker.rows("resource_server_secrets"), 2);
    }
}

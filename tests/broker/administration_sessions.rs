//! `sessions` and `tokens`: ending sessions and revoking tokens while a broker is running.

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::token::{AccessToken, GenuineToken, TokenHandle};
use token_broker::domain::token_kind::TokenKind;

use crate::support::administration::Desk;
use crate::support::broker::{Setup, TestBroker};
use crate::support::storage::{self, Database, login, noon, sql};

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

async fn me(broker: &TestBroker, token: &str) -> Value {
    broker.call("/api/me", token).await.json()
}

async fn sign_in(broker: &TestBroker, user: &str) -> String {
    broker.sign_in(&broker.browser(), "dev", user).await
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn all_sessions_of_one_user_or_of_everyone_are_ended() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        let alice = [sign_in(&broker, "alice").await, sign_in(&broker, "alice").await];
        let bob = sign_in(&broker, "bob").await;

        assert!(desk.refused(2, &["sessions", "end-all", "--user", "alice"]).contains("--yes"));
        assert_eq!(status(&broker, &alice[0]).await, 200, "nothing was changed");
        let said = desk.done(&["sessions", "end-all", "--user", "alice", "--yes"]);
        assert_eq!(said, "2 sessions ended\n");
        assert_eq!([status(&broker, &alice[0]).await, status(&broker, &alice[1]).await], [401, 401]);
        assert_eq!(status(&broker, &bob).await, 200);

        let again = sign_in(&broker, "alice").await;
        assert!(desk.refused(2, &["sessions", "end-all", "--everyone"]).contains("--yes"));
        let done = desk.json(&["sessions", "end-all", "--everyone", "--yes"]);
        let counts = json!({ "sessions_ended": 2, "personal_tokens_revoked": 0, "personal_tokens_left": 0 });
        assert_eq!(done, counts);
        assert_eq!([status(&broker, &again).await, status(&broker, &bob).await], [401, 401]);
        assert_eq!(desk.json(&["sessions", "list"]), json!([]));
        assert_eq!(desk.json(&["sessions", "list", "--all"]).as_array().unwrap().len(), 4);

        let events = desk.json(&["audit", "list", "--kind", "admin_sessions_ended"]);
        let about: Vec<bool> =
            events.as_array().unwrap().iter().map(|event| event["user"].is_null()).collect();
        assert_eq!(about.iter().filter(|everyone| **everyone).count(), 1, "{events}");
        assert_eq!(
            about.len(),
            4,
            "one about everyone, and one about each user whose sessions ended: {events}"
        );
        assert_eq!(status(&broker, &sign_in(&broker, "bob").await).await, 200, "logging in works");
    }
}

/// More users than fit into one transaction, with concurrent logins.
#[actix_web::test]
async fn everyone_can_be_more_than_one_batch() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        broker.ready().await;
        let desk = Desk::of(&broker);
        let storage = broker.storage();
        for number in 0..450 {
            storage::sign_in(&storage, login(&format!("user-{number}"), broker.now())).await;
        }
        let command = move || desk.json(&["sessions", "end-all", "--everyone", "--yes"]);
        let ending = tokio::task::spawn_blocking(command);
        for _ in 0..5 {
            sign_in(&broker, "bob").await;
        }
        let ended = ending.await;
        let ended = ended.unwrap()["sessions_ended"].as_u64().unwrap();
        assert!((450..=455).contains(&ended), "{ended}");
        let url = broker.config.database.url.expose_secret();
        assert!(sql::count(url, "sessions WHERE revoked_at IS NULL") <= 5);
        assert!(sql::count(url, "tokens WHERE revoked_at IS NULL") <= 5);
    }
}

#[actix_web::test]
async fn ending_a_session_twice_is_reported() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        let (token, other) = (sign_in(&broker, "alice").await, sign_in(&broker, "alice").await);
        let me = me(&broker, &token).await;
        let session = me["session"]["id"].as_str().unwrap();
        let listed = desk.json(&["sessions", "list", "--user", "alice"]);
        assert!(listed.as_array().unwrap().len() == 2 && ids(&listed).contains(&session), "{listed}");
        assert_eq!(
            (&listed[0]["state"], &listed[0]["address_prefix"]),
            (&json!("live"), &json!("127.0.0.0/24"))
        );

        assert_eq!(
            desk.json(&["sessions", "end", session]),
            json!({ "session": session, "ended": true, "others_ended": 0 })
        );
        assert_eq!([status(&broker, &token).await, status(&broker, &other).await], [401, 200]);
        assert_eq!(desk.json(&["sessions", "end", session])["ended"], false);
        let ended = desk.json(&["sessions", "list", "--all", "--user", "alice"]);
        let row = ended.as_array().unwrap().iter().find(|row| row["id"] == session).unwrap();
        assert!(row["state"] == "ended" && row["ended_at"].is_string(), "{row}");
        let event = &desk.json(&["audit", "list", "--kind", "admin_session_ended"])[0];
        assert_eq!((&event["session"], &event["user"]), (&me["session"]["id"], &me["user"]["id"]));
        desk.refused(3, &["sessions", "end", "0b5bbd2e-28c3-4f20-9a0e-1f1f0ffb5f6a"]);
        desk.refused(2, &["sessions", "end", "not-an-id"]);
        desk.refused(2, &["sessions", "end-all", "--yes"]);
        desk.refused(2, &["sessions", "end-all", "--yes", "--everyone", "--user", "alice"]);
    }
}

#[actix_web::test]
async fn a_leaked_token_is_revoked_by_value_together_with_its_successors() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        let leaked = sign_in(&broker, "alice").await;
        let elsewhere = sign_in(&broker, "alice").await;
        let whose = me(&broker, &leaked).await;
        // An attacker has already rotated it.
        let rotated = broker.post("/api/token/rotate", &leaked, &json!({})).await;
        let stolen = rotated.json()["access_token"].as_str().unwrap().to_owned();

        let ended = desk.run_with(&["tokens", "revoke", "--stdin"], &format!("  {leaked}\n"));
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        let (user, session) =
            (whose["user"]["id"].as_str().unwrap(), whose["session"]["id"].as_str().unwrap());
        for text in ["alice", user, session, "sample", "in overlap"] {
            assert!(ended.out.contains(text), "{text}: {ended:?}");
        }
        assert!(!ended.out.contains("tbk_"), "{ended:?}");
        assert_eq!([status(&broker, &leaked).await, status(&broker, &stolen).await], [401, 401]);
        assert_eq!(status(&broker, &elsewhere).await, 200, "another session");

        let log_id =
            GenuineToken::parse(&leaked, &broker.config.server_keys.ring).unwrap().handle.digest().short_id();
        let event = &desk.json(&["audit", "list", "--kind", "admin_token_revoked"])[0];
        assert_eq!((&event["token"], &event["user"]), (&json!(log_id), &whose["user"]["id"]));
        assert!(
            event["actor"].is_string() && event["session"] == session && event["client"] == "sample",
            "{event}"
        );

        desk.file("leaked.txt", &elsewhere);
        let revoked = desk.json(&["tokens", "revoke", "--file", "leaked.txt"]);
        assert_eq!((&revoked["state"], &revoked["user"]), (&json!("live"), &whose["user"]["id"]));
        assert_eq!(status(&broker, &elsewhere).await, 401);
        let again = desk.json(&["tokens", "revoke", "--file", "leaked.txt"]);
        assert_eq!(again["state"], "revoked");
    }
}

#[actix_web::test]
async fn a_text_that_is_not_a_stored_token_is_reported_as_not_found() {
    let broker = TestBroker::start();
    let desk = Desk::of(&broker);
    let token = sign_in(&broker, "alice").await;
    let key = broker.config.server_keys.ring.issuing();
    let unknown = AccessToken::issue(TokenKind::Session, key, &TokenHandle::random(&SystemEntropy));
    let mut mistyped = token.clone();
    mistyped.replace_range(10..11, if &token[10..11] == "a" { "b" } else { "a" });
    for text in [
        unknown.expose(),
        &mistyped,
        "",
        "tbk_",
        "\u{1b}[2J",
        &format!("{token}\n{token}"),
        &"x".repeat(100_000),
    ] {
        let ended = desk.run_with(&["tokens", "revoke", "--stdin"], text);
        assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""), "{ended:?}");
        assert!(!ended.err.contains("tbk_") && ended.err.lines().count() == 1, "{ended:?}");
    }
    assert_eq!(status(&broker, &token).await, 200);
    assert_eq!(desk.run(&["tokens", "revoke", "--file", "missing.txt"]).code, Some(1));
    desk.refused(2, &["tokens", "revoke"]);
    desk.refused(2, &["tokens", "revoke", "--stdin", "--file", "x"]);
}

#[actix_web::test]
async fn a_token_as_an_argument_is_refused_and_not_repeated() {
    let broker = TestBroker::start();
    let desk = Desk::of(&broker);
    let token = sign_in(&broker, "alice").await;
    for command in
        [vec!["tokens", "revoke", &token], vec!["tokens", "revoke-id", &token], vec!["users", "show", &token]]
    {
        let complaint = desk.refused(2, &command);
        assert!(complaint.contains("revoke it") && !complaint.contains(&token), "{complaint}");
    }
    assert_eq!(status(&broker, &token).await, 200, "nothing was changed");
}

#[actix_web::test]
async fn tokens_are_listed_by_their_rows_and_revoked_by_id() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let desk = Desk::of(&broker);
        let first = sign_in(&broker, "alice").await;
        let rotated = broker.post("/api/token/rotate", &first, &json!({})).await.json();
        let second = rotated["access_token"].as_str().unwrap();
        let session = me(&broker, &first).await["session"]["id"].as_str().unwrap().to_owned();
        sign_in(&broker, "bob").await;

        let live = desk.json(&["tokens", "list", "--user", "alice"]);
        let all = desk.json(&["tokens", "list", "--session", &session, "--all"]);
        assert_eq!((live.as_array().unwrap().len(), all.as_array().unwrap().len()), (2, 2));
        assert_eq!((&all[0], &all[1]["state"]), (&live[0], &json!("overlap")));
        assert_eq!((&live[0]["client"], &live[0]["state"]), (&json!("sample"), &json!("live")));
        assert_eq!(desk.json(&["tokens", "list"]).as_array().unwrap().len(), 3, "alice's and bob's");

        let id = live[0]["id"].as_str().unwrap();
        let said = desk.done(&["tokens", "revoke-id", id]);
        assert!(said.contains("(still active)") && said.contains("alice"), "{said}");
        assert_eq!([status(&broker, second).await, status(&broker, &first).await], [401, 200]);
        desk.refused(3, &["tokens", "revoke-id", "0b5bbd2e-28c3-4f20-9a0e-1f1f0ffb5f6a"]);

        let views: [&[&str]; 5] = [
            &["tokens", "list", "--all"],
            &["tokens", "list", "--all", "--json"],
            &["sessions", "list", "--all", "--json"],
            &["users", "show", "alice", "--json"],
            &["audit", "export"],
        ];
        for view in views {
            let said = desk.done(view);
            for token in [&first, second] {
                let handle = GenuineToken::parse(token, &broker.config.server_keys.ring).unwrap().handle;
                let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                assert!(!said.contains(token) && !said.contains(&token[4..40]), "{view:?}");
                assert!(!said.contains(&hex(handle.expose())), "{view:?}");
                assert!(!said.contains(&hex(handle.digest().as_bytes())), "{view:?}");
            }
            assert!(!said.contains("tbk_"), "{view:?}");
        }
    }
}

/// Many of one microsecond, so that time alone cannot order them.
#[actix_web::test]
async fn lists_continue_where_the_previous_page_ended() {
    let mut databases = vec![Database::sqlite().migrated().await];
    #[cfg(feature = "postgres")]
    databases.push(Database::postgres().migrated().await);
    for database in databases {
        for _ in 0..7 {
            storage::sign_in(&database.storage, login("alice", noon())).await;
        }
        let desk = Desk::at(&database.url);
        for what in ["sessions", "tokens"] {
            let list = [what, "list", "--user", "alice", "--all", "--limit"];
            let page = |arguments: &[&str]| desk.json(&[&list, arguments].concat());
            let whole = page(&["100"]);
            let (mut seen, mut next) = (Vec::<Value>::new(), page(&["3"]));
            while let Some(last) = next.as_array().unwrap().last() {
                let after = last["id"].as_str().unwrap().to_owned();
                seen.extend(next.as_array().unwrap().clone());
                next = page(&["3", "--after", &after]);
            }
            assert_eq!((seen.len(), Value::from(seen)), (7, whole.clone()), "{what}");
            for json in [&[][..], &["--json"]] {
                let ended = desk.run(&[&list, &["3"][..], json].concat());
                let how = format!("More results may be available: --after {}\n", ids(&whole)[2]);
                assert_eq!((ended.code, ended.err), (Some(0), how), "{what}");
                assert_eq!(desk.run(&[&list, &["100"][..], json].concat()).err, "", "{what}");
            }
            let gone = "0b5bbd2e-28c3-4f20-9a0e-1f1f0ffb5f6a";
            assert!(
                desk.refused(3, &[&list, &["3", "--after", gone][..]].concat())
                    .contains("given with --after does not exist")
            );
        }
    }
}

//! The server keys are rotated while brokers run: a planned rotation has no downtime, and an emergency rotation signs
//! all users out at once.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use token_broker::config::KeysFile;
use token_broker::domain::entropy::SystemEntropy;

use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::jwt::jwks;
use crate::support::log::Listener;
use crate::support::oauth;
use crate::support::outage::problems;
use crate::support::production::Production;
use crate::support::program::Program;
use crate::support::redis;
use crate::support::wait::{until, until_true};

fn path(broker: &TestBroker) -> PathBuf {
    broker.config.server_keys.file.as_ref().unwrap().path.clone()
}

fn read(broker: &TestBroker) -> String {
    std::fs::read_to_string(path(broker)).unwrap()
}

/// Replaces the keys file in one step, as `token-broker keys` does.
fn write(broker: &TestBroker, text: &str) {
    let new = path(broker).with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path(broker)).unwrap();
}

fn change(broker: &TestBroker, change: impl FnOnce(&mut KeysFile)) {
    let mut keys = KeysFile::parse(&read(broker).into()).unwrap();
    change(&mut keys);
    write(broker, keys.text().expose_secret());
}

fn add(broker: &TestBroker) {
    change(broker, |keys| assert!(keys.add(&SystemEntropy, broker.now()).is_ok()));
}

fn issue(broker: &TestBroker, id: u32) {
    change(broker, |keys| assert!(keys.issue(id, broker.now()).is_ok()));
}

fn retire(broker: &TestBroker, id: u32) {
    change(broker, |keys| keys.retire(id).unwrap());
}

/// The keys as shown to an operator: (issuing, known).
async fn keys(broker: &TestBroker) -> Value {
    broker.browser().get(&format!("{}/healthz", broker.admin_url), &[]).await.json()["server_keys"].clone()
}

async fn knows(broker: &TestBroker, issuing: u32, known: &[u32]) {
    let expected = json!({"issuing": issuing, "known": known});
    until(async || {
        let found = keys(broker).await;
        if found == expected { Ok(()) } else { Err(found) }
    })
    .await;
}

fn token_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn rotate(broker: &TestBroker, token: &str) -> Answer {
    broker.post("/api/token/rotate", token, &json!({})).await
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

/// Calls, rotates and signs in at both instances alternately; every request must succeed.
async fn a_user_is_active(instances: [&TestBroker; 2], stop: &AtomicBool, rounds: &AtomicUsize) {
    let [here, there] = instances;
    let mut token = here.sign_in(&here.browser(), "dev", "alice").await;
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(status(there, &token).await, 200);
        let successor = token_of(&rotate(there, &token).await);
        assert_eq!([status(here, &token).await, status(here, &successor).await], [200, 200]);
        token = successor;
        if rounds.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            let browser = here.browser();
            let login = here.log_in(&browser, "ops", "bob", "").await;
            let redeemed = here.redeem(&browser, &login.key(), &login.verifier).await;
            assert_eq!(status(there, &token_of(&redeemed)).await, 200);
        }
    }
}

async fn all_users_continue(rounds: &[AtomicUsize]) {
    let before: Vec<usize> = rounds.iter().map(|rounds| rounds.load(Ordering::Relaxed)).collect();
    while rounds.iter().zip(&before).any(|(now, before)| now.load(Ordering::Relaxed) < before + 2) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn planned(setup: Setup) {
    let broker = TestBroker::with(setup);
    let twin = broker.twin();
    twin.ready().await;
    let (stop, rounds) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 4]);
    let pairs = [[&broker, &twin], [&twin, &broker], [&broker, &broker], [&twin, &twin]];
    let working =
        join_all(pairs.iter().zip(&rounds).map(|(pair, rounds)| a_user_is_active(*pair, &stop, rounds)));
    let replacing = async {
        all_users_continue(&rounds).await;
        for (issuing, known) in [(1, &[1, 2][..]), (2, &[1, 2]), (2, &[2])] {
            match (issuing, known.len()) {
                (1, _) => add(&broker),
                (_, 2) => issue(&broker, 2),
                // Nothing issued by key 1 is used any more: here after two rotations, in production after seven days.
                _ => retire(&broker, 1),
            }
            tokio::join!(knows(&broker, issuing, known), knows(&twin, issuing, known));
            all_users_continue(&rounds).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(working, replacing);
    assert!(problems(&broker).await.is_empty());
}

#[actix_web::test]
async fn a_planned_rotation_has_no_downtime_on_sqlite() {
    planned(Setup { key_store: Some(redis::url()), ..Setup::default() }).await;
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn a_planned_rotation_has_no_downtime_on_postgresql_and_redis() {
    let database = Some(crate::support::storage::Database::postgres().migrated().await.url);
    planned(Setup { database, key_store: Some(redis::url()), ..Setup::default() }).await;
}

#[actix_web::test]
async fn an_emergency_rotation_signs_all_users_out_at_once() {
    let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..Setup::default() });
    let twin = broker.twin();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let successor = token_of(&rotate(&broker, &token).await);
    let other = twin.sign_in(&twin.browser(), "ops", "bob").await;
    let parked = broker.log_in(&broker.browser(), "dev", "alice", "").await;
    let underway_browser = broker.browser();
    let underway = broker.login(&[]);
    let callback = broker.callback_url(&underway_browser, &underway.url, "&user=alice").await;
    let legacy_token = || async {
        let login = broker.complete(&broker.browser(), broker.legacy_login(), "&user=alice").await;
        let url = format!("{}/?one_time_key={}", broker.at("/api/get_token"), login.key());
        broker.browser().get(&url, &[]).await.json()["token"].as_str().unwrap().to_owned()
    };
    let legacy = legacy_token().await;
    assert_eq!(legacy_token().await, legacy);

    add(&broker);
    issue(&broker, 2);
    retire(&broker, 1);
    tokio::join!(knows(&broker, 2, &[2]), knows(&twin, 2, &[2]));

    for instance in [&broker, &twin] {
        for token in [&token, &successor, &other, &legacy] {
            let refused = instance.call("/api/me", token).await;
            assert_eq!(
                (refused.status.as_u16(), refused.error_code().as_deref()),
                (401, Some("invalid_token"))
            );
            assert_eq!(rotate(instance, token).await.status, 401);
        }
    }
    let redeemed = broker.redeem(&broker.browser(), &parked.key(), &parked.verifier).await;
    assert_eq!((redeemed.status.as_u16(), redeemed.error_code().as_deref()), (400, Some("invalid_grant")));
    underway_browser.navigate(&callback).await.assert_own_page(400, "invalid_state");

    // The same browsers sign in as usual, and a legacy user gets a new token.
    let again = broker.sign_in(&browser, "dev", "alice").await;
    assert_eq!(status(&twin, &again).await, 200);
    let new = legacy_token().await;
    assert_ne!(new, legacy);
    assert_eq!(legacy_token().await, new);
    assert_eq!(status(&broker, &new).await, 200);
}

/// An instance whose keys file is updated later, as if each machine had its own file.
#[actix_web::test]
async fn with_add_wait_issue_no_instance_refuses_tokens_of_another() {
    let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..Setup::default() });
    let late = broker.twin_with(|config| {
        let file = config.server_keys.file.as_mut().unwrap();
        let copy = file.path.with_file_name("late_keys.toml");
        std::fs::copy(&file.path, &copy).unwrap();
        file.path = copy;
    });
    late.ready().await;
    let before = broker.sign_in(&broker.browser(), "dev", "alice").await;
    add(&broker);
    knows(&broker, 1, &[1, 2]).await;
    knows(&late, 1, &[1]).await;
    let between = broker.sign_in(&broker.browser(), "dev", "alice").await;
    for token in [&before, &between] {
        assert_eq!(
            [status(&broker, token).await, status(&late, token).await],
            [200, 200],
            "nothing issues yet"
        );
    }

    // Too early: what the new key issues is refused by an instance that does not know it, and accepted as soon as it
    // does.
    issue(&broker, 2);
    knows(&broker, 2, &[1, 2]).await;
    let after = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!([status(&broker, &after).await, status(&late, &after).await], [200, 401]);
    assert_eq!(status(&broker, &late.sign_in(&late.browser(), "dev", "bob").await).await, 200);
    write(&late, &read(&broker));
    knows(&late, 2, &[1, 2]).await;
    for token in [&before, &between, &after] {
        assert_eq!([status(&broker, token).await, status(&late, token).await], [200, 200]);
    }
}

#[actix_web::test]
async fn an_unusable_keys_file_changes_nothing_and_the_log_says_how_to_fix_it() {
    let log = Listener::start();
    let broker = TestBroker::start();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let good = read(&broker);
    let secret = good.split("secret = \"").nth(1).unwrap()[..43].to_owned();
    let stranger = good.replace("issuing = 1", "issuing = 7");
    let short = good.replace(&secret, &secret[..20]);
    let twice = format!("{good}{}", &good[good.find("[[keys]]").unwrap()..]);
    for (text, hint) in [
        ("", "issuing"),
        (&good[..good.len() / 2], "is not a keys file"),
        (&*stranger, "issuing key 7 is not in the ring"),
        (&short, "fewer than 32 bytes"),
        (&twice, "twice"),
    ] {
        write(&broker, text);
        let problem = problem(&broker, hint).await;
        assert!(!problem.contains(&secret[..10]), "{problem}");
        assert_eq!(status(&broker, &token).await, 200, "{hint}");
        assert_eq!(keys(&broker).await, json!({"issuing": 1, "known": [1]}), "{hint}");
    }
    std::fs::remove_file(path(&broker)).unwrap();
    problem(&broker, "cannot be read").await;
    let newest = token_of(&rotate(&broker, &token).await);
    write(&broker, &good);
    until_true("the file is read", async || problems(&broker).await.is_empty()).await;
    assert_eq!([status(&broker, &token).await, status(&broker, &newest).await], [200, 200]);
    let said = log.text();
    let errors = said.lines().filter(|line| line.contains("the server keys file cannot be used"));
    assert!(errors.clone().all(|line| line.contains("\"ERROR\"") && line.contains("Fix the file")), "{said}");
    assert!((6..60).contains(&errors.count()), "once for each file, not each second");
    assert!(!said.contains(&secret), "no secret is logged");
}

/// Waits until the admin listener reports this problem with the file.
async fn problem(broker: &TestBroker, hint: &str) -> String {
    until(async || {
        let mut found = problems(broker).await;
        let at = found.iter().position(|(part, text)| part == "server keys" && text.contains(hint));
        at.map(|at| found.swap_remove(at).1).ok_or(found)
    })
    .await
}

#[actix_web::test]
async fn the_metrics_name_the_keys_by_id() {
    let broker = TestBroker::start();
    broker.ready().await;
    add(&broker);
    knows(&broker, 1, &[1, 2]).await;
    let metrics = broker.browser().get(&format!("{}/metrics", broker.admin_url), &[]).await.body;
    for line in ["token_broker_server_key_known{key=\"2\"}", "token_broker_server_key_issues{key=\"1\"}"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

/// The keys that sign JWTs are derived when the file is read; a change of it changes them as well.
#[actix_web::test]
async fn a_new_key_is_published_at_once_and_signs_once_it_issues() {
    let broker = TestBroker::with(oauth::setup());
    let signer =
        async || oauth::decode(&oauth::text(&oauth::tokens(&broker, &[]).await, "id_token")).0["kid"].clone();
    let published = async || jwks(&broker).await["keys"].as_array().unwrap().clone();
    let old = signer().await;
    add(&broker);
    knows(&broker, 1, &[1, 2]).await;
    assert_eq!((published().await.len(), signer().await), (2, old.clone()));
    issue(&broker, 2);
    knows(&broker, 2, &[1, 2]).await;
    let new = signer().await;
    assert_ne!(new, old);
    assert!(published().await.iter().any(|key| key["kid"] == new));
    retire(&broker, 1);
    knows(&broker, 2, &[2]).await;
    assert_eq!(published().await.iter().map(|key| key["kid"].clone()).collect::<Vec<_>>(), [new]);
}

/// The audit events of the server keys, oldest first, as soon as there are this many.
async fn trail(broker: &TestBroker, rows: usize) -> Vec<(String, String)> {
    until(async || {
        let newest_first = audit::newest(&broker.storage(), 1_000).await;
        let found: Vec<(String, String)> = newest_first
            .into_iter()
            .rev()
            .filter(|row| row.kind.starts_with("server_keys"))
            .map(|row| (row.kind, row.reason.unwrap_or_default()))
            .collect();
        if found.len() == rows { Ok(found) } else { Err(found) }
    })
    .await
}

#[actix_web::test]
async fn key_changes_and_refused_key_files_are_audited() {
    let log = Listener::start();
    let broker = TestBroker::start();
    broker.ready().await;
    let first = read(&broker);
    add(&broker);
    knows(&broker, 1, &[1, 2]).await;
    issue(&broker, 2);
    knows(&broker, 2, &[1, 2]).await;
    let good = read(&broker);
    write(&broker, &good.replace("issuing = 2", "issuing = 7"));
    problem(&broker, "issuing key 7").await;
    // The same keys are not a change; a different secret under the same id is.
    write(&broker, &good);
    until_true("the file is read", async || problems(&broker).await.is_empty()).await;
    let secret = |text: &str, at: usize| text.split("secret = \"").nth(at).unwrap()[..43].to_owned();
    let other = KeysFile::fresh(&SystemEntropy, broker.now());
    let other = secret(other.text().expose_secret(), 1);
    write(&broker, &good.replace(&secret(&good, 2), &other));
    let trail = trail(&broker, 4).await;
    let [added, issues, refused, swapped] = &trail[..] else { panic!("{trail:?}") };
    let replaced = |keys: &str| ("server_keys_replaced".to_owned(), keys.to_owned());
    assert_eq!(added, &replaced("key 1 issues, known: 1, 2"));
    assert_eq!(issues, &replaced("key 2 issues, known: 1, 2"));
    assert_eq!(refused.0, "server_keys_refused");
    assert!(refused.1.contains("issuing key 7 is not in the ring"), "{refused:?}");
    assert_eq!(swapped, &replaced("key 2 issues, known: 1, 2"));
    let said = log.text();
    assert!(said.contains("\"event\":\"server_keys_replaced\""), "{said}");
    for secret in [secret(&first, 1), secret(&good, 2), other] {
        assert!(
            !said.contains(&secret) && !format!("{trail:?}").contains(&secret),
            "no secret is written down"
        );
    }
}

/// The program with its commands and SIGHUP, which must not stop it.
#[actix_web::test]
async fn keys_are_rotated_by_command_and_sighup_reloads_them() {
    let redis = redis::RedisServer::start(&[]);
    let provider = "https://provider.invalid";
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("broker.sqlite").display());
    let production = Production::new(&database, &redis.url(), provider).await;
    let mut instance = production.serve("first");
    instance.listens().await;
    instance.program.line("server keys loaded").await;
    let read = |said: &str| said.matches("server keys loaded").count();
    for _ in 0..2 {
        let before = read(&instance.program.said());
        instance.program.signal("HUP");
        while read(&instance.program.said()) == before {
            instance.program.line("server keys loaded").await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let keys = ["--file", "server_keys.toml"];
    for (step, logged) in [
        (&["add"][..], "\"issuing\":1,\"known\":\"[1, 2]\""),
        (&["issue", "newest"], "\"issuing\":2,\"known\":\"[1, 2]\""),
        (&["retire", "1", "--yes"], "\"issuing\":2,\"known\":\"[2]\""),
    ] {
        let ended = Program::run(production.folder(), &[&["keys"], step, &keys].concat()).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{step:?}");
        instance.program.line(logged).await;
    }
    let ended = Program::run(production.folder(), &[&["keys", "list"], &keys[..]].concat()).await;
    assert!(ended.out.contains("2     issues"), "{ended:?}");
}

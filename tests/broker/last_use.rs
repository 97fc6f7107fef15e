//! The last use of a session and of a token: it is written in the background, and inactivity limits are based on it.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde_json::json;
use token_broker::domain::clock::Timestamp;

use crate::support::broker::{Setup, TestBroker};
use crate::support::outage::{SOON, within};
use crate::support::storage::sql;
use crate::support::wait::until;

const SQLITE_TRIGGER: &str = "CREATE TABLE noted (n INTEGER);
    CREATE TRIGGER noted AFTER UPDATE OF last_used_at ON tokens BEGIN INSERT INTO noted VALUES (1); END;
    CREATE TABLE noted_sessions (n INTEGER);
    CREATE TRIGGER noted_sessions AFTER UPDATE OF last_used_at ON sessions
    BEGIN INSERT INTO noted_sessions VALUES (1); END;";

const POSTGRES_TRIGGER: &str = "CREATE TABLE noted (n integer);
    CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO noted VALUES (1); RETURN NULL; END';
    CREATE TRIGGER noted AFTER UPDATE OF last_used_at ON tokens FOR EACH ROW EXECUTE FUNCTION noted();
    CREATE TABLE noted_sessions (n integer);
    CREATE FUNCTION noted_sessions() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO noted_sessions VALUES (1); RETURN NULL; END';
    CREATE TRIGGER noted_sessions AFTER UPDATE OF last_used_at ON sessions
    FOR EACH ROW EXECUTE FUNCTION noted_sessions();";

/// Starts counting how often a last use is written.
fn count_writes(broker: &TestBroker) {
    let url = broker.config.database.url.expose_secret();
    let trigger = if url.starts_with("sqlite:") { SQLITE_TRIGGER } else { POSTGRES_TRIGGER };
    sql::execute(url, trigger);
}

/// How often the last use of tokens, and of sessions, was written.
fn notes(broker: &TestBroker) -> (usize, usize) {
    (broker.rows("noted"), broker.rows("noted_sessions"))
}

/// Waits until this many last uses are written.
async fn written(broker: &TestBroker, expected: usize) {
    until(async || {
        let written = notes(broker);
        if written.0 >= expected { Ok(()) } else { Err(written) }
    })
    .await;
    assert_eq!(notes(broker), (expected, expected));
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

#[actix_web::test]
async fn a_thousand_checks_cause_one_write() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        count_writes(&broker);
        for _ in 0..20 {
            let checks = (0..50).map(|n| status([&broker, &twin][n % 2], &token));
            assert!(join_all(checks).await.iter().all(|status| *status == 200));
        }
        written(&broker, 1).await;
        // Two more rounds of the writers, after which everything is written.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(notes(&broker), (1, 1));

        broker.advance(299);
        assert_eq!(status(&twin, &token).await, 200);
        broker.advance(2);
        assert_eq!(status(&broker, &token).await, 200);
        written(&broker, 2).await;
    }
}

/// It is in no session: its uses are its own and keep no session in use.
#[actix_web::test]
async fn a_thousand_uses_of_a_personal_token_cause_one_write() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        count_writes(&broker);
        let wanted = json!({ "name": "script", "scope": "profile", "expires_in": 86_400 });
        let made = broker.post("/api/personal_tokens", &token, &wanted).await.json();
        let personal = made["token"].as_str().unwrap();
        written(&broker, 1).await; // the use of the session's token
        for _ in 0..20 {
            let checks = (0..50).map(|n| status([&broker, &twin][n % 2], personal));
            assert!(join_all(checks).await.iter().all(|status| *status == 200));
        }
        until(async || if notes(&broker).0 >= 2 { Ok(()) } else { Err(notes(&broker)) }).await;
        // Two more rounds of the writers, after which everything is written.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(notes(&broker), (2, 1));
        broker.advance(301);
        assert_eq!(status(&twin, personal).await, 200);
        until(async || if notes(&broker) == (3, 1) { Ok(()) } else { Err(notes(&broker)) }).await;
    }
}

#[actix_web::test]
async fn the_list_shows_the_last_use_of_other_sessions() {
    let broker = TestBroker::start();
    let here = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let other = broker.sign_in(&broker.browser(), "dev", "alice").await;
    count_writes(&broker);
    broker.advance(3600);
    let used = broker.now();
    let rotated = broker.post("/api/token/rotate", &other, &json!({})).await;
    assert_eq!(rotated.status, 200);
    written(&broker, 1).await;
    broker.advance(86_400);
    let listed = broker.call("/api/sessions", &here).await.json();
    let last_used = listed["sessions"][1]["last_used_at"].as_str().unwrap();
    let off = last_used.parse::<chrono::DateTime<chrono::Utc>>().unwrap() - used;
    assert!(off >= TimeDelta::zero() && off < TimeDelta::minutes(1), "{off}");
}

/// Last uses wait for the database, but no request waits for them.
#[actix_web::test]
async fn a_locked_database_delays_the_last_use_but_no_request() {
    let broker = TestBroker::start();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    count_writes(&broker);
    let lock = sql::SqliteLock::of(broker.config.database.url.expose_secret());
    for _ in 0..3 {
        assert_eq!(within(SOON, "/api/me", status(&broker, &token)).await, 200);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    drop(lock);
    written(&broker, 1).await;
}

/// A broker whose client `sample` is signed out after ten inactive minutes, and another without a limit.
fn impatient(setup: Setup) -> TestBroker {
    TestBroker::with(setup.adjust(|config| config.clients[0].inactivity = Some(TimeDelta::minutes(10))))
}

#[actix_web::test]
async fn active_users_stay_signed_in_and_inactive_ones_do_not() {
    for setup in Setup::each_database().await {
        let broker = impatient(setup);
        let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let idle = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let other_way = broker.sign_in(&broker.browser(), "dev", "alice").await;
        count_writes(&broker);
        // Three times nine minutes: the last use is known to five minutes, and the session is never ended too early.
        for round in 1..=3 {
            broker.advance(540);
            assert_eq!(status(&broker, &token).await, 200, "round {round}");
            written(&broker, round).await;
        }
        for answer in [
            broker.call("/api/me", &idle).await,
            broker.post("/api/token/rotate", &other_way, &json!({})).await,
        ] {
            assert_eq!(
                (answer.status.as_u16(), answer.error_code().as_deref()),
                (401, Some("invalid_token"))
            );
        }
        let event = broker.audited("token_idle").await;
        assert!(
            event.token.is_some() && event.session.is_some() && event.client.as_deref() == Some("sample")
        );
        assert_eq!(status(&broker, &token).await, 200);

        // At the latest after the limit plus the resolution of the last use.
        broker.advance(895);
        broker.advance(6);
        assert_eq!(status(&broker, &token).await, 401);
        // Neither a clock that is set back nor the use of another token makes it valid again.
        broker.advance(-900);
        assert_eq!(status(&broker, &token).await, 401);
    }
}

/// Blocks or unblocks writes of the last use; all other writes work.
fn refuse_writes(broker: &TestBroker, refuse: bool) {
    let url = broker.config.database.url.expose_secret();
    let statements = match (url.starts_with("sqlite:"), refuse) {
        (true, true) => {
            "CREATE TRIGGER refused BEFORE UPDATE OF last_used_at ON sessions
             BEGIN SELECT RAISE(ABORT, 'no'); END;"
        }
        (true, false) => "DROP TRIGGER refused;",
        (false, true) => {
            "CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
             CREATE TRIGGER refused BEFORE UPDATE OF last_used_at ON sessions
             FOR EACH ROW EXECUTE FUNCTION refused();"
        }
        (false, false) => "DROP TRIGGER refused ON sessions;",
    };
    sql::execute(url, statements);
}

/// Last uses that are not written yet also count: users who are active during an outage of writes stay signed in.
#[actix_web::test]
async fn an_outage_of_writes_signs_out_inactive_users_only() {
    for setup in Setup::each_database().await {
        let broker = impatient(setup);
        let browser = broker.browser();
        let token = broker.sign_in(&browser, "dev", "alice").await;
        let rotated = broker.post("/api/token/rotate", &token, &json!({})).await.json();
        let tab = rotated["access_token"].as_str().unwrap();
        let idle_browser = broker.browser();
        let idle = broker.sign_in(&idle_browser, "dev", "alice").await;
        refuse_writes(&broker, true);
        for round in 1..=4 {
            broker.advance(540);
            assert_eq!(status(&broker, tab).await, 200, "round {round}");
        }
        let used = broker.now();
        let back = browser.navigate(&broker.login(&[]).url).await;
        let key = back.parameter("one_time_key");
        assert!(key.is_some(), "the browser session counts as used: {back:?}");
        assert_eq!(status(&broker, &idle).await, 401);
        let back = idle_browser.navigate(&broker.login(&[]).url).await;
        assert!(back.location().unwrap().as_str().starts_with(broker.provider.url()), "{back:?}");

        refuse_writes(&broker, false);
        assert_eq!(status(&broker, tab).await, 200, "whether or not it is written by now");
        let owner = user(&broker, tab).await;
        within(Duration::from_secs(10), "writing the newest", async {
            let near = |at: Timestamp| (at - used).abs() < TimeDelta::seconds(10);
            let known = || async { broker.storage().live_sessions_of(owner, broker.now()).await.unwrap() };
            while !known().await.iter().any(|session| session.state.last_used_at.is_some_and(near)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        // The limit counts from there, plus the resolution of the last use; the outage does not extend it.
        broker.advance(880);
        assert_eq!(status(&broker, tab).await, 200);
    }
}

/// Otherwise a reload would bypass the limit, because the browser session is still valid.
#[actix_web::test]
async fn an_idle_browser_session_is_not_continued_without_the_provider() {
    let broker = impatient(Setup::default());
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let back = browser.navigate(&broker.login(&[]).url).await;
    assert!(back.parameter("one_time_key").is_some(), "in use: {back:?}");
    broker.advance(901);
    assert_eq!(status(&broker, &token).await, 401);
    let to_the_provider = browser.navigate(&broker.login(&[]).url).await;
    assert!(to_the_provider.parameter("one_time_key").is_none(), "{to_the_provider:?}");
    assert!(to_the_provider.location().unwrap().as_str().starts_with(broker.provider.url()));
    let silent = browser.navigate(&broker.login(&[("prompt", "none")]).url).await;
    assert!(silent.parameter("one_time_key").is_none(), "{silent:?}");
}

#[actix_web::test]
async fn an_active_tab_keeps_the_session_alive_for_the_others() {
    let broker = impatient(Setup::default());
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let siblings = join_all((0..2).map(|_| async {
        let answer = broker.post("/api/token/rotate", &token, &json!({})).await;
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }))
    .await;
    for _ in 0..4 {
        broker.advance(400);
        assert_eq!(status(&broker, &siblings[0]).await, 200);
        let user = user(&broker, &siblings[0]).await;
        until(async || {
            let sessions = broker.storage().live_sessions_of(user, broker.now()).await.unwrap();
            let last_use = sessions[0].state.last_used_at;
            if last_use.is_some_and(|at| broker.now() - at < TimeDelta::seconds(60)) {
                Ok(())
            } else {
                Err(last_use)
            }
        })
        .await;
    }
    assert_eq!(status(&broker, &siblings[1]).await, 200, "1600 seconds after its only other moment");
}

async fn user(broker: &TestBroker, token: &str) -> token_broker::domain::ids::UserId {
    broker.call("/api/me", token).await.json()["user"]["id"].as_str().unwrap().parse().unwrap()
}

#[actix_web::test]
async fn there_is_no_inactivity_limit_by_default() {
    let broker = TestBroker::start();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    broker.advance(604_700);
    assert_eq!(status(&broker, &token).await, 200);
}

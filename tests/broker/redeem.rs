//! `/api/get_token`, as callers see it: one key yields one token, whatever else is tried.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use token_broker::domain::client::Client;
use token_broker::domain::pkce::CodeVerifier;

use crate::support::broker::{Login, Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::log::Listener;
use crate::support::outage::assert_recovers;
use crate::support::process::free_port;
use crate::support::redis::{self, RedisServer};
use crate::support::rows;
use crate::support::storage::sql::SqliteLock;
use crate::support::wait::until_true;

const KEY_URL: &str = "/api/get_token";

async fn log_in(broker: &TestBroker, user: &str) -> Login {
    broker.ready().await;
    broker.log_in(&broker.browser(), "dev", user, "").await
}

/// Redeems like the SPA; returns the token.
async fn redeemed(broker: &TestBroker, login: &Login) -> String {
    let answer = broker.redeem(&broker.browser(), &login.key(), &login.verifier).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn post(broker: &TestBroker, body: Value) -> Answer {
    broker.browser().post_json(&broker.at(KEY_URL), &body, &[]).await
}

fn is_invalid_grant(answer: &Answer, case: impl std::fmt::Debug) {
    let seen = (answer.status.as_u16(), answer.error_code());
    assert_eq!(seen, (400, Some("invalid_grant".to_owned())), "{case:?}: {answer:?}");
}

/// A well-formed key that was never issued.
fn unknown_key() -> String {
    use token_broker::domain::entropy::SystemEntropy;
    use token_broker::domain::one_time_key::OneTimeKey;
    OneTimeKey::random(&SystemEntropy).expose().to_string()
}

#[actix_web::test]
async fn a_malformed_key_is_refused_without_the_store() {
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    let broker = TestBroker::with(Setup { key_store: Some(nobody), ..Setup::default() });
    let good = unknown_key();
    let other_last = if good.ends_with('0') { "1" } else { "0" };
    let verifier = "v".repeat(43);
    for bad in [
        "x".to_owned(),
        good.replace("tbo_", "tbk_"),
        good[..53].to_owned(),
        format!("{good}0"),
        format!(" {good}"),
        format!("{}{other_last}", &good[..53]),
        format!("tbo_{}", "z".repeat(50)),
        "ü".repeat(54),
        good.to_uppercase(),
    ] {
        let answer = post(&broker, json!({ "one_time_key": bad, "code_verifier": verifier })).await;
        is_invalid_grant(&answer, bad);
    }
    let answer = post(&broker, json!({ "one_time_key": good, "code_verifier": verifier })).await;
    assert_eq!(answer.status, 503, "a good one asks the store: {answer:?}");
}

#[actix_web::test]
async fn a_key_is_valid_as_configured_and_at_most_120_seconds() {
    for seconds in [10, 120] {
        let setup = Setup::default()
            .adjust(move |config| config.lifetimes.one_time_key = TimeDelta::seconds(seconds));
        let broker = TestBroker::with(setup);
        broker.ready().await;
        let before = broker.now();
        let [in_time, late] = [log_in(&broker, "alice").await, log_in(&broker, "bob").await];
        let after = broker.now();
        broker.go_to(before + TimeDelta::seconds(seconds - 1));
        redeemed(&broker, &in_time).await;
        broker.go_to(after + TimeDelta::seconds(seconds + 1));
        is_invalid_grant(&broker.redeem(&broker.browser(), &late.key(), &late.verifier).await, seconds);
    }
}

/// Five, or the number in `TOKEN_BROKER_TEST_ROUNDS`.
fn rounds() -> usize {
    std::env::var("TOKEN_BROKER_TEST_ROUNDS").map_or(5, |text| text.parse().unwrap())
}

/// Of 100 parallel redemptions exactly one gets the token, and the others, which look like a double submit, do not
/// revoke it.
async fn one_of_a_hundred(instances: &[&TestBroker]) {
    const PREPARED: usize = 20;
    let broker = instances[0];
    broker.ready().await;
    let browsers: Vec<Browser> = instances.iter().map(|instance| instance.browser()).collect();
    let mut left = rounds();
    while left > 0 {
        let mut logins = Vec::new();
        for _ in 0..left.min(PREPARED) {
            logins.push(broker.log_in(&browsers[0], "ops", "alice", "").await);
        }
        left -= logins.len();
        let mut token = String::new();
        for login in logins {
            let key = login.key();
            let attempts = (0..100).map(|i| {
                let at = i % browsers.len();
                instances[at].redeem(&browsers[at], &key, &login.verifier)
            });
            let answers = join_all(attempts).await;
            let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
            assert_eq!(won.len(), 1, "{won:?}");
            lost.iter().for_each(|answer| is_invalid_grant(answer, "lost"));
            token = won[0].json()["access_token"].as_str().unwrap().to_owned();
        }
        assert_eq!(broker.call("/api/me", &token).await.status, 200);
    }
}

#[actix_web::test]
async fn of_100_parallel_redemptions_one_succeeds_in_memory() {
    one_of_a_hundred(&[&TestBroker::start()]).await;
}

#[actix_web::test]
async fn of_100_parallel_redemptions_over_two_instances_one_succeeds() {
    let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..Setup::default() });
    one_of_a_hundred(&[&broker, &broker.twin()]).await;
}

#[actix_web::test]
async fn a_wrong_verifier_does_not_use_up_the_key() {
    let broker = TestBroker::start();
    let login = log_in(&broker, "alice").await;
    let challenge = login.verifier.parse::<CodeVerifier>().unwrap().challenge().to_string();
    for wrong in [
        json!(null),
        json!(""),
        json!("a".repeat(43)),
        json!(&login.verifier[..42]),
        json!(format!("{}a", login.verifier)),
        json!(format!(" {}", login.verifier)),
        json!(login.verifier.to_lowercase()),
        json!("a".repeat(129)),
        json!("ü".repeat(43)),
        json!(challenge),
    ] {
        let body = json!({ "one_time_key": login.key(), "code_verifier": wrong });
        is_invalid_grant(&post(&broker, body).await, wrong);
    }
    is_invalid_grant(&post(&broker, json!({ "one_time_key": login.key() })).await, "missing");
    let token = redeemed(&broker, &login).await;
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

#[actix_web::test]
async fn verifiers_of_43_to_128_unreserved_characters_are_accepted() {
    let broker = TestBroker::start();
    broker.ready().await;
    for verifier in ["-._~".repeat(32), format!("{}Az9", "~".repeat(40))] {
        let challenge = verifier.parse::<CodeVerifier>().unwrap().challenge().to_string();
        let mut login = broker.login(&[("code_challenge", &challenge)]);
        login.verifier = verifier;
        let login = broker.complete(&broker.browser(), login, "&user=alice").await;
        redeemed(&broker, &login).await;
    }
}

#[actix_web::test]
async fn a_verifier_for_a_login_without_challenge_is_refused() {
    let broker = TestBroker::start();
    broker.ready().await;
    let login = broker.complete(&broker.browser(), broker.legacy_login(), "&user=alice").await;
    is_invalid_grant(&broker.redeem(&broker.browser(), &login.key(), &login.verifier).await, "verifier");
    let answer = post(&broker, json!({ "one_time_key": login.key() })).await;
    assert_eq!(answer.status, 200, "the key was not used up: {answer:?}");
}

/// A broker with a second client, `other`, at `https://other.example`.
fn with_another_client() -> TestBroker {
    TestBroker::with(Setup::default().adjust(|config| {
        config.clients.push(Client {
            id: "other".parse().unwrap(),
            origins: vec!["https://other.example".parse().unwrap()],
            redirect_uris: vec!["https://other.example/".parse().unwrap()],
            ..config.clients[0].clone()
        });
    }))
}

#[actix_web::test]
async fn client_id_must_be_the_client_of_the_key() {
    let broker = with_another_client();
    for (named, status) in
        [("sample", 200), ("other", 400), ("legacy", 400), ("nobody", 400), ("Sample", 400), ("", 400)]
    {
        let login = log_in(&broker, "alice").await;
        let body =
            json!({ "one_time_key": login.key(), "code_verifier": login.verifier, "client_id": named });
        let answer = post(&broker, body).await;
        assert_eq!(answer.status, status, "{named}: {answer:?}");
        if status == 400 {
            redeemed(&broker, &login).await; // the key was not spent
        }
    }
    let login = log_in(&broker, "alice").await;
    let (key, verifier) = (login.key(), login.verifier.as_str());
    let pairs = [("one_time_key", key.as_str()), ("code_verifier", verifier), ("client_id", "other")];
    is_invalid_grant(&broker.browser().post_form(&broker.at(KEY_URL), &pairs, &[]).await, "form");
}

#[actix_web::test]
async fn the_origin_must_belong_to_the_client_of_the_key() {
    let broker = with_another_client();
    let own = broker.url.clone();
    for (origin, status) in [
        (own.as_str(), 200),
        ("https://other.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
        (&own.replace("http:", "https:"), 403),
    ] {
        let login = log_in(&broker, "alice").await;
        let body = json!({ "one_time_key": login.key(), "code_verifier": login.verifier });
        let answer = broker.browser().post_json(&broker.at(KEY_URL), &body, &[("origin", origin)]).await;
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
        match status {
            200 => assert_eq!(answer.header("access-control-allow-origin"), Some(origin)),
            _ => {
                assert_eq!(answer.error_code().as_deref(), Some("origin_not_allowed"));
                redeemed(&broker, &login).await; // the key was not spent
            }
        }
    }
}

#[actix_web::test]
async fn a_key_is_sent_by_post_in_a_json_or_form_body() {
    let broker =
        TestBroker::with(Setup::default().adjust(|config| config.clients.retain(|client| !client.legacy)));
    let login = log_in(&broker, "alice").await;
    let (browser, url) = (broker.browser(), broker.at(KEY_URL));
    let (key, verifier) = (login.key(), login.verifier.as_str());
    let body = json!({ "one_time_key": key, "code_verifier": verifier });
    let query = format!("{url}/?one_time_key={key}&code_verifier={verifier}");

    for method in ["GET", "PUT", "DELETE", "HEAD", "PATCH"] {
        let answer = browser.send(method.parse().unwrap(), &query, &[], None).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("POST")), "{method}");
    }
    for query in [query.as_str(), &format!("{url}?one_time_key={key}"), &format!("{url}?code_verifier=x")] {
        let answer = browser.post_json(query, &body, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.error_code().as_deref()), (400, Some("invalid_request")));
    }
    for kind in [None, Some("text/plain"), Some("multipart/form-data; boundary=x"), Some("application/xml")] {
        let headers: Vec<_> = kind.iter().map(|kind| ("content-type", *kind)).collect();
        let answer = browser.send("POST".parse().unwrap(), &url, &headers, Some(body.to_string())).await;
        let seen = (answer.status.as_u16(), answer.error_code());
        assert_eq!(seen, (415, Some("unsupported_media_type".to_owned())), "{kind:?}");
    }
    for (kind, body) in [
        ("application/json", format!("[{body}]")),
        ("application/json", format!("{body}{body}")),
        ("application/json", json!({ "one_time_key": [key], "code_verifier": verifier }).to_string()),
        ("application/json", format!(r#"{{"one_time_key":"{key}","one_time_key":"{key}"}}"#)),
        ("application/json", String::new()),
        ("application/x-www-form-urlencoded", body.to_string()),
        ("application/x-www-form-urlencoded", format!("one_time_key={key}&one_time_key={key}")),
    ] {
        let answer =
            browser.send("POST".parse().unwrap(), &url, &[("content-type", kind)], Some(body.clone())).await;
        assert_eq!(answer.status, 400, "{kind} {body}");
    }
    let answer = browser.post_form(&url, &[("one_time_key", &key), ("code_verifier", verifier)], &[]).await;
    assert_eq!(answer.status, 200, "none of this spent the key: {answer:?}");
}

/// One second redemption of a used key, and whether it ends the session.
struct Second {
    what: &'static str,
    after: i64,
    address: &'static str,
    user_agent: &'static str,
    ends: bool,
}

const FIRST: (&str, &str) = ("192.0.2.7", "Mozilla/5.0 (test)");

#[rustfmt::skip]
const SECONDS: [Second; 7] = [
    Second { what: "a double click", after: 0, address: FIRST.0, user_agent: FIRST.1, ends: false },
    Second { what: "a slow double click", after: 9, address: FIRST.0, user_agent: FIRST.1, ends: false },
    Second { what: "too late for that", after: 11, address: FIRST.0, user_agent: FIRST.1, ends: true },
    Second { what: "another address", after: 0, address: "192.0.2.8", user_agent: FIRST.1, ends: true },
    Second { what: "another browser", after: 0, address: FIRST.0, user_agent: "curl/8.0", ends: true },
    Second { what: "both", after: 100, address: "2001:db8::1", user_agent: "", ends: true },
    Second { what: "the receipt has expired", after: 121, address: "2001:db8::1", user_agent: "", ends: false },
];

async fn redeem_from(broker: &TestBroker, login: &Login, address: &str, user_agent: &str) -> Answer {
    let mut browser = broker.browser();
    user_agent.clone_into(&mut browser.user_agent);
    let body = json!({ "one_time_key": login.key(), "code_verifier": login.verifier });
    browser.post_json(&broker.at(KEY_URL), &body, &[("x-forwarded-for", address)]).await
}

fn behind_a_proxy() -> Setup {
    Setup::default().adjust(|config| config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()])
}

#[actix_web::test]
async fn a_replay_ends_the_session_and_a_double_submit_does_not() {
    for second in SECONDS {
        let broker = TestBroker::with(behind_a_proxy());
        let login = log_in(&broker, "alice").await;
        broker.stop_clock();
        let answer = redeem_from(&broker, &login, FIRST.0, FIRST.1).await;
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        broker.advance(second.after);
        let again = redeem_from(&broker, &login, second.address, second.user_agent).await;
        is_invalid_grant(&again, second.what);
        let status = if second.ends { 401 } else { 200 };
        assert_eq!(broker.call("/api/me", &token).await.status, status, "{}", second.what);
    }
}

#[actix_web::test]
async fn a_replay_is_audited_and_counted() {
    let broker = TestBroker::with(behind_a_proxy());
    let login = log_in(&broker, "alice").await;
    let token = redeem_from(&broker, &login, FIRST.0, FIRST.1).await.json()["access_token"].to_string();
    let me = broker.call("/api/me", token.trim_matches('"')).await.json();
    let before = [broker.counted("key_repeated").await, broker.counted("key_replayed").await];

    redeem_from(&broker, &login, FIRST.0, FIRST.1).await;
    let repeated = broker.audited("key_repeated").await;
    let answer = redeem_from(&broker, &login, "198.51.100.9", "curl/8.0").await;
    let replayed = broker.audited("key_replayed").await;
    let ended = broker.audited("session_ended").await;

    assert_eq!(answer.header("x-request-id"), Some(replayed.request_id.as_str()));
    assert_eq!(replayed.address.as_deref(), Some("198.51.100.9"));
    assert_eq!(repeated.address.as_deref(), Some(FIRST.0));
    for row in [repeated, replayed, ended] {
        assert_eq!(json!(row.session.map(|id| id.to_string())), me["session"]["id"], "{row:?}");
        assert_eq!(json!(row.user.map(|id| id.to_string())), me["user"]["id"], "{row:?}");
        assert_eq!(row.client.as_deref(), Some("sample"), "{row:?}");
    }
    let after = [broker.counted("key_repeated").await, broker.counted("key_replayed").await];
    assert!(before[0] < after[0] && before[1] < after[1], "{before:?} {after:?}");
}

/// An attacker who redeemed a stolen key first must not be able to keep the session by causing many failures from the
/// owner's address.
#[actix_web::test]
async fn a_replay_ends_the_session_also_over_the_limit_of_failures() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.failed_redemptions = NonZeroU32::new(1).unwrap();
    }));
    let login = log_in(&broker, "alice").await;
    let token =
        redeem_from(&broker, &login, "198.51.100.9", "curl/8.0").await.json()["access_token"].to_string();
    let guess = Login { verifier: "a".repeat(43), ..login.clone() };
    is_invalid_grant(&redeem_from(&broker, &guess, FIRST.0, "curl/8.0").await, "the only failure allowed");

    let replay = redeem_from(&broker, &login, FIRST.0, FIRST.1).await;
    assert_eq!((replay.status.as_u16(), replay.error_code().as_deref()), (429, Some("rate_limited")));
    assert_eq!(broker.call("/api/me", token.trim_matches('"')).await.status, 401, "what was stolen is over");
    assert_eq!(broker.audited("key_replayed").await.address.as_deref(), Some(FIRST.0));
}

#[actix_web::test]
async fn a_replay_while_the_database_is_unavailable_ends_the_session_later() {
    let broker = TestBroker::with(behind_a_proxy());
    let login = log_in(&broker, "alice").await;
    let token = redeemed(&broker, &login).await;
    let lock = SqliteLock::of(broker.config.database.url.expose_secret());
    is_invalid_grant(&redeem_from(&broker, &login, "198.51.100.9", "curl/8.0").await, "replayed");
    drop(lock);
    until_true("the session ends", async || broker.call("/api/me", &token).await.status == 401).await;
    let ended = broker.audited("session_ended").await;
    assert_eq!(ended.address.as_deref(), Some("198.51.100.9"));
    assert!(ended.session.is_some());
}

/// A restart during an outage must not silently drop sessions that still have to end.
#[actix_web::test]
async fn a_stopping_instance_logs_the_sessions_it_could_not_end() {
    let log = Listener::start();
    let broker = TestBroker::with(behind_a_proxy());
    let login = log_in(&broker, "alice").await;
    let token = redeemed(&broker, &login).await;
    let session = broker.call("/api/me", &token).await.json()["session"]["id"].as_str().unwrap().to_owned();
    let lock = SqliteLock::of(broker.config.database.url.expose_secret());
    is_invalid_grant(&redeem_from(&broker, &login, "198.51.100.9", "curl/8.0").await, "replayed");
    broker.stop();
    drop(lock);
    let text = log.text();
    let named = |line: &&str| line.contains(&session) && line.contains("token-broker sessions end");
    let line = text.lines().find(named).expect("a line that says what to do");
    assert!(line.contains("ERROR"), "{line}");
}

#[actix_web::test]
async fn a_replay_without_proof_ends_no_session() {
    let broker = TestBroker::with(behind_a_proxy());
    let login = log_in(&broker, "alice").await;
    let token = redeemed(&broker, &login).await;
    let guessed = Login { verifier: "a".repeat(43), ..login };
    is_invalid_grant(&redeem_from(&broker, &guessed, "198.51.100.9", "curl/8.0").await, "no proof");
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

#[actix_web::test]
async fn a_replay_ends_only_its_own_session_on_every_instance() {
    let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..behind_a_proxy() });
    let twin = broker.twin();
    let [stolen, other] = [log_in(&broker, "alice").await, log_in(&broker, "alice").await];
    let [stolen_token, other_token] = [redeemed(&broker, &stolen).await, redeemed(&twin, &other).await];
    is_invalid_grant(&redeem_from(&twin, &stolen, "198.51.100.9", "curl/8.0").await, "replay");
    for instance in [&broker, &twin] {
        assert_eq!(instance.call("/api/me", &stolen_token).await.status, 401);
        assert_eq!(instance.call("/api/me", &other_token).await.status, 200);
    }
}

#[actix_web::test]
async fn the_response_is_the_same_for_every_invalid_key() {
    let broker = with_another_client();
    let used = log_in(&broker, "alice").await;
    redeemed(&broker, &used).await;
    let [wrong, foreign, expired] =
        [log_in(&broker, "alice").await, log_in(&broker, "alice").await, log_in(&broker, "bob").await];
    let with = |login: &Login| json!({ "one_time_key": login.key(), "code_verifier": login.verifier });
    let mut answers = vec![
        ("malformed", post(&broker, json!({ "one_time_key": "tbo_x", "code_verifier": "x" })).await),
        ("unknown", broker.redeem(&broker.browser(), &unknown_key(), &wrong.verifier).await),
        ("used", post(&broker, with(&used)).await),
        ("wrong verifier", broker.redeem(&broker.browser(), &wrong.key(), &"a".repeat(43)).await),
        ("short verifier", broker.redeem(&broker.browser(), &wrong.key(), "a").await),
        ("no verifier", post(&broker, json!({ "one_time_key": wrong.key() })).await),
    ];
    let mut body = with(&foreign);
    body["client_id"] = json!("other");
    answers.push(("foreign client", post(&broker, body).await));
    broker.advance(121);
    answers.push(("expired", post(&broker, with(&expired)).await));

    is_invalid_grant(&answers[0].1, "the first");
    let like = answers[0].1.normalized();
    for (what, answer) in &answers {
        assert_eq!(answer.normalized(), like, "{what}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    }
}

#[actix_web::test]
async fn a_login_that_is_never_redeemed_leaves_rows_that_are_purged() {
    let broker = TestBroker::start();
    let login = log_in(&broker, "alice").await;
    assert_eq!(rows::count(&broker, "tokens", "1"), 1, "written at the callback");
    broker.advance(33 * 86_400);
    is_invalid_grant(&broker.redeem(&broker.browser(), &login.key(), &login.verifier).await, "too late");
    // A broker purges at startup and then at intervals.
    let _purging = broker.twin();
    until_true("the rows are gone", async || {
        rows::count(&broker, "tokens", "1") + rows::count(&broker, "sessions", "1") == 0
    })
    .await;
    assert_eq!(rows::count(&broker, "users", "1"), 1, "people stay");
}

#[actix_web::test]
async fn the_response_is_as_documented() {
    let broker = TestBroker::start();
    for form in [false, true] {
        let login = log_in(&broker, "alice").await;
        let (key, verifier, browser) = (login.key(), login.verifier.as_str(), broker.browser());
        let answer = match form {
            false => broker.redeem(&browser, &key, verifier).await,
            true => {
                let pairs = [("one_time_key", key.as_str()), ("code_verifier", verifier)];
                browser.post_form(&format!("{}/", broker.at(KEY_URL)), &pairs, &[]).await
            }
        };
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body = answer.json();
        let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["access_token", "expires_at", "expires_in", "scope", "token_type"]);
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["scope"], "permissions profile");
        assert!((604_790..=604_800).contains(&body["expires_in"].as_i64().unwrap()), "{body}");
        let expires_at: chrono::DateTime<chrono::Utc> = body["expires_at"].as_str().unwrap().parse().unwrap();
        let left = (expires_at - broker.now()).num_seconds();
        assert!((604_790..=604_800).contains(&left), "{left}");
    }
}

#[actix_web::test]
async fn failed_redemptions_are_limited_per_address() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.failed_redemptions = NonZeroU32::new(30).unwrap();
    }));
    let login = log_in(&broker, "alice").await;
    broker.stop_clock();
    let guess = Login { verifier: "a".repeat(43), ..login.clone() };
    for i in 0..30 {
        is_invalid_grant(&redeem_from(&broker, &guess, "192.0.2.1", "a").await, i);
    }
    let limited = redeem_from(&broker, &guess, "192.0.2.1", "another browser").await;
    assert_eq!((limited.status.as_u16(), limited.error_code().as_deref()), (429, Some("rate_limited")));
    let seconds: u32 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");

    is_invalid_grant(&redeem_from(&broker, &guess, "192.0.2.2", "a").await, "another address");
    assert_eq!(redeem_from(&broker, &login, "192.0.2.1", "a").await.status, 200, "the owner is let in");
    broker.advance(i64::from(seconds));
    is_invalid_grant(&redeem_from(&broker, &guess, "192.0.2.1", "a").await, "later");
}

#[actix_web::test]
async fn without_the_key_store_the_response_is_503_without_fallback() {
    let mut server = RedisServer::start(&[]);
    let broker = TestBroker::with(Setup { key_store: Some(server.url()), ..Setup::default() });
    let login = log_in(&broker, "alice").await;
    let browser = broker.browser();
    let open = broker.login(&[]);
    let callback = broker.callback_url(&browser, &open.url, "&user=bob").await;
    server.stop();

    let legacy = format!("{}/?one_time_key={}", broker.at(KEY_URL), login.key());
    for answer in [
        broker.redeem(&browser, &login.key(), &login.verifier).await,
        broker.browser().get(&legacy, &[]).await,
    ] {
        let seen = (answer.status.as_u16(), answer.error_code());
        assert_eq!(seen, (503, Some("temporarily_unavailable".to_owned())), "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    let back = browser.navigate(&callback).await;
    assert_eq!(back.parameter("error").as_deref(), Some("temporarily_unavailable"), "{back:?}");

    server.launch();
    assert_recovers(&broker, "the key store was started again").await;
    let answer = broker.redeem(&browser, &login.key(), &login.verifier).await;
    is_invalid_grant(&answer, "the key is lost with its store, not kept elsewhere");
    let back = browser.navigate(&callback).await;
    assert!(back.parameter("one_time_key").is_some(), "the login continues: {back:?}");
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn without_the_database_keys_are_redeemed_and_tokens_are_unknown() {
    use token_broker::storage::Storage;

    use crate::support::postgres::Postgres;
    use crate::support::storage::settings;

    let mut server = Postgres::own();
    let url = server.database();
    Storage::new(&settings(&url)).unwrap().migrate().await.unwrap();
    let broker = TestBroker::with(Setup { database: Some(url), ..Setup::default() });
    let login = log_in(&broker, "alice").await;
    let old = redeemed(&broker, &log_in(&broker, "bob").await).await;
    server.stop();

    let token = redeemed(&broker, &login).await;
    // Concurrently, because each waits for a connection.
    let calls = [
        ("GET", "/api/me"),
        ("GET", "/api/permissions"),
        ("POST", "/api/token/rotate"),
        ("POST", "/api/logout"),
    ];
    let answers = join_all([&old, &token].into_iter().flat_map(|token| calls.map(|call| (token, call))).map(
        async |(token, (method, path))| {
            let authorization = format!("Bearer {token}");
            let headers = [("authorization", authorization.as_str())];
            broker.browser().send(method.parse().unwrap(), &broker.at(path), &headers, None).await
        },
    ));
    for answer in answers.await {
        let seen = (answer.status.as_u16(), answer.error_code());
        assert_eq!(seen, (503, Some("temporarily_unavailable".to_owned())), "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), None, "{answer:?}");
    }
    assert_eq!(broker.call("/api/me", "tbk_forged").await.status, 401, "needs no database");

    server.resume();
    assert_recovers(&broker, "the database was started again").await;
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
    assert_eq!(broker.call("/api/me", &old).await.status, 200, "a logout that failed ended nothing");
}

#[actix_web::test]
async fn losing_the_key_store_loses_only_logins_in_progress() {
    let url = redis::url();
    let broker = TestBroker::with(Setup { key_store: Some(url.clone()), ..Setup::default() });
    let token = redeemed(&broker, &log_in(&broker, "alice").await).await;
    let waiting = log_in(&broker, "alice").await;
    let browser = broker.browser();
    let open = broker.login(&[]);
    let callback = broker.callback_url(&browser, &open.url, "&user=bob").await;
    let _: () = redis::ask(&url, ::redis::cmd("FLUSHDB").arg("SYNC")).unwrap();

    assert_eq!(broker.call("/api/me", &token).await.status, 200);
    is_invalid_grant(&broker.redeem(&browser, &waiting.key(), &waiting.verifier).await, "lost");
    let back = browser.navigate(&callback).await;
    let answer = broker.redeem(&browser, &back.parameter("one_time_key").unwrap(), &open.verifier).await;
    assert_eq!(answer.status, 200, "an attempt at the provider is in its cookie: {answer:?}");
}

#[test]
fn the_documentation_requires_noeviction() {
    for (name, text) in [
        ("README.md", include_str!("../../README.md")),
        ("docs/architecture.md", include_str!("../../docs/architecture.md")),
    ] {
        assert!(text.contains("maxmemory-policy noeviction"), "{name}");
    }
}

//! The log: one JSON object per line, with everything that an investigation needs. `secrets_at_rest` tests that it
//! contains no credential.

use std::num::NonZeroU32;

use regex::Regex;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use token_broker::domain::token::GenuineToken;
use token_broker::provider::dev::FaultSwitch;
use token_broker::provider::settings::KindSettings;

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::dump;
use crate::support::log::Listener;
use crate::support::raw;
use crate::support::redis::RedisServer;
use crate::support::rows;
use crate::support::wait::until;

fn id(answer: &Answer) -> &str {
    answer.header("x-request-id").unwrap()
}

/// The access line of a request.
fn access(log: &Listener, answer: &Answer) -> Value {
    let lines = log.of(id(answer));
    lines
        .into_iter()
        .find(|line| line["route"].is_string())
        .unwrap_or_else(|| panic!("no line of {answer:?}"))
}

/// The security events of one request, in their order.
fn events(log: &Listener, answer: &Answer) -> Vec<Value> {
    log.of(id(answer)).into_iter().filter(|line| line["target"] == "audit").collect()
}

#[actix_web::test]
async fn access_lines_contain_the_route_but_not_the_query() {
    let log = Listener::start();
    let broker = TestBroker::start();
    let browser = broker.browser();
    for (target, route) in [
        ("/login?client_id=canary&state=canary", "/login"),
        ("/oauth2_callback?code=canary&state=canary", "/oauth2_callback"),
        ("/oauth2_callback/canary?code=canary", "/oauth2_callback/{provider}"),
        ("/api/get_token/?one_time_key=canary", "/api/get_token"),
        ("/api/me?access_token=canary", "/api/me"),
        ("/canary?canary", "unmatched"),
        ("/docs/canary", "/docs/{file}"),
    ] {
        for method in ["GET", "POST", "CANARY"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let headers = [("referer", "https://canary/"), ("cookie", "canary=canary")];
            let answer = browser.send(method.clone(), &broker.at(target), &headers, None).await;
            let line = access(&log, &answer);
            assert_eq!(line["route"], route, "{method} {target}: {line}");
            // Only methods of a fixed list, so that callers cannot write into the log.
            let known = ["GET", "POST"].contains(&method.as_str());
            assert_eq!(line["method"], if known { method.as_str() } else { "other" });
            assert_eq!(line["status"], answer.status.as_u16());
            assert_eq!(line["address"], "127.0.0.1");
            for line in log.of(id(&answer)) {
                assert!(!line.to_string().to_lowercase().contains("canary"), "{method} {target}: {line}");
            }
        }
    }
}

#[actix_web::test]
async fn failures_of_stores_and_providers_are_logged_without_urls_and_values() {
    let log = Listener::start();
    let mut redis = RedisServer::start(&["requirepass hunter2"]);
    let setup = Setup { key_store: Some(redis.url()), ..Setup::default() }.adjust(|config| {
        // The development provider does not use TLS.
        let KindSettings::OAuth2(ops) = &mut config.providers[1].kind else { panic!("ops is OAuth 2") };
        ops.token_url.set_scheme("https").unwrap();
    });
    let broker = TestBroker::with(setup);
    let browser = broker.browser();
    broker.provider.faults().set(FaultSwitch::Everything500, true);
    let metadata = browser.navigate(&broker.login(&[]).url).await;
    broker.provider.faults().clear();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let tls = broker.log_in(&browser, "ops", "alice", "").await.back;
    let exchange = broker.log_in(&browser, "dev", "alice", "&fault=token_cut").await.back;
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    redis.stop();
    let key_store = broker.redeem(&browser, &login.key(), &login.verifier).await;
    let keys = broker.config.server_keys.clone();
    let gone = "postgres://test:hunter2@127.0.0.1:1/test".to_owned();
    let without_database = TestBroker::with(
        Setup { database: Some(gone), ..Setup::default() }
            .adjust(move |config| config.server_keys = keys.clone()),
    );
    let database = without_database.call("/api/me", &token).await;

    for (answer, part) in [
        (metadata, "provider"),
        (tls, "provider"),
        (exchange, "provider"),
        (key_store, "key store"),
        (database, "database"),
    ] {
        let lines = log.of(id(&answer));
        let causes: Vec<_> = lines.iter().filter_map(|line| line["cause"].as_str()).collect();
        assert!(causes.iter().any(|cause| cause.contains(part)), "{part}: {lines:?}");
    }
    for line in log.text().lines().filter(|line| line.contains("\"cause\"") || line.contains("\"error\"")) {
        let line: Value = serde_json::from_str(line).unwrap();
        let texts = ["cause", "error", "message"].map(|name| line[name].as_str().unwrap_or_default());
        for text in texts {
            assert!(!text.contains("://") && !text.contains("hunter2"), "{line}");
        }
    }
}

#[actix_web::test]
async fn every_line_is_one_json_object_without_control_characters() {
    let log = Listener::start();
    let broker = TestBroker::start();
    broker.ready().await;
    let mut browser = broker.browser();
    browser.user_agent = "x".repeat(5_000);
    for fault in ["hostile_profile", "callback_error_unknown", "callback_control_code", "token_html"] {
        for provider in ["dev", "ops"] {
            broker.log_in(&browser, provider, "alice", &format!("&fault={fault}")).await;
        }
    }
    let hostile = "/api/me%0d%0a%7B%22level%22:%22ERROR%22%7D%1b%5B31m";
    raw::send(&broker.real_url, raw::request("GET", hostile, &[("User-Agent", "\u{1b}[31m")])).await;
    let time = Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$").unwrap();
    let text = log.text();
    assert!(text.ends_with('\n') && text.lines().count() > 50);
    for line in text.lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let object: Value = serde_json::from_str(line).unwrap();
        assert!(time.is_match(object["timestamp"].as_str().unwrap()), "{line}");
        assert!(object["level"].is_string() && object["target"].is_string(), "{line}");
        for (name, value) in object.as_object().unwrap() {
            let length = value.as_str().map_or(0, |text| text.chars().count());
            assert!(length <= 257, "{name} has {length} characters");
            assert!(!value.is_object() && !value.is_array(), "{line}");
        }
    }
    assert!(!text.contains("<script") && !text.contains(&"x".repeat(257)), "foreign text in the log");
}

#[actix_web::test]
async fn a_request_id_from_outside_is_used_only_from_a_trusted_proxy_and_in_the_safe_alphabet() {
    let log = Listener::start();
    let untrusted = TestBroker::start();
    let chosen = untrusted.browser().get(&untrusted.at("/api/me"), &[("x-request-id", "chosen")]).await;
    assert_ne!(id(&chosen), "chosen");
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    }));
    let browser = broker.browser();
    let own = format!("Proxy_1.{}", "a".repeat(56));
    let answer = browser.get(&broker.at("/api/me"), &[("x-request-id", &own)]).await;
    assert_eq!((id(&answer), answer.json()["request_id"].as_str()), (own.as_str(), Some(own.as_str())));
    assert_eq!(access(&log, &answer)["request_id"], own);
    let drawn = Regex::new("^[0-9a-f]{32}$").unwrap();
    let long = "a".repeat(65);
    for hostile in ["", "a b", "a;b", "a\"b", "{}", "a\tb", "a/b", "<b>", "\u{fc}", "a,b", &long] {
        let headers = [("X-Request-Id", hostile)];
        let answer = raw::send(&broker.real_url, raw::request("GET", "/api/me", &headers)).await;
        let used = answer.header("x-request-id").unwrap();
        assert!(drawn.is_match(used) && answer.body().contains(used), "{hostile}: {answer:?}");
    }
}

/// The fields of an event, in addition to time, address and request id.
struct Expected {
    event: &'static str,
    known: &'static [&'static str],
    reason: Option<&'static str>,
}

const fn expected(event: &'static str, known: &'static [&'static str]) -> Expected {
    Expected { event, known, reason: None }
}

const fn failed(event: &'static str, known: &'static [&'static str], reason: &'static str) -> Expected {
    Expected { event, known, reason: Some(reason) }
}

const PERSON: &[&str] = &["client_id", "user_id", "session_id", "token"];
const EVERYTHING: &[&str] = &["client_id", "provider", "user_id", "session_id", "token"];

fn compare(log: &Listener, what: &str, answer: &Answer, all: &[Expected]) {
    let lines = events(log, answer);
    let names: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(names, all.iter().map(|expected| expected.event).collect::<Vec<_>>(), "{what}");
    for (line, expected) in lines.iter().zip(all) {
        assert_eq!(line["address"], "127.0.0.1", "{what}: {line}");
        assert_eq!(line["reason"].as_str(), expected.reason, "{what}: {line}");
        for name in EVERYTHING {
            assert_eq!(line[name].is_string(), expected.known.contains(name), "{what}: {name} in {line}");
        }
        let client = line["client_id"].as_str();
        assert!(client.is_none_or(|client| client == "sample"), "{what}: {line}");
        assert!(line["provider"].as_str().is_none_or(|provider| provider == "dev"), "{what}: {line}");
    }
}

#[actix_web::test]
async fn logins_are_audited() {
    let log = Listener::start();
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let begun = browser.navigate(&broker.login(&[]).url).await;
    compare(&log, "start", &begun, &[expected("login_started", &["client_id", "provider"])]);
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let success = [expected("login_succeeded", EVERYTHING), expected("token_issued", EVERYTHING)];
    compare(&log, "success", &login.back, &success);
    let strange = browser.navigate(&login.callback).await;
    compare(&log, "second callback", &strange, &[failed("login_failed", &[], "invalid_state")]);
    for (choice, reason) in [
        ("&deny=1", "access_denied"),
        ("&user=alice&fault=wrong_nonce", "invalid_id_token"),
        ("&user=alice&fault=token_503", "temporarily_unavailable"),
        ("&user=alice&fault=profile_html", "provider_error"),
    ] {
        let failure = broker.complete(&browser, broker.login(&[]), choice).await.back;
        let expected = failed("login_failed", &["client_id", "provider"], reason);
        compare(&log, choice, &failure, &[expected]);
    }
}

#[actix_web::test]
async fn one_time_keys_are_audited() {
    let log = Listener::start();
    let broker = TestBroker::start();
    broker.ready().await;
    let (browser, mut other) = (broker.browser(), broker.browser());
    other.user_agent = "Other/1.0".to_owned();
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let redeem =
        async |browser: &Browser, verifier: &str| broker.redeem(browser, &login.key(), verifier).await;
    let refused = || failed("key_refused", &[], "invalid_grant");
    let without_token: &[&str] = &["client_id", "user_id", "session_id"];
    compare(&log, "unproven", &redeem(&browser, &"w".repeat(43)).await, &[refused()]);
    let redeemed = redeem(&browser, &login.verifier).await;
    compare(&log, "redeemed", &redeemed, &[expected("key_redeemed", PERSON)]);
    let repeated = redeem(&browser, &login.verifier).await;
    compare(&log, "repeated", &repeated, &[failed("key_repeated", without_token, "invalid_grant")]);
    let replayed = redeem(&other, &login.verifier).await;
    let events =
        [failed("key_replayed", without_token, "invalid_grant"), expected("session_ended", without_token)];
    compare(&log, "replayed", &replayed, &events);
    let late = broker.log_in(&browser, "dev", "alice", "").await;
    broker.advance(121);
    compare(&log, "expired", &broker.redeem(&browser, &late.key(), &late.verifier).await, &[refused()]);
}

#[actix_web::test]
async fn tokens_are_audited() {
    let log = Listener::start();
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let session: &[&str] = &["client_id", "user_id", "session_id"];
    let refused = |known, reason| failed("token_refused", known, reason);
    let made_up = broker.call("/api/me", "tbk_made_up").await;
    compare(&log, "made up", &made_up, &[refused(&[], "not_issued")]);
    compare(&log, "good", &broker.call("/api/me", &token).await, &[]);
    let rotated = broker.post("/api/token/rotate", &token, &json!({})).await;
    compare(&log, "rotated", &rotated, &[expected("token_rotated", PERSON)]);
    broker.advance(61);
    let reused = broker.call("/api/me", &token).await;
    compare(
        &log,
        "reused",
        &reused,
        &[expected("token_reused", PERSON), expected("session_ended", PERSON), refused(PERSON, "superseded")],
    );
    let again = broker.sign_in(&browser, "dev", "alice").await;
    let ended = broker.post("/api/logout", &again, &json!({})).await;
    compare(&log, "logout", &ended, &[expected("session_ended", session)]);
    compare(&log, "revoked", &broker.call("/api/me", &again).await, &[refused(PERSON, "revoked")]);
}

/// An operator sees why each token was refused, and a row that someone changed has an event of its own.
#[actix_web::test]
async fn a_refused_token_is_audited_with_its_state() {
    let log = Listener::start();
    let broker = TestBroker::start();
    for (change, kind, reason) in [
        ("scopes = 'admin permissions profile'", "token_forged", "forged"),
        ("revoked_at = issued_at", "token_refused", "revoked"),
        ("superseded_at = issued_at + 1", "token_refused", "superseded"),
    ] {
        let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let row = rows::row_of(&broker, &token);
        assert_eq!(rows::change(&broker, &format!("UPDATE tokens SET {change} WHERE {row}")), 1);
        broker.advance(-61);
        let answer = broker.call("/api/me", &token).await;
        broker.advance(61);
        assert_eq!((answer.status.as_u16(), answer.error_code().as_deref()), (401, Some("invalid_token")));
        compare(&log, reason, &answer, &[failed(kind, PERSON, reason)]);
    }
    let expired = broker.sign_in(&broker.browser(), "dev", "alice").await;
    broker.advance(604_801);
    let answer = broker.call("/api/me", &expired).await;
    compare(&log, "expired", &answer, &[failed("token_refused", PERSON, "expired")]);
}

/// The SPA gets the broker's own words. The name of the provider's error is in the log, where an operator looks for it.
#[actix_web::test]
async fn the_refusal_of_a_provider_is_logged_by_its_standard_name() {
    let log = Listener::start();
    let broker = TestBroker::start();
    broker.ready().await;
    for (error, named) in [
        ("invalid_scope", "invalid_scope"),
        ("unauthorized_client", "unauthorized_client"),
        ("server_error", "server_error"),
        ("access_denied", "access_denied"),
        ("made%20up", "an unknown error code"),
    ] {
        let browser = broker.browser();
        let login = broker.login(&[]);
        let callback = broker.callback_url(&browser, &login.url, "&user=alice").await;
        let (address, query) = callback.split_once('?').unwrap();
        let kept: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("code=")).collect();
        let back = browser.navigate(&format!("{address}?{}&error={error}", kept.join("&"))).await;
        assert_eq!(back.status, 303, "{back:?}");
        let lines = log.of(id(&back));
        let logged = lines.iter().find(|line| line["cause"].is_string()).unwrap();
        assert_eq!(logged["cause"], format!("provider dev answered {named}"), "{logged}");
        assert!(!log.text().contains("made up"));
    }
}

#[actix_web::test]
async fn every_rate_limit_is_audited() {
    let log = Listener::start();
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        let one = NonZeroU32::MIN;
        config.limits.logins = one;
        config.limits.callbacks = one;
        config.limits.failed_redemptions = one;
        config.limits.failed_tokens = one;
        config.limits.devices = one;
    }));
    let browser = broker.browser();
    let key = json!({ "one_time_key": "x", "code_verifier": "y" });
    let device = [("client_id", "sample")];
    for which in 0..5 {
        let ask = async || match which {
            0 => browser.navigate(&broker.login(&[]).url).await,
            1 => browser.navigate(&broker.at("/oauth2_callback/dev")).await,
            2 => browser.post_json(&broker.at("/api/get_token"), &key, &[]).await,
            3 => browser.post_form(&broker.at("/oauth2/device_authorization"), &device, &[]).await,
            _ => broker.call("/api/me", "x").await,
        };
        assert_ne!(ask().await.status, 429);
        let refused = ask().await;
        assert_eq!(refused.status, 429, "{refused:?}");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        compare(&log, refused.url.path(), &refused, &[failed("rate_limited", &[], "rate_limited")]);
        // Further requests are refused and logged, but audited only once a minute.
        let again = ask().await;
        compare(&log, refused.url.path(), &again, &[]);
        assert_eq!(access(&log, &again)["code"], "rate_limited");
        broker.advance(61);
    }
}

#[actix_web::test]
async fn a_token_appears_under_its_short_id_only() {
    let log = Listener::start();
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let redeemed = broker.redeem(&browser, &login.key(), &login.verifier).await;
    let token = redeemed.json()["access_token"].as_str().unwrap().to_owned();
    let digest = GenuineToken::parse(&token, &broker.config.server_keys.ring).unwrap().handle.digest();
    assert!(Regex::new("^[0-9a-f]{8}$").unwrap().is_match(&digest.short_id()));
    for answer in [&login.back, &redeemed] {
        let ids: Vec<_> = events(&log, answer).iter().map(|line| line["token"].clone()).collect();
        assert!(!ids.is_empty() && ids.iter().all(|id| *id == digest.short_id()), "{ids:?}");
    }
    // Neither the token nor more of its digest than the id.
    let whole: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let text = log.text();
    assert!(!text.contains(&token) && !text.contains(&token[4..40]) && !text.contains(&whole[..9]));
}

#[actix_web::test]
async fn events_are_also_stored_as_rows() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    broker.post("/api/logout", &token, &json!({})).await;
    let expected = ["key_redeemed", "login_started", "login_succeeded", "session_ended", "token_issued"];
    let url = broker.config.database.url.expose_secret().to_owned();
    until(async || {
        let kinds = dump::sqlite_texts(&url, "SELECT DISTINCT kind AS text FROM audit_events ORDER BY 1");
        if kinds == expected { Ok(()) } else { Err(kinds) }
    })
    .await;
}

//! Errors as callers see them: every code, the format of every error, what responses and the public listener must not
//! reveal, and that no input adds a header.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use regex::Regex;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use token_broker::domain::client::LoginParameter;
use token_broker::error::ErrorCode;

use crate::headers::{check, described};
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::device::Device;
use crate::support::dpop::{self, AppKey};
use crate::support::log::Listener;
use crate::support::oauth;
use crate::support::raw;
use crate::support::redis::RedisServer;

/// Codes that this test cannot trigger quickly, and why.
const NOT_REACHED: &[(ErrorCode, &str)] = &[
    (ErrorCode::RequestTimeout, "after ten seconds of the machine's clock; see http/extract/body.rs"),
    (ErrorCode::HeadTooLarge, "answered while the head is still being sent; see tests/broker/connections.rs"),
];

/// The stable code of an error, whether it is JSON, a page or a redirect to the SPA.
fn code(answer: &Answer) -> String {
    if let Some(code) = answer.error_code() {
        return code;
    }
    let text = answer.parameter("error_description").unwrap_or_else(|| answer.body.clone());
    let pattern = Regex::new(r"<code>([a-z_]+)</code>|\(([a-z_]+), request ").unwrap();
    let found = pattern.captures(&text).unwrap_or_else(|| panic!("no code in {answer:?}"));
    found.iter().skip(1).flatten().next().unwrap().as_str().to_owned()
}

/// Completes a login whose provider answers with this error.
async fn refused_by_provider(broker: &TestBroker, browser: &Browser, error: &str) -> Answer {
    let callback = broker.callback_url(browser, &broker.login(&[]).url, "&deny=1").await;
    assert!(callback.contains("error=access_denied"), "{callback}");
    browser.navigate(&callback.replace("error=access_denied", &format!("error={error}"))).await
}

/// Writes invalid data into the broker's database.
fn corrupt_rows(broker: &TestBroker) {
    let url = broker.config.database.url.expose_secret();
    let mut file = SqliteConnection::establish(url.trim_start_matches("sqlite:")).unwrap();
    file.batch_execute("UPDATE identities SET permissions = 'canary';").unwrap();
}

/// Responses to requests that need no login.
async fn simple_failures(broker: &TestBroker, browser: &Browser) -> Vec<(ErrorCode, Answer)> {
    use ErrorCode::{
        ContentTooLarge, InvalidClient, InvalidGrant, InvalidRequest, InvalidState, InvalidTarget,
        InvalidToken, MethodNotAllowed, MissingToken, NotANavigation, NotFound, OriginNotAllowed,
        UnauthenticatedClient, UnsupportedMediaType, UriTooLong,
    };
    let (key, json_type) = (json!({ "one_time_key": "x" }), [("content-type", "application/json")]);
    let get = async |path: &str, headers: &[(&str, &str)]| browser.get(&broker.at(path), headers).await;
    let post = async |headers: &[(&str, &str)], body: &str| {
        browser.send(Method::POST, &broker.at("/api/get_token"), headers, Some(body.to_owned())).await
    };
    vec![
        (InvalidRequest, get("/login?client_id=sample&client_id=sample", &[]).await),
        (InvalidClient, get("/login?client_id=nobody", &[]).await),
        (
            InvalidTarget,
            browser.navigate(&broker.login_with(&[("resource", "https://other.example")]).url).await,
        ),
        (
            UnauthenticatedClient,
            browser.post_form(&broker.at("/oauth2/introspect"), &[("token", "x")], &[]).await,
        ),
        (InvalidGrant, browser.post_json(&broker.at("/api/get_token"), &key, &[]).await),
        (MissingToken, get("/api/me", &[]).await),
        (InvalidToken, get("/api/me", &[("authorization", "Bearer x")]).await),
        // A browser that is signed in would be sent home.
        (InvalidState, broker.browser().navigate(&broker.at("/oauth2_callback/dev?state=x&code=y")).await),
        (NotANavigation, get("/login", &[("sec-fetch-dest", "image")]).await),
        (OriginNotAllowed, post(&[("origin", "https://evil.example")], "").await),
        (NotFound, get("/nothing", &[]).await),
        (MethodNotAllowed, get("/api/logout", &[]).await),
        (ContentTooLarge, post(&json_type, &" ".repeat(17_000)).await),
        (UriTooLong, get(&format!("/{}", "a".repeat(9_000)), &[]).await),
        (UnsupportedMediaType, post(&[("content-type", "text/plain")], "x").await),
    ]
}

/// What only clients of standard OAuth 2 are told.
async fn oauth_failures(broker: &TestBroker, browser: &Browser) -> Vec<(ErrorCode, Answer)> {
    let mut answers = Vec::new();
    let legacy = broker.at("/legacy");
    for (code, parameters) in [
        (ErrorCode::UnsupportedResponseType, &[("response_type", "token")][..]),
        (ErrorCode::InvalidScope, &[("scope", "unknown")]),
        (ErrorCode::RequestNotSupported, &[("request", "x")]),
        (ErrorCode::RequestUriNotSupported, &[("request_uri", "x")]),
        (ErrorCode::UnauthorizedClient, &[("client_id", "legacy"), ("redirect_uri", &legacy)]),
    ] {
        answers.push((code, browser.navigate(&oauth::authorization(broker, parameters).url).await));
    }
    let device = Device::start(broker, &[]).await;
    answers.push((ErrorCode::AuthorizationPending, device.poll(broker).await));
    answers.push((ErrorCode::SlowDown, device.poll(broker).await));
    let expired = TestBroker::start();
    let device = Device::start(&expired, &[]).await;
    expired.advance(601);
    answers.push((ErrorCode::ExpiredToken, device.poll(&expired).await));
    let password = oauth::post(broker, &[("grant_type", "password"), ("client_id", "sample")]).await;
    answers.push((ErrorCode::UnsupportedGrantType, password));
    answers
}

/// Logins that fail.
async fn failed_logins(broker: &TestBroker, browser: &Browser) -> Vec<(ErrorCode, Answer)> {
    use ErrorCode::{
        AccessDenied, AccountSelectionRequired, ConsentRequired, InsufficientUserAuthentication,
        InteractionRequired, InvalidIdToken, IssuerMismatch, LoginRequired, ProviderError,
        TemporarilyUnavailable,
    };
    let mut answers = Vec::new();
    for (code, error) in [
        (AccessDenied, "access_denied"),
        (LoginRequired, "login_required"),
        (InteractionRequired, "interaction_required"),
        (ConsentRequired, "consent_required"),
        (AccountSelectionRequired, "account_selection_required"),
        (InsufficientUserAuthentication, "unmet_authentication_requirements"),
        (TemporarilyUnavailable, "server_error"),
        (ProviderError, "made_up"),
    ] {
        answers.push((code, refused_by_provider(broker, browser, error).await));
    }
    for (code, fault) in [
        (IssuerMismatch, "callback_wrong_iss"),
        (ProviderError, "token_html"),
        (InvalidIdToken, "wrong_nonce"),
        (TemporarilyUnavailable, "token_503"),
    ] {
        let login = broker.log_in(browser, "dev", "alice", &format!("&fault={fault}")).await;
        answers.push((code, login.back));
    }
    let fresh = broker.login(&[("max_age", "60")]);
    let stale = broker.complete(browser, fresh, "&user=alice&fault=old_auth_time").await;
    answers.push((InsufficientUserAuthentication, stale.back));
    answers
}

#[actix_web::test]
async fn every_code_is_reached_with_its_status_or_its_redirect() {
    let setup = Setup::default().adjust(|config| {
        config.clients[0].login_parameters = vec![LoginParameter::MaxAge];
        config.limits.logins = 100.try_into().unwrap();
    });
    let broker = TestBroker::with(setup);
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let mut answers = simple_failures(&broker, &browser).await;
    answers.extend(oauth_failures(&broker, &browser).await);
    answers.extend(failed_logins(&broker, &browser).await);
    let impatient = broker.twin_with(|config| config.providers[0].timeouts.total = Duration::from_secs(1));
    let slow = impatient.log_in(&impatient.browser(), "dev", "alice", "&fault=token_slow").await;
    answers.push((ErrorCode::ProviderTimeout, slow.back));
    let misdirected = format!("{}/api/me", broker.real_url.replace("127.0.0.1", "evil.example"));
    browser.route(&misdirected, &broker.at("/api/me"));
    answers.push((ErrorCode::MisdirectedRequest, browser.get(&misdirected, &[]).await));
    let limited = loop {
        let answer = browser.navigate(&broker.login(&[]).url).await;
        if answer.status != 303 {
            break answer;
        }
    };
    answers.push((ErrorCode::RateLimited, limited));
    let narrow = broker.twin_with(|config| config.clients[0].scopes = "other".parse().unwrap());
    let other = narrow.sign_in(&narrow.browser(), "dev", "alice").await;
    answers.push((ErrorCode::InsufficientScope, narrow.call("/api/me", &other).await));
    let strict = broker.twin_with(|config| config.policies[0].all.groups = ["nobody".to_owned()].into());
    answers.push((ErrorCode::Forbidden, strict.call("/authz", &token).await));
    answers.push((ErrorCode::UnknownPolicy, broker.call("/authz/other", &token).await));
    answers.push((
        ErrorCode::InvalidDpopProof,
        browser.get(&broker.at("/api/me"), &[("authorization", "DPoP x")]).await,
    ));
    let app = AppKey::generate();
    let login = dpop::log_in(&narrow, &narrow.browser(), &app).await;
    let proof = app.proof(&narrow, "POST", &narrow.at("/api/get_token")).sign();
    answers.push((ErrorCode::UseDpopNonceForGrant, dpop::redeem(&narrow, &login, &proof).await));
    let full = broker.twin_with(|config| config.personal_tokens.per_user = 0);
    let wanted = json!({ "name": "script", "scope": "", "expires_in": 60 });
    answers
        .push((ErrorCode::TooManyPersonalTokens, full.post("/api/personal_tokens", &token, &wanted).await));
    corrupt_rows(&broker);
    answers.push((ErrorCode::ServerError, broker.call("/api/permissions", &token).await));

    let mut reached = BTreeSet::new();
    for (expected, answer) in answers {
        assert_eq!(code(&answer), expected.as_str(), "{answer:?}");
        match answer.parameter("error") {
            Some(error) => assert_eq!(error, expected.redirect_code(), "{answer:?}"),
            None => assert_eq!(answer.status.as_u16(), expected.status(), "{answer:?}"),
        }
        check(&answer, false);
        reached.insert(expected.as_str());
    }
    let excused = NOT_REACHED.iter().map(|(code, _)| code.as_str());
    assert!(excused.clone().all(|code| !reached.contains(code)), "an excuse that is not needed");
    let all: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(reached.into_iter().chain(excused).collect::<BTreeSet<_>>(), all);
}

/// The source code of the program, without tests and without the table of codes.
fn program(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            program(&path, text);
        } else if name.ends_with(".rs") && !["error.rs", "error_response.rs", "tests.rs"].contains(&name) {
            let source = std::fs::read_to_string(&path).unwrap();
            text.push_str(source.split("#[cfg(test)]\nmod tests").next().unwrap());
        }
    }
}

#[test]
fn every_code_is_used() {
    let mut text = String::new();
    program(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    let uses = |code: &ErrorCode| Regex::new(&format!(r"ErrorCode::{code:?}\b")).unwrap().is_match(&text);
    // This code has a shorthand function.
    let unused: Vec<_> = ErrorCode::ALL.iter().filter(|code| !uses(code)).collect();
    let unused: Vec<_> = unused.into_iter().filter(|code| **code != ErrorCode::InvalidRequest).collect();
    assert!(unused.is_empty(), "{unused:?}");
    assert!(text.contains("Error::invalid_request("));
}

#[test]
fn every_public_text_is_a_sentence() {
    let mut text = String::new();
    program(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    let said = Regex::new(r#"(?:invalid_request|\.detail)\(\s*"([^"]+)""#).unwrap();
    let said: Vec<_> = said.captures_iter(&text).map(|found| found[1].to_owned()).collect();
    assert!(said.len() > 25, "{said:?}");
    let table = ErrorCode::ALL.iter().map(|code| code.public_text().to_owned());
    for text in said.into_iter().chain(table) {
        assert!(text.starts_with(|first: char| first.is_ascii_uppercase()) && text.ends_with('.'), "{text}");
    }
}

/// Checks the format of an error and returns its code.
fn form(answer: &Answer, path: &str) -> String {
    let id = answer.header("x-request-id").unwrap();
    if ["/login", "/logout", "/oauth2_callback", "/oauth2/authorize", "/device", "/_token-broker"]
        .iter()
        .any(|page| path.starts_with(page))
    {
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}: {answer:?}");
        // A page behind a gateway, and the one that connects devices, have an address at which to start again.
        let way_on = match path {
            path if path.starts_with("/_token-broker") => "href=\"/\"",
            path if path.starts_with("/device") => "href=\"/device\"",
            _ => "Go back to the application",
        };
        assert!(answer.body.contains(way_on) && answer.body.contains(id), "{path}");
        return code(answer);
    }
    let body = answer.json();
    let members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(body["request_id"], id, "{path}");
    let name = if path.starts_with("/api/get_token") || path.starts_with("/oauth2/") {
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert_eq!(members, ["error", "error_description", "request_id"], "{path}");
        &body["error"]
    } else {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        assert_eq!(members, ["code", "detail", "request_id", "status", "title", "type"], "{path}");
        assert_eq!(body["status"], answer.status.as_u16(), "{path}");
        assert_eq!(body["title"], answer.status.canonical_reason().unwrap_or_default(), "{path}");
        &body["code"]
    };
    name.as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn every_path_has_one_error_format() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    for (path, _) in described(&broker, &broker.url).await {
        let spellings = [path.clone(), format!("{path}/"), format!("{path}?a=b"), format!("/{path}")];
        for spelling in spellings.iter().filter(|spelling| !spelling.starts_with("//?") && *spelling != "//")
        {
            let propfind = Method::from_bytes(b"PROPFIND").unwrap();
            let answer = browser.send(propfind, &broker.at(spelling), &[], None).await;
            // Gateways ask with the methods of their visitors.
            let code = if path.starts_with("/authz") { "missing_token" } else { "method_not_allowed" };
            assert_eq!(form(&answer, &path), code, "{spelling}");
        }
    }
    for (spelling, path) in [
        ("//login", "/login"),
        ("/%6Cogin", "/login"),
        ("//oauth2_callback//dev//", "/oauth2_callback/dev"),
        ("/api//get_token/", "/api/get_token"),
        ("/api/get%5Ftoken", "/api/get_token"),
        ("/api//me", "/api/me"),
    ] {
        let method = if path.ends_with("token") { Method::POST } else { Method::GET };
        let answer = browser.send(method, &broker.at(spelling), &[], None).await;
        assert!(answer.status.is_client_error() && answer.status != 404, "{spelling}: {answer:?}");
        form(&answer, path);
    }
    for path in
        ["/nothing", "/api/nothing", "/api", "/loginx", "/oauth2_callbackx", "/api/get_token/x", "/.env"]
    {
        let answer = browser.get(&broker.at(path), &[]).await;
        let expected = if path == "/api/get_token/x" { "/api/nothing" } else { "/nothing" };
        assert_eq!((form(&answer, expected).as_str(), answer.status.as_u16()), ("not_found", 404), "{path}");
    }
}

/// Bodies for `/api/get_token` that are invalid, each with a word that must not be repeated.
fn broken_bodies() -> Vec<(&'static str, String)> {
    let json = [
        "",
        "{",
        "[]",
        "null",
        "\"canary\"",
        "{\"one_time_key\":\"canary\"",
        r#"{"one_time_key":1}"#,
        r#"{"one_time_key":["canary"]}"#,
        r#"{"one_time_key":{"canary":1}}"#,
        r#"{"one_time_key":"canary","code_verifier":7}"#,
        r#"{"one_time_key":"canary","one_time_key":"canary"}"#,
        r#"{"one_time_key":"canary"} canary"#,
        r#"{"one_time_key":"canary\ud800"}"#,
        r#"{'one_time_key':'canary'}"#,
        r#"{"one_time_key":"canary",}"#,
        r#"{"one_time_key":NaN,"canary":1e999}"#,
        "\u{feff}{\"one_time_key\":\"canary\"}",
        "one_time_key=canary",
    ];
    let forms = [
        "",
        "one_time_key",
        "one_time_key=",
        "one_time_key=canary&one_time_key=canary",
        "one_time_key=canary%",
    ];
    let deep = format!("{}\"canary\"{}", "{\"one_time_key\":".repeat(17), "}".repeat(17));
    let json = json.into_iter().map(str::to_owned).chain([deep]).map(|body| ("application/json", body));
    let forms = forms.into_iter().map(|body| ("application/x-www-form-urlencoded", body.to_owned()));
    json.chain(forms).collect()
}

#[actix_web::test]
async fn invalid_bodies_get_a_fixed_text() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    for (kind, body) in broken_bodies() {
        let headers = [("content-type", kind)];
        let answer =
            browser.send(Method::POST, &broker.at("/api/get_token"), &headers, Some(body.clone())).await;
        assert_eq!(form(&answer, "/api/get_token"), "invalid_request", "{body}");
        assert!(answer.status == 400 && !answer.body.contains("canary"), "{body}: {}", answer.body);
    }
    let bearer = format!("Bearer {token}");
    for body in [r#"{"everywhere":"canary"}"#, r#"{"canary":true}"#, "[]", "{", r#"{"everywhere":1}"#] {
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let answer =
            browser.send(Method::POST, &broker.at("/api/logout"), &headers, Some(body.to_owned())).await;
        assert_eq!(form(&answer, "/api/logout"), "invalid_request", "{body}");
        assert!(!answer.body.contains("canary"), "{body}: {}", answer.body);
    }
    assert_eq!(broker.call("/api/me", &token).await.status, 200, "no user was signed out");
}

#[actix_web::test]
async fn undecodable_input_is_refused_and_not_repeated() {
    let broker = TestBroker::start();
    let ask = async |request: &[u8]| raw::send(&broker.real_url, request).await;
    let head = "Host: localhost\r\nConnection: close\r\n";
    for target in [
        "/login?client_id=canary%FF",
        "/login?state=canary%C0%80",
        "/login?state=%zzcanary",
        "/oauth2_callback/dev?code=canary%FF",
        "/oauth2_callback/canary%FF?state=a",
        "/canary%FF",
        "/api/canary%00",
        "/docs/..%2f..%2fcanary",
    ] {
        let answer = ask(format!("GET {target} HTTP/1.1\r\n{head}\r\n").as_bytes()).await;
        assert!(matches!(answer.status(), Some(400 | 404)), "{target}: {answer:?}");
        assert!(
            !answer.0.contains("canary") && answer.body().contains(answer.header("x-request-id").unwrap())
        );
    }
    let invalid_utf8 = [
        format!("POST /api/get_token HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: 24\r\n\r\n")
            .as_bytes(),
        b"{\"one_time_key\":\"canary\xff",
    ]
    .concat();
    let answer = ask(&invalid_utf8).await;
    assert!(answer.status() == Some(400) && answer.body().contains("invalid_request"), "{answer:?}");
    assert!(!answer.0.contains("canary"), "{answer:?}");
}

#[actix_web::test]
async fn bytes_that_are_not_http_get_a_refusal_that_repeats_nothing() {
    let broker = TestBroker::start();
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n", "canary".repeat(40_000));
    let requests: &[&[u8]] = &[
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03canary\r\n\r\n",
        b"canary\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: canary\r\n\r\n",
        b"GET /\xff\xfecanary HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nca nary: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: canary\x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\ncanary",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\ncanary",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: canary\r\n\r\n",
        long.as_bytes(),
    ];
    for request in requests {
        let answer = raw::send(&broker.real_url, *request).await;
        let what = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        assert!(answer.status().is_none_or(|status| (400..500).contains(&status)), "{what}: {answer:?}");
        assert!(!answer.0.contains("canary") && answer.header("server").is_none(), "{what}: {answer:?}");
        // None only if the connection is reset before the answer has arrived.
        if answer.status().is_some() {
            let id = answer.header("x-request-id").unwrap_or_else(|| panic!("{what}: {answer:?}"));
            assert!(answer.body().contains(id), "{what}: {answer:?}");
        }
    }
    assert_eq!(broker.browser().get(&broker.at("/healthz"), &[]).await.status, 200);
}

#[actix_web::test]
async fn the_request_id_is_the_same_in_header_body_redirect_and_log() {
    let log = Listener::start();
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let problem = browser.get(&broker.at("/api/me"), &[]).await;
    let oauth = browser.post_json(&broker.at("/api/get_token"), &json!({}), &[]).await;
    let page = browser.navigate(&broker.at("/login?client_id=nobody")).await;
    let denied = broker.complete(&browser, broker.login(&[]), "&deny=1").await;
    assert_eq!(problem.json()["request_id"], id(&problem));
    assert_eq!(oauth.json()["request_id"], id(&oauth));
    assert!(page.body.contains(&format!("<code>{}</code>", id(&page))), "{}", page.body);
    assert!(denied.description().ends_with(&format!("request {})", id(&denied.back))), "{denied:?}");
    for answer in [&problem, &oauth, &page, &denied.back] {
        let lines = log.of(id(answer));
        let access: Vec<_> = lines.iter().filter(|line| line["route"].is_string()).collect();
        assert_eq!(access.len(), 1, "{lines:?}");
        assert_eq!(access[0]["status"], answer.status.as_u16());
    }
}

fn id(answer: &Answer) -> &str {
    answer.header("x-request-id").unwrap()
}

#[actix_web::test]
async fn an_outage_reveals_nothing_internal_to_callers() {
    let mut redis = RedisServer::start(&["requirepass hunter2"]);
    let broker = TestBroker::with(Setup { key_store: Some(redis.url()), ..Setup::default() });
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let keys = broker.config.server_keys.clone();
    let gone = "postgres://test:hunter2@127.0.0.1:1/test".to_owned();
    let without_database = TestBroker::with(
        Setup { database: Some(gone), ..Setup::default() }
            .adjust(move |config| config.server_keys = keys.clone()),
    );
    redis.stop();
    corrupt_rows(&broker);
    let answers = [
        broker.redeem(&browser, &login.key(), &login.verifier).await,
        broker.log_in(&browser, "dev", "alice", "").await.back,
        broker.call("/api/permissions", &token).await,
        without_database.call("/api/me", &token).await,
    ];
    let behind =
        ["hunter2", "127.0.0.1", "redis", "sqlite", "postgres", "table", "select", ".rs", "panic", "/tmp"];
    for answer in &answers {
        let text = format!("{} {}", answer.body, answer.parameter("error_description").unwrap_or_default());
        let told: Vec<_> = behind.iter().filter(|word| text.to_lowercase().contains(**word)).collect();
        assert!(told.is_empty(), "{told:?} in {answer:?}");
    }
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [503, 303, 500, 503]);
    assert_eq!(answers[1].parameter("error").as_deref(), Some("temporarily_unavailable"));
}

#[actix_web::test]
async fn metrics_and_documents_are_not_on_the_public_listener() {
    for (setup, docs) in [(Setup::default(), 200), (Setup::https(), 404)] {
        let broker = TestBroker::with(setup);
        let browser = broker.browser();
        let token = broker.sign_in(&browser, "dev", "alice").await;
        let bearer = format!("Bearer {token}");
        for path in ["/metrics", "/admin", "/admin/metrics", "/debug", "/actuator", "/dev/faults"] {
            for headers in [&[][..], &[("authorization", bearer.as_str())]] {
                assert_eq!(browser.get(&broker.at(path), headers).await.status, 404, "{path}");
            }
        }
        for path in ["/openapi.json", "/docs", "/docs/swagger-ui.css", "/docs/initialiser.js"] {
            assert_eq!(browser.get(&broker.at(path), &[]).await.status, docs, "{path}");
        }
        // What is public contains nothing about users.
        let ready = browser.get(&broker.at("/readyz"), &[]).await;
        assert_eq!(ready.json(), json!({ "ready": true, "log_in": true, "redeem": true, "verify": true }));
        let metrics = browser.get(&format!("{}/metrics", broker.admin_url), &[]).await;
        assert_eq!(metrics.status, 200);
        assert!(metrics.body.contains("token_broker_http_requests_total"), "{}", metrics.body);
        let user = broker.call("/api/me", &token).await.json();
        let personal = [&token, "alice", "example.com", user["user"]["id"].as_str().unwrap()];
        assert!(personal.iter().all(|word| !metrics.body.contains(word)), "{}", metrics.body);
        let methods = ["access_token", "client_id=", "\"127.0.0.1\""];
        assert!(methods.iter().all(|word| !metrics.body.contains(word)), "{}", metrics.body);
    }
}

#[actix_web::test]
async fn documents_are_public_in_production_only_if_configured() {
    let broker = TestBroker::with(Setup { public_url: None, ..Setup::default() }.adjust(|config| {
        config.mode = token_broker::config::Mode::Production;
        config.http.docs_public = true;
        config.sample.client_id = None;
    }));
    let document: Value = broker.browser().get(&broker.at("/openapi.json"), &[]).await.json();
    assert!(document["paths"]["/api/me"].is_object());
}

/// Texts that would inject a header if they were written into one unescaped.
const INJECTIONS: &[&str] = &[
    "a%0d%0aEvil:%201",
    "a%0aEvil:%201",
    "a%0dEvil:%201",
    "a%0d%0a%0d%0a%3Cscript%3Eevil",
    "%E5%98%8D%E5%98%8AEvil:%201",
    "a%00Evil",
    "a%22,%20error=%22evil",
    "a;%20Evil=1",
    "%3Cscript%3Eevil%3C/script%3E",
    "https://evil.example/%0d%0aEvil:%201",
];

/// No injected header exists, and no header repeats the text unescaped.
fn is_unharmed(answer: &raw::RawAnswer, what: &str) {
    assert!(answer.status().is_some(), "{what}");
    for (name, value) in answer.headers() {
        assert!(!name.contains("evil") && !name.contains("script"), "{what}: {answer:?}");
        let encoded = name == "location" && !value.contains(['\r', '\n', '<', '"', ' ']);
        assert!(encoded || !value.to_lowercase().contains("evil"), "{what}: {name}: {value}");
    }
    assert!(!answer.body().contains("<script>"), "{what}: {answer:?}");
    if let Some(cookie) = answer.header("set-cookie") {
        assert!(cookie.starts_with("tb_login_"), "{what}: {cookie}");
    }
}

#[actix_web::test]
async fn no_parameter_adds_a_header() {
    let setup = Setup::default().adjust(|config| {
        use LoginParameter::{LoginHint, MaxAge, Prompt};
        config.clients[0].login_parameters = vec![Prompt, LoginHint, MaxAge];
    });
    let broker = TestBroker::with(setup);
    let whole = broker.login(&[("login_hint", "x"), ("prompt", "login"), ("max_age", "9")]).url;
    let path = whole.strip_prefix(&broker.url).unwrap().to_owned();
    let names = path.split(['?', '&']).skip(1).map(|pair| pair.split_once('=').unwrap());
    let pairs: Vec<(&str, &str)> = names.collect();
    assert_eq!(pairs.len(), 9, "every parameter of /login: {pairs:?}");
    let get = async |target: &str, headers: &[(&str, &str)]| {
        is_unharmed(&raw::send(&broker.real_url, raw::request("GET", target, headers)).await, target);
    };
    get(&path, &[]).await;
    for injection in INJECTIONS {
        for (name, value) in &pairs {
            get(&path.replace(&format!("{name}={value}"), &format!("{name}={injection}")), &[]).await;
        }
        for name in ["code", "state", "iss", "error", "error_description", injection] {
            get(&format!("/oauth2_callback/dev?{name}={injection}"), &[]).await;
        }
        for target in ["/", "/login/", "/oauth2_callback/", "/api/", "/docs/"] {
            get(&format!("{target}{injection}"), &[]).await;
        }
        get(&format!("/api/get_token?one_time_key={injection}"), &[]).await;
        get(&format!("/api/me?access_token={injection}"), &[]).await;
    }
    assert!(raw::send(&broker.real_url, raw::request("GET", &path, &[])).await.status() == Some(303));
}

#[actix_web::test]
async fn no_header_adds_a_header() {
    let broker = TestBroker::start();
    broker.ready().await;
    let login = broker.login(&[]).url;
    let login = login.strip_prefix(&broker.url).unwrap();
    let names = [
        "X-Request-Id",
        "Origin",
        "Authorization",
        "Cookie",
        "User-Agent",
        "Referer",
        "X-Forwarded-For",
        "Access-Control-Request-Method",
        "Access-Control-Request-Headers",
    ];
    for value in
        ["evil", "Bearer evil\", error=\"evil", "tb_login_AAAAAAAAAAAA=evil", "evil\tevil", "evil\u{fc}"]
    {
        for name in names {
            for (method, target) in
                [("GET", login), ("GET", "/api/me"), ("OPTIONS", "/api/me"), ("POST", "/api/logout")]
            {
                let answer =
                    raw::send(&broker.real_url, raw::request(method, target, &[(name, value)])).await;
                let what = format!("{method} {target} {name}: {value}");
                is_unharmed(&answer, &what);
                assert!(answer.status().is_some_and(|status| status < 500), "{what}: {answer:?}");
            }
        }
    }
}

#[actix_web::test]
async fn no_text_of_the_provider_adds_a_header() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    for provider in ["dev", "ops"] {
        for fault in ["callback_error_unknown", "callback_control_code", "hostile_profile", "token_redirect"]
        {
            let login = broker.log_in(&browser, provider, "alice", &format!("&fault={fault}")).await;
            check(&login.back, false);
            let location = login.back.header("location").unwrap_or_default();
            let ours = location.is_empty() || location.starts_with(&broker.at("/?"));
            assert!(ours && !location.contains(['<', '"', ' ', '\r', '\n']), "{fault}: {location}");
            assert!(!login.back.body.contains("<script>alert"), "{fault}: {}", login.back.body);
            let cookies = login.back.headers.get_all("set-cookie").iter();
            let own = |cookie: &[u8]| cookie.starts_with(b"tb_login_") || cookie.starts_with(b"tb_session=");
            assert!(cookies.into_iter().all(|cookie| own(cookie.as_bytes())), "{fault}");
        }
    }
}

//! CORS: which origins can read which responses, and that a foreign origin changes nothing.

use reqwest::Method;
use serde_json::json;

use crate::headers::described;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::raw;
use crate::support::redis::RedisServer;

const SPA: &str = "https://app.example.com";

/// Origins that are not registered, however close they look.
const FOREIGN: &[&str] = &[
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com:443",
    "https://APP.example.com",
    "https://app.example.com.",
    "https://app.example.com/",
    "https://app.example.com.evil.example",
    "https://evil-app.example.com",
    "https://sub.app.example.com",
    "https://app.example.com, https://evil.example",
    "https://app.example.com https://evil.example",
    "null",
    "*",
    "",
    "file://",
    "\u{fc}",
];

/// A broker whose client `sample` also has the origin [`SPA`].
fn broker() -> TestBroker {
    broker_with(Setup::default())
}

fn broker_with(setup: Setup) -> TestBroker {
    TestBroker::with(setup.adjust(|config| {
        config.clients[0].redirect_uris.push(format!("{SPA}/").parse().unwrap());
        config.clients[0].origins.push(SPA.parse().unwrap());
    }))
}

/// The endpoints that SPAs call and read.
fn is_for_spas(path: &str) -> bool {
    path.starts_with("/api/")
        || path.starts_with("/.well-known/")
        || ["/oauth2/token", "/oauth2/userinfo", "/oauth2/revoke"].contains(&path)
}

/// The addresses of gateways, which answer for every method and origin of their visitors and have no effect.
fn is_for_gateways(path: &str) -> bool {
    path.starts_with("/authz")
}

fn allowed_origin(answer: &Answer) -> Option<&str> {
    assert!(answer.header("access-control-allow-credentials").is_none(), "{answer:?}");
    answer.header("access-control-allow-origin")
}

fn varies(answer: &Answer) -> bool {
    let lines = answer.headers.get_all("vary").iter();
    lines
        .flat_map(|line| line.to_str().unwrap().split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("origin"))
}

#[actix_web::test]
async fn every_endpoint_by_every_origin() {
    let broker = broker();
    let browser = broker.browser();
    let mut endpoints = described(&broker, &broker.url).await;
    endpoints.push(("/api/nothing".to_owned(), vec![Method::GET]));
    for (path, methods) in endpoints {
        for method in methods {
            for origin in [Some(SPA), None].into_iter().chain(FOREIGN.iter().copied().map(Some)) {
                let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
                let answer = browser.send(method.clone(), &broker.at(&path), &headers, None).await;
                let expected = origin.filter(|origin| *origin == SPA && is_for_spas(&path));
                assert_eq!(allowed_origin(&answer), expected, "{method} {path} from {origin:?}");
                assert!(varies(&answer) || !is_for_spas(&path), "{method} {path} from {origin:?}");
            }
        }
    }
}

#[actix_web::test]
async fn the_admin_listener_has_no_cors() {
    let broker = broker();
    for path in ["/metrics", "/healthz", "/openapi.json", "/api/me"] {
        let url = format!("{}{path}", broker.admin_url);
        for method in [Method::GET, Method::OPTIONS] {
            let headers = [("origin", SPA), ("access-control-request-method", "GET")];
            let answer = broker.browser().send(method, &url, &headers, None).await;
            assert_eq!(allowed_origin(&answer), None, "{path}");
        }
    }
}

async fn preflight(broker: &TestBroker, path: &str, origin: &str, method: &str, headers: &str) -> Answer {
    let asked = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ];
    let asked: Vec<_> = asked.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    broker.browser().send(Method::OPTIONS, &broker.at(path), &asked, None).await
}

#[actix_web::test]
async fn preflights_need_no_credentials_and_are_cached_for_ten_minutes() {
    let broker = broker();
    for (path, methods) in described(&broker, &broker.url).await {
        for method in methods {
            let what = format!("{method} {path}");
            let answer = preflight(&broker, &path, SPA, method.as_str(), "authorization,content-type").await;
            if !is_for_spas(&path) {
                let status = if is_for_gateways(&path) { 401 } else { 405 };
                assert_eq!((answer.status.as_u16(), allowed_origin(&answer)), (status, None), "{what}");
                continue;
            }
            assert_eq!((answer.status.as_u16(), allowed_origin(&answer)), (200, Some(SPA)), "{what}");
            let seconds: u32 = answer.header("access-control-max-age").unwrap().parse().unwrap();
            assert!(seconds <= 600, "{what}");
            let header = |name| answer.header(name).unwrap().to_lowercase();
            assert!(
                header("access-control-allow-methods").contains(&method.as_str().to_lowercase()),
                "{what}"
            );
            for name in ["authorization", "content-type"] {
                assert!(header("access-control-allow-headers").contains(name), "{what}");
            }
            assert!(varies(&answer), "{what}");
        }
    }
}

#[actix_web::test]
async fn preflights_for_anything_else_allow_nothing() {
    let broker = broker();
    for origin in FOREIGN {
        let answer = preflight(&broker, "/api/me", origin, "GET", "authorization").await;
        assert_eq!(allowed_origin(&answer), None, "{origin}");
        assert!(answer.status.is_client_error(), "{origin}: {answer:?}");
        assert!(answer.header("access-control-allow-methods").is_none(), "{origin}");
    }
    for (method, headers) in [("TRACE", "authorization"), ("PUT", "")] {
        let answer = preflight(&broker, "/api/me", SPA, method, headers).await;
        assert!(answer.status.is_client_error(), "{method} {headers}: {answer:?}");
    }
}

/// What Sentry, OpenTelemetry, Datadog, axios and others add to every call of an app.
#[actix_web::test]
async fn the_headers_of_tracing_and_http_libraries_are_let_through_for_registered_origins_alone() {
    let broker = broker();
    let added = "authorization,baggage,sentry-trace,traceparent,tracestate,x-datadog-origin,x-datadog-parent-id,\
                 x-datadog-sampling-priority,x-datadog-trace-id,x-requested-with,x-xsrf-token";
    for (path, method) in [("/api/get_token", "POST"), ("/api/me", "GET"), ("/oauth2/token", "POST")] {
        let answer = preflight(&broker, path, SPA, method, added).await;
        assert_eq!((answer.status.as_u16(), allowed_origin(&answer)), (200, Some(SPA)), "{path}");
        let allowed = answer.header("access-control-allow-headers").unwrap().to_lowercase();
        let allowed: Vec<_> = allowed.split(',').map(str::trim).collect();
        for name in added.split(',') {
            assert!(allowed.contains(&name), "{path}: {name} is not in {allowed:?}");
        }
        for origin in FOREIGN {
            let answer = preflight(&broker, path, origin, method, added).await;
            assert_eq!(allowed_origin(&answer), None, "{path} {origin}");
            assert!(answer.header("access-control-allow-headers").is_none(), "{path} {origin}: {answer:?}");
        }
    }
}

#[actix_web::test]
async fn a_spa_can_read_every_error_and_retry_after() {
    let mut redis = RedisServer::start(&[]);
    let broker = broker_with(Setup { key_store: Some(redis.url()), ..Setup::default() });
    let browser = broker.browser();
    let key = json!({ "one_time_key": "tbo_x", "code_verifier": "y" });
    let origin = [("origin", SPA)];
    let unsigned = browser.get(&broker.at("/api/me"), &origin).await;
    let refused = browser.get(&broker.at("/api/me"), &[origin[0], ("authorization", "Bearer a")]).await;
    let unknown = browser.post_json(&broker.at("/api/get_token"), &key, &origin).await;
    let missing = browser.get(&broker.at("/api/nothing"), &origin).await;
    let method = browser.send(Method::PUT, &broker.at("/api/me"), &origin, None).await;
    broker.ready().await;
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    redis.stop();
    let key = json!({ "one_time_key": login.key(), "code_verifier": login.verifier });
    let outage = browser.post_json(&broker.at("/api/get_token"), &key, &origin).await;
    for (answer, status) in
        [(unsigned, 401), (refused, 401), (unknown, 400), (missing, 404), (method, 405), (outage, 503)]
    {
        assert_eq!((answer.status.as_u16(), allowed_origin(&answer)), (status, Some(SPA)), "{answer:?}");
        let exposed = answer.header("access-control-expose-headers").unwrap().to_lowercase();
        for name in ["retry-after", "www-authenticate", "x-request-id", "dpop-nonce"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        assert!(answer.error_code().is_some(), "{answer:?}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
    }
}

#[actix_web::test]
async fn a_foreign_origin_is_stopped_before_the_handler() {
    let broker = broker();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let key = json!({ "one_time_key": login.key(), "code_verifier": login.verifier });
    let bearer = format!("Bearer {token}");
    for origin in FOREIGN {
        for (path, body) in [
            ("/api/get_token", &key),
            ("/api/token/rotate", &json!({})),
            ("/api/logout", &json!({ "everywhere": true })),
            ("/api/nothing", &json!({})),
            ("/login", &json!({})),
        ] {
            let headers = [("origin", *origin), ("authorization", bearer.as_str())];
            let answer = browser.post_json(&broker.at(path), body, &headers).await;
            assert_eq!(answer.status, 403, "{path} from {origin}: {answer:?}");
            let page = path == "/login";
            assert_eq!(answer.error_code().is_none(), page, "{path}");
            assert!(answer.body.contains("origin_not_allowed"), "{path} from {origin}");
        }
    }
    // Nothing changed: no session ended, no token was rotated, no key was used up.
    broker.advance(61);
    assert_eq!(broker.call("/api/me", &token).await.status, 200, "neither revoked nor superseded");
    assert_eq!(broker.redeem(&browser, &login.key(), &login.verifier).await.status, 200);
}

#[actix_web::test]
async fn every_state_changing_method_checks_the_origin_first() {
    let broker = broker();
    for (path, _) in described(&broker, &broker.url).await {
        for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let headers = [("origin", "https://evil.example")];
            let answer = broker.browser().send(method.clone(), &broker.at(&path), &headers, None).await;
            let status = if is_for_gateways(&path) { 401 } else { 403 };
            assert_eq!(answer.status, status, "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn a_second_origin_header_does_not_hide_the_first() {
    let broker = broker();
    for origins in [[SPA, "https://evil.example"], ["https://evil.example", SPA]] {
        let headers = origins.map(|origin| ("Origin", origin));
        let answer = raw::send(&broker.real_url, raw::request("POST", "/api/logout", &headers)).await;
        assert_eq!(answer.status(), Some(403), "{answer:?}");
    }
    let own = [("Origin", broker.url.as_str())];
    let answer = raw::send(&broker.real_url, raw::request("POST", "/api/logout", &own)).await;
    assert_eq!(answer.status(), Some(401), "the broker's own pages may call it: {answer:?}");
}

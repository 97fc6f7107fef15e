//! Response headers (without CORS), the cookie of login attempts, methods, media types, and the host names that the
//! broker serves.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::broker::{HTTPS_URL, Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::raw;
use crate::support::redis::RedisServer;

/// The headers that a response can have. Any other header is a mistake.
const KNOWN: &[&str] = &[
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "clear-site-data",
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "dpop-nonce",
    "etag",
    "location",
    "permissions-policy",
    "referrer-policy",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
];

/// An id of something that does not exist.
const NOBODYS_ID: &str = "00000000-0000-4000-8000-000000000000";

const NOTHING_ALLOWED: [&str; 4] =
    ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"];

/// Checks the headers that every response must have and must not have.
pub fn check(answer: &Answer, https: bool) {
    let header = |name| answer.header(name).unwrap_or_default();
    let what = format!("{} {}", answer.status, answer.url);
    assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(header("referrer-policy"), "no-referrer", "{what}");
    // Browsers cache only the files of the sample, which are the same for all users.
    let kept = answer.headers.contains_key("etag");
    assert_eq!(header("cache-control"), if kept { "no-cache" } else { "no-store" }, "{what}");
    let path = answer.url.path();
    assert!(!kept || path == "/" || path.starts_with("/sample/"), "{what}");
    assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{what}");
    for feature in ["camera=()", "microphone=()", "geolocation=()", "payment=()"] {
        assert!(header("permissions-policy").contains(feature), "{what}");
    }
    let policy = header("content-security-policy");
    let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
    assert!(NOTHING_ALLOWED.iter().all(|directive| directives.contains(directive)), "{what}: {policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    let transport = if https { "max-age=31536000; includeSubDomains" } else { "" };
    assert_eq!(header("strict-transport-security"), transport, "{what}");
    assert!((1..=64).contains(&header("x-request-id").len()), "{what}");
    for name in answer.headers.keys() {
        assert!(KNOWN.contains(&name.as_str()), "{what}: {name}");
        // There is a challenge for each scheme.
        let repeatable = matches!(name.as_str(), "set-cookie" | "vary" | "www-authenticate");
        assert!(repeatable || answer.headers.get_all(name).iter().count() == 1, "{what}: {name} twice");
    }
}

async fn send(browser: &Browser, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let body = (!body.is_empty()).then(|| body.to_owned());
    browser.send(Method::from_bytes(method.as_bytes()).unwrap(), url, headers, body).await
}

const JSON: (&str, &str) = ("content-type", "application/json");
const FOREIGN: (&str, &str) = ("origin", "https://evil.example");

/// Method, path, headers, body, and the status of the response.
type Example = (&'static str, String, Vec<(&'static str, &'static str)>, String, u16);

/// Requests without credentials, and the status of their responses.
fn requests() -> Vec<Example> {
    let plain = |method, path: &str, status| (method, path.to_owned(), vec![], String::new(), status);
    let post = |path: &str, headers: &[_], body: &str, status| {
        ("POST", path.to_owned(), headers.to_vec(), body.to_owned(), status)
    };
    let preflight = vec![("origin", HTTPS_URL), ("access-control-request-method", "POST")];
    vec![
        plain("GET", "/", 200),
        plain("GET", "/healthz", 200),
        plain("HEAD", "/healthz", 200),
        plain("GET", "/readyz", 200),
        plain("GET", "/nothing", 404),
        plain("GET", "/api/nothing", 404),
        plain("GET", "/docs", 404),
        plain("GET", "/api/me", 401),
        plain("DELETE", "/api/me", 405),
        plain("HEAD", "/login", 405),
        plain("GET", "/login", 400),
        plain("GET", "/login?client_id=sample&client_id=sample", 400),
        plain("GET", &format!("/login?{}", "a".repeat(9000)), 414),
        plain("GET", "/oauth2_callback/dev?code=a", 400),
        plain("GET", "/oauth2_callback/dev?state=%FF", 400),
        ("GET", "/login".to_owned(), vec![("sec-fetch-dest", "iframe")], String::new(), 403),
        ("OPTIONS", "/api/me".to_owned(), preflight, String::new(), 200),
        ("OPTIONS", "/api/me".to_owned(), vec![FOREIGN], String::new(), 405),
        post("/api/get_token", &[JSON], "{", 400),
        post("/api/get_token", &[JSON], r#"{"one_time_key":"tbo_x","code_verifier":"y"}"#, 400),
        post("/api/get_token", &[("content-type", "text/plain")], "x", 415),
        post("/api/get_token", &[JSON], &" ".repeat(17_000), 413),
        post("/api/logout", &[FOREIGN], "", 403),
        post("/api/logout", &[], "", 401),
    ]
}

#[actix_web::test]
async fn every_response_has_exactly_the_allowed_headers() {
    let mut redis = RedisServer::start(&[]);
    let broker = TestBroker::with(Setup { key_store: Some(redis.url()), ..Setup::https() });
    broker.ready().await;
    let browser = broker.browser();
    for (method, path, headers, body, status) in requests() {
        let answer = send(&browser, method, &broker.at(&path), &headers, &body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        check(&answer, true);
    }

    // A whole login: redirects, the chooser, tokens, the end of a session.
    let chooser = browser.navigate(&broker.login(&[("provider", "")]).url).await;
    let started = browser.navigate(&broker.login(&[]).url).await;
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let denied = broker.complete(&browser, broker.login(&[]), "&deny=1").await;
    let redeemed = broker.redeem(&browser, &login.key(), &login.verifier).await;
    let token = redeemed.json()["access_token"].as_str().unwrap().to_owned();
    let me = broker.call("/api/me", &token).await;
    let rotated = broker.post("/api/token/rotate", &token, &json!({})).await;
    let ended = broker.post("/api/logout", &token, &json!({})).await;
    let dead = broker.call("/api/me", &token).await;
    redis.stop();
    let outage = broker.redeem(&browser, &login.key(), &login.verifier).await;
    let answers = [
        (chooser, 200),
        (started, 303),
        (login.back, 303),
        (denied.back, 303),
        (redeemed, 200),
        (me, 200),
        (rotated, 200),
        (ended, 200),
        (dead, 401),
        (outage, 503),
    ];
    for (answer, status) in &answers {
        assert_eq!(answer.status, *status, "{answer:?}");
        check(answer, true);
    }
}

/// The pages for users and their files, which are not in the OpenAPI document.
const PAGES: [&str; 6] =
    ["/", "/docs", "/docs/swagger-ui.css", "/sample", "/sample/app.js", "/sample/views/token.js"];

/// The paths of the OpenAPI document with their methods, parameters filled in; and [`PAGES`].
pub async fn described(broker: &TestBroker, listener: &str) -> Vec<(String, Vec<Method>)> {
    let document: Value = broker.browser().get(&format!("{listener}/openapi.json"), &[]).await.json();
    let paths = document["paths"].as_object().unwrap().iter();
    let described: Vec<_> = paths
        .map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            let methods = methods.filter_map(|name| name.to_uppercase().parse().ok());
            let filled =
                [("{provider}", "dev"), ("{id}", NOBODYS_ID), ("{policy}", "default"), ("{path}", "x")]
                    .iter()
                    .fold(path.clone(), |path, (name, value)| path.replace(name, value));
            (filled, methods.collect())
        })
        .collect();
    assert!(described.len() > 10, "{described:?}");
    assert!(described.iter().all(|(path, _)| !PAGES.contains(&path.as_str())), "{described:?}");
    described.into_iter().chain(PAGES.map(|path| (path.to_owned(), vec![Method::GET]))).collect()
}

#[actix_web::test]
async fn every_path_and_method_gets_all_headers_and_no_software_name() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];
    let sample = format!("{}/", broker.url);
    for listener in [&broker.url, &broker.admin_url] {
        let mut paths: Vec<String> =
            described(&broker, &broker.url).await.into_iter().map(|(path, _)| path).collect();
        paths.extend(["/metrics", "/nothing", "/api/", "/docs/nothing"].map(str::to_owned));
        for path in paths {
            for method in methods {
                let answer = send(&browser, method, &format!("{listener}{path}"), &[], "").await;
                check(&answer, false);
                // There is no redirect from http to https. Only logins and the sample redirect.
                let to_sample = path == "/sample" && answer.header("location") == Some(&sample);
                assert!(!answer.status.is_redirection() || to_sample, "{method} {path}: {answer:?}");
                let text = format!("{:?} {}", answer.headers, answer.body).to_lowercase();
                assert!(!text.contains("actix") && !text.contains("rustc"), "{method} {path}: {text}");
            }
        }
    }
}

#[actix_web::test]
async fn methods_that_are_not_listed_get_405_and_allow() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    // Gateways ask with the methods of their visitors.
    let described = described(&broker, &broker.url).await.into_iter();
    for (path, listed) in described.filter(|(path, _)| !path.starts_with("/authz")) {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"] {
            if listed.iter().any(|known| known.as_str() == method) {
                continue;
            }
            let answer = send(&browser, method, &broker.at(&path), &[], "").await;
            assert_eq!(answer.status, 405, "{method} {path}");
            let allow: Vec<&str> = answer.header("allow").unwrap().split(", ").collect();
            let expected = listed.iter().all(|known| allow.contains(&known.as_str()));
            assert!(expected && !allow.contains(&method), "{method} {path}: {allow:?}");
        }
    }
}

#[actix_web::test]
async fn nothing_in_a_request_overrides_its_method() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let bearer = format!("Bearer {token}");
    let logout = broker.at("/api/logout");
    for header in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let headers = [("authorization", bearer.as_str()), (header, "POST")];
        assert_eq!(browser.get(&logout, &headers).await.status, 405, "{header}");
    }
    for query in ["_method=POST", "method=POST", "X-HTTP-Method-Override=POST"] {
        let headers = [("authorization", bearer.as_str())];
        assert_eq!(browser.get(&format!("{logout}?{query}"), &headers).await.status, 405, "{query}");
    }
    assert_eq!(broker.call("/api/me", &token).await.status, 200, "the session lives");
}

#[actix_web::test]
async fn other_media_types_get_415_and_change_nothing() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let key = json!({ "one_time_key": login.key(), "code_verifier": login.verifier }).to_string();
    let bearer = format!("Bearer {token}");
    let others = [
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "multipart/form-data; boundary=x",
        "json",
        "*/*",
    ];
    for kind in others {
        let mut headers = vec![("content-type", kind), ("authorization", bearer.as_str())];
        headers.retain(|(_, value)| !value.is_empty());
        let redeem = send(&browser, "POST", &broker.at("/api/get_token"), &headers, &key).await;
        let logout = send(&browser, "POST", &broker.at("/api/logout"), &headers, "{}").await;
        for answer in [redeem, logout] {
            assert_eq!(answer.status, 415, "{kind}");
            assert_eq!(answer.error_code().as_deref(), Some("unsupported_media_type"));
        }
    }
    assert_eq!(broker.call("/api/me", &token).await.status, 200, "the session lives");
    let typed = [("content-type", "Application/JSON; charset=utf-8")];
    assert_eq!(send(&browser, "POST", &broker.at("/api/get_token"), &typed, &key).await.status, 200);
}

#[actix_web::test]
async fn pages_have_no_inline_script_or_foreign_content_and_cannot_be_framed() {
    for setup in [Setup::default(), Setup::https()] {
        let broker = TestBroker::with(setup);
        let browser = broker.browser();
        let https = broker.url == HTTPS_URL;
        let chooser = broker.login(&[("provider", "")]).url;
        let mut pages = vec![broker.at("/"), broker.at("/login"), broker.at("/oauth2_callback/dev"), chooser];
        if !https {
            pages.push(broker.at("/docs"));
        }
        for url in pages {
            let page = browser.navigate(&url).await;
            check(&page, https);
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{url}");
            assert_eq!(page.header("cross-origin-opener-policy"), Some("same-origin"), "{url}");
            let body = page.body.to_lowercase();
            for inline in ["<script>", "javascript:", " style=", " onclick=", " onload=", "<iframe", "<base"]
            {
                assert!(!body.contains(inline), "{url}: {inline}");
            }
            for resource in ["src=\"http", "src=\"//", "href=\"//", "url(", "@import"] {
                assert!(!body.contains(resource), "{url}: {resource}");
            }
            let scripts = body.matches("<script").count();
            assert!(scripts == body.matches("<script src=\"/").count() && (scripts == 0 || !https), "{url}");
        }
    }
}

/// The `Set-Cookie` headers as name, value and sorted attributes.
fn cookies(answer: &Answer) -> Vec<(String, String, Vec<String>)> {
    let headers = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    headers
        .map(|text| {
            let mut parts = text.split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let mut attributes: Vec<_> = parts.map(str::to_owned).collect();
            attributes.sort();
            (name.to_owned(), value.to_owned(), attributes)
        })
        .collect()
}

#[actix_web::test]
async fn the_attempt_cookie_has_all_attributes_and_is_removed_after_the_callback() {
    for (setup, prefix, secure) in
        [(Setup::https(), "__Host-Http-tb_login_", true), (Setup::default(), "tb_login_", false)]
    {
        let broker = TestBroker::with(setup);
        broker.ready().await;
        let browser = broker.browser();
        let attributes = |max_age: &str| {
            let all = ["HttpOnly", max_age, "Path=/", "SameSite=Lax", "Secure"];
            all.into_iter().filter(|name| secure || *name != "Secure").map(str::to_owned).collect::<Vec<_>>()
        };
        let begun = browser.navigate(&broker.login(&[("state", &"s".repeat(512))]).url).await;
        let [(name, value, kept)] = cookies(&begun).try_into().unwrap();
        assert_eq!(name.strip_prefix(prefix).map(str::len), Some(12), "{name}");
        assert!(name.len() + 1 + value.len() < 1024 && value.len() > 40, "{value}");
        assert_eq!(kept, attributes("Max-Age=600"));

        let login = broker.log_in(&browser, "dev", "alice", "").await;
        let [(session, _, lasting), (gone, empty, forgotten)] = cookies(&login.back).try_into().unwrap();
        assert_eq!((session, lasting), (prefix.replace("login_", "session"), attributes("Max-Age=2592000")));
        assert!(gone.starts_with(prefix) && gone != name, "{gone}");
        assert_eq!((empty.as_str(), forgotten), ("", attributes("Max-Age=0")));
        // No other response sets a cookie.
        let token = broker.redeem(&browser, &login.key(), &login.verifier).await;
        assert!(cookies(&token).is_empty());
    }
}

#[actix_web::test]
async fn a_browser_keeps_only_the_five_newest_attempts() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let mut callbacks = Vec::new();
    for _ in 0..8 {
        let login = broker.login(&[]);
        callbacks.push(broker.callback_url(&browser, &login.url, "&user=alice").await);
        broker.advance(1);
        assert!(browser.cookies("localhost").len() <= 5);
    }
    // Cookies that are not sealed attempts are not counted, and are removed.
    for i in 0..3 {
        browser.set_cookie("localhost", &format!("tb_login_planted{i:05}"), Some("nonsense"));
    }
    callbacks.push(broker.callback_url(&browser, &broker.login(&[]).url, "&user=alice").await);
    let names = browser.cookies("localhost");
    assert!(names.len() == 5 && !names.keys().any(|name| name.contains("planted")), "{names:?}");
    for (i, callback) in callbacks.iter().enumerate().rev() {
        let back = browser.navigate(callback).await;
        // The browser is signed in after the first of them, so the forgotten ones lead home, without a key.
        assert_eq!(back.status.as_u16(), 303, "attempt {i}");
        assert_eq!(back.parameter("one_time_key").is_some(), i >= 4, "attempt {i}");
    }
}

#[actix_web::test]
async fn one_cookie_name_with_two_values_fails_the_attempt() {
    let broker = TestBroker::start();
    broker.ready().await;
    for (second, fine) in [("the same", true), ("another", false), ("", false)] {
        let browser = broker.browser();
        let callback = broker.callback_url(&browser, &broker.login(&[]).url, "&user=alice").await;
        let (name, value) = browser.cookies("localhost").into_iter().next().unwrap();
        browser.set_cookie("localhost", &name, None);
        let second = if second == "the same" { value.as_str() } else { second };
        for pairs in
            [format!("{name}={value}; {name}={second}"), format!("{name}={second}; a=b; {name}={value}")]
        {
            if fine && pairs.contains("a=b") {
                continue; // The first order has used the attempt up.
            }
            let answer = browser.get(&callback, &[("cookie", &pairs)]).await;
            let (status, text) = if fine { (303, "") } else { (400, "invalid_state") };
            assert_eq!(answer.status.as_u16(), status, "{second}");
            assert!(answer.body.contains(text), "{}", answer.body);
        }
    }
}

#[actix_web::test]
async fn the_brokers_urls_come_only_from_the_configuration() {
    let broker = TestBroker::with(Setup::https());
    let login = broker.login(&[]).url;
    let path = login.strip_prefix(HTTPS_URL).unwrap();
    let chooser = broker.login(&[("provider", "")]).url;
    let chooser = chooser.strip_prefix(HTTPS_URL).unwrap();
    for headers in [
        &[("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "http")][..],
        &[("Forwarded", "host=evil.example;proto=http")],
        &[("X-Original-Host", "evil.example"), ("X-Forwarded-Server", "evil.example")],
        &[("X-Forwarded-Prefix", "/evil.example"), ("X-Original-URL", "/evil.example")],
    ] {
        // The raw request's own Host is `localhost`, which every broker serves.
        let begun = raw::send(&broker.real_url, raw::request("GET", path, headers)).await;
        let location = begun.header("location").unwrap_or_else(|| panic!("{begun:?}"));
        let callback = "redirect_uri=https%3A%2F%2Fauth.example.com%2Foauth2_callback%2Fdev";
        assert!(location.contains(callback), "{location}");
        assert!(begun.header("set-cookie").unwrap().contains("; Secure"), "{begun:?}");
        for page in [chooser, "/login", "/oauth2_callback/dev", "/"] {
            let page = raw::send(&broker.real_url, raw::request("GET", page, headers)).await;
            assert!(!page.0.contains("evil") && !page.0.contains("localhost"), "{page:?}");
        }
    }
}

#[actix_web::test]
async fn requests_for_other_hosts_are_misdirected() {
    let broker = TestBroker::with(Setup::https());
    broker.ready().await;
    let ask = async |lines: &str| {
        let request = format!("GET / HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
        raw::send(&broker.real_url, request).await.status()
    };
    for own in ["auth.example.com", "AUTH.example.com:443", "localhost:1", "127.0.0.1", "[::1]:9"] {
        assert_eq!(ask(&format!("Host: {own}\r\n")).await, Some(200), "{own}");
    }
    for foreign in ["evil.example", "auth.example.com.evil.example", "evil-auth.example.com", "192.0.2.1", ""]
    {
        assert_eq!(ask(&format!("Host: {foreign}\r\n")).await, Some(421), "{foreign}");
    }
    // Probes use the address of the machine, but details of problems are not for a page whose name resolves to us.
    for (listener, path, status) in [
        (&broker.real_url, "/healthz", 200),
        (&broker.real_url, "/readyz/", 200),
        (&broker.admin_url, "/healthz", 421),
        (&broker.admin_url, "/healthz/", 421),
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: rebound.evil.example\r\nConnection: close\r\n\r\n");
        assert_eq!(raw::send(listener, request).await.status(), Some(status), "{listener}{path}");
    }
    let twice = "Host: auth.example.com\r\nHost: evil.example\r\n";
    assert!(matches!(ask(twice).await, Some(400 | 421)));
    let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(raw::send(&broker.real_url, absolute).await.status(), Some(421));
}

//! The broker's own pages: the target of "Start again", HEAD, other host names of this machine, and the common palette.

use std::collections::BTreeMap;

use regex::Regex;
use reqwest::Method;
use token_broker::config::Mode;

use crate::headers::check;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::raw::{self, RawAnswer};

/// The URLs of the page's links.
pub fn links(page: &Answer) -> Vec<String> {
    let href = Regex::new("<a [^>]*href=\"([^\"]*)\"").unwrap();
    href.captures_iter(&page.body).map(|found| found[1].replace("&amp;", "&")).collect()
}

#[actix_web::test]
async fn an_error_page_links_to_the_named_client_and_not_to_a_url_of_the_request() {
    let broker = TestBroker::start();
    let sample = format!("{}/", broker.url);
    for (path, leads_to) in [
        ("/login?client_id=sample", Some(sample.as_str())),
        ("/login?client_id=vite-react&state=%22", Some("http://localhost:5173/")),
        ("/login?client_id=sample&redirect_uri=https%3A%2F%2Fevil.example%2F", Some(sample.as_str())),
        (
            "/logout?client_id=sample&post_logout_redirect_uri=https%3A%2F%2Fevil.example%2F",
            Some(sample.as_str()),
        ),
        ("/login", None),
        ("/login?client_id=nobody", None),
        ("/login?client_id=https%3A%2F%2Fevil.example%2F", None),
        ("/login?client_id=sample&client_id=vite-react", None),
        ("/login?redirect_uri=https%3A%2F%2Fevil.example%2F", None),
        ("/oauth2_callback/dev?code=x&state=y", None),
        ("/logout?state=%FF", None),
    ] {
        let page = broker.browser().navigate(&broker.at(path)).await;
        assert_eq!(page.status, 400, "{path}");
        check(&page, false);
        assert_eq!(links(&page), leads_to.into_iter().collect::<Vec<_>>(), "{path}: {page:?}");
        assert_eq!(page.body.contains("Start again"), leads_to.is_some(), "{path}");
        let act = if path.starts_with("/logout") { "sign out" } else { "sign in" };
        let told = page.body.contains(&format!("<p>Go back to the application and {act} again.</p>"));
        assert_eq!(told, leads_to.is_none(), "{path}: {page:?}");
        assert!(page.body.contains("<main><div role=\"alert\"><h1>"), "{path}: {page:?}");
        assert!(!page.body.contains("evil"), "{path}: {page:?}");
    }
}

/// The page of a failed callback knows the client from the attempt, even if that is used or has expired.
#[actix_web::test]
async fn a_callback_page_leads_back_to_the_client_of_the_attempt() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.clients[1].home_uri = Some("http://localhost:5173/app/".parse().unwrap());
    }));
    broker.ready().await;
    for (client, redirect_uri, home) in [
        ("sample", broker.at("/"), broker.at("/")),
        ("vite-react", "http://localhost:5173/".to_owned(), "http://localhost:5173/app/".to_owned()),
    ] {
        let login = broker.login(&[("client_id", client), ("redirect_uri", &redirect_uri)]);
        let browser = broker.browser();
        let callback = broker.callback_url(&browser, &login.url, "&user=alice").await;
        let elsewhere = browser.copy();
        broker.browser().navigate(&callback).await.assert_own_page(400, "invalid_state");
        let wrong = browser.navigate(&callback.replace("/dev?", "/ops?")).await;
        wrong.assert_own_page(400, "issuer_mismatch");
        let used = elsewhere.navigate(&callback).await;
        used.assert_own_page(400, "invalid_state");
        let late = broker.browser();
        let callback = broker.callback_url(&late, &login.url, "&user=alice").await;
        broker.advance(601);
        let expired = late.navigate(&callback).await;
        expired.assert_own_page(400, "invalid_state");
        for page in [wrong, used, expired] {
            assert_eq!(links(&page), [&*home], "{page:?}");
        }
    }
}

#[actix_web::test]
async fn a_developer_is_shown_the_registered_addresses_and_no_one_else_is() {
    let with = |mode| TestBroker::with(Setup::default().adjust(move |config| config.mode = mode));
    for mode in [Mode::Development, Mode::Production] {
        let broker = with(mode);
        for (presented, told) in [
            ("http%3A%2F%2Flocalhost%3A5173", "has no path; the registered address ends with a slash"),
            ("http%3A%2F%2Flocalhost%3A5174%2F", "it must match exactly"),
        ] {
            let path = format!("/login?client_id=vite-react&redirect_uri={presented}");
            let page = broker.browser().navigate(&broker.at(&path)).await;
            assert_eq!(page.status, 400);
            assert!(page.body.contains(told), "{page:?}");
            let listed = page.body.contains("<li><code>http://localhost:5173/</code></li>");
            assert_eq!(listed, mode == Mode::Development, "{page:?}");
            assert!(!page.body.contains("5174"), "{page:?}");
        }
        let other = broker.browser().navigate(&broker.at("/login?client_id=vite-react")).await;
        assert!(!other.body.contains("class=\"registered\""), "{other:?}");
    }
}

#[actix_web::test]
async fn the_pages_are_in_the_browsers_language_or_in_the_one_that_the_application_asks_for() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let chooser = broker.login(&[("provider", "")]).url;
    for (url, english, chinese) in [
        (chooser, "Choose how you want to sign in.", "请选择登录方式。"),
        (broker.at("/oauth2_callback/dev?code=x&state=y"), "This sign-in has expired", "这次登录已过期"),
        (broker.at("/login?client_id=nobody"), "made a mistake", "应用出错了"),
        (broker.at("/logout?"), "You are signed out", "你已登出"),
        (broker.at("/nothing?"), "Page not found", "找不到页面"),
    ] {
        for (accepted, query, expected, tag) in [
            ("en-GB", "", english, "en"),
            ("zh-CN,zh;q=0.9,en;q=0.8", "", chinese, "zh-Hans"),
            ("en", "&ui_locales=fr%20zh-CN", chinese, "zh-Hans"),
            ("zh", "&ui_locales=en", english, "en"),
        ] {
            let headers = [
                ("accept", "text/html"),
                ("accept-language", accepted),
                ("sec-fetch-dest", "document"),
                ("sec-fetch-mode", "navigate"),
            ];
            let page = browser.get(&format!("{url}{query}"), &headers).await;
            check(&page, false);
            let language = format!("<html lang=\"{tag}\">");
            assert!(
                page.body.contains(expected) && page.body.contains(&language),
                "{accepted} {query}: {page:?}"
            );
            let choices = links(&page).into_iter().filter(|link| link.contains("provider="));
            for link in choices {
                assert_eq!(link.contains("ui_locales="), !query.is_empty(), "{link}");
            }
        }
    }
}

#[actix_web::test]
async fn an_error_page_links_to_the_only_client() {
    let broker = TestBroker::with(Setup::default().adjust(|config| config.clients.truncate(1)));
    for path in ["/oauth2_callback/dev?code=x&state=y", "/login", "/login?client_id=nobody"] {
        let page = broker.browser().navigate(&broker.at(path)).await;
        assert_eq!(links(&page), [format!("{}/", broker.url)], "{path}");
    }
}

#[actix_web::test]
async fn head_is_answered_like_get_if_the_get_is_cacheable_or_a_probe() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let public = [
        "/",
        "/docs",
        "/docs/",
        "/docs/initialiser.js",
        "/docs/swagger-ui.css",
        "/healthz",
        "/openapi.json",
        "/readyz",
        "/sample/app.js",
        "/sample/views/token.js",
    ];
    let admin = ["/docs", "/healthz", "/openapi.json"];
    let urls = public.map(|path| broker.at(path)).into_iter();
    for url in urls.chain(admin.map(|path| format!("{}{path}", broker.admin_url))) {
        let [get, head] = [Method::GET, Method::HEAD].map(|method| browser.send(method, &url, &[], None));
        let (get, head) = (get.await, head.await);
        assert_eq!((get.status.as_u16(), head.status), (200, get.status), "{url}");
        assert_eq!(head.body, "", "{url}");
        check(&head, false);
        for name in ["content-type", "content-length", "content-security-policy", "etag", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{url}: {name}");
        }
        let refused = browser.send(Method::PUT, &url, &[], None).await;
        assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, Some("GET, HEAD")), "{url}");
    }
}

#[actix_web::test]
async fn head_starts_and_completes_no_login() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    for path in
        ["/login", "/oauth2_callback", "/oauth2_callback/dev", "/logout", "/logout/callback", "/api/me"]
    {
        let answer = browser.send(Method::HEAD, &broker.at(path), &[], None).await;
        let allow = answer.header("allow").unwrap_or_default();
        assert_eq!(answer.status, 405, "{path}");
        assert!(allow.contains("GET") && !allow.contains("HEAD"), "{path}: {allow}");
    }
}

/// The response to `GET path` for a browser that uses the host name `host`.
async fn get_at(broker: &TestBroker, host: &str, path: &str) -> RawAnswer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    raw::send(&broker.real_url, request).await
}

#[actix_web::test]
async fn the_sample_at_another_host_name_redirects_to_the_public_one() {
    let broker = TestBroker::start();
    let public = format!("{}/", broker.url);
    for host in ["127.0.0.1:8080", "127.0.0.1", "[::1]:8080"] {
        for path in ["/", "/?one_time_key=tbo_x&state=https://evil.example", "/sample/", "/sample"] {
            let answer = get_at(&broker, host, path).await;
            assert_eq!(
                (answer.status(), answer.header("location")),
                (Some(303), Some(&*public)),
                "{host}{path}"
            );
            assert_eq!(answer.body(), "", "{host}{path}");
        }
        assert_eq!(get_at(&broker, host, "/sample/app.js").await.status(), Some(200), "{host}");
    }
    assert_eq!(get_at(&broker, "localhost:1", "/").await.status(), Some(200));
    assert_eq!(get_at(&broker, "LOCALHOST", "/").await.status(), Some(200));
    assert_eq!(get_at(&broker, "localhost", "/sample/").await.header("location"), Some(&*public));
    let production = TestBroker::with(Setup::default().adjust(|config| config.mode = Mode::Production));
    assert_eq!(
        get_at(&production, "127.0.0.1", "/").await.status(),
        Some(200),
        "a probe may come by that name"
    );
}

/// The colours of a style sheet, those of the light and those of the dark scheme.
fn palette(css: &str) -> [BTreeMap<String, String>; 2] {
    let (light, rest) = css.split_once("@media (prefers-color-scheme: dark)").unwrap();
    let dark = rest.split_once("}").unwrap().0;
    let variable = Regex::new(r"--([a-z-]+):\s*([^;]+);").unwrap();
    [light, dark].map(|part| {
        let found = variable.captures_iter(part);
        found.map(|pair| (pair[1].to_owned(), pair[2].to_owned())).collect()
    })
}

#[test]
fn all_pages_use_the_same_palette() {
    let model = palette(include_str!("../../frontend-sample/app.css"));
    for (name, css, own) in [
        ("broker", include_str!("../../src/http/assets/page.css"), &[][..]),
        ("provider", include_str!("../../src/provider/dev/page.css"), &["warn", "warn-soft"]),
    ] {
        for (known, used) in model.iter().zip(palette(css)) {
            assert!(used.len() >= 8, "{name}: {used:?}");
            for (variable, value) in used.iter().filter(|(variable, _)| !own.contains(&variable.as_str())) {
                assert_eq!(known.get(variable), Some(value), "{name}: --{variable}");
            }
        }
        let outside =
            css.lines().filter(|line| !line.contains("--") && line.contains('#') && !line.contains("/*"));
        assert_eq!(outside.count(), 0, "{name}: a colour that has no name");
    }
}

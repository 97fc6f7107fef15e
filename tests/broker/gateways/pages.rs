//! Real gateways in front of pages: people sign in with their browser, come back, and are let in by the cookie.

use reqwest::Method;
use token_broker::domain::policy::Requirements;

use super::*;
use crate::support::broker::callback_url;
use crate::support::gateway::Example;
use crate::support::process::free_port;
use crate::support::visits::{NAVIGATION, SCRIPT, add_pages, refusal};

/// A broker, a site, and a gateway in front of it.
struct Site {
    broker: TestBroker,
    pages: Upstream,
    gateway: Gateway,
    browser: Browser,
}

impl Site {
    async fn new(kind: Kind, database: Option<String>) -> Self {
        let port = free_port();
        let origin = format!("http://127.0.0.1:{port}");
        let on_postgres = database.is_some();
        let setup = Setup { database, ..Setup::default() };
        let broker = TestBroker::with(setup.adjust(move |config| {
            let all = Requirements { groups: ["admins".to_owned()].into(), ..Requirements::default() };
            add_pages(config, "tools", &[&origin], all);
        }));
        if on_postgres {
            broker.storage().migrate().await.unwrap();
        }
        broker.ready().await;
        let pages = Upstream::start();
        let gateway = Gateway::start_on(port, (kind, Example::Pages), &broker.real_url, pages.addr).await;
        let browser = broker.browser();
        Self { broker, pages, gateway, browser }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        let url = format!("{}{path}", self.gateway.url);
        self.browser.send(method.parse().unwrap(), &url, headers, body.map(str::to_owned)).await
    }

    async fn navigate(&self, path: &str) -> Answer {
        self.send("GET", path, &NAVIGATION, None).await
    }

    async fn call(&self, path: &str) -> Answer {
        self.send("GET", path, &SCRIPT, None).await
    }

    /// From the page to the provider and back; returns where the browser ends.
    async fn sign_in(&self, path: &str, user: &str) -> String {
        let away = self.navigate(path).await;
        let login = away.location().unwrap_or_else(|| panic!("no sign-in: {away:?} {}", self.gateway.log()));
        let login = format!("{login}&provider=dev");
        let callback = callback_url(&self.browser, &login, &format!("&user={user}")).await;
        let back = self.browser.navigate(&callback).await.location().unwrap();
        assert!(
            back.as_str().starts_with(&format!("{}/_token-broker/callback?", self.gateway.url)),
            "{back}"
        );
        let landed = self.browser.navigate(back.as_str()).await;
        landed
            .location()
            .unwrap_or_else(|| panic!("not signed in: {landed:?} {}", self.gateway.log()))
            .to_string()
    }

    #[track_caller]
    fn arrived(&self, answer: &Answer) -> Arrived {
        assert_eq!(answer.status, 200, "{:?}: {answer:?} {}", self.gateway.kind, self.gateway.log());
        Arrived(answer.json())
    }

    #[track_caller]
    fn assert_refused(&self, answer: &Answer, status: u16, code: &str, before: usize) {
        let seen = (answer.status.as_u16(), refusal(answer));
        let (kind, log) = (self.gateway.kind, self.gateway.log());
        assert_eq!(seen, (status, Some(code.to_owned())), "{kind:?}: {answer:?} {log}");
        assert_eq!(answer.header("location"), None, "{answer:?}");
        assert_eq!(self.pages.requests(), before, "{kind:?}: the page got the request");
    }
}

pub(super) async fn navigations_sign_in_and_come_back(kind: Kind) {
    let site = Site::new(kind, None).await;
    site.browser.set_cookie("127.0.0.1", "theme", Some("dark"));
    for path in ["/reports/a?b=c%20d&e=%2F", "/"] {
        site.browser.set_cookie("127.0.0.1", "tb_page_tools", None);
        assert_eq!(site.sign_in(path, "alice").await, format!("{}{path}", site.gateway.url), "{kind:?}");
    }
    for answer in [site.navigate("/reports/a?b=c").await, site.call("/reports/a?b=c").await] {
        let arrived = site.arrived(&answer);
        assert_eq!(arrived.0["target"], "/reports/a?b=c");
        assert_eq!(
            arrived.headers("x-auth-username"),
            [("x-auth-username".to_owned(), vec!["alice".to_owned()])].into()
        );
        let cookies = arrived.headers("cookie");
        assert!(cookies["cookie"].join("; ").contains("theme=dark"), "{kind:?}: {cookies:?}");
        assert!(!cookies["cookie"].join("; ").contains("tb_"), "{kind:?}: {cookies:?}");
        assert!(arrived.headers("authorization").is_empty());
    }
    let form = [
        ("origin", &*site.gateway.url),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let arrived = site.arrived(&site.send("POST", "/form", &form, Some("a=1")).await);
    assert_eq!((&arrived.0["method"], &arrived.0["body"]), (&"POST".into(), &"a=1".into()));
}

pub(super) async fn other_requests_are_refused(kind: Kind) {
    let site = Site::new(kind, None).await;
    let before = site.pages.requests();
    let anonymous = site.call("/").await;
    site.assert_refused(&anonymous, 401, "missing_token", before);
    assert_eq!(anonymous.header("www-authenticate"), Some(CHALLENGE));
    site.assert_refused(
        &site.send("POST", "/", &NAVIGATION, Some("a=1")).await,
        401,
        "missing_token",
        before,
    );
    site.sign_in("/", "bob").await;
    site.assert_refused(&site.navigate("/").await, 403, "forbidden", before);
    site.browser.forget_cookies();
    site.sign_in("/", "alice").await;
    site.arrived(&site.call("/").await);

    let before = site.pages.requests();
    let evil = ("origin", "https://evil.example");
    let cross_site =
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    for (method, headers) in [
        ("POST", [&cross_site[..], &[evil]].concat()),
        // What the visitor says about itself, the gateway replaces.
        ("POST", [&cross_site[..], &[evil, ("x-forwarded-method", "GET")]].concat()),
        ("DELETE", [&SCRIPT[..], &[evil]].concat()),
        (
            "GET",
            vec![("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
        ),
    ] {
        site.assert_refused(&site.send(method, "/", &headers, None).await, 403, "origin_not_allowed", before);
    }
    let page = site.browser.cookies("127.0.0.1")["tb_page_tools"].clone();
    let bearer = format!("Bearer {page}");
    let as_token = [&SCRIPT[..], &[("authorization", &*bearer)]].concat();
    site.assert_refused(&site.send("GET", "/", &as_token, None).await, 401, "invalid_token", before);
    assert_eq!(
        site.broker.storage().end_sessions_of(user(&site).await, site.broker.now()).await.unwrap().len(),
        1
    );
    site.assert_refused(&site.call("/").await, 401, "invalid_token", before);
    assert_eq!(site.navigate("/").await.status, 303, "{kind:?}");
}

/// The user who is signed in.
async fn user(site: &Site) -> token_broker::domain::ids::UserId {
    let token = site.broker.sign_in(&site.broker.browser(), "dev", "alice").await;
    let me = site.broker.call("/api/me", &token).await.json();
    site.broker.post("/api/logout", &token, &serde_json::json!({})).await;
    me["user"]["id"].as_str().unwrap().parse().unwrap()
}

pub(super) async fn what_the_visitor_says_about_the_site_is_replaced(kind: Kind) {
    let site = Site::new(kind, None).await;
    for spoofed in [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-uri", "/elsewhere"),
        ("x-forwarded-method", "POST"),
        ("x-original-url", "/elsewhere"),
        ("forwarded", "host=evil.example"),
    ] {
        let answer = site.send("GET", "/a", &[&NAVIGATION[..], &[spoofed]].concat(), None).await;
        assert_eq!(answer.status, 303, "{kind:?} {spoofed:?}: {answer:?} {}", site.gateway.log());
        let callback = format!("{}/_token-broker/callback", site.gateway.url);
        assert_eq!(answer.parameter("redirect_uri"), Some(callback), "{kind:?} {spoofed:?}");
    }
    let away =
        site.send("GET", "/a", &[&NAVIGATION[..], &[("x-forwarded-uri", "/elsewhere")]].concat(), None).await;
    let login = format!("{}&provider=dev", away.location().unwrap());
    let callback = callback_url(&site.browser, &login, "&user=alice").await;
    let back = site.browser.navigate(&callback).await.location().unwrap();
    let landed = site.browser.navigate(back.as_str()).await.location().unwrap();
    assert_eq!(landed.as_str(), format!("{}/a", site.gateway.url), "{kind:?}");
    let spoofed =
        [&SCRIPT[..], &[("X-Auth-User", "admin"), ("X_Auth_User", "admin"), ("X.Auth.User", "admin")]]
            .concat();
    let arrived = site.arrived(&site.send("GET", "/", &spoofed, None).await);
    assert!(!arrived.0.to_string().contains("admin"), "{kind:?}: {:?}", arrived.0);
}

#[cfg(feature = "postgres")]
pub(super) async fn an_outage_lets_no_one_in_and_sends_no_one_away(kind: Kind) {
    let mut database = Postgres::own();
    let site = Site::new(kind, Some(database.database())).await;
    site.sign_in("/", "alice").await;
    site.arrived(&site.call("/").await);
    database.stop();
    let before = site.pages.requests();
    for answer in [site.call("/").await, site.navigate("/").await] {
        site.assert_refused(&answer, 503, "temporarily_unavailable", before);
        assert_eq!(answer.header("retry-after"), Some("2"), "{kind:?}");
    }
    database.resume();
    assert_recovers(&site.broker, "the database was started again").await;
    site.arrived(&site.call("/").await);
    let Site { broker, pages, gateway, browser } = site;
    broker.stop();
    let before = pages.requests();
    let answer = browser.send(Method::GET, &gateway.url, &NAVIGATION, None).await;
    assert!(answer.status.is_server_error(), "{kind:?}: {answer:?}");
    assert_eq!(pages.requests(), before);
}

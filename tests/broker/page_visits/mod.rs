//! Pages behind a gateway: who is let in by the cookie of a page, and who is sent to sign in.

mod cookies;
mod listener;
mod sign_in;

use token_broker::domain::policy::Requirements;

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::rows::change;
use crate::support::visits::{NAVIGATION, SCRIPT, TOOLS, Visitor, add_pages, refusal};

/// The second origin of the policy `tools`.
const OTHER: &str = "https://other.example.com";

fn setup() -> Setup {
    Setup::default().adjust(|config| {
        add_pages(config, "tools", &[TOOLS, OTHER], Requirements::default());
        let groups = Requirements { groups: ["admins".to_owned()].into(), ..Requirements::default() };
        add_pages(config, "admin", &[TOOLS], groups);
    })
}

async fn broker() -> TestBroker {
    let broker = TestBroker::with(setup());
    broker.ready().await;
    broker
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    let seen = (answer.status.as_u16(), refusal(answer));
    assert_eq!(seen, (status, Some(code.to_owned())), "{answer:?}");
    assert_eq!(answer.header("location"), None, "{answer:?}");
    assert_eq!(answer.header("cookie"), None, "{answer:?}");
}

#[track_caller]
fn assert_sent_to_sign_in(answer: &Answer, broker: &TestBroker) {
    assert_eq!(answer.status, 303, "{answer:?}");
    let location = answer.location().unwrap();
    assert!(location.as_str().starts_with(&format!("{}/login?", broker.url)), "{location}");
}

#[actix_web::test]
async fn a_navigation_signs_in_and_comes_back_to_its_page() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    visitor.browser.set_cookie("tools.example.com", "theme", Some("dark"));
    let target = "/reports/a?b=c%20d&next=//evil.example&e=1";
    assert_eq!(visitor.sign_in(target, "alice").await, format!("{TOOLS}{target}"));
    for answer in [visitor.navigate(target).await, visitor.call("/api/x").await] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("x-auth-username"), Some("alice"));
        assert_eq!(answer.header("x-auth-client"), Some("tools-pages"));
        assert_eq!(answer.header("cookie"), Some("theme=dark"), "the page gets its own cookies only");
    }
    let id = visitor.call("/").await.header("x-auth-user").unwrap().to_owned();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!(broker.call("/api/me", &token).await.json()["user"]["id"], id.as_str());
}

#[actix_web::test]
async fn a_browser_that_is_signed_in_needs_no_provider() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    broker.sign_in(&visitor.browser, "dev", "alice").await;
    let login = visitor.navigate("/a").await.location().unwrap();
    let back = visitor.browser.navigate(login.as_str()).await.location().unwrap();
    assert!(back.as_str().starts_with(&format!("{TOOLS}/_token-broker/callback?one_time_key=")), "{back}");
    let landed = visitor.come_back(back.as_str()).await.location().unwrap();
    assert_eq!(landed.as_str(), format!("{TOOLS}/a"));
    assert_eq!(visitor.call("/").await.status, 200);
}

#[actix_web::test]
async fn only_a_navigation_of_the_window_is_redirected() {
    let broker = broker().await;
    let mut visitor = Visitor::new(&broker);
    let with = |headers: &[(&'static str, &'static str)]| headers.to_vec();
    for (method, headers) in [
        ("GET", with(&SCRIPT)),
        ("GET", with(&[("accept", "application/json")])),
        ("GET", vec![]),
        ("POST", with(&NAVIGATION)),
        ("HEAD", with(&NAVIGATION)),
        ("GET", [&NAVIGATION[..], &[("sec-purpose", "prefetch")]].concat()),
        ("GET", [&NAVIGATION[..3], &[("sec-fetch-dest", "iframe")]].concat()),
        ("GET", [&NAVIGATION[..], &[("sec-fetch-mode", "navigate")]].concat()),
    ] {
        let answer = visitor.ask(method, "/a", &headers).await;
        assert_refused(&answer, 401, "missing_token");
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer realm="token-broker""#));
        assert_eq!(answer.header("set-cookie"), None, "{answer:?}");
    }
    assert_sent_to_sign_in(&visitor.ask("GET", "/a", &[("accept", "text/html,*/*")]).await, &broker);
    for (address, redirects) in [
        ("/authz/tools", true),
        ("/authz/traefik/tools", true),
        ("/authz/caddy/tools", true),
        ("/authz/envoy:tools/a", true),
        ("/authz/nginx/tools", false),
        ("/authz/other", false),
        ("/authz/caddy", false),
    ] {
        visitor.address = address;
        let answer = visitor.navigate("/a").await;
        if redirects {
            assert_sent_to_sign_in(&answer, &broker);
        } else {
            assert_refused(&answer, 401, "missing_token");
        }
    }
}

#[actix_web::test]
async fn the_end_of_the_session_acts_at_once() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    visitor.sign_in("/", "alice").await;
    // The SPA of the same browser is in the same session, and signs out.
    let login = broker.login(&[]);
    let back = visitor.browser.navigate(&login.url).await;
    let redeemed =
        broker.redeem(&visitor.browser, &back.parameter("one_time_key").unwrap(), &login.verifier).await;
    let token = redeemed.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(visitor.call("/").await.status, 200);
    assert_eq!(broker.post("/api/logout", &token, &serde_json::json!({})).await.status, 200);
    assert_refused(&visitor.call("/").await, 401, "invalid_token");
    assert_sent_to_sign_in(&visitor.navigate("/").await, &broker);

    visitor.sign_in("/", "alice").await;
    assert_eq!(visitor.call("/").await.status, 200);
    assert!(change(&broker, "UPDATE users SET disabled_at = created_at") > 0);
    assert_refused(&visitor.call("/").await, 401, "invalid_token");
    assert_refused(&visitor.ask("POST", "/", &SCRIPT).await, 403, "origin_not_allowed");
}

#[actix_web::test]
async fn a_page_that_is_not_used_for_too_long_asks_for_a_new_sign_in() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        add_pages(config, "tools", &[TOOLS], Requirements::default());
        config.clients.last_mut().unwrap().inactivity = Some(chrono::TimeDelta::seconds(600));
    }));
    broker.ready().await;
    let visitor = Visitor::new(&broker);
    visitor.sign_in("/", "alice").await;
    for _ in 0..4 {
        broker.advance(500);
        assert_eq!(visitor.call("/").await.status, 200, "each use counts");
    }
    broker.advance(600 + 301);
    assert_refused(&visitor.call("/").await, 401, "invalid_token");
}

#[actix_web::test]
async fn a_person_who_does_not_meet_the_policy_is_not_sent_to_sign_in_again() {
    let broker = broker().await;
    let mut visitor = Visitor::new(&broker);
    visitor.address = "/authz/caddy/admin";
    visitor.sign_in("/", "bob").await;
    visitor.navigate("/").await.assert_own_page(403, "forbidden");
    assert_eq!(visitor.call("/").await.error_code().as_deref(), Some("forbidden"), "a script can read it");
    visitor.sign_in_again("alice").await;
    assert_eq!(visitor.navigate("/").await.status, 200);
}

#[actix_web::test]
async fn requests_that_another_site_can_cause_are_refused() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    visitor.sign_in("/", "alice").await;
    let here = ("origin", TOOLS);
    let fetch =
        |site, mode, dest| vec![("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
    for (method, headers) in [
        ("GET", vec![]),
        ("GET", vec![("accept", "text/html")]),
        ("GET", fetch("cross-site", "no-cors", "image")),
        ("GET", fetch("same-site", "cors", "empty")),
        ("GET", fetch("cross-site", "navigate", "iframe")),
        (
            "GET",
            [fetch("cross-site", "websocket", "websocket"), vec![("origin", "https://evil.example")]]
                .concat(),
        ),
        ("POST", fetch("same-origin", "cors", "empty")),
        (
            "POST",
            [fetch("cross-site", "navigate", "document"), vec![("origin", "https://evil.example")]].concat(),
        ),
        ("POST", [fetch("cross-site", "navigate", "document"), vec![("origin", "null")]].concat()),
        ("POST", [fetch("same-site", "cors", "empty"), vec![here]].concat()),
        (
            "DELETE",
            [fetch("same-origin", "cors", "empty"), vec![here, ("origin", "https://evil.example")]].concat(),
        ),
    ] {
        assert_refused(&visitor.ask(method, "/", &headers).await, 403, "origin_not_allowed");
    }
    for (method, headers) in [
        ("GET", fetch("cross-site", "navigate", "document")),
        ("POST", [fetch("same-origin", "navigate", "document"), vec![here]].concat()),
        ("PUT", [fetch("same-origin", "cors", "empty"), vec![here]].concat()),
    ] {
        assert_eq!(visitor.ask(method, "/", &headers).await.status, 200, "{method} {headers:?}");
    }
}

//! The cookie of a page counts for its origin and policy, through a gateway, and nowhere else.

use super::*;

const COOKIE: &str = "__Host-Http-tb_page_tools";

fn cookie(visitor: &Visitor) -> String {
    visitor.browser.cookies("tools.example.com")[COOKIE].clone()
}

#[actix_web::test]
async fn the_cookie_counts_for_its_own_origin_and_policy_only() {
    let broker = broker().await;
    let mut visitor = Visitor::new(&broker);
    visitor.sign_in("/", "alice").await;
    let value = cookie(&visitor);
    assert_eq!(visitor.call("/").await.status, 200);

    visitor.address = "/authz/caddy/admin";
    visitor.browser.set_cookie("tools.example.com", "__Host-Http-tb_page_admin", Some(&value));
    assert_refused(&visitor.call("/").await, 401, "missing_token");

    visitor.address = "/authz/caddy/tools";
    visitor.browser.route(OTHER, &broker.real_url);
    visitor.browser.set_cookie("other.example.com", COOKIE, Some(&value));
    visitor.origin = OTHER.to_owned();
    assert_refused(&visitor.call("/").await, 401, "missing_token");

    // An origin that is not listed.
    visitor.origin = TOOLS.to_owned();
    visitor.said = Some("https://tools.example.com:8443".to_owned());
    for answer in [visitor.call("/").await, visitor.navigate("/").await] {
        assert_refused(&answer, 401, "missing_token");
    }
}

#[actix_web::test]
async fn the_cookie_is_no_token_and_no_other_cookie() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    visitor.sign_in("/", "alice").await;
    let value = cookie(&visitor);
    let bearer = format!("Bearer {value}");
    let mut with_bearer = SCRIPT.to_vec();
    with_bearer.push(("authorization", &bearer));
    assert_refused(&visitor.ask("GET", "/", &with_bearer).await, 401, "invalid_token");
    let stranger = broker.browser();
    stranger.route(TOOLS, &broker.real_url);
    for host in ["localhost", "127.0.0.1"] {
        for name in [COOKIE, "tb_page_tools", "tb_session", "__Host-Http-tb_session"] {
            stranger.set_cookie(host, name, Some(&value));
        }
    }
    for path in ["/api/me", "/api/sessions", "/api/permissions"] {
        let answer = stranger.get(&broker.at(path), &SCRIPT).await;
        assert_eq!((answer.status.as_u16(), answer.error_code().as_deref()), (401, Some("missing_token")));
    }
    // At /login it is no session.
    let login = stranger.navigate(&broker.login(&[]).url).await;
    assert!(login.location().unwrap().as_str().starts_with(broker.provider.url()), "{login:?}");
    // The session cookie of the broker does not open a page.
    let session = visitor.browser.cookies("localhost")["tb_session"].clone();
    stranger.set_cookie("tools.example.com", COOKIE, Some(&session));
    let stranger = Visitor { browser: stranger, ..Visitor::new(&broker) };
    assert_refused(&stranger.call("/").await, 401, "missing_token");
    // Two different values are believed neither.
    let two = format!("{COOKIE}={value}; {COOKIE}=planted");
    visitor.browser.forget_cookies();
    let answer = visitor.ask("GET", "/", &[&SCRIPT[..], &[("cookie", &two)]].concat()).await;
    assert_refused(&answer, 401, "missing_token");
}

#[actix_web::test]
async fn a_token_decides_alone() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    visitor.sign_in("/", "alice").await;
    for (credentials, code) in [("Bearer x", "invalid_token"), ("Bearer a b", "invalid_token")] {
        let headers = [&NAVIGATION[..], &[("authorization", credentials)]].concat();
        assert_refused(&visitor.ask("GET", "/", &headers).await, 401, code);
    }
    // Other schemes are the page's own affair.
    let basic = [&SCRIPT[..], &[("authorization", "Basic YTpi")]].concat();
    assert_eq!(visitor.ask("GET", "/", &basic).await.status, 200);
}

#[actix_web::test]
async fn without_a_trusted_gateway_no_cookie_counts_and_no_one_is_redirected() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    visitor.sign_in("/", "alice").await;
    let twin = broker.twin_with(|config| config.http.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]);
    visitor.browser.route(TOOLS, &twin.real_url);
    for answer in [visitor.call("/").await, visitor.navigate("/").await] {
        assert_refused(&answer, 401, "missing_token");
    }
    let none = broker.twin_with(|config| config.http.trusted_proxies.clear());
    visitor.browser.route(TOOLS, &none.real_url);
    for answer in [visitor.call("/").await, visitor.navigate("/").await] {
        assert_refused(&answer, 401, "missing_token");
    }
}

#[actix_web::test]
async fn what_a_gateway_does_not_say_clearly_is_not_believed() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    visitor.sign_in("/", "alice").await;
    // As of a gateway that passes on what the visitor sent beside what it says itself.
    for (name, value) in [
        ("x-forwarded-host", "tools.example.com"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
    ] {
        for headers in [&SCRIPT[..], &NAVIGATION] {
            let answer = visitor.ask("GET", "/", &[headers, &[(name, value)]].concat()).await;
            assert_refused(&answer, 401, "missing_token");
        }
    }
    let twice = [&SCRIPT[..], &[("x-forwarded-method", "GET")]].concat();
    assert_refused(&visitor.ask("POST", "/", &twice).await, 403, "origin_not_allowed");
}

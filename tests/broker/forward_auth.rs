//! `/authz`, asked as gateways ask: what decides, what does not, and what the answer tells.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use actix_web::http::header::HeaderName;
use reqwest::Method;
use serde_json::json;
use token_broker::config::Config;
use token_broker::domain::policy::{Policy, Requirements};
use token_broker::http::forward_auth::identity_headers::{Claim, IdentityHeaders, Preset};

use crate::gateways::with_orders_policy;
use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::log::Listener;
use crate::support::raw;
use crate::support::rows::change;
use crate::support::wait::until;

/// An address of each dialect that names the policy `orders`.
const ADDRESSES: [&str; 5] = [
    "/authz/orders",
    "/authz/nginx/orders",
    "/authz/traefik/orders",
    "/authz/caddy/orders",
    "/authz/envoy:orders/api/y",
];

/// An address of each dialect that names the policy `default`.
const DEFAULTS: [&str; 5] =
    ["/authz", "/authz/nginx", "/authz/traefik/", "/authz/caddy/default", "/authz/envoy:default/"];

fn broker() -> TestBroker {
    TestBroker::with(Setup::default().adjust(with_orders_policy))
}

/// A broker with a further policy of this id.
fn with_policy(id: &'static str, change: fn(&mut Policy)) -> TestBroker {
    TestBroker::with(Setup::default().adjust(move |config| add(config, id, change)))
}

fn add(config: &mut Config, id: &str, change: fn(&mut Policy)) {
    let audience = config.clients[0].audiences.iter().next().unwrap().clone();
    let mut policy = Policy { id: id.parse().unwrap(), ..Policy::default_for(audience).unwrap() };
    change(&mut policy);
    config.policies.retain(|known| known.id != policy.id);
    config.policies.push(policy);
}

async fn sign_in(broker: &TestBroker, user: &str) -> String {
    broker.sign_in(&broker.browser(), "dev", user).await
}

async fn ask(broker: &TestBroker, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    broker.browser().send(method.parse().unwrap(), &broker.at(path), headers, None).await
}

async fn verdict(broker: &TestBroker, path: &str, token: &str) -> (u16, Option<String>) {
    let answer = broker.call(path, token).await;
    (answer.status.as_u16(), answer.error_code())
}

fn refused(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

const ADMITTED: (u16, Option<String>) = (200, None);

#[actix_web::test]
async fn every_dialect_makes_the_same_decision_for_every_method() {
    let broker = broker();
    let [alice, bob] = [sign_in(&broker, "alice").await, sign_in(&broker, "bob").await];
    for path in ADDRESSES {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
            for (credentials, status) in [
                (format!("Bearer {alice}"), 200),
                (format!("Bearer {bob}"), 403),
                ("Bearer x".to_owned(), 401),
            ] {
                let answer = ask(&broker, method, path, &[("authorization", &credentials)]).await;
                assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            }
        }
        assert_eq!(verdict(&broker, path, &bob).await, refused(403, "forbidden"), "{path}");
    }
    for path in DEFAULTS {
        assert_eq!(verdict(&broker, path, &bob).await, ADMITTED, "{path}");
    }
}

#[actix_web::test]
async fn a_refusal_can_be_read_and_has_a_challenge() {
    let broker = broker();
    for path in ADDRESSES.iter().chain(&DEFAULTS) {
        let challenge = r#"Bearer realm="token-broker""#;
        for (credentials, code, suffix) in [
            (None, "missing_token", ""),
            (Some("Basic YTpi"), "missing_token", ""),
            (Some("Bearer x"), "invalid_token", r#", error="invalid_token""#),
            (Some("Bearer a b"), "invalid_token", r#", error="invalid_token""#),
        ] {
            let headers: Vec<_> = credentials.map(|text| ("authorization", text)).into_iter().collect();
            let answer = ask(&broker, "GET", path, &headers).await;
            assert_eq!((answer.status.as_u16(), answer.error_code().as_deref()), (401, Some(code)), "{path}");
            assert_eq!(answer.header("www-authenticate"), Some(&*format!("{challenge}{suffix}")), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("x-auth")), "{answer:?}");
        }
    }
}

#[actix_web::test]
async fn no_path_of_a_visitor_names_the_policy() {
    let broker = broker();
    let bob = sign_in(&broker, "bob").await;
    // Envoy appends these to path_prefix.
    for visited in [
        "/",
        "/default",
        "/authz/envoy:default",
        "/../envoy:default/x",
        "//envoy:default",
        "/%2e%2e/envoy:default",
        "/x:default?policy=default",
    ] {
        let path = format!("/authz/envoy:orders{visited}");
        let answer = raw::send(
            &broker.real_url,
            raw::request("GET", &path, &[("authorization", &format!("Bearer {bob}"))]),
        )
        .await;
        assert_eq!(answer.status(), Some(403), "{path}: {answer:?}");
        assert!(answer.body().contains("\"forbidden\""), "{path}: {answer:?}");
    }
    // A path_prefix without a policy, and other addresses that such a gateway must not be given, let no one in.
    for prefix in [
        "/authz/envoy",
        "/authz/nginx/orders",
        "/authz/caddy/orders",
        "/authz/traefik/default",
        "/authz/default",
    ] {
        for visited in ["/default", "/default/", "/nginx/default", "/envoy:default", "/a/b"] {
            let path = format!("{prefix}{visited}");
            assert_eq!(verdict(&broker, &path, &bob).await, refused(403, "unknown_policy"), "{path}");
        }
    }
}

#[actix_web::test]
async fn an_unknown_policy_lets_no_one_in_and_tells_the_operator() {
    let listener = Listener::start();
    let broker = broker();
    let token = sign_in(&broker, "alice").await;
    for path in [
        "/authz/other",
        "/authz/nginx/other",
        "/authz/traefik/Orders",
        "/authz/caddy/%6Frders",
        "/authz/envoy:/x",
        "/authz/envoy:other/x",
    ] {
        assert_eq!(verdict(&broker, path, &token).await, refused(403, "unknown_policy"), "{path}");
        assert_eq!(verdict(&broker, path, "x").await, refused(401, "invalid_token"), "{path}");
    }
    let log = listener.text();
    assert!(log.contains("no policy has the id"), "{log}");
}

#[actix_web::test]
async fn nothing_of_the_visitor_decides_but_the_token() {
    let broker = broker();
    let [alice, bob] = [sign_in(&broker, "alice").await, sign_in(&broker, "bob").await];
    let form = ("content-type", "application/x-www-form-urlencoded");
    for extra in [
        vec![form],
        vec![form, ("content-length", "7")],
        vec![form, ("transfer-encoding", "chunked")],
        vec![("expect", "100-continue"), ("content-length", "100000000")],
        vec![("upgrade", "websocket"), ("connection", "upgrade")],
        vec![("x-auth-user", "admin"), ("x-forwarded-user", "admin"), ("remote-user", "admin")],
        vec![("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
        vec![("cookie", "__Host-Http-tb_session=x; tb_session=x")],
        vec![("x-http-method-override", "OPTIONS"), ("x-original-url", "/authz")],
        vec![
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-uri", "/public"),
            ("forwarded", "for=127.0.0.1"),
        ],
    ] {
        for path in ADDRESSES {
            for (token, status) in [(&alice, 200), (&bob, 403), (&"x".to_owned(), 401)] {
                let bearer = format!("Bearer {token}");
                let headers: Vec<_> =
                    [("authorization", &*bearer)].into_iter().chain(extra.clone()).collect();
                let path = format!("{path}?access_token={alice}&policy=default");
                let mut request = raw::request("POST", &path, &headers);
                if extra.contains(&("transfer-encoding", "chunked")) {
                    request.extend(b"0\r\n\r\n");
                }
                let answer = raw::send(&broker.real_url, request).await;
                let last = answer.0.rsplit("HTTP/1.1 ").next().unwrap().get(..3).unwrap().to_owned();
                assert_eq!(last, status.to_string(), "{extra:?} {path}: {answer:?}");
                assert!(!answer.0.contains("admin"), "nothing is echoed: {answer:?}");
            }
        }
    }
}

#[actix_web::test]
async fn the_host_of_the_visited_site_is_answered() {
    let broker = broker();
    let token = sign_in(&broker, "alice").await;
    for path in ADDRESSES {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: orders.example.com\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        assert_eq!(raw::send(&broker.real_url, request).await.status(), Some(200), "{path}");
    }
    let other = "GET /api/me HTTP/1.1\r\nHost: orders.example.com\r\nConnection: close\r\n\r\n";
    assert_eq!(raw::send(&broker.real_url, other).await.status(), Some(421));
}

/// The identity headers of an answer.
fn told(answer: &Answer) -> BTreeMap<String, String> {
    let is_identity =
        |name: &str| ["x-auth", "remote-", "x-user"].iter().any(|prefix| name.starts_with(prefix));
    let names = answer.headers.keys().map(|name| name.as_str()).filter(|name| is_identity(name));
    names.map(|name| (name.to_owned(), answer.header(name).unwrap().to_owned())).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[actix_web::test]
async fn every_configured_header_is_present_and_visible_ascii() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.clients[0].scopes = "".parse().unwrap();
    }));
    let token = sign_in(&broker, "bob").await;
    let answer = broker.call("/authz", &token).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
    let mut told = told(&answer);
    let user = told.remove("x-auth-user").unwrap();
    assert!(user.parse::<uuid::Uuid>().is_ok(), "{user}");
    assert_eq!(
        told,
        pairs([
            ("x-auth-username", "bob"),
            ("x-auth-name", "Bob%20%E9%B2%8D%E5%8B%83"),
            ("x-auth-email", "bob@example.com"),
            ("x-auth-client", "sample"),
            ("x-auth-scope", ""),
        ])
    );
    // The second login is of the same user: the id stays.
    let again = broker.call("/authz/nginx", &sign_in(&broker, "bob").await).await;
    assert_eq!(again.header("x-auth-user"), Some(&*user));
}

#[actix_web::test]
async fn headers_can_have_the_names_of_other_products() {
    let named = |preset: Preset, further: &[(Claim, &'static str)]| {
        let names = preset.names().iter().chain(further);
        IdentityHeaders::new(
            names.map(|(claim, name)| (*claim, HeaderName::from_static(name))).collect(),
            false,
        )
    };
    let first = broker();
    let token = sign_in(&first, "alice").await;
    let id = first.call("/api/me", &token).await.json()["user"]["id"].as_str().unwrap().to_owned();
    for (headers, expected) in [
        (
            named(Preset::RemoteUser, &[]),
            pairs([
                ("remote-user", &id),
                ("remote-name", "Alice%20Example"),
                ("remote-email", "alice@example.com"),
                ("remote-groups", "staff,admins"),
            ]),
        ),
        (
            named(
                Preset::XAuthRequest,
                &[(Claim::Permissions, "x-user-permissions"), (Claim::EmailVerified, "x-user-verified")],
            ),
            pairs([
                ("x-auth-request-user", &id),
                ("x-auth-request-preferred-username", "alice"),
                ("x-auth-request-email", "alice@example.com"),
                ("x-auth-request-groups", "staff,admins"),
                ("x-user-permissions", "report.read,report.write,user.manage"),
                ("x-user-verified", "true"),
            ]),
        ),
    ] {
        let twin = first.twin_with(|config| config.http.identity_headers = headers);
        assert_eq!(told(&twin.call("/authz/traefik/orders", &token).await), expected);
    }
}

#[actix_web::test]
async fn an_unverified_email_address_is_left_out() {
    let broker = broker();
    let token = sign_in(&broker, "alice").await;
    assert_eq!(change(&broker, "UPDATE identities SET email_verified = 0"), 1);
    assert_eq!(broker.call("/authz", &token).await.header("x-auth-email"), Some(""));
    let twin = broker.twin_with(|config| {
        let names = [(Claim::Email, HeaderName::from_static("x-auth-email"))];
        config.http.identity_headers = IdentityHeaders::new(names.into(), true);
    });
    assert_eq!(twin.call("/authz", &token).await.header("x-auth-email"), Some("alice@example.com"));
}

#[actix_web::test]
async fn a_list_that_is_too_long_for_a_header_is_left_out_as_a_whole() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        let names = [(Claim::Groups, HeaderName::from_static("x-auth-groups"))];
        config.http.identity_headers = IdentityHeaders::new(names.into(), false);
    }));
    let token = sign_in(&broker, "alice").await;
    let long: Vec<_> = (0..30).map(|number| format!("{number}{}", "g".repeat(200))).collect();
    for (groups, expected) in [
        (json!(["a,b", "ü", "100%"]), "a%2Cb,%C3%BC,100%25"),
        (json!(long), ""),
        (json!(long[..20]), &long[..20].join(",")),
        (json!([]), ""),
    ] {
        assert_eq!(change(&broker, &format!("UPDATE identities SET groups = '{groups}'")), 1);
        assert_eq!(broker.call("/authz", &token).await.header("x-auth-groups"), Some(expected));
    }
}

#[actix_web::test]
async fn a_token_for_another_api_is_refused() {
    let broker =
        with_policy("other", |policy| policy.audience = "https://other.example.com".parse().unwrap());
    let token = sign_in(&broker, "alice").await;
    assert_eq!(verdict(&broker, "/authz", &token).await, ADMITTED);
    assert_eq!(verdict(&broker, "/authz/other", &token).await, refused(401, "invalid_token"));
}

/// The id of a policy, what it asks for, and what it says about bob.
type Case = (&'static str, fn(&mut Policy), (u16, Option<String>));

#[actix_web::test]
async fn policies_ask_for_clients_scopes_permissions_and_groups() {
    let cases: [Case; 6] = [
        (
            "client",
            |policy| policy.clients = ["vite-react".parse().unwrap()].into(),
            refused(403, "forbidden"),
        ),
        ("scope", |policy| policy.all.scopes = "orders".parse().unwrap(), refused(403, "insufficient_scope")),
        ("group", |policy| policy.all.groups = ["admins".to_owned()].into(), refused(403, "forbidden")),
        (
            "any",
            |policy| {
                policy.any = Requirements {
                    scopes: "orders".parse().unwrap(),
                    groups: ["staff".to_owned()].into(),
                    ..Requirements::default()
                };
            },
            ADMITTED,
        ),
        (
            "both",
            |policy| {
                policy.all.permissions = ["report.read".to_owned()].into();
                policy.any.groups = ["admins".to_owned()].into();
            },
            refused(403, "forbidden"),
        ),
        (
            "default",
            |policy| policy.all.permissions = ["report.write".to_owned()].into(),
            refused(403, "forbidden"),
        ),
    ];
    let adjusted = cases.clone();
    let broker = TestBroker::with(Setup::default().adjust(move |config| {
        adjusted.iter().for_each(|(id, change, _)| add(config, id, *change));
    }));
    let bob = sign_in(&broker, "bob").await;
    for (id, _, expected) in cases {
        assert_eq!(verdict(&broker, &format!("/authz/nginx/{id}"), &bob).await, expected, "{id}");
    }
    assert_eq!(
        verdict(&broker, "/authz", &bob).await,
        refused(403, "forbidden"),
        "an address without a policy"
    );
}

#[actix_web::test]
async fn permissions_are_read_only_if_the_policy_or_a_header_needs_them() {
    let broker = broker();
    let token = sign_in(&broker, "alice").await;
    assert_eq!(change(&broker, "UPDATE identities SET permissions = 'unreadable'"), 1);
    assert_eq!(verdict(&broker, "/authz", &token).await, ADMITTED);
    assert!(verdict(&broker, "/authz/orders", &token).await.0 >= 500);
    let twin = broker.twin_with(|config| {
        let names = [(Claim::Groups, HeaderName::from_static("x-auth-groups"))];
        config.http.identity_headers = IdentityHeaders::new(names.into(), false);
    });
    assert!(verdict(&twin, "/authz", &token).await.0 >= 500);
}

#[actix_web::test]
async fn a_gateway_is_neither_limited_nor_recorded_as_its_visitors() {
    let broker =
        TestBroker::with(Setup::default().adjust(|config| config.limits.failed_tokens = NonZeroU32::MIN));
    let [live, dead] = [sign_in(&broker, "alice").await, sign_in(&broker, "alice").await];
    assert_eq!(broker.post("/api/logout", &dead, &json!({})).await.status, 200);
    for _ in 0..20 {
        for token in [&*dead, "x"] {
            assert_eq!(verdict(&broker, "/authz/nginx", token).await, refused(401, "invalid_token"));
        }
    }
    assert_eq!(verdict(&broker, "/authz/nginx", &live).await, ADMITTED);
    let recorded = broker.audited("token_refused").await;
    assert_eq!(recorded.address, None, "{recorded:?}");
    // The failures through the gateway do not count against its own calls either.
    assert_eq!(verdict(&broker, "/api/me", "x").await, refused(401, "invalid_token"));
    assert_eq!(verdict(&broker, "/api/me", "x").await, refused(429, "rate_limited"));
    // Forty refusals came before its own, and one a minute is recorded.
    let refusals = until(async || {
        let mut rows = audit::newest(&broker.storage(), 1_000).await;
        rows.retain(|row| row.kind == "token_refused");
        if rows.iter().any(|row| row.address.is_some()) { Ok(rows) } else { Err(rows) }
    })
    .await;
    assert_eq!(refusals.iter().filter(|row| row.address.is_none()).count(), 1, "{refusals:?}");
}

#[actix_web::test]
async fn an_answer_says_nothing_about_the_host_that_a_gateway_serves() {
    let setup = Setup { public_url: Some("https://auth.example.com".to_owned()), ..Setup::default() };
    let broker = TestBroker::with(setup);
    let browser = broker.browser();
    let has_hsts = async |path: &str| {
        let answer = browser.send(Method::GET, &broker.at(path), &[], None).await;
        answer.header("strict-transport-security").is_some()
    };
    assert!(has_hsts("/api/me").await);
    assert!(!has_hsts("/authz/caddy").await);
}

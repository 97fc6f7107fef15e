//! Real gateways in front of a real API, with the examples of `deploy/`: what they let through, what they refuse, and
//! what arrives at the API.

mod bound;
mod pages;
mod spoofing;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::Value;
use token_broker::config::Config;
use token_broker::domain::policy::{Policy, Requirements};

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::gateway::{Gateway, Kind};
#[cfg(feature = "postgres")]
use crate::support::outage::{assert_not_called_invalid, assert_recovers};
#[cfg(feature = "postgres")]
use crate::support::postgres::Postgres;
use crate::support::upstream::Upstream;

const CHALLENGE: &str = r#"Bearer realm="token-broker""#;

/// The permission that the policy `orders` needs; alice has it, bob does not.
const NEEDED: &str = "report.write";

/// The policy that the examples name.
pub fn with_orders_policy(config: &mut Config) {
    let audience = config.clients[0].audiences.iter().next().unwrap().clone();
    let all = Requirements { permissions: [NEEDED.to_owned()].into(), ..Requirements::default() };
    let policy = Policy { id: "orders".parse().unwrap(), all, ..Policy::default_for(audience).unwrap() };
    config.policies.push(policy);
}

/// A broker, an API, and a gateway in front of it.
struct Installation {
    broker: TestBroker,
    api: Upstream,
    gateway: Gateway,
    visitor: Browser,
}

impl Installation {
    async fn new(kind: Kind, setup: Setup) -> Self {
        let broker = TestBroker::with(setup.adjust(with_orders_policy));
        let api = Upstream::start();
        let gateway = Gateway::start(kind, &broker.real_url, api.addr).await;
        Self { broker, api, gateway, visitor: Browser::new() }
    }

    async fn sign_in(&self, user: &str) -> String {
        self.broker.sign_in(&self.broker.browser(), "dev", user).await
    }

    /// A request of the visitor through the gateway.
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        let url = format!("{}{path}", self.gateway.url);
        self.visitor.send(method, &url, headers, body.map(str::to_owned)).await
    }

    async fn get(&self, token: &str) -> Answer {
        self.send(Method::GET, "/api/y", &[("authorization", &format!("Bearer {token}"))], None).await
    }

    /// Checks a refusal that the visitor can read, and that the API did not see the request.
    #[track_caller]
    fn assert_refused(&self, answer: &Answer, status: u16, code: &str, before: usize) {
        let (kind, log) = (self.gateway.kind, self.gateway.log());
        let seen = (answer.status.as_u16(), answer.error_code());
        assert_eq!(seen, (status, Some(code.to_owned())), "{kind:?}: {answer:?} {log}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{kind:?}");
        assert_eq!(
            answer.headers.get_all("www-authenticate").iter().count(),
            usize::from(status == 401),
            "{kind:?}: {answer:?}"
        );
        assert_eq!(self.api.requests(), before, "{kind:?}: the API got the request");
    }
}

/// What arrived at the API.
struct Arrived(Value);

impl Arrived {
    #[track_caller]
    fn of(installation: &Installation, answer: &Answer) -> Self {
        assert_eq!(
            answer.status,
            200,
            "{:?}: {answer:?} {}",
            installation.gateway.kind,
            installation.gateway.log()
        );
        Self(answer.json())
    }

    /// The headers whose name, with every separator read as a hyphen, begins with this.
    fn headers(&self, prefix: &str) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::<String, Vec<String>>::new();
        for header in self.0["headers"].as_array().unwrap() {
            let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
            if name.to_lowercase().replace(['_', '.'], "-").starts_with(prefix) {
                found.entry(name.to_owned()).or_default().push(value.to_owned());
            }
        }
        // A gateway may leave an empty header out.
        found.retain(|_, values| values.iter().any(|value| !value.is_empty()));
        found
    }
}

/// The identity headers that arrive for alice.
async fn alice(installation: &Installation, token: &str) -> BTreeMap<String, Vec<String>> {
    let me = installation.broker.call("/api/me", token).await.json();
    let expected = [
        ("x-auth-user", me["user"]["id"].as_str().unwrap()),
        ("x-auth-username", "alice"),
        ("x-auth-name", "Alice%20Example"),
        ("x-auth-email", "alice@example.com"),
        ("x-auth-client", "sample"),
        ("x-auth-scope", "permissions,profile"),
    ];
    expected.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into()
}

async fn allowed_denied_and_forbidden(kind: Kind) {
    let installation = Installation::new(kind, Setup::default()).await;
    let token = installation.sign_in("alice").await;
    let arrived = Arrived::of(&installation, &installation.get(&token).await);
    assert_eq!((&arrived.0["method"], &arrived.0["target"]), (&"GET".into(), &"/api/y".into()));
    assert_eq!(arrived.headers("x-auth"), alice(&installation, &token).await);
    assert!(arrived.headers("authorization").is_empty(), "the API gets no token");

    let before = installation.api.requests();
    let anonymous = installation.send(Method::GET, "/api/y", &[], None).await;
    installation.assert_refused(&anonymous, 401, "missing_token", before);
    assert_eq!(anonymous.header("www-authenticate"), Some(CHALLENGE));
    for credentials in ["Bearer x", "Bearer a b", "Bearer"] {
        let answer = installation.send(Method::GET, "/", &[("authorization", credentials)], None).await;
        installation.assert_refused(&answer, 401, "invalid_token", before);
        assert_eq!(
            answer.header("www-authenticate"),
            Some(&*format!(r#"{CHALLENGE}, error="invalid_token""#))
        );
    }
    let bob = installation.sign_in("bob").await;
    installation.assert_refused(&installation.get(&bob).await, 403, "forbidden", before);

    installation.broker.post("/api/logout", &token, &serde_json::json!({})).await;
    installation.assert_refused(&installation.get(&token).await, 401, "invalid_token", before);
}

/// Forms, other methods, and headers that mean something to a server: all reach the API, none changes the decision.
async fn what_the_visitor_sends_does_not_decide(kind: Kind) {
    let installation = Installation::new(kind, Setup::default()).await;
    let token = installation.sign_in("alice").await;
    let bearer = format!("Bearer {token}");
    let form = "application/x-www-form-urlencoded";
    for (method, headers, body) in [
        ("POST", vec![("content-type", form)], Some("a=1&access_token=x")),
        ("POST", vec![("content-type", "application/json"), ("origin", "https://evil.example")], Some("{}")),
        ("PUT", vec![("content-type", form), ("expect", "100-continue")], Some("a=1")),
        ("GET", vec![("content-type", form)], None),
        ("DELETE", vec![("cookie", "tb_session=x; a=b"), ("x-http-method-override", "TRACE")], None),
        ("GET", vec![("x-original-url", "/authz/nginx/default"), ("x-forwarded-uri", "/public")], None),
    ] {
        let path = "/api/y?access_token=x&policy=default&q=%2F";
        let sent = |credentials| [vec![("authorization", credentials)], headers.clone()].concat();
        let method: Method = method.parse().unwrap();
        let answer = installation.send(method.clone(), path, &sent(&*bearer), body).await;
        let arrived = Arrived::of(&installation, &answer);
        assert_eq!(arrived.0["body"], body.unwrap_or_default(), "{kind:?}: {headers:?}");
        assert_eq!((&arrived.0["method"], &arrived.0["target"]), (&method.as_str().into(), &path.into()));

        let before = installation.api.requests();
        let answer = installation.send(method, path, &sent("Bearer x"), body).await;
        installation.assert_refused(&answer, 401, "invalid_token", before);
    }
}

/// While the database is stopped, no one is let in and no token is called invalid; afterwards the same token works.
#[cfg(feature = "postgres")]
async fn an_outage_is_neither_yes_nor_no(kind: Kind) {
    let mut database = Postgres::own();
    let setup = Setup { database: Some(database.database()), ..Setup::default() };
    let broker = TestBroker::with(setup.adjust(with_orders_policy));
    broker.storage().migrate().await.unwrap();
    let api = Upstream::start();
    let gateway = Gateway::start(kind, &broker.real_url, api.addr).await;
    let installation = Installation { broker, api, gateway, visitor: Browser::new() };
    let token = installation.sign_in("alice").await;
    Arrived::of(&installation, &installation.get(&token).await);

    database.stop();
    let before = installation.api.requests();
    for _ in 0..3 {
        let answer = installation.get(&token).await;
        installation.assert_refused(&answer, 503, "temporarily_unavailable", before);
        assert_eq!(answer.header("retry-after"), Some("2"), "{kind:?}");
        assert_not_called_invalid(&answer);
    }
    database.resume();
    assert_recovers(&installation.broker, "the database was started again").await;
    Arrived::of(&installation, &installation.get(&token).await);
}

async fn a_stopped_broker_lets_no_one_in(kind: Kind) {
    let installation = Installation::new(kind, Setup::default()).await;
    let token = installation.sign_in("alice").await;
    let Installation { broker, api, gateway, visitor } = installation;
    broker.stop();
    let bearer = format!("Bearer {token}");
    let answer = visitor.get(&gateway.url, &[("authorization", &bearer)]).await;
    assert!(answer.status.is_server_error(), "{kind:?}: {answer:?}");
    assert_eq!(api.requests(), 0, "{kind:?}");
}

macro_rules! through {
    ($($name:ident = $kind:expr;)+) => {$(
        mod $name {
            use super::*;

            #[actix_web::test]
            async fn allows_denies_and_forbids() {
                allowed_denied_and_forbidden($kind).await;
            }

            #[actix_web::test]
            async fn decides_by_nothing_else_that_the_visitor_sends() {
                what_the_visitor_sends_does_not_decide($kind).await;
            }

            #[actix_web::test]
            async fn passes_on_what_a_bound_token_needs() {
                bound::a_bound_token_needs_a_proof_for_the_visitors_request($kind).await;
            }

            #[actix_web::test]
            async fn removes_spoofed_identity_headers() {
                spoofing::spoofed_headers_never_arrive($kind).await;
            }

            #[cfg(feature = "postgres")]
            #[actix_web::test]
            async fn lets_no_one_in_while_the_answer_is_unknown() {
                an_outage_is_neither_yes_nor_no($kind).await;
            }

            #[actix_web::test]
            async fn lets_no_one_in_without_a_broker() {
                a_stopped_broker_lets_no_one_in($kind).await;
            }
        }
    )+};
}

through! {
    nginx = Kind::Nginx;
    caddy = Kind::Caddy;
    haproxy = Kind::Haproxy;
    apache = Kind::Apache;
}

macro_rules! pages_through {
    ($($name:ident = $kind:expr;)+) => {$(
        mod $name {
            use super::*;

            #[actix_web::test]
            async fn a_navigation_signs_in_and_comes_back() {
                pages::navigations_sign_in_and_come_back($kind).await;
            }

            #[actix_web::test]
            async fn a_request_of_a_program_or_of_another_site_is_refused() {
                pages::other_requests_are_refused($kind).await;
            }

            #[actix_web::test]
            async fn the_gateway_says_which_page_is_visited() {
                pages::what_the_visitor_says_about_the_site_is_replaced($kind).await;
            }

            #[cfg(feature = "postgres")]
            #[actix_web::test]
            async fn an_outage_lets_no_page_be_seen() {
                pages::an_outage_lets_no_one_in_and_sends_no_one_away($kind).await;
            }
        }
    )+};
}

pages_through! {
    nginx_pages = Kind::Nginx;
    caddy_pages = Kind::Caddy;
}

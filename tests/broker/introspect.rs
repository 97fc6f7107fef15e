//! Introspection: what an API is told about a token, and who may ask.

use std::num::NonZeroU32;

use reqwest::Method;
use serde_json::{Value, json};
use token_broker::flow::administration::resource_servers::{self, Granted};

use crate::support::administration::administrator;
use crate::support::api::{Api, assert_inactive, assert_unauthenticated};
use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::jwt::{jwks, verifies};
use crate::support::oauth::decode;
use crate::support::wait::until;

const PATH: &str = "/oauth2/introspect";
const ORDERS: &str = "https://orders.example.com";
const STOCK: &str = "https://stock.example.com";

/// A broker whose client `sample` has tokens for the APIs `orders` and `stock`.
fn broker() -> TestBroker {
    TestBroker::with(Setup::default().adjust(|config| {
        config.clients[0].audiences = format!("{ORDERS} {STOCK}").parse().unwrap();
    }))
}

async fn sign_in(broker: &TestBroker) -> String {
    broker.sign_in(&broker.browser(), "dev", "alice").await
}

/// A token of alice for one of the APIs.
async fn token_for(broker: &TestBroker, resource: &str) -> String {
    broker.ready().await;
    let browser = broker.browser();
    let login = broker.complete(&browser, broker.login(&[("resource", resource)]), "&user=alice").await;
    let answer = broker.redeem(&browser, &login.key(), &login.verifier).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn post(broker: &TestBroker, pairs: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
    broker.browser().post_form(&broker.at(PATH), pairs, headers).await
}

fn members(answer: &Value) -> Vec<&str> {
    answer.as_object().unwrap().keys().map(String::as_str).collect()
}

#[actix_web::test]
async fn an_active_token_is_described_with_what_the_api_needs_and_no_personal_data() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        broker.stop_clock();
        let token = sign_in(&broker).await;
        let api = Api::register(&broker, "orders", &broker.url).await;
        let answer = api.introspect(&broker, &token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
        let told = answer.json();
        let me = broker.call("/api/me", &token).await.json();
        let now = broker.now().timestamp();
        assert_eq!(
            told,
            json!({
                "active": true,
                "iss": broker.url,
                "sub": me["user"]["id"],
                "aud": [broker.url],
                "client_id": "sample",
                "token_type": "Bearer",
                "scope": "permissions profile",
                "iat": now,
                "exp": now + 604_800,
                "jti": told["jti"],
                "kind": "session",
                "auth_time": told["auth_time"],
            })
        );
        let authenticated: chrono::DateTime<chrono::Utc> =
            serde_json::from_value(me["session"]["auth_time"].clone()).unwrap();
        assert_eq!(told["auth_time"], authenticated.timestamp());
    }
}

#[actix_web::test]
async fn an_api_is_told_who_the_person_is_only_if_granted_and_within_the_scope() {
    let person = ["email", "email_verified", "name", "username"];
    let permitted = ["groups", "permissions", "permissions_as_of"];
    let broker = TestBroker::start();
    let narrow = broker.twin_with(|config| config.clients[0].scopes = "permissions".parse().unwrap());
    let [wide, narrow] = [sign_in(&broker).await, sign_in(&narrow).await];
    for (number, personal_data, permissions) in
        [(0, false, false), (1, true, false), (2, false, true), (3, true, true)]
    {
        let granted = Granted { personal_data, permissions };
        let api = Api::granted(&broker, &format!("api{number}"), &broker.url, granted).await;
        for (token, with_profile) in [(&wide, true), (&narrow, false)] {
            let told = api.introspect(&broker, token).await.json();
            let members = members(&told);
            let has = |names: &[&str]| {
                let found = names.iter().filter(|name| members.contains(name)).count();
                assert!(found == 0 || found == names.len(), "all or none: {told}");
                found > 0
            };
            assert_eq!(has(&person), personal_data && with_profile, "{granted:?}: {told}");
            assert_eq!(has(&permitted), permissions, "{granted:?}: {told}");
            if personal_data && with_profile {
                let me = broker.call("/api/me", token).await.json();
                let user =
                    ["username", "display_name", "email", "email_verified"].map(|name| &me["user"][name]);
                assert_eq!(["username", "name", "email", "email_verified"].map(|name| &told[name]), user);
            }
            if permissions {
                let own = broker.call("/api/permissions", token).await.json();
                assert_eq!((&told["permissions"], &told["groups"]), (&own["permissions"], &own["groups"]));
                assert!(!own["permissions"].as_array().unwrap().is_empty());
            }
        }
    }
}

#[actix_web::test]
async fn a_token_is_active_only_at_the_apis_that_it_is_for() {
    let broker = broker();
    let orders = Api::register(&broker, "orders", ORDERS).await;
    let stock = Api::register(&broker, "stock", STOCK).await;
    let itself = Api::register(&broker, "itself", &broker.url).await;
    let both = sign_in(&broker).await;
    let narrow = token_for(&broker, ORDERS).await;
    for (api, token, active) in [
        (&orders, &both, true),
        (&stock, &both, true),
        (&itself, &both, false),
        (&orders, &narrow, true),
        (&stock, &narrow, false),
        (&itself, &narrow, false),
    ] {
        let answer = api.introspect(&broker, token).await;
        if active {
            assert_eq!(answer.json()["active"], true, "{}: {answer:?}", api.id);
        } else {
            assert_inactive(&answer);
        }
    }
    assert_eq!(orders.introspect(&broker, &narrow).await.json()["aud"], json!([ORDERS]));
}

#[actix_web::test]
async fn whatever_is_no_live_token_gets_the_same_answer() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let live = sign_in(&broker).await;
    let ended = sign_in(&broker).await;
    broker.post("/api/logout", &ended, &json!({})).await;
    let mistyped = format!("{}x", &live[..live.len() - 1]);
    let long = "a".repeat(9_000);
    let answers = [
        ended.as_str(),
        &mistyped,
        &live[..20],
        "tbk_",
        "x",
        " ",
        "\u{0}",
        "ü",
        "{}",
        "a.b.c",
        "' OR 1=1",
        &long,
    ];
    let mut first: Option<Answer> = None;
    for token in answers {
        let answer = api.introspect(&broker, token).await;
        assert_inactive(&answer);
        let expected = first.get_or_insert_with(|| answer.clone());
        assert_eq!(answer.normalized(), expected.normalized(), "{token}");
    }
    assert_eq!(api.introspect(&broker, &live).await.json()["active"], true);
}

#[actix_web::test]
async fn the_hint_is_ignored() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let token = sign_in(&broker).await;
    let header = [("authorization", &*api.basic())];
    for hint in ["access_token", "refresh_token", "made_up", ""] {
        let answer = post(&broker, &[("token", &token), ("token_type_hint", hint)], &header).await;
        assert_eq!(answer.json()["active"], true, "{hint}");
    }
}

#[actix_web::test]
async fn a_missing_or_repeated_token_and_other_bodies_are_refused() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let token = sign_in(&broker).await;
    let basic = api.basic();
    let header = [("authorization", basic.as_str())];
    let bad: [&[(&str, &str)]; 6] = [
        &[],
        &[("token", "")],
        &[("tokens", &token)],
        &[("token", &token), ("token", &token)],
        &[("token", &token), ("token", "x")],
        &[("token", &token), ("token_type_hint", "a"), ("token_type_hint", "b")],
    ];
    for pairs in bad {
        let answer = post(&broker, pairs, &header).await;
        let seen = (answer.status.as_u16(), answer.error_code());
        assert_eq!(seen, (400, Some("invalid_request".to_owned())), "{pairs:?}: {answer:?}");
    }
    let form = "application/x-www-form-urlencoded";
    for (method, path, kind, body, status) in [
        (Method::POST, format!("{PATH}?token={token}"), form, String::new(), 400),
        (Method::POST, format!("{PATH}?token={token}"), form, format!("token={token}"), 400),
        (Method::POST, format!("{PATH}?client_secret=x"), form, format!("token={token}"), 400),
        (Method::POST, PATH.to_owned(), form, "token=%zz".to_owned(), 400),
        (Method::POST, PATH.to_owned(), "application/json", json!({ "token": token }).to_string(), 415),
        (Method::POST, PATH.to_owned(), "", format!("token={token}"), 415),
        (Method::POST, PATH.to_owned(), form, format!("token={token}&x={}", "a".repeat(17_000)), 413),
        (Method::GET, format!("{PATH}?token={token}"), form, String::new(), 405),
    ] {
        let headers = [("authorization", basic.as_str()), ("content-type", kind)];
        let answer = broker.browser().send(method, &broker.at(&path), &headers, Some(body)).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {kind}: {answer:?}");
        let body = answer.json();
        assert!(body["error"].is_string() && body.get("active").is_none(), "{answer:?}");
    }
}

#[actix_web::test]
async fn an_api_authenticates_by_header_or_form_encoded_or_not() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "my-orders_api", &broker.url).await;
    let token = sign_in(&broker).await;
    // Some libraries encode even unreserved characters.
    let encode = |text: &str| text.replace('-', "%2D").replace('_', "%5f");
    let encoded = Api { id: encode(&api.id), secret: encode(&api.secret) };
    for header in [api.basic(), api.basic().replacen("Basic", "bAsIc", 1), encoded.basic()] {
        let pairs = [("token", token.as_str())];
        let answer = post(&broker, &pairs, &[("authorization", &header)]).await;
        assert_eq!(answer.json()["active"], true, "{header}");
        // The id in the form as well is redundant, and nothing else.
        let pairs = [("token", token.as_str()), ("client_id", &api.id)];
        let answer = post(&broker, &pairs, &[("authorization", &header)]).await;
        assert_eq!(answer.json()["active"], true, "{header}");
    }
    let posted = [("token", token.as_str()), ("client_id", &api.id), ("client_secret", &api.secret)];
    assert_eq!(post(&broker, &posted, &[]).await.json()["active"], true);
}

#[actix_web::test]
async fn credentials_given_in_two_ways_are_refused() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let token = sign_in(&broker).await;
    let (basic, bearer) = (api.basic(), format!("Bearer {token}"));
    let (id, secret) = (("client_id", api.id.as_str()), ("client_secret", api.secret.as_str()));
    let assertion = ("client_assertion", "a.b.c");
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Pairs, &[&str]); 7] = [
        (&[id, secret], &[&basic]),
        (&[secret], &[&basic]),
        (&[id, secret], &[&bearer]),
        (&[], &[&basic, &basic]),
        (&[("client_id", "other")], &[&basic]),
        (&[assertion], &[&basic]),
        (&[id, secret, assertion], &[]),
    ];
    for (pairs, headers) in cases {
        let pairs = [&[("token", token.as_str())], pairs].concat();
        let headers: Vec<_> = headers.iter().map(|header| ("authorization", *header)).collect();
        let answer = post(&broker, &pairs, &headers).await;
        let seen = (answer.status.as_u16(), answer.error_code());
        assert_eq!(seen, (400, Some("invalid_request".to_owned())), "{pairs:?} {headers:?}: {answer:?}");
    }
}

/// No credentials, unreadable ones, wrong ones and those of an unknown API look the same.
#[actix_web::test]
async fn a_caller_that_does_not_authenticate_learns_nothing() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let other = Api::register(&broker, "stock", &broker.url).await;
    let token = sign_in(&broker).await;
    let with_secret = |secret: &str| Api { secret: secret.to_owned(), ..api.clone() }.basic();
    let with_id = |id: &str| Api { id: id.to_owned(), ..api.clone() }.basic();
    let mut expected: Option<Answer> = None;
    for header in [
        with_secret(&other.secret),
        with_secret(&Api::unregistered("orders").secret),
        with_secret(""),
        with_secret("x"),
        with_secret(&api.secret[..53]),
        with_secret(&format!("{} ", api.secret)),
        with_secret(&api.secret.to_ascii_uppercase()),
        with_id("nobody"),
        with_id("stock"),
        with_id("Orders"),
        with_id(""),
        with_id("orders\u{0}"),
        with_id("ü"),
        with_id("%zz"),
        Api::unregistered("nobody").basic(),
        "Basic".to_owned(),
        "Basic !!".to_owned(),
        "Basic b3JkZXJz".to_owned(),
        format!("Bearer {token}"),
        format!("Bearer {}", api.secret),
        api.secret.clone(),
        String::new(),
    ] {
        for asked in [token.as_str(), "x"] {
            let answer = post(&broker, &[("token", asked)], &[("authorization", &header)]).await;
            assert_unauthenticated(&answer);
            let expected = expected.get_or_insert_with(|| answer.clone());
            assert_eq!(answer.normalized(), expected.normalized(), "{header}");
        }
    }
    let posted: [&[(&str, &str)]; 4] = [
        &[],
        &[("client_id", "orders")],
        &[("client_id", "orders"), ("client_secret", &other.secret)],
        &[("client_id", "sample"), ("client_secret", &api.secret)],
    ];
    for pairs in posted {
        let answer = post(&broker, &[&[("token", token.as_str())], pairs].concat(), &[]).await;
        assert_unauthenticated(&answer);
        assert_eq!(answer.normalized(), expected.as_ref().unwrap().normalized(), "{pairs:?}");
    }
}

#[actix_web::test]
async fn both_secrets_work_and_a_removed_one_or_a_disabled_api_is_refused_at_once() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        let token = sign_in(&broker).await;
        let old = Api::register(&broker, "orders", &broker.url).await;
        let (administrator, id) = (administrator(&broker), old.id.parse().unwrap());
        let added = resource_servers::add_secret(&administrator, &id).await.unwrap();
        let new = Api { secret: added.expose().as_str().to_owned(), ..old.clone() };
        for api in [&old, &new] {
            assert_eq!(api.introspect(&broker, &token).await.json()["active"], true);
        }
        resource_servers::remove_old_secret(&administrator, &id).await.unwrap();
        for instance in [&broker, &twin] {
            assert_unauthenticated(&old.introspect(instance, &token).await);
            assert_eq!(new.introspect(instance, &token).await.json()["active"], true);
        }
        resource_servers::disable(&administrator, &id).await.unwrap();
        for instance in [&broker, &twin] {
            assert_unauthenticated(&new.introspect(instance, &token).await);
        }
        resource_servers::enable(&administrator, &id).await.unwrap();
        assert_eq!(new.introspect(&twin, &token).await.json()["active"], true);
    }
}

#[actix_web::test]
async fn dead_tokens_never_slow_an_api_down_and_wrong_secrets_do() {
    let few = NonZeroU32::new(5).unwrap();
    let broker = TestBroker::with(Setup::default().adjust(move |config| {
        config.limits.failed_tokens = few;
        config.limits.failed_resource_servers = few;
    }));
    let token = sign_in(&broker).await;
    let api = Api::register(&broker, "orders", &broker.url).await;
    for _ in 0..30 {
        assert_inactive(&api.introspect(&broker, "tbk_dead").await);
    }
    assert_eq!(api.introspect(&broker, &token).await.json()["active"], true);
    // Its address is not the one of the people whose tokens it asks about.
    assert_eq!(broker.call("/api/me", "tbk_dead").await.status, 401);

    let guess = Api::unregistered("orders");
    for _ in 0..5 {
        assert_unauthenticated(&guess.introspect(&broker, &token).await);
    }
    // Another name does not start anew.
    for guess in [guess, Api::unregistered("stock")] {
        let limited = guess.introspect(&broker, &token).await;
        assert_eq!((limited.status.as_u16(), limited.error_code().as_deref()), (429, Some("rate_limited")));
        assert!(limited.header("retry-after").is_some());
    }
    assert_eq!(api.introspect(&broker, &token).await.json()["active"], true, "behind the same address");
    broker.advance(60);
    assert_unauthenticated(&Api::unregistered("orders").introspect(&broker, &token).await);
}

#[actix_web::test]
async fn refusals_are_audited_as_those_of_the_api_and_a_flood_of_them_is_not() {
    let few = NonZeroU32::new(5).unwrap();
    let broker = TestBroker::with(Setup::default().adjust(move |config| config.limits.failed_tokens = few));
    let api = Api::register(&broker, "orders", &broker.url).await;
    assert_unauthenticated(&Api::unregistered("orders").introspect(&broker, "x").await);
    let refused = broker.audited("resource_server_refused").await;
    assert_eq!(refused.resource_server.as_deref(), Some("orders"));
    assert_eq!(
        (refused.address.as_deref(), refused.reason.as_deref()),
        (Some("127.0.0.1"), Some("invalid_client"))
    );

    for _ in 0..30 {
        assert_inactive(&api.introspect(&broker, "tbk_dead").await);
    }
    assert_unauthenticated(&Api::unregistered("last").introspect(&broker, "x").await);
    let rows = until(async || {
        let rows = audit::newest(&broker.storage(), 1_000).await;
        if rows.iter().any(|row| row.resource_server.as_deref() == Some("last")) {
            Ok(rows)
        } else {
            Err("last")
        }
    })
    .await;
    let of_tokens: Vec<_> = rows.iter().filter(|row| row.kind == "token_refused").collect();
    assert!((5..=6).contains(&of_tokens.len()), "{}", of_tokens.len());
    for row in of_tokens {
        assert_eq!(row.resource_server.as_deref(), Some("orders"));
        assert_eq!(row.address, None, "the API's address is not the holder's");
    }
}

#[actix_web::test]
async fn a_question_counts_as_a_use_and_a_copied_token_ends_its_session() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let old = sign_in(&broker).await;
    let rotated = broker.post("/api/token/rotate", &old, &json!({})).await.json();
    let new = rotated["access_token"].as_str().unwrap();
    assert_eq!(api.introspect(&broker, &old).await.json()["active"], true, "in its overlap");
    broker.advance(61);
    assert_eq!(api.introspect(&broker, new).await.json()["active"], true);
    assert_inactive(&api.introspect(&broker, &old).await);
    assert_inactive(&api.introspect(&broker, new).await);
    let reused = broker.audited("token_reused").await;
    assert_eq!(reused.resource_server.as_deref(), Some("orders"));
}

#[actix_web::test]
async fn a_page_of_another_origin_cannot_ask() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let token = sign_in(&broker).await;
    let headers = [("authorization", &*api.basic()), ("origin", "https://evil.example")];
    let answer = post(&broker, &[("token", &token)], &headers).await;
    assert_eq!(answer.error_code().as_deref(), Some("origin_not_allowed"), "{answer:?}");
}

const JWT: &str = "application/token-introspection+jwt";

/// What an API is told that asks for a JWT: header and claims, verified.
async fn signed(broker: &TestBroker, api: &Api, token: &str) -> (String, Value, Value) {
    let headers = [("authorization", &*api.basic()), ("accept", JWT)];
    let answer = post(broker, &[("token", token)], &headers).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some(JWT)), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(verifies(&answer.body, &jwks(broker).await));
    let (header, claims) = decode(&answer.body);
    (answer.body, header, claims)
}

#[actix_web::test]
async fn a_signed_answer_says_of_the_token_exactly_what_the_json_says() {
    let broker = TestBroker::start();
    broker.stop_clock();
    let live = sign_in(&broker).await;
    let ended = sign_in(&broker).await;
    broker.post("/api/logout", &ended, &json!({})).await;
    let granted = Granted { personal_data: true, permissions: true };
    let wide = Api::granted(&broker, "wide", &broker.url, granted).await;
    let foreign = Api::register(&broker, "foreign", ORDERS).await;
    for (api, token) in [(&wide, &*live), (&wide, &ended), (&wide, "x"), (&foreign, &live)] {
        let (_, header, claims) = signed(&broker, api, token).await;
        assert_eq!(header["typ"], "token-introspection+jwt");
        let plain = api.introspect(&broker, token).await.json();
        let expected = json!({
            "iss": broker.url,
            "aud": api.id,
            "iat": broker.now().timestamp(),
            "token_introspection": plain,
        });
        assert_eq!(claims, expected, "nothing else, so that no one takes it for an access token");
    }
    assert_eq!(signed(&broker, &foreign, &live).await.2["token_introspection"], json!({ "active": false }));
}

#[actix_web::test]
async fn the_answer_is_signed_only_if_it_is_asked_for() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let token = sign_in(&broker).await;
    let basic = api.basic();
    for (accept, kind) in [
        (None, "application/json"),
        (Some("*/*"), "application/json"),
        (Some("application/json"), "application/json"),
        (Some("text/html"), "application/json"),
        (Some("application/token-introspection+jwt;q=0.5, application/json"), "application/json"),
        (Some("application/token-introspection+jwt, application/json;q=0.5"), JWT),
        (Some("application/token-introspection+jwt, */*"), JWT),
    ] {
        let headers: Vec<_> =
            [("authorization", &*basic)].into_iter().chain(accept.map(|accept| ("accept", accept))).collect();
        let answer = post(&broker, &[("token", &token)], &headers).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some(kind)), "{accept:?}");
        assert_eq!(answer.header("vary"), Some("accept"), "{accept:?}");
    }
}

/// Who does not authenticate gets no JWT, and a question without an answer gets JSON.
#[actix_web::test]
async fn errors_are_json_whatever_is_asked_for() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let basic = api.basic();
    let stranger = Api::unregistered("orders").basic();
    for (basic, pairs, status) in [(&basic, &[][..], 400), (&stranger, &[("token", "x")], 401)] {
        let answer = post(&broker, pairs, &[("authorization", basic), ("accept", JWT)]).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.error_code().is_some());
    }
}

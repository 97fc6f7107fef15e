//! What a personal token may be called and do, for how long, and how many there may be.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{DAY, PATH, ask, delete, list, make, refusal, status};
use crate::support::broker::{Setup, TestBroker};

const ORDERS: &str = "https://orders.example.com";
const STOCK: &str = "https://stock.example.com";

fn with_two_apis() -> TestBroker {
    TestBroker::with(Setup::default().adjust(|config| {
        config.clients[0].audiences = format!("{ORDERS} {STOCK}").parse().unwrap();
        config.clients[0].scopes = "orders:read permissions profile".parse().unwrap();
    }))
}

#[actix_web::test]
async fn scopes_are_at_most_those_of_the_maker_and_of_its_client() {
    let broker = with_two_apis();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    for (scope, kept) in [
        ("profile", "profile"),
        ("profile orders:read profile", "orders:read profile"),
        ("permissions orders:read profile", "orders:read permissions profile"),
        ("", ""),
    ] {
        let answer = ask(&broker, &alice, json!({ "scope": scope })).await.json();
        assert_eq!(answer["personal_token"]["scope"], kept, "{scope:?}");
    }
    for scope in ["admin", "profile admin", "Profile", "orders:*"] {
        let answer = ask(&broker, &alice, json!({ "scope": scope })).await;
        assert_eq!(refusal(&answer), (403, "insufficient_scope".to_owned()), "{scope:?}");
    }
    let many = vec!["profile"; 200].join(" ");
    for scope in
        [json!("a  b"), json!(" profile"), json!("ü"), json!("a\"b"), json!(many), json!(["profile"])]
    {
        let answer = ask(&broker, &alice, json!({ "scope": scope })).await;
        assert_eq!(refusal(&answer), (400, "invalid_request".to_owned()), "{scope}");
    }
    let missing = ask(&broker, &alice, json!({ "scope": null })).await;
    assert_eq!(refusal(&missing), (400, "invalid_request".to_owned()));

    // The client may do less than when the session began.
    let narrowed = broker.twin_with(|config| {
        config.clients[0].scopes = "profile".parse().unwrap();
        config.clients[0].audiences = ORDERS.parse().unwrap();
    });
    let orders = json!([ORDERS]);
    let wide = ask(&narrowed, &alice, json!({ "scope": "orders:read", "resource": orders })).await;
    assert_eq!(refusal(&wide), (403, "insufficient_scope".to_owned()));
    assert_eq!(refusal(&ask(&narrowed, &alice, json!({})).await), (400, "invalid_target".to_owned()));
    assert_eq!(ask(&narrowed, &alice, json!({ "resource": orders })).await.status, 201);
}

#[actix_web::test]
async fn audiences_are_at_most_those_of_the_maker() {
    let broker = with_two_apis();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    for (resource, kept) in [
        (json!(null), json!([ORDERS, STOCK])),
        (json!([]), json!([ORDERS, STOCK])),
        (json!([STOCK]), json!([STOCK])),
        (json!([ORDERS, "https://ORDERS.example.com:443/", ORDERS]), json!([ORDERS])),
    ] {
        let answer = ask(&broker, &alice, json!({ "resource": resource })).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let made = answer.json();
        assert_eq!(made["personal_token"]["audience"], kept, "{resource}");
        let me = broker.call("/api/me", made["token"].as_str().unwrap()).await.json();
        assert_eq!(me["token"]["audience"], kept);
    }
    for resource in ["https://other.example.com", "orders", "", "a b", "https://orders.example.com/x", "ü"] {
        let answer = ask(&broker, &alice, json!({ "resource": [resource] })).await;
        assert_eq!(refusal(&answer), (400, "invalid_target".to_owned()), "{resource:?}");
    }
    let browser = broker.browser();
    let login = broker.login_with(&[("resource", ORDERS)]);
    let back = broker.complete(&browser, login, "&user=alice").await;
    let narrow = broker.redeem(&browser, &back.key(), &back.verifier).await.json();
    let narrow = narrow["access_token"].as_str().unwrap();
    let wider = ask(&broker, narrow, json!({ "resource": [STOCK] })).await;
    assert_eq!(refusal(&wider), (400, "invalid_target".to_owned()));
    let made = ask(&broker, narrow, json!({})).await.json();
    assert_eq!(made["personal_token"]["audience"], json!([ORDERS]));
}

#[actix_web::test]
async fn a_name_is_kept_as_it_is_or_refused() {
    let broker = TestBroker::start();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let longest = "ü".repeat(100);
    for (name, kept) in [
        ("  Nächtlicher Export 李 🙂 ", "Nächtlicher Export 李 🙂"),
        ("<b>x</b> ' OR 1=1 -- \" \\", "<b>x</b> ' OR 1=1 -- \" \\"),
        (longest.as_str(), longest.as_str()),
    ] {
        let answer = ask(&broker, &alice, json!({ "name": name })).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.json()["personal_token"]["name"], kept);
        assert_eq!(list(&broker, &alice).await[0]["name"], kept);
        assert_eq!(
            status(&broker, answer.json()["token"].as_str().unwrap()).await,
            200,
            "its row is genuine"
        );
    }
    let texts = [
        "",
        "   ",
        "a\u{0}b",
        "a\nb",
        "\u{1b}[2J",
        "abc\u{202E}fed",
        "a\u{2066}b",
        "a\u{200B}b",
        "\u{FEFF}",
        "a\u{E0041}",
    ];
    let texts = texts.iter().map(|text| (*text).to_owned()).chain(["ü".repeat(101), "x".repeat(10_000)]);
    let values = texts.map(Value::from).chain([json!(null), json!(1), json!(["a"]), json!({})]);
    for name in values {
        let answer = ask(&broker, &alice, json!({ "name": name })).await;
        assert_eq!(refusal(&answer), (400, "invalid_request".to_owned()), "{name}");
    }
    let large = ask(&broker, &alice, json!({ "name": "x".repeat(17_000) })).await;
    assert_eq!(refusal(&large), (413, "content_too_large".to_owned()));
    assert_eq!(list(&broker, &alice).await.len(), 3);
}

#[actix_web::test]
async fn a_token_expires_within_the_limit() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.personal_tokens.max_lifetime = TimeDelta::days(90);
    }));
    broker.stop_clock();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let at = |seconds: i64| json!(broker.now() + TimeDelta::seconds(seconds));
    let only_in = |value: Value| json!({ "expires_in": value });
    let only_at = |value: Value| json!({ "expires_in": null, "expires_at": value });
    let most = 90 * DAY;
    for (asked, seconds) in [
        (only_in(json!(60)), 60),
        (only_in(json!(most)), most),
        (only_at(at(60)), 60),
        (only_at(at(most)), most),
    ] {
        let made = ask(&broker, &alice, asked.clone()).await;
        assert_eq!(made.status, 201, "{asked}: {made:?}");
        assert_eq!(made.json()["personal_token"]["expires_at"], at(seconds), "{asked}");
    }
    let mut refused = vec![json!({ "expires_in": null }), json!({ "expires_at": at(DAY) })];
    let numbers = [json!(0), json!(59), json!(most + 1), json!(u64::MAX), json!(-1), json!(1.5), json!("60")];
    refused.extend(numbers.map(only_in));
    let times = [at(59), at(-DAY), at(most + 1), json!("9999-12-31T23:59:59Z"), json!("tomorrow"), json!(1)];
    refused.extend(times.map(only_at));
    for asked in refused {
        let answer = ask(&broker, &alice, asked.clone()).await;
        assert_eq!(refusal(&answer), (400, "invalid_request".to_owned()), "{asked}");
    }
    assert_eq!(list(&broker, &alice).await.len(), 4);
}

#[actix_web::test]
async fn it_works_until_its_expiry_and_outlives_every_session() {
    let broker = TestBroker::start();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let made = ask(&broker, &alice, json!({ "expires_in": 366 * DAY })).await.json();
    let text = made["token"].as_str().unwrap();
    broker.advance(365 * DAY);
    assert_eq!([status(&broker, text).await, status(&broker, &alice).await], [200, 401]);
    broker.advance(DAY + 1);
    assert_eq!(status(&broker, text).await, 401);
    let back = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!(list(&broker, &back).await.len(), 0);
    let path = format!("{PATH}/{}", made["personal_token"]["id"].as_str().unwrap());
    assert_eq!(delete(&broker, &path, &back).await.status, 404);
    // What time did is undone with it; only what someone did is not.
    broker.advance(-2 * DAY);
    assert_eq!(status(&broker, text).await, 200);
}

#[actix_web::test]
async fn parallel_requests_do_not_exceed_the_cap() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup.adjust(|config| config.personal_tokens.per_user = 3));
        let twin = broker.twin();
        let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let bob = broker.sign_in(&broker.browser(), "dev", "bob").await;
        let asked = (0..12).map(|n| ask([&broker, &twin][n % 2], &alice, json!({})));
        let mut outcomes = BTreeMap::<u16, usize>::new();
        for answer in join_all(asked).await {
            *outcomes.entry(answer.status.as_u16()).or_default() += 1;
            if answer.status != 201 {
                assert_eq!(refusal(&answer), (409, "too_many_personal_tokens".to_owned()));
            }
        }
        assert_eq!(outcomes, BTreeMap::from([(201, 3), (409, 9)]));
        let listed = list(&broker, &alice).await;
        assert_eq!(listed.len(), 3);
        make(&broker, &bob).await;
        // Neither a session's tokens nor those that are revoked count.
        assert_eq!(broker.post("/api/token/rotate", &bob, &json!({})).await.status, 200);
        let first = listed[0]["id"].as_str().unwrap();
        assert_eq!(delete(&broker, &format!("{PATH}/{first}"), &alice).await.status, 204);
        make(&twin, &alice).await;
        assert_eq!(ask(&broker, &alice, json!({})).await.status, 409);
        // Nor those that have expired.
        broker.advance(DAY + 1);
        let back = broker.sign_in(&broker.browser(), "dev", "alice").await;
        make(&broker, &back).await;
    }
}

/// Rows that no one can use, because they were forged or their server key was removed, do not count against the user.
#[actix_web::test]
async fn forged_rows_neither_count_nor_are_listed() {
    let broker = TestBroker::with(Setup::default().adjust(|config| config.personal_tokens.per_user = 1));
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let (text, _) = make(&broker, &alice).await;
    let changed = "UPDATE tokens SET scopes = 'permissions profile' WHERE kind = 'personal'";
    assert_eq!(crate::support::rows::change(&broker, changed), 1);
    assert_eq!((status(&broker, &text).await, list(&broker, &alice).await.len()), (401, 0));
    make(&broker, &alice).await;
    assert_eq!(list(&broker, &alice).await.len(), 1);
}

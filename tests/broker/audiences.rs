//! Which APIs a token is for: the client's audiences, narrowed by `resource` at the login (RFC 8707).

use serde_json::{Value, json};

use crate::support::broker::{Setup, TestBroker};

const ORDERS: &str = "https://orders.example.com";
const STOCK: &str = "https://stock.example.com/v1/";

/// A broker whose client `sample` has tokens for two APIs.
fn with_two_audiences() -> TestBroker {
    TestBroker::with(Setup::default().adjust(|config| {
        config.clients[0].audiences = format!("{STOCK} {ORDERS}").parse().unwrap();
    }))
}

async fn audience(broker: &TestBroker, token: &str) -> Value {
    broker.call("/api/me", token).await.json()["token"]["audience"].clone()
}

/// Signs alice in with these `resource` parameters.
async fn token_for(broker: &TestBroker, resources: &[&str]) -> String {
    broker.ready().await;
    let parameters: Vec<(&str, &str)> = resources.iter().map(|resource| ("resource", *resource)).collect();
    let browser = broker.browser();
    let login = broker.login_with(&parameters);
    let login = broker.complete(&browser, login, "&user=alice").await;
    let answer = broker.redeem(&browser, &login.key(), &login.verifier).await;
    assert_eq!(answer.status, 200, "{resources:?}: {answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_token_is_for_the_broker_itself_unless_its_client_names_others() {
    let broker = TestBroker::start();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!(audience(&broker, &token).await, json!([broker.url]));
    let broker = with_two_audiences();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    assert_eq!(audience(&broker, &token).await, json!([ORDERS, STOCK]));
}

#[actix_web::test]
async fn resource_narrows_a_token_and_rotation_keeps_it_narrow() {
    let broker = with_two_audiences();
    for (resources, expected) in [
        (&[][..], json!([ORDERS, STOCK])),
        (&[ORDERS], json!([ORDERS])),
        (&["HTTPS://Orders.Example.com:443/"], json!([ORDERS])),
        (&[STOCK, ORDERS], json!([ORDERS, STOCK])),
        (&[STOCK, STOCK], json!([STOCK])),
    ] {
        let token = token_for(&broker, resources).await;
        assert_eq!(audience(&broker, &token).await, expected, "{resources:?}");
        let rotated = broker.post("/api/token/rotate", &token, &json!({})).await.json();
        let rotated = rotated["access_token"].as_str().unwrap();
        assert_eq!(audience(&broker, rotated).await, expected, "{resources:?}, rotated");
    }
}

#[actix_web::test]
async fn resource_narrows_the_token_of_a_continued_session_too() {
    let broker = with_two_audiences();
    let browser = broker.browser();
    broker.sign_in(&browser, "dev", "alice").await;
    let login = broker.login_with(&[("resource", STOCK)]);
    let back = browser.navigate(&login.url).await;
    let key = back.parameter("one_time_key").expect("the session is continued");
    let answer = broker.redeem(&browser, &key, &login.verifier).await.json();
    assert_eq!(audience(&broker, answer["access_token"].as_str().unwrap()).await, json!([STOCK]));
}

#[actix_web::test]
async fn resource_never_widens_a_token() {
    let broker = with_two_audiences();
    broker.ready().await;
    for resource in [
        "https://other.example.com",
        "https://orders.example.com/v1",
        "https://orders.example.com/#x",
        "http://orders.example.com",
        "orders",
        &broker.url,
        "not a url",
    ] {
        for resources in [vec![("resource", resource)], vec![("resource", ORDERS), ("resource", resource)]] {
            let answer = broker.browser().navigate(&broker.login_with(&resources).url).await;
            answer.assert_own_page(400, "invalid_target");
        }
    }
}

#[actix_web::test]
async fn an_audience_that_is_taken_from_a_client_ends_the_logins_that_named_it() {
    let broker = with_two_audiences();
    broker.ready().await;
    let browser = broker.browser();
    let login = broker.login_with(&[("resource", STOCK)]);
    let callback = broker.callback_url(&browser, &login.url, "&user=alice").await;
    let twin = broker.twin_with(|config| config.clients[0].audiences = ORDERS.parse().unwrap());
    browser.route(&twin.url, &twin.real_url);
    browser.navigate(&callback).await.assert_own_page(400, "invalid_state");
}

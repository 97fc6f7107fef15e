//! Two tabs rotate concurrently, many times: they stay signed in, and rows do not accumulate.
//!
//! Twenty-five rounds, or the number in `TOKEN_BROKER_TEST_ROUNDS`; a full run has a thousand.

use serde_json::json;
use token_broker::domain::clock::monotonic;

use crate::support::broker::{Setup, TestBroker};
use crate::support::outage::report;

fn rounds() -> usize {
    std::env::var("TOKEN_BROKER_TEST_ROUNDS").map_or(25, |text| text.parse().unwrap())
}

async fn rotate(broker: &TestBroker, token: &str) -> String {
    let answer = broker.post("/api/token/rotate", token, &json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

async fn two_tabs(what: &str, instances: [&TestBroker; 2]) {
    let [first, second] = instances;
    let token = first.sign_in(&first.browser(), "dev", "alice").await;
    let session = first.call("/api/me", &token).await.json()["session"].clone();
    let mut tabs = [token.clone(), token];
    let begun = monotonic();
    for round in 0..rounds() {
        let (one, other) = tokio::join!(rotate(first, &tabs[0]), rotate(second, &tabs[1]));
        assert_ne!(one, other);
        // Each new token works at the other instance at once, and requests in progress still succeed.
        let seen = tokio::join!(status(second, &one), status(first, &other), status(first, &tabs[0]));
        assert_eq!(seen, (200, 200, 200), "round {round}");
        // Tabs can share their storage, so the last write wins, or each tab keeps its own token.
        tabs = if round % 3 == 2 { [one, other] } else { [other.clone(), other] };
        // After the overlap, the rotated tokens are invalid, and no tab uses them.
        if round % 20 == 19 {
            first.advance(61);
        }
    }
    let took = begun.elapsed();
    report(&format!("{what}: {} rounds of two parallel rotations in {took:?}", rounds()));
    let me = second.call("/api/me", &tabs[0]).await.json();
    assert_eq!(me["session"], session, "the same session to the end, and not a second longer");
    let listed = first.call("/api/sessions", &tabs[1]).await.json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn two_tabs_rotate_in_parallel_and_stay_signed_in_on_sqlite() {
    let broker = TestBroker::start();
    two_tabs("SQLite, one instance", [&broker, &broker]).await;
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn two_tabs_rotate_in_parallel_and_stay_signed_in_on_two_instances() {
    use crate::support::redis;
    use crate::support::storage::Database;

    let database = Some(Database::postgres().migrated().await.url);
    let broker = TestBroker::with(Setup { database, key_store: Some(redis::url()), ..Setup::default() });
    let twin = broker.twin();
    twin.ready().await;
    two_tabs("PostgreSQL and Redis, two instances", [&broker, &twin]).await;
}

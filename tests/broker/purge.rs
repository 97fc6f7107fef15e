//! The purge while users are active: it deletes only expired rows, however many instances purge.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use serde_json::json;
use token_broker::storage::purge::Purged;

use crate::support::broker::{Setup, TestBroker};

/// Users who left in different ways: logged out, never came back, never redeemed their key.
const GONE: usize = 6;

async fn token_of(broker: &TestBroker, path: &str, token: &str) -> String {
    let answer = broker.post(path, token, &json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// Creates rows that will expire: three tokens and three sessions per round, one of them for a key that is never
/// redeemed, and a rotated token.
async fn users_who_leave(broker: &TestBroker) {
    for _ in 0..GONE {
        let logged_out = broker.sign_in(&broker.browser(), "dev", "alice").await;
        assert!(broker.post("/api/logout", &logged_out, &json!({})).await.status.is_success());
        let left = broker.sign_in(&broker.browser(), "ops", "bob").await;
        token_of(broker, "/api/token/rotate", &left).await;
        assert_eq!(broker.log_in(&broker.browser(), "dev", "bob", "").await.key().len(), 54);
    }
}

/// Signs in, calls and rotates until it is stopped; returns the tokens that must stay valid.
async fn a_user_is_active(broker: &TestBroker, user: &str, stop: &AtomicBool) -> Vec<String> {
    let mut tokens = vec![broker.sign_in(&broker.browser(), "dev", user).await];
    while !stop.load(Ordering::Relaxed) {
        let newest = tokens.last().unwrap();
        assert_eq!(broker.call("/api/me", newest).await.status, 200);
        let rotated = token_of(broker, "/api/token/rotate", newest).await;
        tokens.pop();
        tokens.push(rotated);
        if tokens.len() < 4 {
            tokens.insert(0, broker.sign_in(&broker.browser(), "dev", user).await);
        }
    }
    tokens
}

/// Purges in small steps, until it finds nothing to delete several times.
async fn purge(broker: &TestBroker) -> Purged {
    let storage = broker.storage();
    let (mut total, mut idle) = (Purged::default(), 0);
    while idle < 5 {
        let now = broker.now();
        let part = storage.purge(now, now - chrono::TimeDelta::days(90), 2).await.unwrap();
        total.tokens += part.tokens;
        total.sessions += part.sessions;
        idle += usize::from(part == Purged::default());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    total
}

#[actix_web::test]
async fn concurrent_purges_delete_only_expired_rows() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        broker.ready().await;
        users_who_leave(&broker).await;
        let dead = (broker.rows("tokens"), broker.rows("sessions"));
        assert_eq!(dead, (4 * GONE, 3 * GONE));
        // Beyond the longest session and the day for which expired rows are kept.
        broker.advance(32 * 86_400);

        let stop = AtomicBool::new(false);
        let working = join_all([
            a_user_is_active(&broker, "alice", &stop),
            a_user_is_active(&twin, "alice", &stop),
            a_user_is_active(&twin, "bob", &stop),
        ]);
        let purging = async {
            let purged = tokio::join!(purge(&broker), purge(&twin));
            stop.store(true, Ordering::Relaxed);
            purged
        };
        let (living, (one, other)) = tokio::join!(working, purging);
        let purged = (one.tokens + other.tokens, one.sessions + other.sessions);
        assert_eq!(purged, dead, "all of it, and each row once");
        let living: Vec<String> = living.into_iter().flatten().collect();
        assert!(living.len() >= 3);
        for token in &living {
            assert_eq!(twin.call("/api/me", token).await.status, 200);
        }
        assert_eq!(broker.rows("sessions"), living.len(), "those that live, and no other");
        assert_eq!(broker.rows("users"), 3, "people stay");
    }
}

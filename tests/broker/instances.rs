//! Two instances over one PostgreSQL and one Redis: each can continue what the other has started, and a session that is
//! ended on one is ended on the other.

#![cfg(feature = "postgres")]

use futures_util::future::join_all;
use serde_json::json;

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::outage::readiness;
use crate::support::{postgres, redis};

/// Two instances, ready.
async fn pair() -> [TestBroker; 2] {
    let setup =
        Setup { database: Some(postgres::database()), key_store: Some(redis::url()), ..Setup::default() };
    let first = TestBroker::with(setup);
    first.storage().migrate().await.unwrap();
    let second = first.twin();
    first.ready().await;
    second.ready().await;
    [first, second]
}

/// Makes the load balancer send this browser to that instance.
fn send_to(browser: &Browser, instance: &TestBroker) {
    browser.route(&instance.url, &instance.real_url);
}

/// A browser with the cookies of another.
fn copy_of(browser: &Browser, instance: &TestBroker) -> Browser {
    let copy = instance.browser();
    for (name, value) in browser.cookies("localhost") {
        copy.set_cookie("localhost", &name, Some(&value));
    }
    copy
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[actix_web::test]
async fn a_login_can_continue_at_any_instance() {
    let [first, second] = pair().await;
    for provider in ["dev", "ops"] {
        let browser = first.browser();
        let login = first.login(&[("provider", provider)]);
        let callback = first.callback_url(&browser, &login.url, "&user=alice").await;
        send_to(&browser, &second);
        let back = browser.navigate(&callback).await;
        let key = back.parameter("one_time_key").unwrap_or_else(|| panic!("{back:?}"));
        send_to(&browser, &first);
        let redeemed = first.redeem(&browser, &key, &login.verifier).await;
        let token = redeemed.json()["access_token"].as_str().unwrap().to_owned();
        for instance in [&first, &second] {
            assert_eq!(instance.call("/api/me", &token).await.json()["user"]["username"], "alice");
        }
    }
    for instance in [&first, &second] {
        assert_eq!(readiness(instance).await, (true, true, true));
    }
}

#[actix_web::test]
async fn a_login_survives_the_instance_that_started_it() {
    let [first, second] = pair().await;
    let browser = first.browser();
    let login = first.login(&[]);
    let callback = first.callback_url(&browser, &login.url, "&user=bob").await;
    let waiting = first.browser();
    let parked = first.log_in(&waiting, "dev", "alice", "").await;
    let token = first.sign_in(&first.browser(), "dev", "alice").await;
    send_to(&browser, &second);
    send_to(&waiting, &second);
    first.stop();

    let key = browser.navigate(&callback).await.parameter("one_time_key").unwrap();
    assert_eq!(second.redeem(&browser, &key, &login.verifier).await.status, 200);
    assert_eq!(second.redeem(&waiting, &parked.key(), &parked.verifier).await.status, 200);
    assert_eq!(second.call("/api/me", &token).await.status, 200);
    assert_eq!(readiness(&second).await, (true, true, true));
}

#[actix_web::test]
async fn of_parallel_callbacks_on_two_instances_one_proceeds() {
    let instances = pair().await;
    for provider in ["dev", "ops"] {
        for _ in 0..10 {
            let browser = instances[0].browser();
            let login = instances[0].login(&[("provider", provider)]);
            let callback = instances[0].callback_url(&browser, &login.url, "&user=alice").await;
            let browsers: Vec<_> =
                (0..6).map(|i| copy_of(&browser, &instances[i % instances.len()])).collect();
            let answers = join_all(browsers.iter().map(|browser| browser.navigate(&callback))).await;
            let keys: Vec<_> = answers.iter().filter_map(|answer| answer.parameter("one_time_key")).collect();
            assert_eq!((keys.len(), count(&answers, 303), count(&answers, 400)), (1, 1, 5), "{answers:?}");
            for refused in answers.iter().filter(|answer| answer.status == 400) {
                assert!(refused.body.contains("invalid_state"), "{refused:?}");
            }
            assert_eq!(instances[1].redeem(&browser, &keys[0], &login.verifier).await.status, 200);
        }
    }
}

#[actix_web::test]
async fn of_a_hundred_redemptions_on_two_instances_one_gets_the_token() {
    let instances = pair().await;
    let browsers = instances.each_ref().map(TestBroker::browser);
    let login = instances[0].log_in(&browsers[0], "dev", "alice", "").await;
    let key = login.key();
    let redemptions = (0..100).map(|i| instances[i % 2].redeem(&browsers[i % 2], &key, &login.verifier));
    let answers = join_all(redemptions).await;
    assert_eq!((count(&answers, 200), count(&answers, 400)), (1, 99));
    let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
    let token = winner.json()["access_token"].as_str().unwrap().to_owned();
    for instance in &instances {
        assert_eq!(instance.call("/api/me", &token).await.status, 200, "a double submit ends nothing");
    }
}

/// A key that is replayed by another browser ends its session, on any instance.
#[actix_web::test]
async fn a_replay_at_the_other_instance_ends_the_session() {
    let [first, second] = pair().await;
    let browser = first.browser();
    let login = first.log_in(&browser, "dev", "alice", "").await;
    let redeemed = first.redeem(&browser, &login.key(), &login.verifier).await;
    let token = redeemed.json()["access_token"].as_str().unwrap().to_owned();
    let mut elsewhere = second.browser();
    elsewhere.user_agent = "Another/1.0".to_owned();
    let replayed = second.redeem(&elsewhere, &login.key(), &login.verifier).await;
    assert_eq!((replayed.status.as_u16(), replayed.error_code().as_deref()), (400, Some("invalid_grant")));
    for instance in [&first, &second] {
        assert_eq!(instance.call("/api/me", &token).await.status, 401);
    }
}

#[actix_web::test]
async fn a_logout_on_one_instance_takes_effect_on_the_other() {
    let [first, second] = pair().await;
    let everywhere = json!({"everywhere": true});
    for (body, others_end) in [(json!({}), false), (everywhere, true)] {
        let token = first.sign_in(&first.browser(), "dev", "alice").await;
        let other = second.sign_in(&second.browser(), "dev", "alice").await;
        for instance in [&first, &second] {
            assert_eq!(instance.call("/api/me", &token).await.status, 200);
        }
        assert_eq!(first.post("/api/logout", &token, &body).await.status, 200);
        let refused = second.call("/api/me", &token).await;
        assert_eq!((refused.status.as_u16(), refused.error_code().as_deref()), (401, Some("invalid_token")));
        let expected = if others_end { 401 } else { 200 };
        for instance in [&second, &first] {
            assert_eq!(instance.call("/api/me", &other).await.status, expected, "{body}");
        }
    }
}

#[actix_web::test]
async fn parallel_rotation_on_two_instances_never_loses_the_session() {
    let instances = pair().await;
    let token = instances[0].sign_in(&instances[0].browser(), "dev", "alice").await;
    let nothing = json!({});
    let rotations = instances.iter().map(|instance| instance.post("/api/token/rotate", &token, &nothing));
    let answers = join_all(rotations).await;
    assert_eq!(count(&answers, 200), 2, "{answers:?}");
    let session = instances[1].call("/api/me", &token).await.json()["session"]["id"].clone();
    for (answer, other) in answers.iter().zip(instances.iter().rev()) {
        let successor = answer.json()["access_token"].as_str().unwrap().to_owned();
        assert_ne!(successor, token);
        assert_eq!(other.call("/api/me", &successor).await.json()["session"]["id"], session);
    }
    instances[0].advance(61);
    for instance in &instances {
        assert_eq!(instance.call("/api/me", &token).await.status, 401, "the overlap is over");
    }
}

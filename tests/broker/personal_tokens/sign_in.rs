//! How fresh the sign-in must be (RFC 9470).

use serde_json::json;

use super::{ask, make, refusal, status};
use crate::support::broker::TestBroker;

const TOO_OLD: (u16, &str) = (401, "insufficient_user_authentication");

async fn attempt(broker: &TestBroker, token: &str) -> (u16, String) {
    let answer = ask(broker, token, json!({})).await;
    if answer.status == 201 { (201, String::new()) } else { refusal(&answer) }
}

fn too_old() -> (u16, String) {
    (TOO_OLD.0, TOO_OLD.1.to_owned())
}

#[actix_web::test]
async fn an_old_sign_in_is_refused_with_the_max_age_to_sign_in_with() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let alice = broker.sign_in(&browser, "dev", "alice").await;
    let (earlier, _) = make(&broker, &alice).await;
    broker.advance(890);
    assert_eq!(attempt(&broker, &alice).await.0, 201);
    broker.advance(12);
    let refused = ask(&broker, &alice, json!({})).await;
    assert_eq!(refusal(&refused), too_old());
    let challenge = r#"Bearer realm="token-broker", error="insufficient_user_authentication", max_age="900""#;
    assert_eq!(refused.header("www-authenticate"), Some(challenge));
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(status(&broker, &alice).await, 200, "the session is still valid");
    assert_eq!(status(&broker, &earlier).await, 200, "and what was made");

    // Rotation makes no sign-in fresh, and neither does continuing the session in the same browser.
    let rotated = broker.post("/api/token/rotate", &alice, &json!({})).await.json();
    assert_eq!(attempt(&broker, rotated["access_token"].as_str().unwrap()).await, too_old());
    let login = broker.login(&[]);
    let back = browser.navigate(&login.url).await;
    let continued = broker.redeem(&browser, &back.parameter("one_time_key").unwrap(), &login.verifier).await;
    assert_eq!(attempt(&broker, continued.json()["access_token"].as_str().unwrap()).await, too_old());

    // As the challenge says: the broker asks the provider, because the session is older than that.
    let login = broker.login(&[("max_age", "900")]);
    let to_the_provider = browser.navigate(&login.url).await;
    assert!(to_the_provider.location().unwrap().as_str().starts_with(broker.provider.url()));
    let again = broker.complete(&browser, login, "&user=alice").await;
    let fresh = broker.redeem(&browser, &again.key(), &again.verifier).await.json();
    assert_eq!(attempt(&broker, fresh["access_token"].as_str().unwrap()).await.0, 201);
}

#[actix_web::test]
async fn the_setting_decides_how_old_it_may_be() {
    let broker = TestBroker::start();
    let strict =
        broker.twin_with(|config| config.personal_tokens.fresh_sign_in = chrono::TimeDelta::minutes(1));
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    broker.advance(62);
    let refused = ask(&strict, &alice, json!({})).await;
    assert!(refused.header("www-authenticate").unwrap().ends_with(r#"max_age="60""#), "{refused:?}");
    assert_eq!(attempt(&broker, &alice).await.0, 201);
}

#[actix_web::test]
async fn without_a_time_of_the_provider_only_plain_oauth_2_counts_from_the_login() {
    let broker = TestBroker::start();
    let ops = broker.sign_in(&broker.browser(), "ops", "alice").await;
    assert_eq!(broker.call("/api/me", &ops).await.json()["session"]["auth_time"], json!(null));
    assert_eq!(attempt(&broker, &ops).await.0, 201);
    broker.advance(901);
    assert_eq!(attempt(&broker, &ops).await, too_old());

    let browser = broker.browser();
    let login = broker.log_in(&browser, "dev", "alice", "&fault=missing_auth_time").await;
    let silent = broker.redeem(&browser, &login.key(), &login.verifier).await.json();
    let silent = silent["access_token"].as_str().unwrap();
    assert_eq!(broker.call("/api/me", silent).await.json()["session"]["auth_time"], json!(null));
    assert_eq!(attempt(&broker, silent).await, too_old(), "the provider could have said when");
}

#[actix_web::test]
async fn a_clock_that_was_set_back_makes_no_sign_in_fresh() {
    let broker = TestBroker::start();
    let alice = broker.sign_in(&broker.browser(), "dev", "alice").await;
    broker.advance(-30);
    assert_eq!(attempt(&broker, &alice).await.0, 201, "clocks differ a little");
    broker.advance(-3600);
    assert_eq!(attempt(&broker, &alice).await, too_old());
    broker.advance(3630);
    assert_eq!(attempt(&broker, &alice).await.0, 201);
}

#[actix_web::test]
async fn a_legacy_client_makes_none() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let back = broker.complete(&browser, broker.legacy_login(), "&user=alice").await;
    let url = broker.at(&format!("/api/get_token/?one_time_key={}", back.key()));
    let token = browser.get(&url, &[]).await.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(attempt(&broker, &token).await, (400, "invalid_request".to_owned()));
}

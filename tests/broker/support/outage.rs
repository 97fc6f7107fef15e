//! How an outage may appear to callers, and how soon the broker must recover.

use std::time::Duration;

use token_broker::domain::clock::{Moment, monotonic};
use tokio::time::sleep;

use super::broker::TestBroker;
use super::browser::Answer;
use super::wait::until;

/// How soon the broker responds while a store is unavailable.
pub const SOON: Duration = Duration::from_secs(3);

/// How soon the broker responds while the provider is unresponsive.
pub const SLOW_PROVIDER: Duration = Duration::from_secs(12);

/// How soon everything works again after a store is back.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// How much longer a slow machine, busy with other tests, can take than the promised time. Less than the next timeout
/// that could end the same wait.
const ROOM: Duration = Duration::from_secs(2);

/// Awaits a response that must arrive in time.
pub async fn within<T>(limit: Duration, what: &str, answer: impl Future<Output = T>) -> T {
    let begun = monotonic();
    let answer = answer.await;
    assert_in_time(begun, limit, what);
    answer
}

/// Checks that an operation has finished in time.
#[track_caller]
pub fn assert_in_time(begun: Moment, limit: Duration, what: &str) {
    let took = begun.elapsed();
    assert!(took < limit + ROOM, "{what} took {took:?}");
}

/// Checks that a response says "try again shortly" and nothing about the presented credential.
#[track_caller]
pub fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_says_nothing_wrong(answer, "temporarily_unavailable");
}

/// The same for a provider that did not respond in time.
#[track_caller]
pub fn assert_provider_timeout(answer: &Answer) {
    assert_eq!(answer.status, 504, "{answer:?}");
    assert_says_nothing_wrong(answer, "provider_timeout");
}

#[track_caller]
fn assert_says_nothing_wrong(answer: &Answer, code: &str) {
    let seconds: u32 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{answer:?}");
    match answer.error_code() {
        Some(found) => assert_eq!(found, code),
        // The broker's own page.
        None => assert!(answer.body.contains(code), "{answer:?}"),
    }
    assert_eq!(answer.header("www-authenticate"), None);
    assert_nothing_lost(answer);
}

/// No cookie is removed, and nothing is called invalid.
#[track_caller]
pub fn assert_nothing_lost(answer: &Answer) {
    assert_eq!(answer.header("set-cookie"), None, "{answer:?}");
    assert_not_called_invalid(answer);
}

#[track_caller]
pub fn assert_not_called_invalid(answer: &Answer) {
    let text = format!("{:?} {}", answer.headers, answer.body).to_lowercase();
    assert!(!text.contains("invalid") && !text.contains("\"active\":false"), "{text}");
    assert!(!text.contains("\"token\":null"), "{text}");
}

/// The SPA gets the error code of the outage and its state.
#[track_caller]
pub fn assert_told_to_the_spa(back: &Answer, state: &str, code: &str) {
    assert_eq!(back.status, 303, "{back:?}");
    assert_eq!(back.parameter("error").as_deref(), Some("temporarily_unavailable"), "{back:?}");
    let description = back.parameter("error_description").unwrap();
    assert!(description.contains(&format!("({code},")), "{description}");
    assert_eq!(back.parameter("state").as_deref(), Some(state));
    assert_eq!(back.parameter("one_time_key"), None);
    assert_not_called_invalid(back);
}

/// The content of `/readyz`: (log_in, redeem, verify), after a check of its status.
pub async fn readiness(broker: &TestBroker) -> (bool, bool, bool) {
    let answer = broker.browser().get(&broker.at("/readyz"), &[]).await;
    let json = answer.json();
    let can = |what: &str| json[what].as_bool().unwrap();
    let (log_in, redeem, verify) = (can("log_in"), can("redeem"), can("verify"));
    assert_eq!(can("ready"), answer.status == 200, "body and status agree");
    // A load balancer keeps using an instance that can do anything at all, unless the tables are not there yet.
    match answer.status.as_u16() {
        200 => assert!(log_in || redeem || verify),
        503 => assert!(!verify, "{json}"),
        other => panic!("{other}"),
    }
    (log_in, redeem, verify)
}

/// Waits until `/readyz` reports this. The report can be a second old.
pub async fn assert_becomes(broker: &TestBroker, expected: (bool, bool, bool)) {
    until(async || {
        let found = readiness(broker).await;
        if found == expected { Ok(()) } else { Err(found) }
    })
    .await;
}

/// The problems that the admin listener reports: part and problem.
pub async fn problems(broker: &TestBroker) -> Vec<(String, String)> {
    let answer = broker.browser().get(&format!("{}/healthz", broker.admin_url), &[]).await;
    let json = answer.json();
    assert_eq!(answer.status, if json["ready"] == true { 200 } else { 503 });
    let parts = json["parts"].as_array().unwrap().iter();
    let broken = parts.filter(|part| !part["problem"].is_null());
    let text = |part: &serde_json::Value, name: &str| part[name].as_str().unwrap().to_owned();
    broken.map(|part| (text(part, "name"), text(part, "problem"))).collect()
}

/// Waits until everything works again without a restart; prints how long it took.
pub async fn assert_recovers(broker: &TestBroker, after: &str) {
    let begun = monotonic();
    while readiness(broker).await != (true, true, true) {
        assert!(begun.elapsed() < RECOVERY + ROOM, "after {after}: {:?}", problems(broker).await);
        sleep(Duration::from_millis(20)).await;
    }
    report(&format!("works again {:?} after {after}", begun.elapsed()));
}

/// Prints a measured time; visible with `--nocapture` and if a test fails.
#[allow(clippy::print_stdout, reason = "measured times are printed for the readers of the test output")]
pub fn report(text: &str) {
    println!("{text}");
}

//! What an outage may look like from outside, and how soon it must be over.

use std::time::Duration;

use token_broker::domain::clock::{Moment, monotonic};
use tokio::time::sleep;

use super::broker::TestBroker;
use super::browser::Answer;
use super::wait::until;

/// How soon an answer comes while a store cannot be reached.
pub const SOON: Duration = Duration::from_secs(3);

/// How soon an answer comes while the provider says nothing (PR-22).
pub const SLOW_PROVIDER: Duration = Duration::from_secs(12);

/// How soon everything works again once a store is back (DS-06).
pub const RECOVERY: Duration = Duration::from_secs(10);

/// What a slow machine, busy with other tests, may take on top of a time that is promised. Less than the next time
/// limit that could end the same wait.
const ROOM: Duration = Duration::from_secs(2);

/// Awaits an answer that must come in time.
pub async fn within<T>(limit: Duration, what: &str, answer: impl Future<Output = T>) -> T {
    let begun = monotonic();
    let answer = answer.await;
    assert_in_time(begun, limit, what);
    answer
}

/// What began then must be over in time.
#[track_caller]
pub fn assert_in_time(begun: Moment, limit: Duration, what: &str) {
    let took = begun.elapsed();
    assert!(took < limit + ROOM, "{what} took {took:?}");
}

/// An answer that says "try again shortly", and nothing about what was presented.
#[track_caller]
pub fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_says_nothing_wrong(answer, "temporarily_unavailable");
}

/// The same from a provider that did not answer in time.
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

/// No cookie goes, and nothing is called invalid.
#[track_caller]
pub fn assert_nothing_lost(answer: &Answer) {
    assert_eq!(answer.header("set-cookie"), None, "{answer:?}");
    assert_not_called_invalid(answer);
}

#[track_caller]
fn assert_not_called_invalid(answer: &Answer) {
    let text = format!("{:?} {}", answer.headers, answer.body).to_lowercase();
    assert!(!text.contains("invalid") && !text.contains("\"active\":false"), "{text}");
    assert!(!text.contains("\"token\":null"), "{text}");
}

/// The SPA hears of the outage, with the code that belongs to it, and gets its state back.
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

/// What `/readyz` says: (log_in, redeem, verify), and whether its status fits.
pub async fn readiness(broker: &TestBroker) -> (bool, bool, bool) {
    let answer = broker.browser().get(&broker.at("/readyz"), &[]).await;
    let json = answer.json();
    let can = |what: &str| json[what].as_bool().unwrap();
    let (log_in, redeem, verify) = (can("log_in"), can("redeem"), can("verify"));
    assert_eq!(can("ready"), log_in && redeem && verify);
    // A load balancer keeps an instance that can do anything at all.
    assert_eq!(answer.status, if log_in || redeem || verify { 200 } else { 503 });
    (log_in, redeem, verify)
}

/// Waits until `/readyz` says this, which may be as old as a second.
pub async fn assert_becomes(broker: &TestBroker, expected: (bool, bool, bool)) {
    until(async || {
        let found = readiness(broker).await;
        if found == expected { Ok(()) } else { Err(found) }
    })
    .await;
}

/// What the admin listener says is wrong: part and problem.
pub async fn problems(broker: &TestBroker) -> Vec<(String, String)> {
    let answer = broker.browser().get(&format!("{}/healthz", broker.admin_url), &[]).await;
    let json = answer.json();
    assert_eq!(answer.status, if json["ready"] == true { 200 } else { 503 });
    let parts = json["parts"].as_array().unwrap().iter();
    let broken = parts.filter(|part| !part["problem"].is_null());
    let text = |part: &serde_json::Value, name: &str| part[name].as_str().unwrap().to_owned();
    broken.map(|part| (text(part, "name"), text(part, "problem"))).collect()
}

/// Waits until everything works again, without a restart; says how long it took.
pub async fn assert_recovers(broker: &TestBroker, after: &str) {
    let begun = monotonic();
    while readiness(broker).await != (true, true, true) {
        assert!(begun.elapsed() < RECOVERY + ROOM, "after {after}: {:?}", problems(broker).await);
        sleep(Duration::from_millis(20)).await;
    }
    report(&format!("works again {:?} after {after}", begun.elapsed()));
}

/// Says what was measured; seen with `--nocapture` and where a test fails.
#[allow(clippy::print_stdout, reason = "a measurement is for whoever reads the test's output")]
pub fn report(text: &str) {
    println!("{text}");
}

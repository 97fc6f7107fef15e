//! A provider that hangs, responds slowly or is stopped: its logins end in time, and no one else is affected.

use std::time::Duration;

use futures_util::future::join_all;
use token_broker::domain::clock::monotonic;
use token_broker::provider::dev::FaultSwitch;

use crate::support::broker::{Login, LoginUrl, TestBroker};
use crate::support::browser::Browser;
use crate::support::outage::{SLOW_PROVIDER, assert_in_time, within};

/// More than the maximum number of concurrent calls to one provider.
const CROWD: usize = 70;

async fn started() -> TestBroker {
    let broker = TestBroker::start();
    broker.ready().await;
    broker
}

/// Every kind of slowness, the first of them with many logins.
fn slow_logins() -> Vec<&'static str> {
    let mut faults = vec!["token_slow", "token_drip", "profile_slow", "profile_drip"];
    faults.resize(CROWD, "token_slow");
    faults
}

/// Follows a login until its callback.
async fn begin(broker: &TestBroker, choice: &str) -> (Browser, LoginUrl, String) {
    let browser = broker.browser();
    let login = broker.login(&[]);
    let callback = broker.callback_url(&browser, &login.url, choice).await;
    (browser, login, callback)
}

async fn ends_in_time(work: impl Future<Output = ()>) {
    let begun = monotonic();
    within(SLOW_PROVIDER, "a login at a slow provider", work).await;
    assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
}

/// Calls the callback of a login at a slow provider.
async fn times_out(broker: &TestBroker, fault: &str) {
    let (browser, login, callback) = begin(broker, &format!("&user=alice&fault={fault}")).await;
    ends_in_time(async {
        let back = browser.navigate(&callback).await;
        let (verifier, state) = (login.verifier, login.state);
        let login = Login { back, callback, verifier, state };
        assert_eq!(login.error(), "temporarily_unavailable", "{fault}");
        assert!(login.description().contains("(provider_timeout, "), "{fault}: {}", login.description());
    })
    .await;
}

/// Requests that must succeed at once while others wait.
async fn no_one_else_is_affected(broker: &TestBroker, token: &str) {
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        within(Duration::from_secs(2), "what asks another provider or none", async {
            assert_eq!(broker.call("/api/me", token).await.status, 200);
            broker.sign_in(&broker.browser(), "ops", "bob").await;
        })
        .await;
    }
}

#[actix_web::test]
async fn a_login_at_a_slow_provider_ends_in_time_and_affects_no_one_else() {
    let broker = started().await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let faults = slow_logins();
    let crowd = join_all(faults.iter().map(|fault| times_out(&broker, fault)));

    let discovery = async {
        let broker = TestBroker::with_switch(FaultSwitch::DiscoverySlow);
        let login = broker.login(&[]).url;
        ends_in_time(async {
            broker.browser().navigate(&login).await.assert_own_page(504, "provider_timeout");
        })
        .await;
    };
    let keys = async {
        let broker = TestBroker::with_switch(FaultSwitch::JwksSlow);
        broker.ready().await;
        times_out(&broker, "aud_list").await;
        assert_eq!(broker.rows("users"), 0);
    };
    tokio::join!(crowd, discovery, keys, no_one_else_is_affected(&broker, &token));
    assert_eq!(broker.rows("users"), 2, "alice and bob, who signed in before and meanwhile");
}

#[actix_web::test]
async fn cached_documents_are_used_while_a_provider_hangs() {
    let broker = started().await;
    broker.log_in(&broker.browser(), "dev", "alice", "").await.key();
    broker.provider.faults().set(FaultSwitch::DiscoverySlow, true);
    broker.provider.faults().set(FaultSwitch::JwksSlow, true);
    // Old enough to be fetched again.
    broker.advance(3_700);
    let begun = monotonic();
    for _ in 0..3 {
        assert!(broker.log_in(&broker.browser(), "dev", "alice", "").await.key().starts_with("tbo_"));
    }
    assert_in_time(begun, Duration::from_secs(9), "three logins");
}

#[actix_web::test]
async fn a_stopped_provider_is_an_outage_until_it_is_back() {
    let mut broker = started().await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let pending = begin(&broker, "&user=alice").await;
    let stopped = broker.stop_provider().await;

    let begun = monotonic();
    let back = pending.0.navigate(&pending.2).await;
    assert_eq!(back.parameter("error").as_deref(), Some("temporarily_unavailable"));
    assert!(back.parameter("error_description").unwrap().contains("(temporarily_unavailable, "));
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
    // Its metadata is cached: the login starts, and the browser cannot reach the provider.
    assert_eq!(broker.browser().navigate(&broker.login(&[]).url).await.status, 303);
    // A broker that has just started has no metadata.
    let twin = broker.twin();
    let browser = twin.browser();
    browser.navigate(&broker.login(&[]).url).await.assert_own_page(503, "temporarily_unavailable");
    assert_in_time(begun, Duration::from_secs(10), "all of that");

    broker.resume_provider(stopped);
    for browser in [broker.browser(), browser] {
        assert!(broker.log_in(&browser, "dev", "alice", "").await.key().starts_with("tbo_"));
    }
}

#[actix_web::test]
async fn an_issuer_that_cannot_be_checked_is_an_outage() {
    for (switch, code) in [
        (FaultSwitch::Discovery500, "temporarily_unavailable"),
        (FaultSwitch::DiscoveryNotJson, "provider_error"),
    ] {
        let broker = TestBroker::with_switch(FaultSwitch::DiscoveryNoIssParameter);
        broker.ready().await;
        let (browser, login, callback) = begin(&broker, "&user=alice").await;
        // An instance that does not know yet whether the provider announces iss and cannot fetch the metadata.
        broker.provider.faults().set(switch, true);
        let twin = broker.twin();
        browser.route(&broker.url, &twin.real_url);
        let back = browser.navigate(&callback).await;
        assert_eq!(back.parameter("error").as_deref(), Some("temporarily_unavailable"), "{back:?}");
        assert!(back.parameter("error_description").unwrap().contains(&format!("({code}, ")));
        assert_eq!(back.parameter("state"), Some(login.state));
        assert_eq!(broker.provider.log().count("/token"), 0, "the code stays unused");
    }
}

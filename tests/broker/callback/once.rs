//! An attempt works once: of concurrent callbacks one proceeds, and whatever its result is, no other does.

use futures_util::future::join_all;

use super::{Begun, exchanges, started, with};
use crate::support::broker::{Setup, TestBroker};
use crate::support::redis::{self, RedisServer};

#[actix_web::test]
async fn of_parallel_callbacks_one_proceeds() {
    for key_store in [None, Some(redis::url())] {
        let shared = key_store.is_some();
        let broker = TestBroker::with(Setup { key_store, ..Setup::default() });
        // With Redis, the callbacks reach two instances alternately.
        let twin = shared.then(|| broker.twin());
        broker.ready().await;
        for round in 1..=4 {
            let begun = Begun::at(&broker, "dev", "&user=alice").await;
            let tabs: Vec<_> = (0..8).map(|_| begun.browser.copy()).collect();
            for tab in tabs.iter().step_by(2) {
                tab.route(&broker.url, twin.as_ref().map_or(&broker.real_url, |twin| &twin.real_url));
            }
            let answers = join_all(tabs.iter().map(|tab| tab.navigate(&begun.callback))).await;
            let (through, refused): (Vec<_>, Vec<_>) =
                answers.iter().partition(|answer| answer.status == 303);
            assert_eq!((through.len(), refused.len()), (1, 7), "{answers:?}");
            refused.iter().for_each(|answer| answer.assert_own_page(400, "invalid_state"));
            assert_eq!(exchanges(&broker), round, "the code is sent once");
            assert_eq!(broker.rows("sessions"), usize::try_from(round).unwrap());
            let key = through[0].parameter("one_time_key").unwrap();
            assert_eq!(broker.redeem(&begun.browser, &key, &begun.login.verifier).await.status, 200);
        }
    }
}

#[actix_web::test]
async fn an_attempt_works_once_whatever_its_result() {
    let broker = started().await;
    for choice in [
        "&deny=1",
        "&user=alice&fault=callback_error_and_code",
        "&user=alice&fault=callback_neither",
        "&user=alice&fault=callback_duplicate_code",
        "&user=alice&fault=callback_duplicate_iss",
        "&user=alice&fault=callback_long_code",
        "&user=alice&fault=callback_wrong_iss",
        "&user=alice&fault=token_500",
        "&user=alice&fault=wrong_nonce",
        "&user=alice&fault=profile_500",
    ] {
        let begun = Begun::at(&broker, "dev", choice).await;
        let thief = begun.browser.copy();
        let first = begun.call().await;
        assert!(first.parameter("one_time_key").is_none(), "{choice}: {first:?}");
        assert!(begun.browser.cookies("localhost").is_empty(), "{choice}: the cookie goes: {first:?}");

        let exchanged = exchanges(&broker);
        let good = with(&with(&begun.with("code", Some("a-code")), "error", None), "state", None);
        let good = with(&good, "state", Some(&begun.parameter("state")));
        let good = with(&good, "iss", Some(&broker.provider.issuer()));
        thief.navigate(&good).await.assert_own_page(400, "invalid_state");
        assert_eq!(exchanges(&broker), exchanged, "{choice}: the provider was asked");
    }
    assert_eq!(broker.rows("users"), 0);
}

#[actix_web::test]
async fn a_key_store_outage_is_reported_as_such_and_uses_up_nothing() {
    let mut server = RedisServer::start(&[]);
    let broker = TestBroker::with(Setup { key_store: Some(server.url()), ..Setup::default() });
    broker.ready().await;
    let begun = Begun::new(&broker).await;
    server.stop();
    let back = begun.call().await;
    assert_eq!(back.status, 303, "{back:?}");
    assert_eq!(back.parameter("error").as_deref(), Some("temporarily_unavailable"));
    assert_eq!(back.parameter("state").as_ref(), Some(&begun.login.state));
    assert_eq!(back.header("set-cookie"), None, "the attempt stays");
    assert_eq!(exchanges(&broker), 0, "the code stays unused");
    // An outage hides no mismatch.
    let elsewhere = begun.with("iss", Some("https://attacker.example"));
    begun.browser.navigate(&elsewhere).await.assert_own_page(400, "issuer_mismatch");

    server.launch();
    broker.ready().await;
    let back = begun.call().await;
    assert!(back.parameter("one_time_key").is_some(), "the same callback succeeds afterwards: {back:?}");
}

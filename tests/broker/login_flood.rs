//! Thousands of logins that are never completed: they fill no store, and users at other addresses can sign in.

use std::num::NonZeroU32;

use futures_util::stream::{self, StreamExt};

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::redis;

/// Logins of many addresses behind a proxy: the number of accepted ones, and the responses of the others.
async fn flood(broker: &TestBroker, count: usize, address: impl Fn(usize) -> String) -> (usize, Vec<Answer>) {
    let login = broker.login(&[]).url;
    let (browser, login, address) = (&broker.browser(), &login, &address);
    let requests = (0..count).map(|number| async move {
        // The flood sends no cookies.
        browser.forget_cookies();
        browser.get(login, &[("x-forwarded-for", &*address(number))]).await
    });
    let answers: Vec<Answer> = stream::iter(requests).buffer_unordered(32).collect().await;
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 303);
    (accepted.len(), refused)
}

#[actix_web::test]
async fn a_flood_from_one_address_fills_no_store_and_blocks_no_one_else() {
    let url = redis::url();
    let setup = Setup { key_store: Some(url.clone()), ..Setup::default() };
    let broker = TestBroker::with(setup.adjust(|config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.logins = NonZeroU32::new(1_000).unwrap();
    }));
    broker.ready().await;
    broker.stop_clock();
    let (accepted, refused) = flood(&broker, 4_000, |_| "203.0.113.7".to_owned()).await;
    assert_eq!(accepted, 1_000);
    for answer in &refused {
        answer.assert_own_page(429, "rate_limited");
        let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert_eq!(answer.header("set-cookie"), None);
    }
    let stored: Vec<String> = redis::ask(&url, ::redis::cmd("KEYS").arg("*")).unwrap();
    // The checks of readiness store something for a second.
    let of_logins: Vec<_> = stored.iter().filter(|key| !key.contains(":check:")).collect();
    assert!(of_logins.is_empty(), "logins that only began occupy the key store: {of_logins:?}");

    let from_elsewhere = [("x-forwarded-for", "198.51.100.1")];
    let browser = broker.browser();
    let login = broker.login(&[]);
    let begun = browser.get(&login.url, &from_elsewhere).await;
    let chosen = browser.navigate(&format!("{}&user=alice", begun.location().unwrap())).await;
    let callback = chosen.location().unwrap();
    let back = browser.get(callback.as_str(), &from_elsewhere).await;
    assert!(back.parameter("one_time_key").is_some(), "{back:?}");

    broker.advance(60);
    assert_eq!(flood(&broker, 1, |_| "203.0.113.7".to_owned()).await.0, 1, "the limit is per minute");
}

#[actix_web::test]
async fn a_forged_forwarded_address_is_ignored() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.limits.logins = NonZeroU32::new(10).unwrap();
    }));
    broker.stop_clock();
    let (accepted, refused) = flood(&broker, 100, |number| format!("198.51.100.{number}")).await;
    assert_eq!(accepted, 10);
    refused.iter().for_each(|answer| answer.assert_own_page(429, "rate_limited"));
}

/// The store of a single process is full of used attempts: of two hundred addresses that called back with made-up codes as
/// often as they may. The users of other addresses sign in, and an attempt of theirs is still used only once.
#[actix_web::test]
async fn made_up_codes_from_many_addresses_lock_no_one_out() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.key_store.capacity = 100;
    }));
    broker.ready().await;
    let victim = broker.browser();
    let login = broker.login(&[]);
    let callback = broker.callback_url(&victim, &login.url, "&user=alice").await;
    let elsewhere = [("x-forwarded-for", "198.51.100.1")];
    assert!(victim.get(&callback, &elsewhere).await.parameter("one_time_key").is_some());

    for number in 0..400 {
        let address = format!("203.0.{}.7", number % 200);
        let headers = [("x-forwarded-for", &*address)];
        let (browser, login) = (broker.browser(), broker.login(&[]));
        let begun = browser.get(&login.url, &headers).await;
        let authorize = begun.location().unwrap();
        let state = authorize.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let made_up = broker
            .at(&format!("/oauth2_callback/dev?code=made-up&state={state}&iss={}", broker.provider.issuer()));
        let answer = browser.get(&made_up, &headers).await;
        assert!(answer.parameter("error").is_some(), "{answer:?}");
    }
    let replayed = victim.get(&callback, &elsewhere).await;
    assert_eq!(replayed.parameter("one_time_key"), None, "{replayed:?}");
    broker.sign_in(&broker.browser(), "dev", "bob").await;
}

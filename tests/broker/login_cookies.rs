//! The cookies of login attempts: one per attempt, a limited number, removed when the attempt ends; and their
//! attributes on https.

use token_broker::config::Mode;

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::oauth::authorization;

const PUBLIC: &str = "https://auth.example.com";

/// A broker as in production, with an https public URL.
fn production() -> TestBroker {
    let setup = Setup { public_url: Some(PUBLIC.to_owned()), ..Setup::default() };
    TestBroker::with(setup.adjust(|config| config.mode = Mode::Production))
}

/// The `Set-Cookie` headers: name, value, attributes.
fn set_cookies(answer: &Answer) -> Vec<(String, String, String)> {
    let lines = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    lines
        .map(|line| {
            let (pair, attributes) = line.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned(), attributes.to_owned())
        })
        .collect()
}

fn attempts(browser: &Browser) -> usize {
    browser.cookies("localhost").keys().filter(|name| name.starts_with("tb_login_")).count()
}

#[actix_web::test]
async fn each_attempt_has_its_own_cookie() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    // The second tab starts before the first has come back, and finishes first.
    let (first, second) = (broker.login(&[]), broker.login(&[("provider", "ops")]));
    let first_callback = broker.callback_url(&browser, &first.url, "&user=alice").await;
    let second_callback = broker.callback_url(&browser, &second.url, "&user=bob").await;
    assert_eq!(attempts(&browser), 2);
    for (callback, login, left) in [(second_callback, &second, 1), (first_callback, &first, 0)] {
        let back = browser.navigate(&callback).await;
        assert_eq!(back.parameter("state").as_ref(), Some(&login.state));
        let key = back.parameter("one_time_key").unwrap();
        assert_eq!(broker.redeem(&browser, &key, &login.verifier).await.status, 200);
        assert_eq!(attempts(&browser), left, "only its own cookie goes");
    }
}

#[actix_web::test]
async fn the_cookie_is_opaque_and_valid_for_ten_minutes() {
    let broker = TestBroker::start();
    let login = broker.login(&[("state", &"s".repeat(512))]);
    let answer = broker.browser().navigate(&login.url).await;
    let [(name, value, attributes)] = &set_cookies(&answer)[..] else { panic!("{answer:?}") };
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=600");
    assert!(name.len() + value.len() < 1024, "{} bytes", name.len() + value.len());
    let location = answer.location().unwrap();
    for (parameter, secret) in location.query_pairs().filter(|(name, _)| name != "response_type") {
        let shown = secret.len() > 8 && (name.contains(&*secret) || value.contains(&*secret));
        assert!(!shown, "{parameter} stands in the cookie");
    }
    let again = broker.browser().navigate(&login.url).await;
    let [(other_name, other_value, _)] = &set_cookies(&again)[..] else { panic!("{again:?}") };
    assert!(name != other_name && value != other_value);
}

/// `/oauth2/authorize` also keeps the nonce and the scopes in the cookie.
#[actix_web::test]
async fn no_cookie_reaches_one_kibibyte_and_what_does_not_fit_is_refused() {
    let broker = TestBroker::start();
    for (state, nonce, fits) in [(512, 0, true), (469, 43, true), (256, 256, true), (512, 512, false)] {
        let parameters = [("state", &*"s".repeat(state)), ("nonce", &*"n".repeat(nonce))];
        let answer = broker.browser().navigate(&authorization(&broker, &parameters).url).await;
        let cookies = set_cookies(&answer);
        if fits {
            let [(name, value, _)] = &cookies[..] else { panic!("{state} {nonce}: {answer:?}") };
            assert!(name.len() + 1 + value.len() < 1024, "{state} {nonce}: {}", name.len() + value.len());
        } else {
            assert_eq!(answer.parameter("error").as_deref(), Some("invalid_request"), "{answer:?}");
            assert!(answer.parameter("error_description").unwrap().contains("too long together"));
            assert_eq!(answer.parameter("state"), Some("s".repeat(state)));
            assert!(cookies.is_empty(), "{cookies:?}");
        }
    }
    // Whether the browser is signed in makes no difference.
    let browser = broker.browser();
    broker.sign_in(&browser, "dev", "alice").await;
    let parameters = [("state", &*"s".repeat(512)), ("nonce", &*"n".repeat(512))];
    let answer = browser.navigate(&authorization(&broker, &parameters).url).await;
    assert_eq!(answer.parameter("error").as_deref(), Some("invalid_request"), "{answer:?}");
}

#[actix_web::test]
async fn a_browser_has_at_most_five_open_attempts() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let mut callbacks = Vec::new();
    for _ in 0..7 {
        callbacks.push(broker.callback_url(&browser, &broker.login(&[]).url, "&user=alice").await);
        broker.advance(1);
    }
    assert_eq!(attempts(&browser), 5);
    let (oldest, newest) = callbacks.split_at(2);
    for callback in oldest {
        browser.navigate(callback).await.assert_own_page(400, "invalid_state");
    }
    for callback in newest {
        assert!(browser.navigate(callback).await.parameter("one_time_key").is_some());
    }
    assert_eq!(attempts(&browser), 0);
}

#[actix_web::test]
async fn dead_and_foreign_attempts_make_room_first() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    broker.callback_url(&browser, &broker.login(&[]).url, "&user=alice").await;
    broker.advance(601);
    for name in ["tb_login_AAAAAAAAAAAA", "tb_login_BBBBBBBBBBBB", "tb_login_CCCCCCCCCCCC"] {
        browser.set_cookie("localhost", name, Some("planted"));
    }
    browser.set_cookie("localhost", "theme", Some("dark"));
    let live = broker.callback_url(&browser, &broker.login(&[]).url, "&user=alice").await;
    assert_eq!(attempts(&browser), 1, "{:?}", browser.cookies("localhost"));
    assert!(browser.cookies("localhost").contains_key("theme"), "others' cookies stay");
    assert!(browser.navigate(&live).await.parameter("one_time_key").is_some());
}

#[actix_web::test]
async fn an_https_broker_sets_host_cookies_and_reads_no_others() {
    let broker = production();
    broker.ready().await;
    let browser = broker.browser();
    let login = broker.login(&[]);
    let begun = browser.navigate(&login.url).await;
    let [(name, value, attributes)] = &set_cookies(&begun)[..] else { panic!("{begun:?}") };
    let id = name.strip_prefix("__Host-Http-tb_login_").unwrap();
    assert_eq!(id.len(), 12);
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600");

    let chosen = browser.navigate(&format!("{}&user=alice", begun.location().unwrap())).await;
    let callback = chosen.location().unwrap();
    // Cookies that another subdomain of example.com, or plain http, could set.
    for planted in
        [format!("tb_login_{id}"), format!("__Http-tb_login_{id}"), format!("__Host-tb_login_{id}")]
    {
        let victim = broker.browser();
        victim.set_cookie("auth.example.com", &planted, Some(value));
        victim.navigate(callback.as_str()).await.assert_own_page(400, "invalid_state");
    }
    let back = browser.navigate(callback.as_str()).await;
    assert!(back.parameter("one_time_key").is_some(), "{back:?}");
    let gone = "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0".to_owned();
    assert_eq!(set_cookies(&back)[1..], [(name.clone(), String::new(), gone)]);
}

#[actix_web::test]
async fn every_answer_of_an_https_broker_asks_for_https() {
    let broker = production();
    broker.ready().await;
    let browser = broker.browser();
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let token = broker.redeem(&browser, &login.key(), &login.verifier).await;
    assert_eq!(token.status, 200, "{token:?}");
    let mut answers = vec![login.back, token];
    for path in ["/login", "/oauth2_callback/dev", "/api/me", "/nothing", "/", "/healthz"] {
        answers.push(browser.navigate(&broker.at(path)).await);
    }
    answers.push(browser.navigate(&broker.login(&[]).url).await);
    for answer in answers {
        let header = answer.header("strict-transport-security");
        assert_eq!(header, Some("max-age=31536000; includeSubDomains"), "{answer:?}");
    }
}

#[actix_web::test]
async fn addresses_of_its_own_come_from_the_public_url_alone() {
    let broker = production();
    broker.ready().await;
    let login = broker.login(&[]).url.replace(PUBLIC, &broker.real_url);
    let headers = [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "host=evil.example;proto=http"),
    ];
    // Requested by its loopback address, as by a proxy or a probe.
    let answer = Browser::new().get(&login, &headers).await;
    let location = answer.location().unwrap();
    let redirect_uri = location.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1;
    assert_eq!(redirect_uri, format!("{PUBLIC}/oauth2_callback/dev"));
    assert!(!format!("{answer:?}").contains("evil.example"), "{answer:?}");
}

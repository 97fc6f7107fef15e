//! The callback: which responses of the provider are accepted. [`redirect`] tests what is sent to the SPA, [`once`]
//! that an attempt works once.

mod once;
mod redirect;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use url::Url;

use crate::support::broker::{LoginUrl, Setup, TestBroker};
use crate::support::browser::{Answer, Browser};

/// A login that has reached its callback.
struct Begun {
    browser: Browser,
    login: LoginUrl,
    callback: String,
}

impl Begun {
    async fn at(broker: &TestBroker, provider: &str, choice: &str) -> Self {
        let browser = broker.browser();
        let login = broker.login(&[("provider", provider)]);
        let callback = broker.callback_url(&browser, &login.url, choice).await;
        Self { browser, login, callback }
    }

    async fn new(broker: &TestBroker) -> Self {
        Self::at(broker, "dev", "&user=alice").await
    }

    async fn call(&self) -> Answer {
        self.browser.navigate(&self.callback).await
    }

    /// The URL of the callback with one parameter replaced or added or, with `None`, removed.
    fn with(&self, name: &str, value: Option<&str>) -> String {
        with(&self.callback, name, value)
    }

    fn parameter(&self, name: &str) -> String {
        let url: Url = self.callback.parse().unwrap();
        url.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned()
    }

    /// The cookie of the attempt: name and value.
    fn cookie(&self) -> (String, String) {
        let mut cookies = self.browser.cookies("localhost").into_iter();
        cookies.find(|(name, _)| name.starts_with("tb_login_")).unwrap()
    }
}

fn with(address: &str, name: &str, value: Option<&str>) -> String {
    let mut url: Url = address.parse().unwrap();
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    pairs.retain(|(known, _)| known != name);
    pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

async fn started() -> TestBroker {
    let broker = TestBroker::start();
    broker.ready().await;
    broker
}

/// The number of token requests at the provider.
fn exchanges(broker: &TestBroker) -> u64 {
    broker.provider.log().count("/token") + broker.provider.log().count("/o/token/")
}

#[actix_web::test]
async fn only_the_state_of_a_live_attempt_is_accepted() {
    let broker = started().await;
    let (begun, other) = (Begun::new(&broker).await, Begun::new(&broker).await);
    let state = begun.parameter("state");
    let changed = format!("{}{}", if state.starts_with('A') { 'B' } else { 'A' }, &state[1..]);
    for bad in [
        None,
        Some(""),
        Some("x"),
        Some(&*changed),
        Some(&state[1..]),
        Some(&format!("{state}A")),
        Some(&format!("{state}=")),
        Some(&format!(" {state}")),
        Some(&state.to_lowercase()),
        Some(&other.parameter("state")),
        Some(&URL_SAFE_NO_PAD.encode([7; 32])),
        Some(&"s".repeat(5_000)),
    ] {
        let answer = begun.browser.navigate(&begun.with("state", bad)).await;
        answer.assert_own_page(400, "invalid_state");
        assert_eq!(answer.header("set-cookie"), None, "{bad:?}");
    }
    assert_eq!(exchanges(&broker), 0, "the provider was asked");
    assert!(begun.call().await.parameter("one_time_key").is_some(), "the attempt itself is untouched");
    // The browser is signed in now: it is sent on to the application.
    assert_eq!(begun.call().await.header("location"), Some(&*broker.at("/#")));
    assert_eq!(exchanges(&broker), 1);
}

#[actix_web::test]
async fn a_login_cannot_be_completed_in_another_browser() {
    let broker = started().await;
    let (begun, other) = (Begun::new(&broker).await, Begun::new(&broker).await);
    let ((name, value), (other_name, other_value)) = (begun.cookie(), other.cookie());
    let (first, rest) = value.split_at(1);
    let forged = format!("{}{rest}", if first == "A" { "B" } else { "A" });
    let id = name.strip_prefix("tb_login_").unwrap();
    for cookies in [
        vec![],
        vec![(&*other_name, &*other_value)],
        vec![(&*name, &*other_value)],
        vec![(&*other_name, &*value)],
        vec![(&*name, &*forged)],
        vec![(&*name, &value[1..])],
        vec![(&*name, "")],
        vec![(id, &*value)],
        vec![(&*format!("__Host-Http-tb_login_{id}"), &*value)],
    ] {
        let browser = broker.browser();
        cookies.iter().for_each(|(name, value)| browser.set_cookie("localhost", name, Some(value)));
        browser.navigate(&begun.callback).await.assert_own_page(400, "invalid_state");
    }
    assert_eq!(exchanges(&broker), 0, "the provider was asked");
    assert!(begun.call().await.parameter("one_time_key").is_some());
}

#[actix_web::test]
async fn a_cookie_that_is_sent_twice_fails_the_attempt() {
    let broker = started().await;
    let begun = Begun::new(&broker).await;
    let (name, value) = begun.cookie();
    for planted in [format!("{name}=planted"), format!("{name}={value}x"), format!("a=b; {name}=")] {
        let answer = begun.browser.get(&begun.callback, &[("cookie", &planted)]).await;
        answer.assert_own_page(400, "invalid_state");
    }
    assert_eq!(exchanges(&broker), 0);
    let same = begun.browser.get(&begun.callback, &[("cookie", &format!("{name}={value}"))]).await;
    assert!(same.parameter("one_time_key").is_some(), "{same:?}");
}

#[actix_web::test]
async fn the_issuer_must_match_and_be_present_if_announced() {
    let broker = started().await;
    let issuer = broker.provider.issuer();
    for bad in [
        None,
        Some(""),
        Some("https://attacker.example"),
        Some(&format!("{issuer}/")),
        Some(&issuer.to_uppercase()),
        Some(&issuer.replace("127.0.0.1", "localhost")),
    ] {
        let begun = Begun::new(&broker).await;
        begun.browser.navigate(&begun.with("iss", bad)).await.assert_own_page(400, "issuer_mismatch");
        begun.call().await.assert_own_page(400, "invalid_state");
    }
    // A plain provider without a configured issuer must not send one.
    let plain = Begun::at(&broker, "ops", "&user=bob").await;
    let answer = plain.browser.navigate(&plain.with("iss", Some(&issuer))).await;
    answer.assert_own_page(400, "issuer_mismatch");
    assert_eq!(exchanges(&broker), 0);
}

#[actix_web::test]
async fn a_callback_on_the_path_of_another_provider_is_refused() {
    let broker = started().await;
    for (provider, own, foreign) in [("dev", "/dev?", "/ops?"), ("ops", "/ops?", "/dev?")] {
        for path in [foreign, "/nobody?", "/DEV?", "?", "/?"] {
            let begun = Begun::at(&broker, provider, "&user=alice").await;
            let elsewhere = begun.callback.replace(own, path);
            begun.browser.navigate(&elsewhere).await.assert_own_page(400, "issuer_mismatch");
            begun.call().await.assert_own_page(400, "invalid_state");
        }
    }
    assert_eq!(exchanges(&broker), 0);
}

#[actix_web::test]
async fn a_callback_path_may_be_bare_and_may_end_with_a_slash() {
    for path in ["/oauth2_callback/dev", "/oauth2_callback/dev/", "/oauth2_callback", "/oauth2_callback/"] {
        let broker = TestBroker::with(Setup::default().adjust(move |config| {
            config.providers[0].redirect_uri = config.public_url.join(path).unwrap();
        }));
        broker.ready().await;
        let begun = Begun::new(&broker).await;
        assert!(begun.callback.starts_with(&broker.at(&format!("{path}?"))), "{}", begun.callback);
        assert!(begun.call().await.parameter("one_time_key").is_some(), "{path}");
        // A proxy may add or remove the slash.
        let begun = Begun::new(&broker).await;
        let bare = path.trim_end_matches('/');
        let other = if bare == path { format!("{bare}/?") } else { format!("{bare}?") };
        let other = begun.callback.replace(&format!("{path}?"), &other);
        assert!(begun.browser.navigate(&other).await.parameter("one_time_key").is_some(), "{other}");
    }
}

#[actix_web::test]
async fn an_incomplete_callback_is_never_redirected() {
    let broker = started().await;
    let begun = Begun::new(&broker).await;
    for more in
        ["code=a", "state=a", "iss=a", "error=a&error=a", "error=access_denied", "code=%FF", "error=%"]
    {
        let begun = Begun::new(&broker).await;
        let answer = begun.browser.navigate(&format!("{}&{more}", begun.callback)).await;
        answer.assert_own_page(400, "invalid_request");
    }
    for nothing in [None, Some("")] {
        let begun = Begun::new(&broker).await;
        begun.browser.navigate(&begun.with("code", nothing)).await.assert_own_page(400, "invalid_request");
    }
    for path in ["", "?", "?code=a", "?error=access_denied", "?error=access_denied&state=a", "/dev?code=a"] {
        let answer = begun.browser.navigate(&broker.at(&format!("/oauth2_callback{path}"))).await;
        answer.assert_own_page(400, "invalid_state");
    }
    assert_eq!(exchanges(&broker), 0);
}

#[actix_web::test]
async fn a_faulty_provider_redirect_ends_on_the_brokers_page() {
    let broker = started().await;
    for (fault, code) in [
        ("callback_error_and_code", "invalid_request"),
        ("callback_neither", "invalid_request"),
        ("callback_duplicate_state", "invalid_request"),
        ("callback_duplicate_code", "invalid_request"),
        ("callback_duplicate_iss", "invalid_request"),
        ("callback_wrong_state", "invalid_state"),
        ("callback_missing_state", "invalid_state"),
        ("callback_long_code", "invalid_request"),
        ("callback_control_code", "invalid_request"),
        ("callback_wrong_iss", "issuer_mismatch"),
        ("callback_missing_iss", "issuer_mismatch"),
    ] {
        for provider in ["dev", "ops"] {
            if provider == "ops" && matches!(fault, "callback_duplicate_iss" | "callback_missing_iss") {
                continue; // It sends none.
            }
            let begun = Begun::at(&broker, provider, &format!("&user=alice&fault={fault}")).await;
            let answer = begun.call().await;
            answer.assert_own_page(400, code);
            // Only an attempt that the state names says which application it is for.
            let way_back = if fault.ends_with("_state") {
                "Go back to the application and sign in again."
            } else {
                "Start again"
            };
            assert!(answer.body.contains(way_back), "{fault}: {answer:?}");
        }
    }
    assert_eq!((exchanges(&broker), broker.rows("users")), (0, 0));
}

#[actix_web::test]
async fn a_code_is_1_to_2048_visible_characters() {
    let broker = started().await;
    for (at, bad) in
        ["c".repeat(2049), "a\nb".into(), "a\0".into(), "\u{7f}".into(), "é".into()].iter().enumerate()
    {
        let begun = Begun::at(&broker, ["dev", "ops"][at % 2], "&user=alice").await;
        begun.browser.navigate(&begun.with("code", Some(bad))).await.assert_own_page(400, "invalid_request");
    }
    assert_eq!(exchanges(&broker), 0);
    // Which codes are valid is for the provider to decide; the code is sent nowhere else.
    for good in ["c", &"secret-code-".repeat(170), " ~!\"#$%&'()*+,/:;<=>?@[\\]^`{|}"] {
        let begun = Begun::new(&broker).await;
        let back = begun.browser.navigate(&begun.with("code", Some(good))).await;
        assert_eq!(back.parameter("error").as_deref(), Some("temporarily_unavailable"), "{back:?}");
        assert!(back.parameter("error_description").unwrap().contains("(provider_error, "));
        assert!(!format!("{:?}{}", back.headers, back.body).contains("secret-code"));
        let seen = broker.provider.log().last_token_request.unwrap();
        assert!(!seen.had_query);
        assert_eq!(seen.content_type, "application/x-www-form-urlencoded");
    }
    assert_eq!(exchanges(&broker), 3);
}

#[actix_web::test]
async fn only_get_is_a_callback() {
    let broker = started().await;
    let begun = Begun::new(&broker).await;
    let query = begun.callback.split_once('?').unwrap().1;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for path in ["/oauth2_callback", "/oauth2_callback/dev", "/oauth2_callback/dev/"] {
        for method in [Method::POST, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let body = Some(query.to_owned());
            let answer = begun.browser.send(method.clone(), &broker.at(path), &form, body).await;
            assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("GET")), "{method}");
            let answer = begun.browser.send(method, &begun.callback, &[], None).await;
            assert_eq!(answer.status, 405);
        }
    }
    assert_eq!(exchanges(&broker), 0);
    assert!(begun.call().await.parameter("one_time_key").is_some(), "the attempt itself is untouched");
}

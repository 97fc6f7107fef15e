//! `/login` with different parameters in a signed-in browser: when its session is enough, and when it is redirected to
//! the provider.

use token_broker::domain::client::LoginParameter;

use super::*;

/// Signed in at `provider` as alice, `age` seconds ago.
async fn signed_in(broker: &TestBroker, provider: &str, age: i64) -> Browser {
    let browser = broker.browser();
    broker.sign_in(&browser, provider, "alice").await;
    broker.advance(age);
    browser
}

async fn check(broker: &TestBroker, browser: &Browser, parameters: &[(&str, &str)], expected: Leads) {
    let cookie = session_cookie(browser);
    // A copy, so that no login leaves an attempt cookie for the next one.
    let answer = browser.copy().navigate(&broker.login(parameters).url).await;
    assert_eq!(leads(broker, &answer), expected, "{parameters:?}");
    if let Some((value, _)) = set_session(&answer) {
        assert!(
            expected == Leads::Back && !value.is_empty(),
            "{parameters:?}: a live session's cookie stays"
        );
    }
    assert!(cookie.is_some());
    if let (Leads::Provider(_), Some(location)) = (&expected, answer.location()) {
        for (name, value) in parameters.iter().filter(|(name, _)| !["provider", "client_id"].contains(name)) {
            let sent = location.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value);
            assert_eq!(sent.as_deref(), Some(*value), "{parameters:?}: {location}");
        }
    }
}

#[actix_web::test]
async fn a_session_is_continued_only_for_its_own_provider() {
    let broker = TestBroker::start();
    let at_dev = signed_in(&broker, "dev", 10).await;
    let at_ops = signed_in(&broker, "ops", 10).await;
    for (browser, provider, expected) in [
        (&at_dev, "", Leads::Back),
        (&at_dev, "dev", Leads::Back),
        (&at_dev, "ops", Leads::Provider("ops")),
        (&at_ops, "", Leads::Back),
        (&at_ops, "ops", Leads::Back),
        (&at_ops, "dev", Leads::Provider("dev")),
    ] {
        check(&broker, browser, &[("provider", provider)], expected).await;
    }
    // If the provider of the session is no longer configured, the user signs in at another one.
    let without_dev = broker.twin_with(|config| drop(config.providers.remove(0)));
    at_dev.route(&broker.url, &without_dev.real_url);
    check(&without_dev, &at_dev, &[("provider", "")], Leads::Provider("ops")).await;
}

#[actix_web::test]
async fn a_prompt_that_the_provider_must_show_goes_to_the_provider() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "dev", 10).await;
    for prompt in ["login", "consent", "login consent", "select_account", "login select_account"] {
        let named = [("provider", "dev"), ("prompt", prompt)];
        check(&broker, &browser, &named, Leads::Provider("dev")).await;
        // The same user signs in again at the same provider; a user who may be a different one chooses.
        let again = if prompt.contains("select_account") { Leads::Chooser } else { Leads::Provider("dev") };
        check(&broker, &browser, &[("provider", ""), ("prompt", prompt)], again).await;
    }
    // prompt=login makes the provider ask, although the browser also has a session there.
    let authorize = browser.navigate(&broker.login(&[("prompt", "login")]).url).await.location().unwrap();
    let page = browser.navigate(authorize.as_str()).await;
    assert_eq!(page.status, 200, "{page:?}");
}

#[actix_web::test]
async fn max_age_is_measured_from_the_sign_in_at_the_provider() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "dev", 100).await;
    for provider in ["", "dev"] {
        for (max_age, expected) in [
            ("0", Leads::Provider("dev")),
            ("90", Leads::Provider("dev")),
            ("130", Leads::Back),
            ("4294967295", Leads::Back),
        ] {
            check(&broker, &browser, &[("provider", provider), ("max_age", max_age)], expected).await;
        }
    }
    let now = signed_in(&broker, "dev", 0).await;
    check(&broker, &now, &[("max_age", "0")], Leads::Provider("dev")).await;

    // A provider that does not report the time of the sign-in has to be asked; plain OAuth 2 does not support that.
    let silent = broker.browser();
    let login = broker.log_in(&silent, "dev", "alice", "&fault=missing_auth_time").await;
    assert!(login.key().starts_with("tbo_"));
    check(&broker, &silent, &[("provider", ""), ("max_age", "3600")], Leads::Provider("dev")).await;
    let at_ops = signed_in(&broker, "ops", 10).await;
    // Without a provider, the one that supports it is asked: the chooser offers nothing that must fail.
    check(&broker, &at_ops, &[("provider", ""), ("max_age", "3600")], Leads::Provider("dev")).await;
    let refused = at_ops.navigate(&broker.login(&[("provider", "ops"), ("max_age", "3600")]).url).await;
    refused.assert_own_page(400, "invalid_request");
}

#[actix_web::test]
async fn login_hint_is_compared_with_the_signed_in_user() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "dev", 10).await;
    for (hint, expected) in [
        ("alice", Leads::Back),
        ("alice@example.com", Leads::Back),
        ("Alice@Example.com", Leads::Back),
        ("bob", Leads::Provider("dev")),
        ("bob@example.com", Leads::Provider("dev")),
        ("alice@example.co", Leads::Provider("dev")),
        ("8d1f0c52-alice", Leads::Provider("dev")),
    ] {
        check(&broker, &browser, &[("login_hint", hint)], expected).await;
    }
    check(&broker, &browser, &[("provider", ""), ("login_hint", "bob")], Leads::Chooser).await;
    check(&broker, &browser, &[("provider", ""), ("login_hint", "alice")], Leads::Back).await;
}

fn login_required() -> Leads {
    Leads::Error("login_required".to_owned())
}

#[actix_web::test]
async fn prompt_none_shows_no_page() {
    let broker = TestBroker::start();
    let nobody = broker.browser();
    broker.ready().await;
    let browser = signed_in(&broker, "dev", 100).await;
    let ended = broker.browser();
    let token = broker.sign_in(&ended, "dev", "bob").await;
    broker.post("/api/logout", &token, &json!({})).await;
    for (browser, more, expected) in [
        (&browser, &[("provider", "")][..], Leads::Back),
        (&browser, &[("provider", "dev")], Leads::Back),
        (&browser, &[("login_hint", "alice")], Leads::Back),
        (&browser, &[("max_age", "200")], Leads::Back),
        // If the session is not enough: silently at an OpenID provider, otherwise an error.
        (&browser, &[("max_age", "20")], Leads::Provider("dev")),
        (&browser, &[("provider", ""), ("max_age", "20")], Leads::Provider("dev")),
        (&browser, &[("login_hint", "bob")], Leads::Provider("dev")),
        (&browser, &[("provider", ""), ("login_hint", "bob")], login_required()),
        (&browser, &[("provider", "ops")], login_required()),
        (&nobody, &[("provider", "dev")], Leads::Provider("dev")),
        (&nobody, &[("provider", "ops")], login_required()),
        (&nobody, &[("provider", "")], login_required()),
    ] {
        let parameters = [&[("prompt", "none")], more].concat();
        let login = broker.login(&parameters);
        let answer = browser.copy().navigate(&login.url).await;
        assert_eq!(leads(&broker, &answer), expected, "{parameters:?}");
        if expected == login_required() {
            assert_eq!(answer.parameter("state"), Some(login.state), "{answer:?}");
            assert!(answer.parameter("error_description").unwrap().contains("(login_required, request "));
            assert!(answer.header("location").unwrap().starts_with(&broker.at("/?")), "{answer:?}");
        }
    }
    let answer = ended.navigate(&broker.login(&[("provider", ""), ("prompt", "none")]).url).await;
    assert_eq!((leads(&broker, &answer), set_session(&answer)), (login_required(), None));
    let failed = broker.audited("login_failed").await;
    assert_eq!(
        (failed.client.as_deref(), failed.reason.as_deref()),
        (Some("sample"), Some("login_required"))
    );
}

#[actix_web::test]
async fn a_single_provider_is_asked_with_prompt_none() {
    for (kept, expected) in [(0, Leads::Provider("dev")), (1, login_required())] {
        let broker = TestBroker::with(Setup::default().adjust(move |config| {
            let provider = config.providers.remove(kept);
            config.providers = vec![provider];
        }));
        broker.ready().await;
        let silent = [("provider", ""), ("prompt", "none")];
        assert_eq!(login_leads(&broker, &broker.browser(), &silent).await, expected);
    }
}

/// What the broker decides itself needs no permission; what is passed on to the provider does.
#[actix_web::test]
async fn prompt_none_needs_no_permission_without_a_provider() {
    let broker =
        TestBroker::with(Setup::default().adjust(|config| config.clients[0].login_parameters.clear()));
    let browser = signed_in(&broker, "dev", 10).await;
    check(&broker, &browser, &[("prompt", "none")], Leads::Back).await;
    assert_eq!(login_leads(&broker, &broker.browser(), &[("prompt", "none")]).await, login_required());
    for refused in [("prompt", "login"), ("max_age", "60"), ("login_hint", "alice")] {
        for browser in [&browser, &broker.browser()] {
            let answer = browser.navigate(&broker.login(&[refused]).url).await;
            answer.assert_own_page(400, "invalid_request");
        }
    }
    let only_hint = TestBroker::with(Setup::default().adjust(|config| {
        config.clients[0].login_parameters = vec![LoginParameter::LoginHint];
    }));
    let browser = signed_in(&only_hint, "dev", 10).await;
    let silent = [("prompt", "none"), ("login_hint", "bob")];
    assert_eq!(login_leads(&only_hint, &browser, &silent).await, login_required());
}

/// Silent or not, a login is a navigation of the window: a frame is refused even if a user is signed in.
#[actix_web::test]
async fn a_signed_in_browser_gets_no_key_in_a_frame_or_fetch() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "dev", 10).await;
    for destination in ["iframe", "frame", "empty", "image"] {
        for prompt in ["", "none"] {
            let login = broker.login(&[("prompt", prompt)]);
            let answer = browser.get(&login.url, &[("sec-fetch-dest", destination)]).await;
            answer.assert_own_page(403, "not_a_navigation");
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
}

#[actix_web::test]
async fn an_invalid_request_is_refused_even_if_a_user_is_signed_in() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "dev", 10).await;
    for (name, value, code) in [
        ("redirect_uri", "https://evil.example/", "invalid_request"),
        ("client_id", "nobody", "invalid_client"),
        ("code_challenge", "", "invalid_request"),
        ("state", "é", "invalid_request"),
        ("provider", "nobody", "invalid_request"),
        ("prompt", "none login", "invalid_request"),
    ] {
        for prompt in [&[][..], &[("prompt", "none")]] {
            let login = broker.login(&[prompt, &[(name, value)]].concat());
            browser.navigate(&login.url).await.assert_own_page(400, code);
        }
    }
}

//! The sign-in of a page: started by the broker, completed in the browser that started it, and never ending elsewhere.

use chrono::TimeDelta;
use url::Url;

use super::*;

#[actix_web::test]
async fn a_sign_in_ends_on_the_origin_where_it_began() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    for target in
        ["//evil.example/", "/\\evil.example", "/https://evil.example", "/a?return=https://evil.example"]
    {
        visitor.browser.forget_cookies();
        let answer = visitor.navigate(target).await;
        assert_sent_to_sign_in(&answer, &broker);
        assert_eq!(answer.parameter("redirect_uri"), Some(format!("{TOOLS}/_token-broker/callback")));
        let landed: Url = visitor.sign_in(target, "alice").await.parse().unwrap();
        assert_eq!(landed.origin().ascii_serialization(), TOOLS, "{landed}");
    }
    // An address that is too long for a small cookie leads back to its path.
    visitor.browser.forget_cookies();
    let long = format!("/a?{}", "b".repeat(2048));
    assert_eq!(visitor.sign_in(&long, "alice").await, format!("{TOOLS}/a"));
    // These are no paths: there is nothing to come back to.
    visitor.browser.forget_cookies();
    for target in ["https://evil.example/", "@evil.example", ".evil.example", ""] {
        assert_refused(&visitor.navigate(target).await, 401, "missing_token");
    }
    let mut visitor = visitor;
    for origin in
        ["https://evil.example", "http://tools.example.com", "https://tools.example.com.evil.example"]
    {
        visitor.said = Some(origin.to_owned());
        assert_refused(&visitor.navigate("/").await, 401, "missing_token");
    }
}

#[actix_web::test]
async fn a_sign_in_is_completed_once_in_the_browser_that_started_it() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    let callback = visitor.to_callback("/a", "alice").await;
    let stranger = Visitor::new(&broker);
    stranger.come_back(&callback).await.assert_own_page(400, "invalid_state");
    stranger.navigate("/").await;
    stranger.come_back(&callback).await.assert_own_page(400, "invalid_state");

    let mut elsewhere = Visitor::new(&broker);
    elsewhere.browser = visitor.browser.copy();
    elsewhere.browser.route(OTHER, &broker.real_url);
    let cookies = elsewhere.browser.cookies("tools.example.com");
    for (name, value) in cookies {
        elsewhere.browser.set_cookie("other.example.com", &name, Some(&value));
    }
    elsewhere.origin = OTHER.to_owned();
    elsewhere.come_back(&callback.replace(TOOLS, OTHER)).await.assert_own_page(400, "invalid_state");

    for (change, code) in [("state=", "invalid_state"), ("one_time_key=", "invalid_state")] {
        let bare = callback.replace("#", "").replace(change, "x=");
        let answer =
            Visitor { browser: stranger.browser.copy(), ..Visitor::new(&broker) }.come_back(&bare).await;
        answer.assert_own_page(400, code);
    }
    assert_eq!(visitor.come_back(&callback).await.location().unwrap().as_str(), format!("{TOOLS}/a"));
    visitor.come_back(&callback).await.assert_own_page(400, "invalid_state");
    assert_eq!(visitor.call("/").await.status, 200, "the first one counts");
}

#[actix_web::test]
async fn a_sign_in_takes_ten_minutes_at_most() {
    let broker = broker().await;
    broker.stop_clock();
    let visitor = Visitor::new(&broker);
    let login = visitor.navigate("/").await.location().unwrap();
    broker.go_to(broker.now() + TimeDelta::seconds(600));
    visitor.browser.navigate(login.as_str()).await.assert_own_page(400, "invalid_state");
    let callback = visitor.to_callback("/", "alice").await;
    broker.go_to(broker.now() + TimeDelta::seconds(600));
    visitor.come_back(&callback).await.assert_own_page(400, "invalid_state");
}

#[actix_web::test]
async fn what_goes_wrong_at_the_provider_is_shown_and_leads_to_a_new_sign_in() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    let state = visitor.navigate("/").await.parameter("state").unwrap();
    let back = |error: &str| {
        let query = [("error", error), ("state", &state)];
        Url::parse_with_params(&format!("{TOOLS}/_token-broker/callback"), query).unwrap().to_string()
    };
    let stranger = Visitor::new(&broker);
    stranger.come_back(&back("access_denied")).await.assert_own_page(400, "invalid_state");
    let answer = visitor.come_back(&back("access_denied")).await;
    answer.assert_own_page(403, "access_denied");
    assert!(answer.body.contains(r#"href="/""#), "{answer:?}");
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"), "the sign-in is over: {answer:?}");
    assert_refused(&visitor.call("/").await, 401, "missing_token");
}

#[actix_web::test]
async fn only_the_broker_starts_the_sign_in_of_a_page() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    let callback = format!("{TOOLS}/_token-broker/callback");
    let page = [("client_id", "tools-pages"), ("redirect_uri", &*callback)];
    // As a script of the page would, to get a token of its own.
    visitor.browser.navigate(&broker.login(&page).url).await.assert_own_page(400, "invalid_state");
    let own = visitor.navigate("/").await;
    let [state, challenge] = ["state", "code_challenge"].map(|name| own.parameter(name).unwrap());
    let with_state = [&page[..], &[("state", &*state)]].concat();
    visitor.browser.navigate(&broker.login(&with_state).url).await.assert_own_page(400, "invalid_state");
    let with_challenge = [&page[..], &[("code_challenge", &*challenge)]].concat();
    visitor.browser.navigate(&broker.login(&with_challenge).url).await.assert_own_page(400, "invalid_state");
    let both = [("state", &*state), ("code_challenge", &*challenge)];
    let elsewhere = format!("{OTHER}/_token-broker/callback");
    for (client, uri) in [("tools-pages", &*elsewhere), ("admin-pages", &*callback)] {
        let login = broker.login(&[&[("client_id", client), ("redirect_uri", uri)][..], &both].concat());
        visitor.browser.navigate(&login.url).await.assert_own_page(400, "invalid_state");
    }
    let authorize = broker.login(&[&page[..], &both, &[("response_type", "code")]].concat()).url;
    let answer = visitor.browser.navigate(&authorize.replace("/login?", "/oauth2/authorize?")).await;
    assert_eq!(answer.parameter("code"), None, "{answer:?}");
    assert!(answer.parameter("error").is_some() || answer.status == 400, "{answer:?}");
    // The key of a sign-in is of no use without the verifier, which never leaves the broker.
    let back = visitor.to_callback("/", "alice").await;
    let key = Url::parse(&back)
        .unwrap()
        .query_pairs()
        .find(|(name, _)| name == "one_time_key")
        .unwrap()
        .1
        .into_owned();
    let redeemed = broker.redeem(&broker.browser(), &key, &"a".repeat(43)).await;
    assert_eq!(redeemed.error_code().as_deref(), Some("invalid_grant"));
}

#[actix_web::test]
async fn a_prefetch_of_the_way_back_uses_nothing_up() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    let callback = visitor.to_callback("/", "alice").await;
    let prefetch = [
        ("sec-purpose", "prefetch"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "tools.example.com"),
    ];
    let answer = visitor.browser.get(&callback, &prefetch).await;
    answer.assert_own_page(403, "not_a_navigation");
    assert_eq!(visitor.come_back(&callback).await.status, 303);
}

#[actix_web::test]
async fn a_browser_keeps_five_sign_ins() {
    let broker = broker().await;
    let visitor = Visitor::new(&broker);
    for _ in 0..8 {
        visitor.navigate("/").await;
        broker.advance(1);
    }
    let cookies = visitor.browser.cookies("tools.example.com");
    assert_eq!(cookies.len(), 5, "{cookies:?}");
    assert!(cookies.keys().all(|name| name.starts_with("__Host-Http-tb_visit_")), "{cookies:?}");
}

#[actix_web::test]
async fn an_internal_client_does_not_count_as_one_that_can_be_omitted() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.clients.truncate(1);
        add_pages(config, "tools", &[TOOLS], Requirements::default());
    }));
    broker.ready().await;
    let login = broker.login(&[("client_id", "")]);
    assert_eq!(broker.browser().navigate(&login.url).await.status, 303);
    let preflight = [("origin", TOOLS), ("access-control-request-method", "GET")];
    let answer =
        broker.browser().send(reqwest::Method::OPTIONS, &broker.at("/api/me"), &preflight, None).await;
    assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
}

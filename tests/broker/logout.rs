//! Signing out: `/api/logout`, the page `/logout`, the provider's own logout, and the logout callback.

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use token_broker::config::Config;
use token_broker::provider::settings::KindSettings;
use url::Url;

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::outage::{SOON, within};
use crate::support::redis;
use crate::support::rows;
use crate::support::storage::sql::SqliteLock;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// The registered post-logout address of the demo's client, and a state.
fn request(broker: &TestBroker, more: &[(&str, &str)]) -> String {
    let back = broker.at("/");
    let usual = [("client_id", "sample"), ("post_logout_redirect_uri", &*back), ("state", "spa-state")];
    let mut pairs = usual.to_vec();
    for parameter in more {
        pairs.retain(|(name, _)| name != &parameter.0);
        pairs.push(*parameter);
    }
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    Url::parse_with_params(&broker.at("/logout"), given).unwrap().into()
}

fn host(broker: &TestBroker) -> String {
    broker.url.parse::<Url>().unwrap().host_str().unwrap().to_owned()
}

fn session_cookie(broker: &TestBroker, browser: &Browser) -> Option<String> {
    let cookies = browser.cookies(&host(broker));
    cookies.iter().find(|(name, _)| name.ends_with("tb_session")).map(|(_, value)| value.clone())
}

/// The fields of the page's form.
fn fields(page: &Answer) -> Vec<(String, String)> {
    let pattern = regex::Regex::new(r#"<input type="hidden" name="(\w+)" value="([^"]*)">"#).unwrap();
    let unescape = |text: &str| text.replace("&quot;", "\"").replace("&lt;", "<").replace("&amp;", "&");
    pattern.captures_iter(&page.body).map(|found| (found[1].to_owned(), unescape(&found[2]))).collect()
}

/// Sends the page's form as browsers do.
async fn submit(broker: &TestBroker, browser: &Browser, page: &Answer) -> Answer {
    let fields = fields(page);
    let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let headers =
        [("origin", &*broker.url), ("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "document")];
    browser.post_form(&broker.at("/logout"), &pairs, &headers).await
}

/// Where a page redirects without user action.
fn refresh(page: &Answer) -> Option<Url> {
    let pattern = regex::Regex::new(r#"<meta http-equiv="refresh" content="0;url=([^"]*)">"#).unwrap();
    pattern.captures(&page.body).map(|found| found[1].replace("&amp;", "&").parse().unwrap())
}

#[track_caller]
fn assert_asks(page: &Answer) {
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("Sign out of Sample app?"), "{}", page.body);
    assert_eq!(page.header("set-cookie"), None);
    assert_eq!(page.header("clear-site-data"), None);
}

/// The browser is not redirected: the page says that the user is signed out.
#[track_caller]
fn assert_stays(page: &Answer) {
    assert_eq!((page.status.as_u16(), page.header("location")), (200, None), "{page:?}");
    assert!(page.body.contains("You are signed out") && refresh(page).is_none(), "{}", page.body);
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

fn with_hint(config: &mut Config) {
    for provider in &mut config.providers {
        if let KindSettings::Oidc(oidc) = &mut provider.kind {
            oidc.id_token_hint = true;
        }
    }
}

#[actix_web::test]
async fn api_logout_ends_the_session_at_once_and_returns_the_next_url() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let answer = broker.post("/api/logout", &token, &json!({})).await;
        assert_eq!(answer.status, 200);
        let expected = broker.at("/logout?client_id=sample");
        assert_eq!(answer.json(), json!({"provider_logout_url": expected}));
        assert_eq!(status(&broker, &token).await, 401);

        let plain = broker.sign_in(&broker.browser(), "ops", "alice").await;
        let answer = broker.post("/api/logout", &plain, &json!({})).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (204, ""), "there is no more to do");
        assert_eq!(status(&broker, &plain).await, 401);
    }
}

/// What the SPA does: it calls `/api/logout`, goes to the returned URL, and comes back without user action.
#[actix_web::test]
async fn from_the_spa_through_the_provider_and_back() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..setup });
        let browser = broker.browser();
        let token = broker.sign_in(&browser, "dev", "alice").await;
        let answer = broker.post("/api/logout", &token, &json!({})).await;
        let page = browser.navigate(answer.json()["provider_logout_url"].as_str().unwrap()).await;
        assert_eq!(page.status, 303, "nothing is asked: {page:?}");
        assert_eq!(session_cookie(&broker, &browser), None);
        let at_provider = browser.navigate(page.location().unwrap().as_str()).await;
        let callback = at_provider.location().unwrap();
        assert!(callback.as_str().starts_with(&broker.at("/logout/callback?state=")), "{callback}");
        let back = browser.navigate(callback.as_str()).await;
        assert_eq!(back.status, 303);
        assert_eq!(back.header("location"), Some(&*broker.at("/")));
        assert!(browser.cookies(&host(&broker)).is_empty(), "{:?}", browser.cookies(&host(&broker)));

        // The session at the provider has also ended.
        let silent = broker.login(&[("prompt", "none")]);
        let asked = browser.navigate(&silent.url).await;
        let answer = browser.navigate(asked.location().unwrap().as_str()).await;
        assert_eq!(answer.parameter("error").as_deref(), Some("login_required"));
    }
}

#[actix_web::test]
async fn from_the_page_through_the_provider_and_back_with_the_state() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..setup });
        let browser = broker.browser();
        let token = broker.sign_in(&browser, "dev", "alice").await;
        let page = browser.navigate(&request(&broker, &[])).await;
        assert_asks(&page);
        assert!(page.body.contains("<strong>Alice Example</strong>"), "{}", page.body);
        assert_eq!(status(&broker, &token).await, 200, "the page ends nothing");
        let done = submit(&broker, &browser, &page).await;
        assert_eq!(done.status, 200, "{done:?}");
        assert_eq!(done.header("clear-site-data"), Some("\"storage\""));
        assert_eq!(status(&broker, &token).await, 401);
        assert_eq!(session_cookie(&broker, &browser), None);

        let logout = refresh(&done).unwrap();
        assert!(logout.as_str().starts_with(&format!("{}/end-session?", broker.provider.url())), "{logout}");
        let names: Vec<_> = logout.query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["client_id", "post_logout_redirect_uri", "state"]);
        let pairs: std::collections::HashMap<_, _> = logout.query_pairs().into_owned().collect();
        assert_eq!(pairs["client_id"], "token-broker");
        assert_eq!(pairs["post_logout_redirect_uri"], broker.at("/logout/callback"));
        assert_eq!(pairs["state"].len(), 43, "256 bits");
        let callback = browser.navigate(logout.as_str()).await.location().unwrap();
        let back = browser.navigate(callback.as_str()).await;
        assert_eq!(back.header("location"), Some(&*format!("{}?state=spa-state#", broker.at("/"))));
        // Again, as with the back button: the logout attempt no longer exists.
        let again = browser.navigate(callback.as_str()).await;
        assert_stays(&again);
    }
}

#[actix_web::test]
async fn a_plain_provider_is_used_if_its_logout_is_configured() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        let base = match &config.providers[0].kind {
            KindSettings::Oidc(oidc) => oidc.issuer.clone(),
            KindSettings::OAuth2(_) => panic!("the first is the OpenID provider"),
        };
        if let KindSettings::OAuth2(plain) = &mut config.providers[1].kind {
            plain.end_session_url = Some(format!("{base}/end-session?from=broker").parse().unwrap());
        }
    }));
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "ops", "bob").await;
    let answer = broker.post("/api/logout", &token, &json!({})).await;
    assert_eq!(answer.status, 200);
    let page = browser.navigate(&request(&broker, &[])).await;
    let location = page.location().unwrap();
    assert!(location.as_str().contains("/end-session?from=broker&client_id=token-broker&"), "{location}");
    let callback = browser.navigate(location.as_str()).await.location().unwrap();
    let back = browser.navigate(callback.as_str()).await;
    assert_eq!(back.parameter("state").as_deref(), Some("spa-state"));
}

#[actix_web::test]
async fn only_registered_addresses_are_redirected_to() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let registered = broker.at("/");
    let upper = registered.replace("localhost", "LOCALHOST");
    let before = browser.cookies(&host(&broker));
    for target in [
        "https://evil.example/",
        "//evil.example",
        "javascript:alert(1)",
        &format!("{registered}x"),
        &format!("{registered}?x"),
        &format!("{registered}#"),
        &format!("{registered}/"),
        registered.trim_end_matches('/'),
        &upper,
        &broker.at("/legacy"),
        &broker.at("/%2e"),
        &format!("{registered} "),
    ] {
        let wanted = [("post_logout_redirect_uri", target)];
        let page = browser.navigate(&request(&broker, &wanted)).await;
        page.assert_own_page(400, "invalid_request");
        assert!(page.body.contains("Sign-out failed"), "{}", page.body);
        let pairs = [("client_id", "sample"), wanted[0]];
        let headers = [("origin", &*broker.url), ("sec-fetch-site", "same-origin")];
        let posted = browser.post_form(&broker.at("/logout"), &pairs, &headers).await;
        posted.assert_own_page(400, "invalid_request");
    }
    for (parameters, code) in [
        (vec![("client_id", "nobody")], "invalid_client"),
        (vec![("client_id", "legacy")], "invalid_request"),
        (vec![("client_id", "")], "invalid_request"),
        (vec![("state", "é")], "invalid_request"),
        (vec![("state", &"x".repeat(513))], "invalid_request"),
    ] {
        browser.navigate(&request(&broker, &parameters)).await.assert_own_page(400, code);
    }
    for twice in ["client_id=sample", "post_logout_redirect_uri=x", "state=x"] {
        let url = format!("{}?{twice}&{twice}", broker.at("/logout"));
        browser.navigate(&url).await.assert_own_page(400, "invalid_request");
    }
    assert_eq!(browser.cookies(&host(&broker)), before, "no cookie goes with an error");
    assert_eq!(status(&broker, &token).await, 200, "no session was ended");
}

#[actix_web::test]
async fn without_an_address_the_only_registered_one_or_a_page_is_used() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let only = browser.navigate(&broker.at("/logout?client_id=sample&state=x")).await;
    assert_eq!(only.header("location"), Some(&*format!("{}?state=x#", broker.at("/"))));
    for none in ["/logout", "/logout?client_id=legacy", "/logout?state=x"] {
        let page = browser.navigate(&broker.at(none)).await;
        assert_eq!((page.status.as_u16(), page.header("location")), (200, None), "{none}");
        assert!(page.body.contains("You are signed out"), "{}", page.body);
    }
    let two = TestBroker::with(Setup::default().adjust(|config| {
        let other = "https://app.example.com/bye".parse().unwrap();
        config.clients[0].post_logout_redirect_uris.push(other);
    }));
    let page = two.browser().navigate(&two.at("/logout?client_id=sample")).await;
    assert_eq!((page.status.as_u16(), page.header("location")), (200, None));
    let chosen = [("post_logout_redirect_uri", "https://app.example.com/bye"), ("state", "")];
    let page = two.browser().navigate(&request(&two, &chosen)).await;
    assert_eq!(page.header("location"), Some("https://app.example.com/bye"));
}

/// A foreign site can open the page and post to it, but neither ends a session.
#[actix_web::test]
async fn a_foreign_site_ends_no_session() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.clients[0].origins.push("https://app.example.com".parse().unwrap());
    }));
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let cookie = session_cookie(&broker, &browser).unwrap();
    let url = request(&broker, &[]);
    let document = ("sec-fetch-dest", "document");
    for headers in [vec![document, ("sec-fetch-site", "cross-site")], vec![document], vec![]] {
        assert_asks(&browser.get(&url, &headers).await);
    }
    for destination in ["iframe", "image", "empty", "script", "object"] {
        let answer = browser.get(&url, &[("sec-fetch-dest", destination)]).await;
        answer.assert_own_page(403, "not_a_navigation");
    }
    browser
        .get(&url, &[document, ("sec-purpose", "prefetch")])
        .await
        .assert_own_page(403, "not_a_navigation");

    let own = ("origin", &*broker.url);
    let same = ("sec-fetch-site", "same-origin");
    let body = || Some("client_id=sample".to_owned());
    for headers in [
        vec![],
        vec![("origin", "https://evil.example")],
        vec![("origin", "https://evil.example"), same],
        vec![("origin", "null")],
        vec![("origin", "null"), same],
        // A registered SPA is also a foreign site.
        vec![("origin", "https://app.example.com")],
        vec![("origin", "https://app.example.com"), ("sec-fetch-site", "same-site")],
        vec![own, ("sec-fetch-site", "cross-site")],
        vec![own, ("sec-fetch-site", "same-site")],
        vec![own, ("sec-fetch-site", "none")],
        vec![("referer", &*broker.url)],
    ] {
        let headers = [vec![FORM, document], headers].concat();
        let answer = browser.send(Method::POST, &broker.at("/logout"), &headers, body()).await;
        answer.assert_own_page(403, "origin_not_allowed");
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.header("clear-site-data"), None);
    }
    let framed = [FORM, own, same, ("sec-fetch-dest", "iframe")];
    let answer = browser.send(Method::POST, &broker.at("/logout"), &framed, body()).await;
    answer.assert_own_page(403, "not_a_navigation");
    let json = [("content-type", "application/json"), own, same, document];
    let answer = browser.send(Method::POST, &broker.at("/logout"), &json, Some("{}".to_owned())).await;
    answer.assert_own_page(415, "unsupported_media_type");
    // SameSite=Lax: a form that a foreign page posts comes without the cookie, so it ends no session, whatever it
    // contains.
    let stranger = broker.browser();
    let headers = [FORM, own, same, document];
    assert_eq!(stranger.send(Method::POST, &broker.at("/logout"), &headers, body()).await.status, 200);
    assert_eq!(status(&broker, &token).await, 200);
    assert_eq!(session_cookie(&broker, &browser).unwrap(), cookie);
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::HEAD] {
        let answer = browser.send(method, &url, &[own, same], None).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("GET, POST")));
    }
    assert_eq!(status(&broker, &token).await, 200);
}

#[actix_web::test]
async fn no_session_id_or_token_in_a_url_ends_a_session() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let cookie = session_cookie(&broker, &browser).unwrap();
    let session = broker.call("/api/me", &token).await.json()["session"]["id"].as_str().unwrap().to_owned();
    let stranger = broker.browser();
    for (name, value) in [
        ("token", &token),
        ("access_token", &token),
        ("session", &session),
        ("session_id", &session),
        ("sid", &session),
        ("tb_session", &cookie),
        ("id_token_hint", &session),
    ] {
        let url = request(&broker, &[(name, value)]);
        let page = stranger.navigate(&url).await;
        assert_eq!(page.status, 303, "{name}");
        assert!(!format!("{page:?}").contains(&**value) || page.url.as_str().contains(&**value));
        assert!(!page.header("location").unwrap().contains(&**value));
        let pairs = [("client_id", "sample"), (name, value)];
        let headers = [("origin", &*broker.url), ("sec-fetch-site", "same-origin")];
        let done = stranger.post_form(&broker.at("/logout"), &pairs, &headers).await;
        assert_eq!(done.status, 200);
        assert!(!done.body.contains(&**value));
    }
    assert_eq!(status(&broker, &token).await, 200);
}

/// The page repeats the request's own parameters, escaped, and nothing else.
#[actix_web::test]
async fn parameters_cannot_inject_into_the_page() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    broker.sign_in(&browser, "dev", "alice").await;
    let page = browser.navigate(&request(&broker, &[("x", "\"><script>alert(1)</script>")])).await;
    assert_asks(&page);
    assert!(!page.body.contains("script"));
    let names: Vec<_> = fields(&page).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["client_id", "post_logout_redirect_uri", "state"]);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("form-action 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
}

#[actix_web::test]
async fn the_logout_callback_works_in_the_same_browser_for_ten_minutes() {
    let broker = TestBroker::start();
    let (browser, other) = (broker.browser(), broker.browser());
    for one in [&browser, &other] {
        let token = broker.sign_in(one, "dev", "alice").await;
        assert_eq!(broker.post("/api/logout", &token, &json!({})).await.status, 200);
    }
    let leave = async |browser: &Browser, state: &str| {
        let page = browser.navigate(&request(&broker, &[("state", state)])).await;
        browser.navigate(page.location().unwrap().as_str()).await.location().unwrap().to_string()
    };
    let (mine, theirs) = (leave(&browser, "mine").await, leave(&other, "theirs").await);
    let without = mine.split('?').next().unwrap();
    for wrong in [&theirs, without, &format!("{without}?state="), &format!("{without}?state=x")] {
        assert_stays(&browser.navigate(wrong).await);
    }
    assert_stays(&broker.browser().navigate(&mine).await);
    browser.navigate(&format!("{mine}&state=x")).await.assert_own_page(400, "invalid_request");
    let back = browser.navigate(&mine).await;
    assert_eq!(back.parameter("state").as_deref(), Some("mine"), "what was wrong before used nothing up");

    broker.advance(601);
    assert_stays(&other.navigate(&theirs).await);
}

#[actix_web::test]
async fn a_changed_or_foreign_cookie_causes_no_redirect() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    broker.post("/api/logout", &token, &json!({})).await;
    let page = browser.navigate(&request(&broker, &[])).await;
    let callback = browser.navigate(page.location().unwrap().as_str()).await.location().unwrap();
    let host = host(&broker);
    let value = browser.cookies(&host)["tb_logout"].clone();
    let elsewhere = TestBroker::start();
    for bad in ["", "x", &value[1..], &format!("{value}A"), &value.to_lowercase()] {
        browser.set_cookie(&host, "tb_logout", Some(bad));
        assert_stays(&browser.navigate(callback.as_str()).await);
    }
    let there = elsewhere.browser();
    there.set_cookie(&host, "tb_logout", Some(&value));
    let state = callback.query().unwrap();
    let foreign = there.navigate(&format!("{}?{state}", elsewhere.at("/logout/callback"))).await;
    assert_stays(&foreign);
}

#[actix_web::test]
async fn the_id_token_is_sent_to_the_provider_once_and_only_if_stored() {
    let broker = TestBroker::with(Setup::default().adjust(with_hint));
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    assert_eq!(rows::count(&broker, "sessions", "sealed_id_token IS NOT NULL"), 1);
    let subject = broker.provider.log().last_id_token.unwrap()["sub"].as_str().unwrap().to_owned();
    let dump = rows::database_dump(&broker);
    assert!(!dump.iter().any(|value| value.starts_with(b"eyJ")), "it is sealed");
    let page = browser.navigate(&request(&broker, &[])).await;
    let done = submit(&broker, &browser, &page).await;
    let logout = refresh(&done).unwrap();
    let hint = logout.query_pairs().find(|(name, _)| name == "id_token_hint").unwrap().1.into_owned();
    let claims = hint.split('.').nth(1).unwrap();
    let claims = {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap()
    };
    assert!(String::from_utf8(claims).unwrap().contains(&subject));
    assert_eq!(
        rows::count(&broker, "sessions", "sealed_id_token IS NOT NULL"),
        0,
        "it is deleted at the logout"
    );
    let at_provider = browser.navigate(logout.as_str()).await;
    assert!(at_provider.location().is_some(), "the provider takes it: {at_provider:?}");
    assert_eq!(status(&broker, &token).await, 401);

    let without = TestBroker::start();
    without.sign_in(&without.browser(), "dev", "alice").await;
    assert_eq!(rows::count(&without, "sessions", "sealed_id_token IS NOT NULL"), 0, "not kept otherwise");
}

/// An attacker who can write to the database cannot assign an ID token to another user's session.
#[actix_web::test]
async fn an_id_token_is_bound_to_its_session() {
    let broker = TestBroker::with(Setup::default().adjust(with_hint));
    let (alice, bob) = (broker.browser(), broker.browser());
    let token = broker.sign_in(&alice, "dev", "alice").await;
    broker.sign_in(&bob, "dev", "bob").await;
    let session =
        broker.call("/api/me", &token).await.json()["session"]["id"].as_str().unwrap().replace('-', "");
    let of_alice = format!("(SELECT sealed_id_token FROM sessions WHERE id = x'{session}')");
    rows::change(&broker, &format!("UPDATE sessions SET sealed_id_token = {of_alice}"));
    let page = bob.navigate(&request(&broker, &[])).await;
    let done = submit(&broker, &bob, &page).await;
    assert!(!refresh(&done).unwrap().as_str().contains("id_token_hint"), "{done:?}");
}

#[actix_web::test]
async fn an_unavailable_provider_does_not_prevent_the_local_sign_out() {
    let mut broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let second = broker.browser();
    let leaving = broker.sign_in(&second, "dev", "bob").await;
    let stopped = broker.stop_provider().await;
    // An instance that has not called the provider yet.
    let twin = broker.twin();
    let (real, url) = (twin.real_url.clone(), broker.url.clone());
    browser.route(&url, &real);
    second.route(&url, &real);
    let page = browser.navigate(&request(&broker, &[])).await;
    assert_asks(&page);
    let done = within(SOON + SOON, "the logout", submit(&broker, &browser, &page)).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert!(done.body.contains("Development provider could not be reached"), "{}", done.body);
    let back = format!("href=\"{}?state=spa-state#\"", broker.at("/"));
    assert!(done.body.contains(&back), "no dead end: {}", done.body);
    assert_eq!(refresh(&done), None);
    assert_eq!(session_cookie(&broker, &browser), None);
    assert_eq!(status(&broker, &token).await, 401);

    let bearer = format!("Bearer {leaving}");
    let at = format!("{real}/api/logout");
    let nothing = json!({});
    let headers = [("authorization", &*bearer)];
    let api = within(SOON, "/api/logout", second.post_json(&at, &nothing, &headers)).await;
    let onward = twin.at("/logout?client_id=sample");
    assert_eq!((api.status.as_u16(), api.json()), (200, json!({"provider_logout_url": onward})));
    let page = second.navigate(&request(&broker, &[])).await;
    assert_eq!((page.status.as_u16(), page.location()), (200, None));
    assert!(page.body.contains("could not be reached"), "{}", page.body);
    drop(twin);
    broker.resume_provider(stopped);
}

#[actix_web::test]
async fn a_database_outage_clears_no_cookie_or_storage() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let page = browser.navigate(&request(&broker, &[])).await;
    let before = browser.cookies(&host(&broker));
    let lock = SqliteLock::of(broker.config.database.url.expose_secret());
    let done = submit(&broker, &browser, &page).await;
    done.assert_own_page(503, "temporarily_unavailable");
    assert!(done.body.contains("Sign-out is not possible right now"), "{}", done.body);
    assert!(done.header("retry-after").is_some());
    assert_eq!((done.header("set-cookie"), done.header("clear-site-data")), (None, None));
    assert_eq!(browser.cookies(&host(&broker)), before);
    drop(lock);
    assert_eq!(status(&broker, &token).await, 200);
    assert_eq!(submit(&broker, &browser, &page).await.status, 200);
    assert_eq!(status(&broker, &token).await, 401);
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn the_logout_page_reports_an_unavailable_database() {
    let mut server = crate::support::postgres::Postgres::own();
    let setup = Setup { database: Some(server.database()), ..Setup::default() };
    let broker = TestBroker::with(setup);
    broker.storage().migrate().await.unwrap();
    let browser = broker.browser();
    broker.sign_in(&browser, "dev", "alice").await;
    let before = browser.cookies(&host(&broker));
    server.stop();
    let page = within(SOON, "/logout", browser.navigate(&request(&broker, &[]))).await;
    page.assert_own_page(503, "temporarily_unavailable");
    assert_eq!(page.header("set-cookie"), None);
    assert_eq!(browser.cookies(&host(&broker)), before);
    let nobody = broker.browser().navigate(&request(&broker, &[])).await;
    assert_eq!(nobody.status, 303, "without a cookie there is nothing to ask the database");
}

#[actix_web::test]
async fn over_https_the_cookies_have_the_prefix_and_only_storage_is_cleared() {
    let broker = TestBroker::with(Setup::https());
    let browser = broker.browser();
    broker.sign_in(&browser, "dev", "alice").await;
    let page = browser.navigate(&request(&broker, &[])).await;
    let done = submit(&broker, &browser, &page).await;
    let set: Vec<_> = done.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    assert_eq!(set[0], "__Host-Http-tb_session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0");
    assert!(set[1].starts_with("__Host-Http-tb_logout="), "{set:?}");
    assert!(set[1].ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600"), "{set:?}");
    assert_eq!(set.len(), 2);
    assert_eq!(done.header("clear-site-data"), Some("\"storage\""));
}

#[actix_web::test]
async fn a_logout_in_the_browser_is_audited() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let me = broker.call("/api/me", &token).await.json();
    let page = browser.navigate(&request(&broker, &[])).await;
    let done = submit(&broker, &browser, &page).await;
    let event = broker.audited("session_ended").await;
    assert_eq!(event.request_id, done.header("x-request-id").unwrap());
    assert_eq!(event.client.unwrap().to_string(), "sample");
    assert_eq!(event.provider.unwrap().to_string(), "dev");
    assert_eq!(me["user"]["id"], event.user.unwrap().to_string());
    assert_eq!(me["session"]["id"], event.session.unwrap().to_string());
}

/// A user who signs out at the provider is also signed out at the broker, without a browser.
#[actix_web::test]
async fn a_logout_at_the_provider_ends_the_session_here() {
    let broker = TestBroker::start();
    broker.provider.tell_of_logouts("token-broker", format!("{}/oauth2/backchannel_logout", broker.real_url));
    let (browser, other) = (broker.browser(), broker.browser());
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let elsewhere = broker.sign_in(&other, "dev", "alice").await;
    let page = browser.navigate(&format!("{}/end-session", broker.provider.url())).await;
    assert_eq!(page.status, 200);
    assert_eq!(status(&broker, &token).await, 401);
    assert_eq!(status(&broker, &elsewhere).await, 200, "another session of the provider");
    // The browser session has also ended: /login redirects to the provider, which shows the choice of users.
    let login = browser.navigate(&broker.login(&[]).url).await;
    let location = login.location().unwrap();
    assert!(location.as_str().starts_with(broker.provider.url()), "{location}");
    let chooser = browser.navigate(location.as_str()).await;
    assert!(chooser.body.contains("alice") && chooser.body.contains("bob"), "{}", chooser.body);
}

/// A browser that opens the logout callback without a logout in progress sees the question, as with `/logout`.
#[actix_web::test]
async fn the_logout_callback_ends_no_session() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    for query in ["", "?state=x", "?state=&client_id=sample"] {
        let page = browser.navigate(&format!("{}{query}", broker.at("/logout/callback"))).await;
        assert_eq!((page.status.as_u16(), page.header("set-cookie")), (200, None));
        assert!(page.body.contains("Sign out?"), "{}", page.body);
    }
    assert_eq!(status(&broker, &token).await, 200);
}

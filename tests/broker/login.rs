//! `/login`: what it passes on to the provider, and what it refuses with the broker's own page.

use std::collections::{BTreeMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use token_broker::domain::client::LoginParameter;
use url::Url;

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Browser;

/// A login with these changed parameters ends on the broker's own page, and no attempt is started.
async fn refused(broker: &TestBroker, parameters: &[(&str, &str)], code: &str) {
    let browser = broker.browser();
    let answer = browser.navigate(&broker.login(parameters).url).await;
    answer.assert_own_page(400, code);
    assert!(browser.cookies("localhost").is_empty(), "{parameters:?}");
}

/// The authorization request of a login.
async fn request_of(broker: &TestBroker, parameters: &[(&str, &str)]) -> BTreeMap<String, String> {
    let answer = broker.browser().navigate(&broker.login(parameters).url).await;
    pairs(&answer.location().unwrap_or_else(|| panic!("{parameters:?}: {answer:?}")))
}

/// The parameters of the query. Panics if a name appears twice.
fn pairs(url: &Url) -> BTreeMap<String, String> {
    let pairs: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(pairs.len(), url.query_pairs().count(), "a name is repeated: {url}");
    pairs
}

#[actix_web::test]
async fn redirect_uri_is_compared_byte_for_byte() {
    let broker = TestBroker::start();
    let good = broker.at("/");
    let port = good.rsplit(':').next().unwrap().to_owned();
    for bad in [
        "https://evil.example/".to_owned(),
        "//evil.example/".to_owned(),
        "/".to_owned(),
        "javascript:alert(1)".to_owned(),
        broker.url.clone(),
        good.replace("localhost", "LOCALHOST"),
        good.replace("http:", "HTTP:"),
        good.replace("localhost", "127.0.0.1"),
        good.replace("localhost", "localhost."),
        good.replace("//localhost", "//evil.example@localhost"),
        good.replace("//localhost", "//localhost:x@localhost"),
        good.replace(&port, "1/"),
        format!("{good}?"),
        format!("{good}#"),
        format!("{good}#x"),
        format!("{good}."),
        format!("{good}../"),
        format!("{good}%2e"),
        format!("{good}x"),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\\@evil.example"),
        format!("{good}\r\nSet-Cookie: hostile=1"),
        good.replace("://", "%3A%2F%2F"),
        // Registered, but for another client.
        broker.at("/legacy"),
        "x".repeat(7000),
    ] {
        refused(&broker, &[("redirect_uri", &bad)], "invalid_request").await;
    }
}

#[actix_web::test]
async fn redirect_uri_can_be_omitted_if_there_is_only_one() {
    let one = TestBroker::start();
    one.ready().await;
    let login = one.complete(&one.browser(), one.login(&[("redirect_uri", "")]), "&user=alice").await;
    assert!(login.back.header("location").unwrap().starts_with(&format!("{}?one_time_key=", one.at("/"))));

    let two = TestBroker::with(Setup::default().adjust(|config| {
        config.clients[0].redirect_uris.push("https://app.example.com/signed-in".parse().unwrap());
    }));
    two.ready().await;
    refused(&two, &[("redirect_uri", "")], "invalid_request").await;
    let second = two.login(&[("redirect_uri", "https://app.example.com/signed-in")]);
    let login = two.complete(&two.browser(), second, "&user=alice").await;
    assert!(login.back.header("location").unwrap().starts_with("https://app.example.com/signed-in?"));
}

#[actix_web::test]
async fn an_unknown_client_never_causes_a_redirect() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        let mut disabled = config.clients[0].clone();
        disabled.id = "disabled".parse().unwrap();
        disabled.enabled = false;
        config.clients.push(disabled);
    }));
    for client_id in ["disabled", "unknown", "SAMPLE", "sample ", "sample\0", "sample,legacy", "*", "ünknown"]
    {
        refused(&broker, &[("client_id", client_id)], "invalid_client").await;
    }
    // With several clients, `client_id` is required.
    refused(&broker, &[("client_id", "")], "invalid_request").await;
    let twice = format!("{}&client_id=sample", broker.login(&[]).url);
    broker.browser().navigate(&twice).await.assert_own_page(400, "invalid_request");
}

#[actix_web::test]
async fn client_id_can_be_omitted_if_there_is_only_one() {
    let broker = TestBroker::with(Setup::default().adjust(|config| config.clients.truncate(1)));
    broker.ready().await;
    let login = broker.complete(&broker.browser(), broker.login(&[("client_id", "")]), "&user=alice").await;
    assert!(login.key().starts_with("tbo_"));
}

#[actix_web::test]
async fn a_known_parameter_twice_or_in_broken_utf_8_is_refused() {
    let broker = TestBroker::start();
    let login = broker.login(&[]).url;
    for name in [
        "client_id",
        "redirect_uri",
        "state",
        "code_challenge",
        "code_challenge_method",
        "provider",
        "prompt",
        "login_hint",
        "max_age",
    ] {
        for more in
            ["{}=a&{}=a", "{}=&{}=a", "{}=%FF", "{}=%C0%80", "{}=%ED%A0%80", "{}=%", "{}=%4", "{}=%zz"]
        {
            let more = more.replace("{}", name);
            let answer = broker.browser().navigate(&format!("{login}&{more}")).await;
            answer.assert_own_page(400, "invalid_request");
            assert!(answer.body.contains(name), "{more}: the page does not say which: {}", answer.body);
        }
    }
    let harmless = broker.browser().navigate(&format!("{login}&utm=1&utm=%FF&&=")).await;
    assert_eq!(harmless.status, 303, "{harmless:?}");
}

#[actix_web::test]
async fn a_challenge_of_s256_is_required() {
    let broker = TestBroker::start();
    let good = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let short = &good[1..];
    for (challenge, method) in [
        ("", ""),
        ("", "S256"),
        (good, ""),
        (good, "plain"),
        (good, "s256"),
        (good, "S256 "),
        (good, "S512"),
        (short, "S256"),
        (&format!("{good}A"), "S256"),
        (&format!("{short}="), "S256"),
        (&format!("{short}+"), "S256"),
        (&format!("{short}é"), "S256"),
    ] {
        let pkce = [("code_challenge", challenge), ("code_challenge_method", method)];
        refused(&broker, &pkce, "invalid_request").await;
        // A legacy client can omit the challenge, but must not send a wrong one.
        let uri = broker.at("/legacy");
        let legacy = [("client_id", "legacy"), ("redirect_uri", &*uri), pkce[0], pkce[1]];
        match (challenge, method) {
            ("", "") => drop(request_of(&broker, &legacy).await),
            _ => refused(&broker, &legacy, "invalid_request").await,
        }
    }
}

#[actix_web::test]
async fn state_nonce_and_verifier_are_fresh_and_of_256_bits() {
    let broker = TestBroker::start();
    let mut seen = HashSet::new();
    let login = broker.login(&[]).url;
    for _ in 0..20 {
        let answer = broker.browser().navigate(&login).await;
        let request = pairs(&answer.location().unwrap());
        for name in ["state", "nonce", "code_challenge"] {
            assert_eq!(URL_SAFE_NO_PAD.decode(&request[name]).unwrap().len(), 32, "{name}");
            assert!(seen.insert(request[name].clone()), "{name} came before");
        }
    }
}

#[actix_web::test]
async fn the_authorization_request_is_exact() {
    let broker = TestBroker::start();
    for (provider, own) in [("dev", &["nonce", "scope"][..]), ("ops", &[])] {
        let settings = broker.config.providers.iter().find(|p| p.id.as_str() == provider).unwrap();
        let request = request_of(&broker, &[("provider", provider)]).await;
        let mut names = vec![
            "client_id",
            "code_challenge",
            "code_challenge_method",
            "redirect_uri",
            "response_type",
            "state",
        ];
        names.extend(own);
        names.sort_unstable();
        assert_eq!(request.keys().collect::<Vec<_>>(), names);
        assert_eq!(request["response_type"], "code");
        assert_eq!(request["client_id"], settings.client_id);
        assert_eq!(request["code_challenge_method"], "S256");
        assert_eq!(request["redirect_uri"], broker.at(&format!("/oauth2_callback/{provider}")));
        assert!(request.get("scope").is_none_or(|scope| scope == "openid profile email"));
    }
}

#[actix_web::test]
async fn no_later_parameter_changes_a_login() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let login = broker.login(&[]);
    let callback = broker.callback_url(&browser, &login.url, "&user=alice").await;
    let hostile = "&redirect_uri=https%3A%2F%2Fevil.example&client_id=legacy&provider=ops&nonce=a&max_age=0\
        &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_verifier=a&key_delivery=fragment";
    let back = browser.navigate(&format!("{callback}{hostile}")).await;
    let location = back.location().unwrap();
    assert!(location.as_str().starts_with(&broker.at("/?")), "{location}");
    assert_eq!(back.parameter("state").unwrap(), login.state);
    let key = back.parameter("one_time_key").unwrap();
    let answer = broker.redeem(&browser, &key, &login.verifier).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let me = broker.call("/api/me", answer.json()["access_token"].as_str().unwrap()).await.json();
    assert_eq!((&me["user"]["provider"], &me["token"]["client_id"]), (&"dev".into(), &"sample".into()));
}

#[actix_web::test]
async fn an_attempt_is_valid_for_ten_minutes() {
    let broker = TestBroker::start();
    broker.ready().await;
    for (seconds, in_time) in [(590, true), (601, false)] {
        let browser = broker.browser();
        let login = broker.login(&[]);
        let authorize = browser.navigate(&login.url).await.location().unwrap();
        broker.advance(seconds);
        let chosen = browser.navigate(&format!("{authorize}&user=alice")).await;
        let exchanges = broker.provider.log().count("/token");
        let back = browser.navigate(chosen.location().unwrap().as_str()).await;
        if in_time {
            assert!(back.parameter("one_time_key").is_some(), "{back:?}");
        } else {
            back.assert_own_page(400, "invalid_state");
            assert_eq!(broker.provider.log().count("/token"), exchanges, "the code stays unused");
        }
    }
}

#[actix_web::test]
async fn only_a_navigation_of_the_window_starts_a_login() {
    let broker = TestBroker::start();
    for (headers, begins) in [
        (&[][..], true),
        (&[("sec-fetch-dest", "document")], true),
        (&[("sec-fetch-dest", "document"), ("sec-fetch-site", "cross-site")], true),
        (&[("sec-fetch-dest", "iframe")], false),
        (&[("sec-fetch-dest", "frame")], false),
        (&[("sec-fetch-dest", "empty")], false),
        (&[("sec-fetch-dest", "image")], false),
        (&[("sec-fetch-dest", "script")], false),
        (&[("sec-fetch-dest", "document"), ("sec-fetch-dest", "iframe")], false),
        (&[("sec-fetch-dest", "document"), ("sec-purpose", "prefetch")], false),
        (&[("sec-purpose", "prefetch;prerender")], false),
    ] {
        let browser = broker.browser();
        let answer = browser.get(&broker.login(&[]).url, headers).await;
        if begins {
            assert_eq!(answer.status, 303, "{headers:?}");
        } else {
            answer.assert_own_page(403, "not_a_navigation");
            assert!(browser.cookies("localhost").is_empty(), "{headers:?}");
        }
    }
}

#[actix_web::test]
async fn only_get_starts_a_login_and_the_redirect_is_303() {
    let broker = TestBroker::start();
    let login = broker.login(&[]).url;
    assert_eq!(broker.browser().navigate(&login).await.status, 303);
    let with_slash = login.replace("/login?", "/login/?");
    assert_eq!(broker.browser().navigate(&with_slash).await.status, 303);
    for method in ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let headers = [("x-http-method-override", "GET")];
        let answer = broker.browser().send(method.clone(), &login, &headers, None).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!((answer.header("allow"), answer.header("location")), (Some("GET"), None), "{method}");
    }
}

#[actix_web::test]
async fn provider_is_a_configured_name_and_not_a_url() {
    let broker = TestBroker::start();
    let issuer = broker.provider.issuer();
    for bad in
        ["nobody", "DEV", "dev ", "dev,ops", "../dev", "https://evil.example", &issuer, &"p".repeat(33)]
    {
        refused(&broker, &[("provider", bad)], "invalid_request").await;
    }
}

#[actix_web::test]
async fn the_state_of_the_spa_comes_back_unchanged() {
    let broker = TestBroker::start();
    broker.ready().await;
    let every: String = (' '..='~').collect();
    for state in ["a", "-_09azAZ", " ", "a b&c=d#%2B+<\">", &every, &"s".repeat(511), &"s".repeat(512)] {
        let login = broker.login(&[("state", state)]);
        let login = broker.complete(&broker.browser(), login, "&user=alice").await;
        assert_eq!(login.back.parameter("state").as_deref(), Some(state));
    }
    let without = broker.login(&[("state", "")]);
    let without = broker.complete(&broker.browser(), without, "&user=alice").await;
    assert_eq!((without.back.parameter("state"), without.key().is_empty()), (None, false));
    for bad in [&"s".repeat(513), "é", "a\r\nb", "a\u{7f}", "\0"] {
        refused(&broker, &[("state", bad)], "invalid_request").await;
    }
}

fn with_login_parameters(parameters: &'static [LoginParameter]) -> TestBroker {
    TestBroker::with(
        Setup::default().adjust(|config| config.clients[0].login_parameters = parameters.to_vec()),
    )
}

#[actix_web::test]
async fn hints_are_passed_on_only_if_the_client_can_use_them() {
    let cautious = with_login_parameters(&[]);
    let generous =
        with_login_parameters(&[LoginParameter::Prompt, LoginParameter::LoginHint, LoginParameter::MaxAge]);
    for (name, value) in [
        ("prompt", "login"),
        ("prompt", "login consent"),
        ("login_hint", "bob@example.com&state=x"),
        ("max_age", "0"),
    ] {
        refused(&cautious, &[(name, value)], "invalid_request").await;
        assert_eq!(request_of(&generous, &[(name, value)]).await[name], value);
    }
    for (name, value) in [
        ("prompt", "none login"),
        ("prompt", "create"),
        ("prompt", " "),
        ("login_hint", "a\r\nb"),
        ("login_hint", &"h".repeat(256)),
        ("max_age", "-1"),
        ("max_age", "1.5"),
        ("max_age", "4294967296"),
    ] {
        refused(&generous, &[(name, value)], "invalid_request").await;
    }
}

#[actix_web::test]
async fn prompt_none_never_shows_a_page() {
    let broker = with_login_parameters(&[LoginParameter::Prompt]);
    broker.ready().await;
    let browser = broker.browser();
    let silent =
        async |browser: &Browser| broker.complete(browser, broker.login(&[("prompt", "none")]), "").await;
    let stranger = silent(&browser).await;
    assert_eq!(stranger.error(), "login_required");
    broker.log_in(&browser, "dev", "alice", "").await.key();
    assert!(silent(&browser).await.key().starts_with("tbo_"), "the provider still knows the browser");
}

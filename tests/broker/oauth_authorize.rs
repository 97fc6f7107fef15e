//! `/oauth2/authorize`: the answers of RFC 6749 section 4.1.2, each with `iss`, and everything else as at `/login`.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;
use token_broker::domain::client::{KeyDelivery, KeyParameter};

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::oauth::{authorization, authorize, code, exchange, setup, setup_with};
use crate::support::outage::assert_nothing_lost;

/// The parameters of the redirect's query; its fragment must be empty.
fn answer_at(back: &Answer, address: &str) -> BTreeMap<String, String> {
    let location = back.location().unwrap_or_else(|| panic!("no redirect: {back:?}"));
    assert!(location.as_str().starts_with(&format!("{address}?")), "{location}");
    assert_eq!(location.fragment(), Some(""), "{location}");
    location.query_pairs().into_owned().collect()
}

#[track_caller]
fn assert_refused(broker: &TestBroker, back: &Answer, error: &str, state: Option<&str>, case: &str) {
    let answer = answer_at(back, &broker.at("/"));
    let seen = (answer.get("error").map(String::as_str), answer.get("state").map(String::as_str));
    assert_eq!(seen, (Some(error), state), "{case}: {answer:?}");
    assert_eq!(answer.get("iss"), Some(&broker.url), "{case}: {answer:?}");
    assert!(answer.contains_key("error_description") && !answer.contains_key("code"), "{case}: {answer:?}");
}

#[actix_web::test]
async fn the_answer_is_code_state_and_iss_in_the_query() {
    // What the client configured for `/login` does not count here.
    let broker = TestBroker::with(setup_with(|config| {
        config.clients[0].key_delivery = KeyDelivery::Fragment;
        config.clients[0].key_parameter = KeyParameter::OneTimeKey;
    }));
    let every: String = (' '..='~').collect();
    for state in ["a", "a b&c=d#e%2B+\"<>", &every, &"s".repeat(512)] {
        let login = authorize(&broker, &broker.browser(), &[("state", state)]).await;
        let answer = answer_at(&login.back, &broker.at("/"));
        assert_eq!(answer.keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
        assert_eq!((&answer["state"], &answer["iss"]), (&state.to_owned(), &broker.url));
        assert!(answer["code"].starts_with("tbo_"));
        assert_eq!(login.back.status, 303);
    }
    let login = authorize(&broker, &broker.browser(), &[("state", "")]).await;
    assert_eq!(answer_at(&login.back, &broker.at("/")).keys().collect::<Vec<_>>(), ["code", "iss"]);
}

#[actix_web::test]
async fn a_bad_request_of_a_known_client_is_an_error_at_its_address() {
    let broker = TestBroker::start();
    for (parameters, error) in [
        (&[("response_type", "")][..], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "id_token")], "unsupported_response_type"),
        (&[("response_type", "code id_token")], "unsupported_response_type"),
        (&[("response_type", "none")], "unsupported_response_type"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("response_mode", "form_post")], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge", ""), ("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("scope", "a\"b")], "invalid_scope"),
        (&[("scope", "profile  email")], "invalid_scope"),
        (&[("scope", "unknown other")], "invalid_scope"),
        (&[("nonce", "é")], "invalid_request"),
        (&[("nonce", &"n".repeat(513))], "invalid_request"),
        (&[("prompt", "none login")], "invalid_request"),
        (&[("max_age", "-1")], "invalid_request"),
        (&[("max_age", "60"), ("provider", "ops")], "invalid_request"),
        (&[("provider", "unknown")], "invalid_request"),
        (&[("resource", "https://other.example")], "invalid_target"),
        (&[("request", "eyJ")], "request_not_supported"),
        (&[("request_uri", "https://app.example/r")], "request_uri_not_supported"),
    ] {
        let browser = broker.browser();
        let login = authorization(&broker, parameters);
        let back = browser.navigate(&login.url).await;
        assert_refused(&broker, &back, error, Some(&login.state), &format!("{parameters:?}"));
        assert!(browser.cookies("localhost").is_empty(), "{parameters:?}");
    }
}

#[actix_web::test]
async fn a_parameter_twice_or_in_broken_utf_8_is_an_error_at_the_address() {
    let broker = TestBroker::start();
    let login = authorization(&broker, &[]);
    for name in ["response_type", "scope", "nonce", "code_challenge", "prompt", "provider", "max_age"] {
        for more in ["{}=a&{}=a", "{}=%FF"] {
            let more = more.replace("{}", name);
            let back = broker.browser().navigate(&format!("{}&{more}", login.url)).await;
            assert_refused(&broker, &back, "invalid_request", Some(&login.state), &more);
        }
    }
    // A state that cannot be returned is left out.
    for more in ["state=a", "state=%FF"] {
        let back = broker.browser().navigate(&format!("{}&{more}", login.url)).await;
        assert_refused(&broker, &back, "invalid_request", None, more);
    }
    for state in ["é".to_owned(), "a\nb".to_owned(), "s".repeat(513)] {
        let back = broker.browser().navigate(&authorization(&broker, &[("state", &state)]).url).await;
        assert_refused(&broker, &back, "invalid_request", None, &state);
    }
}

#[actix_web::test]
async fn an_unknown_client_or_address_is_never_redirected() {
    let broker = TestBroker::with(setup());
    let good = authorization(&broker, &[]).url;
    for (changed, code) in [
        (("client_id", "unknown"), "invalid_client"),
        (("client_id", "SAMPLE"), "invalid_client"),
        (("client_id", ""), "invalid_request"),
        (("redirect_uri", "https://evil.example/"), "invalid_request"),
        (("redirect_uri", &broker.at("/x")), "invalid_request"),
        (("redirect_uri", &broker.at("/legacy")), "invalid_request"),
    ] {
        // Also if something else is wrong that would be reported at the address.
        for more in [&[][..], &[("response_type", "token")]] {
            let url = authorization(&broker, &[&[changed], more].concat()).url;
            broker.browser().navigate(&url).await.assert_own_page(400, code);
        }
    }
    for more in
        ["client_id=sample", "redirect_uri=https%3A%2F%2Fevil.example%2F", "client_id=%FF", "redirect_uri=%"]
    {
        broker.browser().navigate(&format!("{good}&{more}")).await.assert_own_page(400, "invalid_request");
    }
}

#[actix_web::test]
async fn a_legacy_client_stays_with_its_contract() {
    let broker = TestBroker::start();
    let address = broker.at("/legacy");
    let url = authorization(&broker, &[("client_id", "legacy"), ("redirect_uri", &address)]).url;
    let answer = answer_at(&broker.browser().navigate(&url).await, &address);
    assert_eq!(answer["error"], "unauthorized_client", "{answer:?}");
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "legacy"),
        ("code", "x"),
        ("code_verifier", "x"),
    ];
    let answer = crate::support::oauth::post(&broker, &form).await;
    assert_eq!(answer.error_code().as_deref(), Some("unauthorized_client"));
}

#[actix_web::test]
async fn a_refusal_of_the_provider_comes_with_iss() {
    let broker = TestBroker::start();
    broker.ready().await;
    let login = authorization(&broker, &[]);
    let login = broker.complete(&broker.browser(), login, "&deny=1").await;
    assert_refused(&broker, &login.back, "access_denied", Some(&login.state), "deny");
}

#[actix_web::test]
async fn an_unreachable_provider_is_a_temporary_error_at_the_address() {
    let mut broker = TestBroker::start();
    let stopped = broker.stop_provider().await;
    let login = authorization(&broker, &[]);
    let back = broker.browser().navigate(&login.url).await;
    assert_refused(&broker, &back, "temporarily_unavailable", Some(&login.state), "provider");
    broker.resume_provider(stopped);
}

#[actix_web::test]
async fn prompt_none_continues_the_session_or_answers_login_required() {
    let broker = TestBroker::with(setup());
    let silent = [("prompt", "none"), ("provider", "ops")];
    let login = authorization(&broker, &silent);
    let back = broker.browser().navigate(&login.url).await;
    assert_refused(&broker, &back, "login_required", Some(&login.state), "no session");

    let browser = broker.browser();
    let first = authorize(&broker, &browser, &[]).await;
    let before = exchange(&broker, &first, &[]).await.json();
    for client in ["sample", "other"] {
        let login = authorization(&broker, &[("prompt", "none"), ("client_id", client)]);
        let back = browser.navigate(&login.url).await;
        let login = crate::support::broker::Login {
            back,
            callback: String::new(),
            verifier: login.verifier,
            state: login.state,
        };
        let after = exchange(&broker, &login, &[("client_id", client)]).await.json();
        let session = async |body: &serde_json::Value| {
            broker.call("/api/me", body["access_token"].as_str().unwrap()).await.json()["session"]["id"]
                .clone()
        };
        assert_eq!(session(&before).await, session(&after).await, "{client}");
    }
    // The session does not suit the request.
    let login = authorization(&broker, &silent);
    let back = browser.navigate(&login.url).await;
    assert_refused(&broker, &back, "login_required", Some(&login.state), "other provider");
}

#[actix_web::test]
async fn the_chooser_leads_back_to_the_authorization_endpoint() {
    let broker = TestBroker::start();
    let login = authorization(&broker, &[("provider", ""), ("state", "a b&c")]);
    let page = broker.browser().navigate(&login.url).await;
    assert_eq!(page.status, 200);
    let link = page.body.split("href=\"").find(|link| link.contains("provider=dev")).unwrap();
    let link = link.split('"').next().unwrap().replace("&amp;", "&");
    assert!(link.starts_with("/oauth2/authorize?"), "{link}");
    broker.ready().await;
    let chosen = crate::support::broker::LoginUrl { url: broker.at(&link), ..login };
    let login = broker.complete(&broker.browser(), chosen, "&user=alice").await;
    let answer = answer_at(&login.back, &broker.at("/"));
    assert_eq!(answer["state"], "a b&c");
    assert_eq!(exchange(&broker, &login, &[]).await.status, 200, "nothing of the request was lost");
    // The way back without a sign-in also is an answer.
    let back = page.body.split("href=\"").find(|link| link.contains("error=access_denied")).unwrap();
    assert!(back.contains("iss="), "{back}");
}

#[actix_web::test]
async fn only_a_navigation_by_get_starts_anything() {
    let broker = TestBroker::start();
    let url = authorization(&broker, &[]).url;
    for headers in
        [&[("sec-fetch-dest", "iframe")][..], &[("sec-fetch-dest", "empty")], &[("sec-purpose", "prefetch")]]
    {
        broker.browser().get(&url, headers).await.assert_own_page(403, "not_a_navigation");
    }
    for method in [Method::HEAD, Method::POST] {
        let answer = broker.browser().send(method, &url, &[], None).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("GET")));
    }
}

#[actix_web::test]
async fn a_code_is_no_one_time_key_and_a_one_time_key_is_no_code() {
    let broker = TestBroker::start();
    let login = authorize(&broker, &broker.browser(), &[]).await;
    let answer = broker.redeem(&broker.browser(), &code(&login), &login.verifier).await;
    assert_eq!(answer.error_code().as_deref(), Some("invalid_grant"), "{answer:?}");
    assert_eq!(exchange(&broker, &login, &[]).await.status, 200, "it was not spent");

    let login = broker.log_in(&broker.browser(), "dev", "alice", "").await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "sample"),
        ("code", &login.key()),
        ("code_verifier", &login.verifier),
    ];
    let answer = crate::support::oauth::post(&broker, &form).await;
    assert_eq!(answer.error_code().as_deref(), Some("invalid_grant"), "{answer:?}");
    let body = json!({ "one_time_key": login.key(), "code_verifier": login.verifier });
    let answer = broker.browser().post_json(&broker.at("/api/get_token"), &body, &[]).await;
    assert_eq!(answer.status, 200, "it was not spent: {answer:?}");
}

#[actix_web::test]
async fn an_outage_of_the_key_store_is_told_to_the_client_and_loses_nothing() {
    let mut server = crate::support::redis::RedisServer::start(&[]);
    let broker = TestBroker::with(Setup { key_store: Some(server.url()), ..setup() });
    let browser = broker.browser();
    authorize(&broker, &browser, &[]).await;
    server.stop();
    let login = authorization(&broker, &[("prompt", "none")]);
    let back = browser.navigate(&login.url).await;
    assert_refused(&broker, &back, "temporarily_unavailable", Some(&login.state), "key store");
    assert_nothing_lost(&back);
    server.launch();
    crate::support::outage::assert_recovers(&broker, "the key store was started again").await;
    assert!(browser.navigate(&login.url).await.parameter("code").is_some());
}

//! `/oauth2/token` with an authorization code: bound to client, address and verifier, and good for one exchange.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::broker::{Setup, TestBroker};
use crate::support::oauth::{
    NONCE, TOKEN, assert_error, authorize, code, decode, exchange, post, setup, setup_with, text, tokens,
};
use crate::support::outage::assert_recovers;
use crate::support::redis::RedisServer;

#[actix_web::test]
async fn the_response_is_as_documented() {
    let broker = TestBroker::start();
    let login = authorize(&broker, &broker.browser(), &[]).await;
    let answer = exchange(&broker, &login, &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let names: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["access_token", "expires_in", "id_token", "scope", "token_type"]);
    assert_eq!((&body["token_type"], &body["scope"]), (&json!("Bearer"), &json!("email openid profile")));
    assert!((604_790..=604_800).contains(&body["expires_in"].as_i64().unwrap()), "{body}");
    assert_eq!(broker.call("/api/me", &text(&body, "access_token")).await.status, 200);
}

#[actix_web::test]
async fn a_code_is_bound_to_client_address_and_verifier_and_a_wrong_proof_spends_nothing() {
    let broker = TestBroker::with(setup());
    let login = authorize(&broker, &broker.browser(), &[]).await;
    let other_address = broker.at("/x");
    let mut answers = Vec::new();
    for wrong in [
        ("client_id", "other"),
        ("redirect_uri", ""),
        ("redirect_uri", &other_address),
        ("redirect_uri", &broker.at("")),
        ("code_verifier", &"v".repeat(43)),
        ("code_verifier", "short"),
        ("code", "tbo_short"),
    ] {
        let answer = exchange(&broker, &login, &[wrong]).await;
        assert_error(&answer, 400, "invalid_grant", wrong);
        answers.push(answer.normalized());
    }
    assert_eq!(exchange(&broker, &login, &[]).await.status, 200, "the code was not spent");
    answers.push(exchange(&broker, &login, &[]).await.normalized());
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[actix_web::test]
async fn an_address_that_was_not_named_must_not_be_sent() {
    let broker = TestBroker::start();
    let login = authorize(&broker, &broker.browser(), &[("redirect_uri", "")]).await;
    assert_error(&exchange(&broker, &login, &[]).await, 400, "invalid_grant", "sent");
    assert_eq!(exchange(&broker, &login, &[("redirect_uri", "")]).await.status, 200);
}

#[actix_web::test]
async fn a_replayed_code_ends_the_session_and_a_double_submit_does_not() {
    for (seconds, status) in [(1, 200), (11, 401)] {
        let broker = TestBroker::start();
        let login = authorize(&broker, &broker.browser(), &[]).await;
        let token = text(&exchange(&broker, &login, &[]).await.json(), "access_token");
        // Without the proof a replay is only refused.
        let unproven = exchange(&broker, &login, &[("code_verifier", &"v".repeat(43))]).await;
        assert_error(&unproven, 400, "invalid_grant", "unproven");
        assert_eq!(broker.call("/api/me", &token).await.status, 200);
        broker.advance(seconds);
        assert_error(&exchange(&broker, &login, &[]).await, 400, "invalid_grant", seconds);
        assert_eq!(broker.call("/api/me", &token).await.status, status, "after {seconds} seconds");
    }
}

#[actix_web::test]
async fn of_parallel_exchanges_one_succeeds() {
    let broker = TestBroker::start();
    let login = authorize(&broker, &broker.browser(), &[]).await;
    let answers = join_all((0..30).map(|_| exchange(&broker, &login, &[]))).await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(good.len(), 1, "{answers:?}");
    assert!(bad.iter().all(|answer| answer.error_code().as_deref() == Some("invalid_grant")));
}

#[actix_web::test]
async fn malformed_and_unsupported_requests_are_named_by_the_codes_of_the_standard() {
    let broker = TestBroker::with(setup_with(|config| config.clients[0].refresh_tokens = false));
    let login = authorize(&broker, &broker.browser(), &[]).await;
    for (changed, code) in [
        (("grant_type", ""), "invalid_request"),
        (("grant_type", "password"), "unsupported_grant_type"),
        (("grant_type", "client_credentials"), "unsupported_grant_type"),
        (("grant_type", "implicit"), "unsupported_grant_type"),
        (("grant_type", "refresh_token"), "unauthorized_client"),
        (("client_id", ""), "invalid_request"),
        (("client_id", "unknown"), "invalid_client"),
        (("client_secret", "guess"), "invalid_client"),
        (("code", ""), "invalid_request"),
        (("code_verifier", ""), "invalid_request"),
    ] {
        assert_error(&exchange(&broker, &login, &[changed]).await, 400, code, changed);
    }
    let browser = broker.browser();
    let basic = [("authorization", "Basic c2FtcGxlOg==")];
    let form = [("grant_type", "authorization_code"), ("client_id", "sample"), ("code", &*code(&login))];
    assert_error(&browser.post_form(&broker.at(TOKEN), &form, &basic).await, 400, "invalid_request", "basic");
    let twice = [&form[..], &[("code", "b")]].concat();
    assert_error(&post(&broker, &twice).await, 400, "invalid_request", "twice");
    let in_url = format!("{}?code={}", broker.at(TOKEN), code(&login));
    assert_error(&browser.post_form(&in_url, &form, &[]).await, 400, "invalid_request", "in the URL");
    let body = json!({ "grant_type": "authorization_code", "client_id": "sample", "code": code(&login) });
    let answer = browser.post_json(&broker.at(TOKEN), &body, &[]).await;
    assert_error(&answer, 415, "unsupported_media_type", "JSON");
    assert_eq!(browser.get(&broker.at(TOKEN), &[]).await.status, 405);
    assert_eq!(exchange(&broker, &login, &[]).await.status, 200, "nothing of this spent the code");
}

#[actix_web::test]
async fn only_pages_of_the_client_can_exchange() {
    let broker = TestBroker::with(setup_with(|config| {
        config.clients[0].origins = vec!["https://app.example.com".parse().unwrap()];
    }));
    let login = authorize(&broker, &broker.browser(), &[]).await;
    let (code, address) = (code(&login), broker.at("/"));
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "sample"),
        ("redirect_uri", &address),
        ("code", &code),
        ("code_verifier", &login.verifier),
    ];
    // The second is the origin of another client.
    for (origin, status) in [
        ("https://evil.example", 403),
        (broker.url.as_str(), 403),
        ("null", 403),
        ("https://app.example.com", 200),
    ] {
        let answer = broker.browser().post_form(&broker.at(TOKEN), &form, &[("origin", origin)]).await;
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        }
    }
}

#[actix_web::test]
async fn without_the_key_store_the_answer_is_unknown() {
    let mut server = RedisServer::start(&[]);
    let broker = TestBroker::with(Setup { key_store: Some(server.url()), ..setup() });
    let login = authorize(&broker, &broker.browser(), &[]).await;
    server.stop();
    let answer = exchange(&broker, &login, &[]).await;
    assert_error(&answer, 503, "temporarily_unavailable", "stopped");
    assert!(answer.header("retry-after").is_some());
    server.launch();
    assert_recovers(&broker, "the key store was started again").await;
    let login = authorize(&broker, &broker.browser(), &[]).await;
    assert_eq!(exchange(&broker, &login, &[]).await.status, 200);
}

#[actix_web::test]
async fn scope_narrows_the_token_and_unknown_scopes_are_ignored() {
    let broker = TestBroker::start();
    for (scope, granted) in [
        ("", "permissions profile"),
        ("openid", "openid"),
        ("profile", "profile"),
        ("permissions email", "email permissions"),
        ("openid profile email offline_access admin", "email openid profile"),
    ] {
        let body = tokens(&broker, &[("scope", scope)]).await;
        assert_eq!(body["scope"], granted, "{scope}");
        assert_eq!(body.get("id_token").is_some(), granted.contains("openid"), "{scope}");
        let me = broker.call("/api/me", &text(&body, "access_token")).await;
        let expected = if granted.contains("profile") { 200 } else { 403 };
        assert_eq!(me.status, expected, "{scope}: {me:?}");
    }
    let none = TestBroker::with(setup_with(|config| config.clients[0].scopes = "orders".parse().unwrap()));
    assert_eq!(tokens(&none, &[("scope", "openid email orders")]).await["scope"], "openid orders");
}

#[actix_web::test]
async fn resource_narrows_a_token_and_never_widens_it() {
    const ORDERS: &str = "https://orders.example.com";
    const STOCK: &str = "https://stock.example.com";
    let broker = TestBroker::with(setup_with(|config| {
        config.clients[0].audiences = format!("{STOCK} {ORDERS}").parse().unwrap();
    }));
    for (asked, repeated, status) in [
        (ORDERS, "", 200),
        (ORDERS, ORDERS, 200),
        (ORDERS, STOCK, 400),
        ("", ORDERS, 400),
        (ORDERS, "https://evil.example", 400),
        (ORDERS, "not a url", 400),
    ] {
        let login = authorize(&broker, &broker.browser(), &[("resource", asked)]).await;
        let answer = exchange(&broker, &login, &[("resource", repeated)]).await;
        assert_eq!(answer.status, status, "{asked} {repeated}: {answer:?}");
        if status == 400 {
            assert_error(&answer, 400, "invalid_target", (asked, repeated));
            let again = exchange(&broker, &login, &[]).await;
            assert_eq!(again.status, 200, "the code is not spent: {asked} {repeated}: {again:?}");
            // Nor does a spent code tell what it was for.
            let replayed = exchange(&broker, &login, &[("resource", repeated)]).await;
            let code = if repeated.contains(' ') { "invalid_target" } else { "invalid_grant" };
            assert_error(&replayed, 400, code, (asked, repeated));
            continue;
        }
        let me = broker.call("/api/me", &text(&answer.json(), "access_token")).await.json();
        assert_eq!(me["token"]["audience"], json!([ORDERS]));
    }
}

/// In Redis as well, and only who has the verifier learns that the resource is another.
#[actix_web::test]
async fn another_resource_spends_no_code_in_redis_and_tells_a_thief_nothing() {
    let server = RedisServer::start(&[]);
    let broker = TestBroker::with(Setup { key_store: Some(server.url()), ..setup() });
    let login = authorize(&broker, &broker.browser(), &[]).await;
    let other = ("resource", "https://orders.example.com");
    let thief = exchange(&broker, &login, &[other, ("code_verifier", &"v".repeat(43))]).await;
    assert_error(&thief, 400, "invalid_grant", "without the verifier");
    for _ in 0..2 {
        assert_error(&exchange(&broker, &login, &[other]).await, 400, "invalid_target", "with it");
    }
    assert_eq!(exchange(&broker, &login, &[("resource", &broker.url)]).await.status, 200);
}

#[actix_web::test]
async fn the_id_token_says_who_signed_in_when_and_for_which_client() {
    let broker = TestBroker::with(setup());
    let login = authorize(&broker, &broker.browser(), &[]).await;
    let body = exchange(&broker, &login, &[]).await.json();
    let me = broker.call("/api/me", &text(&body, "access_token")).await.json();
    let (header, claims) = decode(&text(&body, "id_token"));
    assert_eq!((header["alg"].as_str(), header.get("typ")), (Some("ES256"), None));
    assert_eq!(claims["iss"], broker.url);
    assert_eq!(claims["sub"], me["user"]["id"]);
    assert_eq!(claims["aud"], "sample");
    assert_eq!(claims["nonce"], NONCE);
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 300);
    let auth_time: chrono::DateTime<chrono::Utc> =
        me["session"]["auth_time"].as_str().unwrap().parse().unwrap();
    assert_eq!(claims["auth_time"], auth_time.timestamp());

    // A plain OAuth 2 provider does not say when, and without a nonce there is none.
    let body = tokens(&broker, &[("provider", "ops"), ("nonce", "")]).await;
    let (_, claims) = decode(&text(&body, "id_token"));
    assert_eq!((claims.get("auth_time"), claims.get("nonce")), (None, None), "{claims}");
}

#[actix_web::test]
async fn userinfo_has_the_claims_of_the_scopes() {
    let broker = TestBroker::start();
    for (scope, names) in [
        ("openid", &["sub"][..]),
        ("openid email", &["email", "email_verified", "sub"]),
        ("openid profile", &["name", "preferred_username", "sub"]),
        ("openid profile email", &["email", "email_verified", "name", "preferred_username", "sub"]),
    ] {
        let body = tokens(&broker, &[("scope", scope)]).await;
        let info = broker.call("/oauth2/userinfo", &text(&body, "access_token")).await.json();
        assert_eq!(info.as_object().unwrap().keys().collect::<Vec<_>>(), names, "{scope}");
        assert_eq!(info["sub"], decode(&text(&body, "id_token")).1["sub"]);
    }
    let answer = broker.browser().get(&broker.at("/oauth2/userinfo"), &[]).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
}

//! Every credential that the broker knows, and every JWT that it signs, presented as every other one.

use actix_web::http::header::HeaderName;
use serde_json::json;
use token_broker::http::forward_auth::identity_headers::{Claim, IdentityHeaders};

use crate::support::api::{Api, assert_inactive, assert_unauthenticated};
use crate::support::broker::TestBroker;
use crate::support::oauth::{assert_error, authorize, code, exchange, refresh, setup_with, text, tokens};
use crate::support::personal;

const INTROSPECT: &str = "/oauth2/introspect";

/// A broker that signs everything that it can sign.
fn broker() -> TestBroker {
    TestBroker::with(setup_with(|config| {
        let names = [(Claim::Assertion, HeaderName::from_static("x-auth-assertion"))];
        config.http.identity_headers = IdentityHeaders::new(names.into(), false);
    }))
}

/// The JWTs that the broker signs, by name: each is fresh, and its signature is valid.
async fn jwts(broker: &TestBroker, api: &Api) -> Vec<(&'static str, String)> {
    let set = tokens(broker, &[]).await;
    let access = text(&set, "access_token");
    let admitted = broker.call("/authz", &access).await;
    let asked = [("authorization", &*api.basic()), ("accept", "application/token-introspection+jwt")];
    let told = broker.browser().post_form(&broker.at(INTROSPECT), &[("token", &access)], &asked).await;
    assert_eq!(told.status, 200, "{told:?}");
    vec![
        ("an ID token of the broker", text(&set, "id_token")),
        ("an identity assertion", admitted.header("x-auth-assertion").unwrap().to_owned()),
        ("a signed introspection answer", told.body),
    ]
}

/// What looks like a token and is none, by name.
async fn others(broker: &TestBroker, api: &Api) -> Vec<(&'static str, String)> {
    let browser = broker.browser();
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let cookie = browser.cookies("localhost").into_iter().find(|(name, _)| name.ends_with("tb_session"));
    let key = broker.config.server_keys.ring.issuing().id();
    let id_token = broker.provider.sign("JWT", &broker.provider.log().last_id_token.unwrap()).unwrap();
    let mut others = vec![
        ("a one-time key", login.key()),
        ("an authorization code", code(&authorize(broker, &broker.browser(), &[]).await)),
        ("a refresh token", text(&tokens(broker, &[]).await, "refresh_token")),
        ("a verifier", login.verifier.clone()),
        ("a state", login.state.clone()),
        ("a secret of a resource server", api.secret.clone()),
        ("the id of a server key", key.to_string()),
        ("an ID token of the provider", id_token),
        ("a session cookie", cookie.unwrap().1),
        ("a client id", "sample".to_owned()),
        ("the id of an API", api.id.clone()),
    ];
    others.extend(jwts(broker, api).await);
    others
}

#[actix_web::test]
async fn only_tokens_pass_for_tokens() {
    let broker = broker();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let personal = personal::of(&broker, &token).await;
    for (what, text) in others(&broker, &api).await {
        assert_inactive(&api.introspect(&broker, &text).await);
        // 400 for what cannot be a bearer token at all.
        for path in ["/api/me", "/oauth2/userinfo"] {
            let refused = broker.call(path, &text).await;
            assert!([400, 401].contains(&refused.status.as_u16()), "{what} at {path}: {refused:?}");
        }
        assert_eq!(broker.call("/authz", &text).await.status, 401, "{what}");
        let rotated = broker.post("/api/token/rotate", &text, &json!({})).await;
        assert!([400, 401].contains(&rotated.status.as_u16()), "{what}: {rotated:?}");
        for prefix in ["tbk_", "tbp_"] {
            let dressed = format!("{prefix}{}", text.trim_start_matches("tbo_").trim_start_matches("tbs_"));
            assert_inactive(&api.introspect(&broker, &dressed).await);
        }
    }
    assert_eq!(api.introspect(&broker, &personal).await.json()["kind"], "personal");
    let swapped = personal.replacen("tbp_", "tbk_", 1);
    assert_inactive(&api.introspect(&broker, &swapped).await);
}

#[actix_web::test]
async fn only_secrets_pass_for_secrets_and_only_keys_for_keys() {
    let broker = broker();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let personal = personal::of(&broker, &token).await;
    let mut texts = others(&broker, &api).await;
    texts.extend([("a token", token.clone()), ("a personal token", personal)]);
    for (what, text) in texts.iter().filter(|(what, _)| *what != "a secret of a resource server") {
        let thief = Api { secret: text.clone(), ..api.clone() };
        assert_unauthenticated(&thief.introspect(&broker, &token).await);
        assert_unauthenticated(&thief.revoke(&broker, &token).await);
        let body = json!({ "one_time_key": text, "code_verifier": "a".repeat(43) });
        let redeemed = broker.browser().post_json(&broker.at("/api/get_token"), &body, &[]).await;
        assert_eq!(redeemed.error_code().as_deref(), Some("invalid_grant"), "{what}");
    }
    assert_eq!(api.introspect(&broker, &token).await.json()["active"], true);
}

#[actix_web::test]
async fn only_codes_and_refresh_tokens_pass_at_the_token_endpoint() {
    let broker = broker();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let login = authorize(&broker, &broker.browser(), &[]).await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let mut texts = others(&broker, &api).await;
    texts.extend([("a personal token", personal::of(&broker, &token).await), ("a token", token)]);
    for (what, text) in &texts {
        // Another login's code has another verifier.
        assert_error(&exchange(&broker, &login, &[("code", text)]).await, 400, "invalid_grant", what);
        if *what != "a refresh token" {
            assert_error(&refresh(&broker, text).await, 400, "invalid_grant", what);
        }
    }
    assert_eq!(exchange(&broker, &login, &[]).await.status, 200);
}

/// The broker verifies JWTs of providers. None of its own passes for one, and none is a cookie.
#[actix_web::test]
async fn a_jwt_of_the_broker_is_neither_a_logout_token_nor_a_session() {
    let broker = broker();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let session = broker.sign_in(&broker.browser(), "dev", "alice").await;
    for (what, jwt) in jwts(&broker, &api).await {
        let path = broker.at("/oauth2/backchannel_logout");
        let answer = broker.browser().post_form(&path, &[("logout_token", &jwt)], &[]).await;
        assert_error(&answer, 400, "invalid_request", what);
        let browser = broker.browser();
        browser.set_cookie("localhost", "tb_session", Some(&jwt));
        let answer = browser.navigate(&broker.login(&[]).url).await;
        assert_eq!((answer.status.as_u16(), answer.parameter("one_time_key")), (303, None), "{what}");
        let revoked = [("client_id", "sample"), ("token", &*jwt)];
        let answer = broker.browser().post_form(&broker.at("/oauth2/revoke"), &revoked, &[]).await;
        assert_eq!(answer.status, 200, "as for any unknown token");
    }
    assert_eq!(broker.call("/api/me", &session).await.status, 200, "nothing ended");
}

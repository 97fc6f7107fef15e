//! Every credential that the broker knows, presented as every other one.

use serde_json::json;

use crate::support::api::{Api, assert_inactive, assert_unauthenticated};
use crate::support::broker::TestBroker;
use crate::support::personal;

/// What looks like a token and is none, by name.
async fn others(broker: &TestBroker, api: &Api) -> Vec<(&'static str, String)> {
    let browser = broker.browser();
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let cookie = browser.cookies("localhost").into_iter().find(|(name, _)| name.ends_with("tb_session"));
    let key = broker.config.server_keys.ring.issuing().id();
    let id_token = broker.provider.sign("JWT", &broker.provider.log().last_id_token.unwrap()).unwrap();
    vec![
        ("a one-time key", login.key()),
        ("a verifier", login.verifier.clone()),
        ("a state", login.state.clone()),
        ("a secret of a resource server", api.secret.clone()),
        ("the id of a server key", key.to_string()),
        ("an ID token", id_token),
        ("a session cookie", cookie.unwrap().1),
        ("a client id", "sample".to_owned()),
        ("the id of an API", api.id.clone()),
    ]
}

#[actix_web::test]
async fn only_tokens_pass_for_tokens() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let personal = personal::of(&broker, &token).await;
    for (what, text) in others(&broker, &api).await {
        assert_inactive(&api.introspect(&broker, &text).await);
        // 400 for what cannot be a bearer token at all.
        let me = broker.call("/api/me", &text).await;
        assert!([400, 401].contains(&me.status.as_u16()), "{what}: {me:?}");
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
    let broker = TestBroker::start();
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

//! Refresh tokens: the rules of `/api/token/rotate` under another name, and of no use for anything else.

use serde_json::{Value, json};

use crate::support::broker::{Setup, TestBroker};
use crate::support::oauth::{
    assert_error, authorize, code, decode, exchange, post, refresh, setup, setup_with, text, tokens,
};

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

/// Access and refresh token.
fn pair(body: &Value) -> (String, String) {
    (text(body, "access_token"), text(body, "refresh_token"))
}

#[actix_web::test]
async fn a_refresh_token_renews_within_the_same_session_and_the_old_tokens_overlap() {
    for setup_of in Setup::each_database().await {
        let broker = TestBroker::with(Setup { database: setup_of.database, ..setup() });
        let first = tokens(&broker, &[]).await;
        let (old, old_refresh) = pair(&first);
        let before = broker.call("/api/me", &old).await.json();
        let answer = refresh(&broker, &old_refresh).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let second = answer.json();
        let (new, new_refresh) = pair(&second);
        assert!(new != old && new_refresh != old_refresh);
        let after = broker.call("/api/me", &new).await.json();
        assert_eq!((&after["user"], &after["session"]), (&before["user"], &before["session"]));
        assert_eq!(second["scope"], first["scope"]);

        let claims = decode(&text(&second, "id_token")).1;
        let first_claims = decode(&text(&first, "id_token")).1;
        for name in ["iss", "sub", "aud", "auth_time"] {
            assert_eq!(claims[name], first_claims[name], "{name}");
        }
        assert_eq!(claims.get("nonce"), None, "a nonce belongs to one authorization request");

        assert_eq!(status(&broker, &old).await, 200, "in the overlap");
        assert_eq!(refresh(&broker, &old_refresh).await.status, 200, "another tab, in the overlap");
        broker.advance(61);
        assert_eq!(status(&broker, &new).await, 200);
        assert_eq!(refresh(&broker, &new_refresh).await.status, 200);
    }
}

#[actix_web::test]
async fn a_refresh_token_used_after_its_overlap_ends_the_session_and_no_other() {
    let broker = TestBroker::with(setup());
    let (_, stolen) = pair(&tokens(&broker, &[]).await);
    let (elsewhere, _) = pair(&tokens(&broker, &[]).await);
    let (_, next) = pair(&refresh(&broker, &stolen).await.json());
    let (newest, newest_refresh) = pair(&refresh(&broker, &next).await.json());
    broker.advance(61);
    assert_error(&refresh(&broker, &stolen).await, 400, "invalid_grant", "reuse");
    assert_eq!(status(&broker, &newest).await, 401);
    assert_error(&refresh(&broker, &newest_refresh).await, 400, "invalid_grant", "session ended");
    assert_eq!(status(&broker, &elsewhere).await, 200);
    assert!(broker.audited("token_reused").await.session.is_some());
}

#[actix_web::test]
async fn five_tabs_get_siblings_and_a_sixth_must_wait() {
    let broker = TestBroker::with(setup());
    let (_, refresh_token) = pair(&tokens(&broker, &[]).await);
    for _ in 0..5 {
        assert_eq!(refresh(&broker, &refresh_token).await.status, 200);
    }
    let sixth = refresh(&broker, &refresh_token).await;
    assert_error(&sixth, 429, "rate_limited", "sixth");
    assert!(sixth.header("retry-after").is_some());
}

/// Libraries renew when the access token has expired.
#[actix_web::test]
async fn a_refresh_token_outlives_its_access_token_by_a_day_but_never_its_session() {
    const WEEK: i64 = 604_800;
    for (seconds, renewed) in [(WEEK + 60, true), (WEEK + 86_000, true), (WEEK + 86_460, false)] {
        let broker = TestBroker::with(setup());
        let (access, refresh_token) = pair(&tokens(&broker, &[]).await);
        broker.advance(seconds);
        assert_eq!(status(&broker, &access).await, 401);
        let answer = refresh(&broker, &refresh_token).await;
        assert_eq!(answer.status == 200, renewed, "{seconds}: {answer:?}");
        if renewed {
            assert_eq!(status(&broker, &pair(&answer.json()).0).await, 200);
        }
    }

    let broker = TestBroker::with(setup_with(|config| {
        config.lifetimes.session = chrono::TimeDelta::seconds(WEEK + 3600);
    }));
    let (_, refresh_token) = pair(&tokens(&broker, &[]).await);
    broker.advance(WEEK + 60);
    let last = refresh(&broker, &refresh_token).await.json();
    assert!(last["expires_in"].as_i64().unwrap() <= 3540, "{last}");
    broker.advance(3600);
    assert_error(&refresh(&broker, &pair(&last).1).await, 400, "invalid_grant", "after the session");
}

#[actix_web::test]
async fn a_refresh_token_is_bound_to_its_client_and_its_scopes() {
    let broker = TestBroker::with(setup());
    let (_, refresh_token) = pair(&tokens(&broker, &[("scope", "openid profile")]).await);
    let renew = async |more: &[(&str, &str)]| {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("client_id", "sample"),
            ("refresh_token", &*refresh_token),
        ];
        form.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        post(&broker, &[&form[..], more].concat()).await
    };
    assert_error(&renew(&[("client_id", "other")]).await, 400, "invalid_grant", "client");
    assert_error(&renew(&[("client_id", "vite-react")]).await, 400, "unauthorized_client", "not opted in");
    assert_error(&renew(&[("scope", "openid permissions")]).await, 400, "invalid_scope", "more");
    assert_error(&renew(&[("resource", "https://other.example")]).await, 400, "invalid_target", "resource");
    assert_error(&renew(&[("refresh_token", "")]).await, 400, "invalid_request", "missing");
    let renewed = renew(&[("scope", "openid")]).await.json();
    assert_eq!(renewed["scope"], "openid profile", "the answer says what the token has");
    assert_eq!(renew(&[]).await.status, 200, "no refusal used it up");
}

#[actix_web::test]
async fn only_clients_that_opted_in_get_refresh_tokens() {
    let broker = TestBroker::start();
    assert_eq!(tokens(&broker, &[]).await.get("refresh_token"), None);
    // Once it is off again, those that were issued are of no use.
    let on = TestBroker::with(setup());
    let (access, refresh_token) = pair(&tokens(&on, &[]).await);
    let off = on.twin_with(|config| config.clients[0].refresh_tokens = false);
    assert_error(&refresh(&off, &refresh_token).await, 400, "unauthorized_client", "off");
    assert_eq!(status(&off, &access).await, 200);
}

#[actix_web::test]
async fn what_ends_a_session_ends_its_refresh_tokens() {
    let broker = TestBroker::with(setup());
    let (access, refresh_token) = pair(&tokens(&broker, &[]).await);
    assert!(broker.post("/api/logout", &access, &json!({})).await.status.is_success());
    assert_error(&refresh(&broker, &refresh_token).await, 400, "invalid_grant", "logged out");

    let (access, _) = pair(&tokens(&broker, &[]).await);
    let (_, other_refresh) = pair(&tokens(&broker, &[]).await);
    assert!(broker.post("/api/logout", &access, &json!({ "everywhere": true })).await.status.is_success());
    assert_error(&refresh(&broker, &other_refresh).await, 400, "invalid_grant", "logged out everywhere");
}

/// Each credential is refused wherever another one is expected.
#[actix_web::test]
async fn no_credential_passes_for_another() {
    let broker = TestBroker::with(setup());
    let login = authorize(&broker, &broker.browser(), &[]).await;
    let open_code = code(&login);
    let body = tokens(&broker, &[]).await;
    let (access, refresh_token) = pair(&body);
    let id_token = text(&body, "id_token");

    for credential in [&refresh_token, &id_token, &open_code] {
        for path in ["/api/me", "/api/permissions", "/api/sessions", "/oauth2/userinfo"] {
            assert_error_code(&broker.call(path, credential).await, credential);
        }
        for path in ["/api/token/rotate", "/api/logout"] {
            assert_error_code(&broker.post(path, credential, &json!({})).await, credential);
        }
    }
    for credential in [&access, &id_token, &open_code] {
        assert_error(&refresh(&broker, credential).await, 400, "invalid_grant", credential);
    }
    for credential in [&access, &refresh_token, &id_token] {
        let answer = exchange(&broker, &login, &[("code", credential)]).await;
        assert_error(&answer, 400, "invalid_grant", credential);
        let answer = broker.redeem(&broker.browser(), credential, &login.verifier).await;
        assert_error(&answer, 400, "invalid_grant", credential);
        let form = [("logout_token", credential.as_str())];
        let url = broker.at("/oauth2/backchannel_logout");
        assert_eq!(broker.browser().post_form(&url, &form, &[]).await.status, 400, "{credential}");
    }
    // Nothing of this ended or spent anything.
    assert_eq!(status(&broker, &access).await, 200);
    assert_eq!(refresh(&broker, &refresh_token).await.status, 200);
    assert_eq!(exchange(&broker, &login, &[]).await.status, 200);
}

#[track_caller]
fn assert_error_code(answer: &crate::support::browser::Answer, credential: &str) {
    let seen = (answer.status.as_u16(), answer.error_code());
    assert_eq!(seen, (401, Some("invalid_token".to_owned())), "{credential}: {answer:?}");
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn without_the_database_the_answer_is_unknown_and_the_refresh_token_stays_good() {
    use token_broker::storage::Storage;

    use crate::support::outage::assert_recovers;
    use crate::support::postgres::Postgres;
    use crate::support::storage::settings;
    use crate::support::wait::until;

    let mut server = Postgres::own();
    let url = server.database();
    Storage::new(&settings(&url)).unwrap().migrate().await.unwrap();
    let broker = TestBroker::with(Setup { database: Some(url), ..setup() });
    let (_, refresh_token) = pair(&tokens(&broker, &[]).await);
    server.stop();
    let answer = refresh(&broker, &refresh_token).await;
    assert_error(&answer, 503, "temporarily_unavailable", "stopped");
    assert!(answer.header("retry-after").is_some());
    server.resume();
    assert_recovers(&broker, "the database was started again").await;
    // Another connection of the pool may still be found dead.
    until(async || {
        let answer = refresh(&broker, &refresh_token).await;
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
}

/// RFC 7009 section 2: the grant goes with its refresh token.
#[actix_web::test]
async fn a_client_revokes_its_refresh_token_and_no_other_clients() {
    let broker = TestBroker::with(setup());
    let (access, refresh_token) = pair(&tokens(&broker, &[]).await);
    let revoke = async |client: &str| {
        let form = [("client_id", client), ("token", &*refresh_token), ("token_type_hint", "refresh_token")];
        broker.browser().post_form(&broker.at("/oauth2/revoke"), &form, &[]).await
    };
    assert_error(&revoke("other").await, 400, "invalid_grant", "of another client");
    assert_eq!(status(&broker, &access).await, 200);
    assert_eq!(revoke("sample").await.status, 200);
    assert_eq!(status(&broker, &access).await, 401);
    assert_error(&refresh(&broker, &refresh_token).await, 400, "invalid_grant", "revoked");
    assert_eq!(revoke("sample").await.status, 200, "it is dead already");
}

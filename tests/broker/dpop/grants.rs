//! How a token becomes bound: at the login, at the token endpoint, and when it is renewed.

use serde_json::{Value, json};
use token_broker::domain::dpop::{ClientDpop, NonceDemand};

use crate::support::broker::{Login, Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::dpop::{AppKey, assert_refused, call_with, current_nonce, log_in, redeem, sign_in};
use crate::support::oauth::{self, TOKEN, assert_error, authorize, code, setup, setup_with, text};

const ME: &str = "/api/me";
const GET_TOKEN: &str = "/api/get_token";

/// Exchanges a code with this proof.
async fn exchange(broker: &TestBroker, login: &Login, proof: &str) -> Answer {
    let (code, redirect_uri) = (code(login), broker.at("/"));
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "sample"),
        ("redirect_uri", &*redirect_uri),
        ("code", &*code),
        ("code_verifier", &*login.verifier),
    ];
    broker.browser().post_form(&broker.at(TOKEN), &form, &[("dpop", proof)]).await
}

/// Renews a token with this proof.
async fn refresh(broker: &TestBroker, refresh_token: &str, proof: &str) -> Answer {
    let form = [("grant_type", "refresh_token"), ("client_id", "sample"), ("refresh_token", refresh_token)];
    broker.browser().post_form(&broker.at(TOKEN), &form, &[("dpop", proof)]).await
}

/// The tokens of a sign-in whose code was exchanged with a proof of this key.
async fn bound_tokens(broker: &TestBroker, key: &AppKey) -> Value {
    let login = authorize(broker, &broker.browser(), &[]).await;
    let answer = exchange(broker, &login, &key.grant_proof(broker, TOKEN)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A broker whose client `sample` must have bound tokens.
fn required() -> Setup {
    setup_with(|config| config.clients[0].dpop = ClientDpop::Required)
}

#[actix_web::test]
async fn a_login_that_names_a_key_is_redeemed_with_a_proof_of_it_and_nothing_else_spends_it() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let login = log_in(&broker, &broker.browser(), &key).await;
    let without = broker.redeem(&broker.browser(), &login.key(), &login.verifier).await;
    assert_error(&without, 400, "invalid_grant", "no proof");
    let other = AppKey::generate().grant_proof(&broker, GET_TOKEN);
    assert_error(&redeem(&broker, &login, &other).await, 400, "invalid_grant", "another key");
    let good = || key.proof(&broker, "POST", &broker.at(GET_TOKEN)).nonce(&current_nonce(&broker));
    for (case, proof) in [
        ("htm", good().claims(json!({"htm": "GET"}))),
        ("htu", good().claims(json!({"htu": broker.at(TOKEN)}))),
        ("alg", good().header(json!({"alg": "none"}))),
        ("typ", good().header(json!({"typ": "JWT"}))),
        ("signature", good().header(json!({"jwk": AppKey::generate().jwk}))),
    ] {
        let answer = redeem(&broker, &login, &proof.sign()).await;
        assert_error(&answer, 400, "invalid_dpop_proof", case);
        assert_eq!(answer.header("www-authenticate"), None);
    }
    let answer = redeem(&broker, &login, &good().sign()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["token_type"]), (200, &json!("DPoP")), "{answer:?}");
}

#[actix_web::test]
async fn two_proofs_are_refused_and_spend_nothing() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    let login = log_in(&broker, &broker.browser(), &key).await;
    let proofs = [(); 2].map(|()| key.grant_proof(&broker, GET_TOKEN));
    let headers = [("dpop", &*proofs[0]), ("dpop", &*proofs[1])];
    let body = json!({ "one_time_key": login.key(), "code_verifier": login.verifier });
    let two = broker.browser().post_json(&broker.at(GET_TOKEN), &body, &headers).await;
    assert_error(&two, 400, "invalid_dpop_proof", "two");
    assert_eq!(redeem(&broker, &login, &proofs[0]).await.status, 200);
}

#[actix_web::test]
async fn the_token_endpoints_demand_a_nonce_and_spend_nothing_until_they_get_it() {
    let (broker, key) = (TestBroker::with(setup()), AppKey::generate());
    let login = log_in(&broker, &broker.browser(), &key).await;
    let proof = |path: &str| key.proof(&broker, "POST", &broker.at(path));
    let first = redeem(&broker, &login, &proof(GET_TOKEN).sign()).await;
    assert_error(&first, 400, "use_dpop_nonce", "get_token");
    let nonce = first.header("dpop-nonce").unwrap().to_owned();
    assert_ne!(nonce, "");
    let second = redeem(&broker, &login, &proof(GET_TOKEN).nonce(&nonce).sign()).await;
    assert_eq!(second.status, 200, "{second:?}");
    assert!(second.header("dpop-nonce").is_some(), "for the next time");

    let login = authorize(&broker, &broker.browser(), &[]).await;
    let first = exchange(&broker, &login, &proof(TOKEN).sign()).await;
    assert_error(&first, 400, "use_dpop_nonce", "token");
    let nonce = first.header("dpop-nonce").unwrap();
    let second = exchange(&broker, &login, &proof(TOKEN).nonce(nonce).sign()).await;
    assert_eq!(second.status, 200, "{second:?}");
    let third = refresh(&broker, &text(&second.json(), "refresh_token"), &proof(TOKEN).sign()).await;
    assert_error(&third, 400, "use_dpop_nonce", "refresh");
    assert!(third.header("dpop-nonce").is_some());
}

#[actix_web::test]
async fn nonces_need_not_be_demanded() {
    let setup = Setup::default().adjust(|config| config.dpop_nonces = NonceDemand::WrongTime);
    let (broker, key) = (TestBroker::with(setup), AppKey::generate());
    let login = log_in(&broker, &broker.browser(), &key).await;
    let proof = || key.proof(&broker, "POST", &broker.at(GET_TOKEN));
    let late = redeem(&broker, &login, &proof().claims(json!({"iat": 0})).sign()).await;
    assert_error(&late, 400, "use_dpop_nonce", "wrong time");
    let answer = redeem(&broker, &login, &proof().sign()).await;
    assert_eq!((answer.status.as_u16(), answer.header("dpop-nonce")), (200, None), "{answer:?}");
}

#[actix_web::test]
async fn a_proof_at_the_token_endpoint_binds_a_login_that_named_no_key() {
    for setup_of in Setup::each_database().await {
        let broker = TestBroker::with(Setup { database: setup_of.database, ..setup() });
        let (key, other) = (AppKey::generate(), AppKey::generate());
        let tokens = bound_tokens(&broker, &key).await;
        assert_eq!(tokens["token_type"], "DPoP");
        let token = text(&tokens, "access_token");
        assert_eq!(call_with(&broker, "GET", ME, &token, &key).await.status, 200);
        assert_refused(&call_with(&broker, "GET", ME, &token, &other).await, "invalid_token", "another key");
        assert_refused(&broker.call(ME, &token).await, "invalid_token", "as a bearer token");
    }
}

#[actix_web::test]
async fn a_proof_cannot_bind_a_one_time_key_of_a_login_that_named_no_key() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    broker.ready().await;
    let login = broker.log_in(&broker.browser(), "dev", "alice", "").await;
    let answer = redeem(&broker, &login, &key.grant_proof(&broker, GET_TOKEN)).await;
    assert_error(&answer, 400, "invalid_grant", "not bound at the login");
    let answer = broker.redeem(&broker.browser(), &login.key(), &login.verifier).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["token_type"]), (200, &json!("Bearer")));
}

#[actix_web::test]
async fn a_code_of_a_login_that_named_a_key_needs_a_proof_of_that_key() {
    let (broker, key) = (TestBroker::with(setup()), AppKey::generate());
    let login = authorize(&broker, &broker.browser(), &[("dpop_jkt", &key.jkt())]).await;
    assert_error(&oauth::exchange(&broker, &login, &[]).await, 400, "invalid_grant", "no proof");
    let other = AppKey::generate().grant_proof(&broker, TOKEN);
    assert_error(&exchange(&broker, &login, &other).await, 400, "invalid_grant", "another key");
    let answer = exchange(&broker, &login, &key.grant_proof(&broker, TOKEN)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["token_type"]), (200, &json!("DPoP")), "{answer:?}");
}

#[actix_web::test]
async fn a_used_code_is_recognised_whatever_the_proof() {
    let (broker, key) = (TestBroker::with(setup()), AppKey::generate());
    for parameters in [vec![], vec![("dpop_jkt", key.jkt())]] {
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let login = authorize(&broker, &broker.browser(), &parameters).await;
        let answer = exchange(&broker, &login, &key.grant_proof(&broker, TOKEN)).await;
        let token = text(&answer.json(), "access_token");
        broker.advance(11);
        let again = exchange(&broker, &login, &key.grant_proof(&broker, TOKEN)).await;
        assert_error(&again, 400, "invalid_grant", "used");
        let ended = call_with(&broker, "GET", ME, &token, &key).await;
        assert_refused(&ended, "invalid_token", "the session of a replayed code ends");
    }
}

#[actix_web::test]
async fn a_proof_is_used_once_at_the_token_endpoint_too() {
    let (broker, key) = (TestBroker::with(setup()), AppKey::generate());
    let logins =
        [authorize(&broker, &broker.browser(), &[]).await, authorize(&broker, &broker.browser(), &[]).await];
    let proof = key.grant_proof(&broker, TOKEN);
    assert_eq!(exchange(&broker, &logins[0], &proof).await.status, 200);
    assert_error(&exchange(&broker, &logins[1], &proof).await, 400, "invalid_dpop_proof", "replay");
    let answer = exchange(&broker, &logins[1], &key.grant_proof(&broker, TOKEN)).await;
    assert_eq!(answer.status, 200, "the code was not spent: {answer:?}");
}

#[actix_web::test]
async fn a_refresh_token_is_bound_like_its_access_token() {
    for setup_of in Setup::each_database().await {
        let broker = TestBroker::with(Setup { database: setup_of.database, ..setup() });
        let (key, other) = (AppKey::generate(), AppKey::generate());
        let first = text(&bound_tokens(&broker, &key).await, "refresh_token");
        assert_error(&oauth::refresh(&broker, &first).await, 400, "invalid_dpop_proof", "no proof");
        let wrong = refresh(&broker, &first, &other.grant_proof(&broker, TOKEN)).await;
        assert_error(&wrong, 400, "invalid_grant", "another key");
        let good = key.grant_proof(&broker, TOKEN);
        let renewed = refresh(&broker, &first, &good).await;
        assert_eq!((renewed.status.as_u16(), &renewed.json()["token_type"]), (200, &json!("DPoP")));
        let replayed = refresh(&broker, &text(&renewed.json(), "refresh_token"), &good).await;
        assert_error(&replayed, 400, "invalid_dpop_proof", "replay");
        let token = text(&renewed.json(), "access_token");
        assert_eq!(call_with(&broker, "GET", ME, &token, &key).await.status, 200);
        assert_refused(&broker.call(ME, &token).await, "invalid_token", "as a bearer token");
    }
}

#[actix_web::test]
async fn an_unbound_refresh_token_can_become_bound() {
    let (broker, key) = (TestBroker::with(setup()), AppKey::generate());
    let first = oauth::tokens(&broker, &[]).await;
    assert_eq!(first["token_type"], "Bearer");
    let proof = key.grant_proof(&broker, TOKEN);
    let renewed = refresh(&broker, &text(&first, "refresh_token"), &proof).await.json();
    assert_eq!(renewed["token_type"], "DPoP", "{renewed}");
    let token = text(&renewed, "access_token");
    assert_eq!(call_with(&broker, "GET", ME, &token, &key).await.status, 200);
    let unbound = oauth::refresh(&broker, &text(&renewed, "refresh_token")).await;
    assert_error(&unbound, 400, "invalid_dpop_proof", "it stays bound");
}

#[actix_web::test]
async fn a_session_is_continued_with_a_token_for_the_named_key() {
    let (broker, first, second) = (TestBroker::start(), AppKey::generate(), AppKey::generate());
    let browser = broker.browser();
    log_in(&broker, &browser, &first).await;
    let login = broker.login(&[("dpop_jkt", &second.jkt())]);
    let back = browser.navigate(&login.url).await;
    let continued = Login { callback: login.url.clone(), back, verifier: login.verifier, state: login.state };
    let answer = redeem(&broker, &continued, &second.grant_proof(&broker, GET_TOKEN)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = text(&answer.json(), "access_token");
    assert_eq!(call_with(&broker, "GET", ME, &token, &second).await.status, 200);
    assert_refused(&call_with(&broker, "GET", ME, &token, &first).await, "invalid_token", "the first key");
}

#[actix_web::test]
async fn a_client_can_be_required_to_have_bound_tokens() {
    let (broker, key) = (TestBroker::with(required()), AppKey::generate());
    broker.ready().await;
    let plain = broker.browser().navigate(&broker.login(&[("provider", "dev")]).url).await;
    plain.assert_own_page(400, "invalid_request");
    assert!(plain.body.contains("dpop_jkt"), "{plain:?}");
    let token = sign_in(&broker, &key).await;
    assert_eq!(call_with(&broker, "GET", ME, &token, &key).await.status, 200);

    let login = authorize(&broker, &broker.browser(), &[]).await;
    let refused = oauth::exchange(&broker, &login, &[]).await;
    assert_error(&refused, 400, "invalid_dpop_proof", "no proof");
    let answer = exchange(&broker, &login, &key.grant_proof(&broker, TOKEN)).await;
    assert_eq!(answer.status, 200, "the code was not spent: {answer:?}");
}

#[actix_web::test]
async fn a_token_from_before_the_requirement_is_valid_but_not_renewed() {
    let (before, key) = (TestBroker::with(setup()), AppKey::generate());
    let first = oauth::tokens(&before, &[]).await;
    let login = before.log_in(&before.browser(), "dev", "alice", "").await;
    let after = before.twin_with(|config| config.clients[0].dpop = ClientDpop::Required);
    after.ready().await;
    let token = text(&first, "access_token");
    assert_eq!(after.call(ME, &token).await.status, 200);
    let rotated = after.post("/api/token/rotate", &token, &json!({})).await;
    assert_eq!((rotated.status.as_u16(), rotated.error_code().as_deref()), (401, Some("invalid_token")));
    let refresh_token = text(&first, "refresh_token");
    assert_error(&oauth::refresh(&after, &refresh_token).await, 400, "invalid_grant", "not renewed");
    let bound = refresh(&after, &refresh_token, &key.grant_proof(&after, TOKEN)).await;
    assert_eq!(bound.json()["token_type"], "DPoP", "{bound:?}");
    // A login that began before the change hands out no unbound token.
    let body = json!({ "one_time_key": login.key(), "code_verifier": login.verifier });
    let late = after.browser().post_json(&after.at(GET_TOKEN), &body, &[]).await;
    assert_error(&late, 400, "invalid_grant", "begun before");
}

#[actix_web::test]
async fn a_malformed_thumbprint_and_a_legacy_client_are_refused() {
    let (broker, key) = (TestBroker::with(setup()), AppKey::generate());
    broker.ready().await;
    let jkt = key.jkt();
    for bad in [&jkt[1..], &format!("{jkt}="), "x"] {
        let answer = broker.browser().navigate(&broker.login(&[("dpop_jkt", bad)]).url).await;
        answer.assert_own_page(400, "invalid_request");
        let url = oauth::authorization(&broker, &[("dpop_jkt", bad)]).url;
        let back = broker.browser().navigate(&url).await;
        assert_eq!(back.parameter("error").as_deref(), Some("invalid_request"), "{back:?}");
    }
    let legacy = format!("{}&dpop_jkt={jkt}", broker.legacy_login().url);
    broker.browser().navigate(&legacy).await.assert_own_page(400, "invalid_request");
}

#[actix_web::test]
async fn the_choice_of_a_provider_keeps_the_key() {
    let (broker, key) = (TestBroker::start(), AppKey::generate());
    broker.ready().await;
    let chooser =
        broker.browser().navigate(&broker.login(&[("provider", ""), ("dpop_jkt", &key.jkt())]).url).await;
    assert_eq!(chooser.status, 200);
    assert!(chooser.body.contains(&format!("dpop_jkt={}", key.jkt())), "{chooser:?}");
}

//! If a store is unreachable, a proof is neither accepted nor called wrong, and nothing is spent.

use crate::support::broker::{Setup, TestBroker};
use crate::support::dpop::{AppKey, call_with, log_in, redeem, sign_in};
#[cfg(feature = "postgres")]
use crate::support::oauth::{TOKEN, authorize, code, setup};
use crate::support::outage::assert_unavailable;
use crate::support::redis::RedisServer;
use crate::support::wait::until;

const ME: &str = "/api/me";

#[actix_web::test]
async fn without_the_key_store_no_proof_is_accepted() {
    let mut redis = RedisServer::start(&[]);
    let setup = Setup { key_store: Some(redis.url()), ..Setup::default() };
    let (broker, key) = (TestBroker::with(setup), AppKey::generate());
    let token = sign_in(&broker, &key).await;
    let bearer = broker.sign_in(&broker.browser(), "dev", "bob").await;
    let login = log_in(&broker, &broker.browser(), &key).await;
    redis.stop();
    for (method, path) in [("GET", ME), ("POST", "/api/token/rotate"), ("GET", "/oauth2/userinfo")] {
        assert_unavailable(&call_with(&broker, method, path, &token, &key).await);
    }
    let grant = key.grant_proof(&broker, "/api/get_token");
    assert_unavailable(&redeem(&broker, &login, &grant).await);
    assert_eq!(broker.call(ME, &bearer).await.status, 200, "bearer tokens need no key store");
    redis.launch();
    until(async || {
        let answer = call_with(&broker, "GET", ME, &token, &key).await;
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn without_the_database_a_code_that_must_be_bound_first_is_not_spent() {
    let mut postgres = crate::support::postgres::Postgres::own();
    let (setup, key) = (Setup { database: Some(postgres.database()), ..setup() }, AppKey::generate());
    let broker = TestBroker::with(setup);
    broker.storage().migrate().await.unwrap();
    broker.ready().await;
    let bound = log_in(&broker, &broker.browser(), &key).await;
    let login = authorize(&broker, &broker.browser(), &[]).await;
    let (code, redirect_uri) = (code(&login), broker.at("/"));
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "sample"),
        ("redirect_uri", &*redirect_uri),
        ("code", &*code),
        ("code_verifier", &*login.verifier),
    ];
    let exchange = async || {
        let proof = key.grant_proof(&broker, TOKEN);
        broker.browser().post_form(&broker.at(TOKEN), &form, &[("dpop", &proof)]).await
    };
    postgres.stop();
    assert_unavailable(&exchange().await);
    // A login that named its key needs no database.
    let answer = redeem(&broker, &bound, &key.grant_proof(&broker, "/api/get_token")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    postgres.resume();
    until(async || {
        let answer = exchange().await;
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
}

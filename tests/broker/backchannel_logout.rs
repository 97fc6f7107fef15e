//! Back-channel logout: `POST /oauth2/backchannel_logout` with logout tokens of the development provider.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use token_broker::provider::dev::FaultSwitch;

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::log::Listener;
use crate::support::redis::RedisServer;
use crate::support::rows;

const PATH: &str = "/oauth2/backchannel_logout";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A user who is signed in at the provider `dev`.
pub struct Person {
    pub token: String,
    pub subject: String,
    pub sid: String,
}

pub async fn sign_in(broker: &TestBroker, user: &str) -> Person {
    let token = broker.sign_in(&broker.browser(), "dev", user).await;
    let claims = broker.provider.log().last_id_token.unwrap();
    let text = |name: &str| claims[name].as_str().unwrap().to_owned();
    Person { token, subject: text("sub"), sid: text("sid") }
}

/// Valid claims with a new `jti` and these changes; `null` removes a claim.
fn claims(broker: &TestBroker, changes: Value) -> Value {
    let now = broker.now().timestamp();
    let mut claims = json!({
        "iss": broker.provider.issuer(), "aud": "token-broker", "iat": now, "exp": now + 120,
        "jti": uuid(), "events": {EVENT: {}},
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn uuid() -> String {
    use token_broker::domain::entropy::{SystemEntropy, uuid};
    uuid(&SystemEntropy).to_string()
}

pub fn signed(broker: &TestBroker, changes: Value) -> String {
    broker.provider.sign("logout+jwt", &claims(broker, changes)).unwrap()
}

pub async fn send(broker: &TestBroker, token: &str) -> Answer {
    broker.browser().post_form(&broker.at(PATH), &[("logout_token", token)], &[]).await
}

/// 200, or 400 with `invalid_request`, both not cacheable (Back-Channel Logout 1.0 section 2.8).
#[track_caller]
pub fn assert_answer(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    if status == 400 {
        assert_eq!(answer.json()["error"], "invalid_request", "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

pub async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

#[actix_web::test]
async fn sid_ends_only_that_session() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let (here, there) = (sign_in(&broker, "alice").await, sign_in(&broker, "alice").await);
        let bob = sign_in(&broker, "bob").await;
        assert_ne!(here.sid, there.sid);
        for changes in [
            json!({"sid": "unknown"}),
            json!({"sid": here.sid, "sub": bob.subject}),
            json!({"sid": here.subject}),
            json!({"sub": here.sid}),
        ] {
            assert_answer(&send(&broker, &signed(&broker, changes)).await, 200);
            assert_eq!(status(&broker, &here.token).await, 200, "nothing of it is here");
        }
        assert_answer(&send(&broker, &signed(&broker, json!({"sid": here.sid}))).await, 200);
        assert_eq!(status(&broker, &here.token).await, 401);
        assert_eq!(status(&broker, &there.token).await, 200);
        assert_eq!(status(&broker, &bob.token).await, 200);
        let both = json!({"sid": there.sid, "sub": there.subject});
        assert_answer(&send(&broker, &signed(&broker, both)).await, 200);
        assert_eq!(status(&broker, &there.token).await, 401);
        assert_eq!(status(&broker, &bob.token).await, 200);
    }
}

#[actix_web::test]
async fn sub_alone_ends_all_sessions_of_that_user_at_that_provider() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let (here, there) = (sign_in(&broker, "alice").await, sign_in(&broker, "alice").await);
        let bob = sign_in(&broker, "bob").await;
        let elsewhere = broker.sign_in(&broker.browser(), "ops", "alice").await;
        assert_answer(&send(&broker, &signed(&broker, json!({"sub": here.subject}))).await, 200);
        assert_eq!(status(&broker, &here.token).await, 401);
        assert_eq!(status(&broker, &there.token).await, 401);
        assert_eq!(status(&broker, &bob.token).await, 200);
        assert_eq!(status(&broker, &elsewhere).await, 200, "another provider's");
        assert_answer(&send(&broker, &signed(&broker, json!({"sub": here.subject}))).await, 200);
    }
}

/// The users of the plain provider have other subjects, and its issuer is not that of the token.
#[actix_web::test]
async fn a_subject_of_another_provider_is_untouched() {
    let broker = TestBroker::start();
    let plain = broker.sign_in(&broker.browser(), "ops", "alice").await;
    let subject = broker.call("/api/me", &plain).await.json()["user"]["username"].clone();
    assert_answer(&send(&broker, &signed(&broker, json!({"sub": subject}))).await, 200);
    assert_eq!(status(&broker, &plain).await, 200);
}

#[actix_web::test]
async fn a_bad_token_is_400_and_ends_nothing() {
    let broker = TestBroker::start();
    let alice = sign_in(&broker, "alice").await;
    let now = broker.now().timestamp();
    for changes in [
        json!({"iss": "https://evil.example"}),
        json!({"aud": "another-client"}),
        json!({"aud": ["token-broker", "another-client"]}),
        json!({"iat": null}),
        json!({"iat": now - 125}),
        json!({"iat": now + 120}),
        json!({"exp": now - 70}),
        json!({"nonce": "n"}),
        json!({"events": null}),
        json!({"events": {"urn:other": {}}}),
        json!({"events": {EVENT: "yes"}}),
        json!({"jti": null}),
        json!({"sub": null}),
    ] {
        let mut named = json!({"sub": alice.subject});
        named.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        assert_answer(&send(&broker, &signed(&broker, named)).await, 400);
        assert_eq!(status(&broker, &alice.token).await, 200, "{changes}");
    }
    let good = claims(&broker, json!({"sub": alice.subject}));
    for typ in ["JWT", "at+jwt", "secevent+jwt"] {
        assert_answer(&send(&broker, &broker.provider.sign(typ, &good).unwrap()).await, 400);
    }
    assert_eq!(status(&broker, &alice.token).await, 200);
    assert_answer(&send(&broker, &broker.provider.sign("application/Logout+JWT", &good).unwrap()).await, 200);
    assert_eq!(status(&broker, &alice.token).await, 401);
}

#[actix_web::test]
async fn a_token_that_the_provider_did_not_sign_is_400() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let broker = TestBroker::start();
    let alice = sign_in(&broker, "alice").await;
    let good = claims(&broker, json!({"sub": alice.subject}));
    let (header, rest) = {
        let token = broker.provider.sign("logout+jwt", &good).unwrap();
        let (header, rest) = token.split_once('.').unwrap();
        (header.to_owned(), rest.to_owned())
    };
    let (payload, signature) = rest.split_once('.').unwrap();
    let none = encode(&json!({"alg": "none", "typ": "logout+jwt"}));
    let hmac = encode(&json!({"alg": "HS256", "typ": "logout+jwt"}));
    let mac = {
        use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
        let key = Key::new(HMAC_SHA256, crate::support::broker::CLIENT_SECRET.as_bytes());
        URL_SAFE_NO_PAD.encode(sign(&key, format!("{hmac}.{payload}").as_bytes()))
    };
    let other_payload = encode(&claims(&broker, json!({"sub": alice.subject})));
    for bad in [
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{hmac}.{payload}.{mac}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}.{other_payload}.{signature}"),
        payload.to_owned(),
        "x".repeat(15_000),
        "a.b.c".to_owned(),
    ] {
        assert_answer(&send(&broker, &bad).await, 400);
    }
    // A key that the provider published earlier but not any more.
    let before = broker.provider.sign("logout+jwt", &good).unwrap();
    broker.provider.faults().set(FaultSwitch::JwksRotate, true);
    let foreign = broker.provider.sign("logout+jwt", &good).unwrap();
    broker.provider.faults().set(FaultSwitch::JwksRotate, false);
    assert_ne!(before, foreign);
    assert_answer(&send(&broker, &foreign).await, 400);
    assert_eq!(status(&broker, &alice.token).await, 200);
    assert_answer(&send(&broker, &before).await, 200);
}

/// The ID token of the sign-in, which an attacker could have found in a log or in a browser.
#[actix_web::test]
async fn an_id_token_is_no_logout_token() {
    let broker = TestBroker::start();
    let alice = sign_in(&broker, "alice").await;
    let id_token = broker.provider.log().last_id_token.unwrap();
    for typ in ["JWT", "logout+jwt"] {
        assert_answer(&send(&broker, &broker.provider.sign(typ, &id_token).unwrap()).await, 400);
    }
    let mut with_everything = claims(&broker, id_token.clone());
    with_everything["iat"] = broker.now().timestamp().into();
    assert!(with_everything["nonce"].is_string());
    assert_answer(&send(&broker, &broker.provider.sign("logout+jwt", &with_everything).unwrap()).await, 400);
    assert_eq!(status(&broker, &alice.token).await, 200);
}

#[actix_web::test]
async fn only_a_form_with_one_logout_token_is_read() {
    let broker = TestBroker::start();
    let alice = sign_in(&broker, "alice").await;
    let good = signed(&broker, json!({"sub": alice.subject}));
    let browser = broker.browser();
    let url = broker.at(PATH);
    let as_json = browser.post_json(&url, &json!({"logout_token": good}), &[]).await;
    assert_eq!(
        (as_json.status.as_u16(), as_json.json()["error"].clone()),
        (415, json!("unsupported_media_type"))
    );
    for body in ["", "token=x", "logout_token=", &format!("logout_token={good}&logout_token={good}")] {
        let answer = browser.send(Method::POST, &url, &[FORM], Some(body.to_owned())).await;
        assert_answer(&answer, 400);
    }
    let in_query = format!("{url}?logout_token={good}");
    assert_answer(&browser.send(Method::POST, &in_query, &[FORM], Some(String::new())).await, 400);
    assert_answer(&browser.post_form(&in_query, &[("logout_token", &good)], &[]).await, 400);
    let get = browser.get(&in_query, &[]).await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, Some("POST")));
    assert_eq!(status(&broker, &alice.token).await, 200);
    assert_answer(&browser.post_form(&url, &[("logout_token", &good), ("more", "1")], &[]).await, 200);
    assert_eq!(status(&broker, &alice.token).await, 401);
}

/// A token works once, on any instance: a copy must not sign the user out again.
#[actix_web::test]
async fn a_token_is_used_once_by_all_instances() {
    let redis = RedisServer::start(&[]);
    for mut setup in Setup::each_database().await {
        setup.key_store = Some(redis.url());
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        let alice = sign_in(&broker, "alice").await;
        let token = signed(&broker, json!({"sub": alice.subject}));
        let both = [&broker, &twin];
        let answers = join_all((0..20).map(|i| send_to(both[i % 2], &token))).await;
        let good = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(good, 1, "one of the parallel ones is the first");
        answers.iter().filter(|answer| answer.status != 200).for_each(|answer| assert_answer(answer, 400));
        assert_eq!(status(&broker, &alice.token).await, 401);
        let again = sign_in(&broker, "alice").await;
        for instance in both {
            assert_answer(&send_to(instance, &token).await, 400);
        }
        assert_eq!(status(&broker, &again.token).await, 200);
        let other = signed(&broker, json!({"sub": alice.subject}));
        assert_answer(&send_to(&twin, &other).await, 200);
        assert_eq!(status(&broker, &again.token).await, 401);
    }
}

pub async fn send_to(instance: &TestBroker, token: &str) -> Answer {
    let url = format!("{}{PATH}", instance.real_url);
    instance.browser().post_form(&url, &[("logout_token", token)], &[]).await
}

#[actix_web::test]
async fn a_logout_takes_effect_on_every_instance_at_once() {
    let redis = RedisServer::start(&[]);
    for mut setup in Setup::each_database().await {
        setup.key_store = Some(redis.url());
        let broker = TestBroker::with(setup);
        let twin = broker.twin();
        let alice = sign_in(&broker, "alice").await;
        let bearer = format!("Bearer {}", alice.token);
        let at_twin = format!("{}/api/me", twin.real_url);
        let call = || async { twin.browser().get(&at_twin, &[("authorization", &bearer)]).await.status };
        assert_eq!(call().await, 200);
        assert_answer(&send(&broker, &signed(&broker, json!({"sid": alice.sid}))).await, 200);
        assert_eq!(status(&broker, &alice.token).await, 401);
        assert_eq!(call().await, 401, "no instance keeps a verdict");
    }
}

#[actix_web::test]
async fn bad_tokens_are_rate_limited_and_good_ones_still_accepted() {
    let few = std::num::NonZeroU32::new(5).unwrap();
    let broker =
        TestBroker::with(Setup::default().adjust(move |config| config.limits.failed_logout_tokens = few));
    let alice = sign_in(&broker, "alice").await;
    for _ in 0..5 {
        assert_answer(&send(&broker, "a.b.c").await, 400);
    }
    let limited = send(&broker, "a.b.c").await;
    assert_eq!((limited.status.as_u16(), limited.error_code().as_deref()), (429, Some("rate_limited")));
    assert!(limited.header("retry-after").is_some());
    assert_answer(&send(&broker, &signed(&broker, json!({"sub": alice.subject}))).await, 200);
    assert_eq!(status(&broker, &alice.token).await, 401);
}

#[actix_web::test]
async fn back_channel_logouts_are_audited_and_no_token_is_logged() {
    let log = Listener::start();
    let broker = TestBroker::start();
    let alice = sign_in(&broker, "alice").await;
    let user = broker.call("/api/me", &alice.token).await.json()["user"]["id"].clone();
    let bad = signed(&broker, json!({"sub": alice.subject, "nonce": "n"}));
    let refused = send(&broker, &bad).await;
    let failed = broker.audited("backchannel_logout_failed").await;
    assert_eq!(failed.reason.as_deref(), Some("invalid_request"));
    assert_eq!(failed.request_id, refused.header("x-request-id").unwrap());
    let lines = log.of(refused.header("x-request-id").unwrap());
    assert!(lines.iter().any(|line| line.to_string().contains("contains a nonce")), "{lines:?}");
    assert_eq!(failed.address.as_deref(), Some("127.0.0.1"));

    let good = signed(&broker, json!({"sub": alice.subject}));
    let carried_out = send(&broker, &good).await;
    let done = broker.audited("backchannel_logout").await;
    assert_eq!(done.provider.as_ref().map(|provider| provider.to_string()).as_deref(), Some("dev"));
    assert_eq!(done.reason, None);
    let ended = broker.audited("session_ended").await;
    assert_eq!(ended.request_id, carried_out.header("x-request-id").unwrap());
    assert_eq!(user, ended.user.unwrap().to_string());
    assert!(ended.session.is_some());
    let replayed = send(&broker, &good).await;
    assert_answer(&replayed, 400);
    let text = log.text();
    for secret in [&bad, &good] {
        let signature = secret.rsplit_once('.').unwrap().1;
        assert!(!text.contains(signature) && !rows_contain(&broker, signature));
    }
}

fn rows_contain(broker: &TestBroker, text: &str) -> bool {
    rows::database_dump(broker)
        .iter()
        .any(|value| value.windows(text.len()).any(|part| part == text.as_bytes()))
}

//! `private_key_jwt` (RFC 7523): resource servers prove who they are by an assertion that they sign.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::login_attempt::State;

use crate::support::administration::Desk;
use crate::support::api::{Api, assert_unauthenticated};
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::outage::{assert_recovers, assert_unavailable};
use crate::support::redis::{self, RedisServer};

const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";

/// The key of an API.
struct Signer {
    algorithm: Algorithm,
    pair: KeyPair,
}

impl Signer {
    fn new(algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::EdDSA => KeyPair::generate_for(&PKCS_ED25519),
            Algorithm::ES384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Algorithm::RS256 | Algorithm::PS256 => KeyPair::generate_for(&PKCS_RSA_SHA256),
            _ => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        };
        Self { algorithm, pair: pair.unwrap() }
    }

    /// Signs any header and claims.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        self.sign_text(&format!("{}.{}", part(header), part(claims)))
    }

    fn sign_text(&self, message: &str) -> String {
        let pem = self.pair.serialize_pem();
        let key = match self.algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()),
            Algorithm::RS256 | Algorithm::PS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
            _ => EncodingKey::from_ec_pem(pem.as_bytes()),
        };
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &key.unwrap(), self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    fn header(&self) -> Value {
        json!({ "alg": format!("{:?}", self.algorithm) })
    }

    /// A good assertion of the API `orders`, changed by `change`.
    fn assertion(&self, broker: &TestBroker, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let (mut header, mut claims) = (self.header(), claims(broker));
        change(&mut header, &mut claims);
        self.sign(&header, &claims)
    }

    fn good(&self, broker: &TestBroker) -> String {
        self.assertion(broker, |_, _| ())
    }
}

fn claims(broker: &TestBroker) -> Value {
    let now = broker.now().timestamp();
    let jti = State::random(&SystemEntropy).expose();
    json!({ "iss": "orders", "sub": "orders", "aud": broker.url, "exp": now + 60, "iat": now, "jti": jti })
}

async fn post(broker: &TestBroker, path: &str, token: &str, assertion: &str) -> Answer {
    let form = [("token", token), ("client_assertion_type", KIND), ("client_assertion", assertion)];
    broker.browser().post_form(&broker.at(path), &form, &[]).await
}

#[track_caller]
fn assert_active(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), &answer.json()["active"]), (200, &json!(true)), "{answer:?}");
}

/// Registers the API `orders` with this key by the command.
fn register(desk: &Desk, broker: &TestBroker, signer: &Signer) {
    desk.file("orders.pem", &signer.pair.public_key_pem());
    let add = ["resource-servers", "add", "orders", "--audience", &broker.url, "--public-key", "orders.pem"];
    assert_eq!(desk.json(&add), json!({ "resource_server": "orders", "added": true }));
}

async fn signed_in(broker: &TestBroker) -> String {
    broker.sign_in(&broker.browser(), "dev", "alice").await
}

#[actix_web::test]
async fn every_algorithm_works_at_both_endpoints_on_every_store() {
    for setup in Setup::each_database().await {
        for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256] {
            let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..setup.clone() });
            let token = signed_in(&broker).await;
            let (desk, signer) = (Desk::of(&broker), Signer::new(algorithm));
            // The databases of the setups are shared by the brokers of this test.
            if desk.json(&["resource-servers", "list"]) != json!([]) {
                desk.done(&["resource-servers", "remove", "orders", "--yes"]);
            }
            register(&desk, &broker, &signer);
            assert_active(&post(&broker, INTROSPECT, &token, &signer.good(&broker)).await);
            for endpoint in [INTROSPECT, REVOKE] {
                let addressed = signer.assertion(&broker, |_, claims| {
                    claims["aud"] = json!([broker.at(endpoint)]);
                    claims["nbf"] = claims["iat"].clone();
                });
                assert_eq!(post(&broker, endpoint, &token, &addressed).await.status, 200, "{algorithm:?}");
            }
            assert_eq!(broker.call("/api/me", &token).await.status, 401, "it was revoked");
        }
    }
}

#[actix_web::test]
async fn every_fault_of_an_assertion_is_refused_alike() {
    let broker = TestBroker::start();
    let token = signed_in(&broker).await;
    let (desk, signer, thief) =
        (Desk::of(&broker), Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
    register(&desk, &broker, &signer);
    let stock = Api::register(&broker, "stock", &broker.url).await;
    let now = broker.now().timestamp();
    let claim =
        |name: &'static str, value: Value| signer.assertion(&broker, |_, claims| claims[name] = value);
    let header =
        |name: &'static str, value: Value| signer.assertion(&broker, |header, _| header[name] = value);
    let without = |name: &'static str| {
        signer.assertion(&broker, |_, claims| drop(claims.as_object_mut().unwrap().remove(name)))
    };
    let good = signer.good(&broker);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let twice = claims(&broker).to_string().replacen("{", "{\"iss\":\"stock\",", 1);
    let twice = signer.sign_text(&format!("{}.{}", part(&signer.header().to_string()), part(&twice)));
    let none = format!("{}.{}.", part("{\"alg\":\"none\"}"), part(&claims(&broker).to_string()));
    let hmac = format!("{}.{}.{signature}", part("{\"alg\":\"HS256\"}"), part(&claims(&broker).to_string()));
    let foreign = Signer::new(Algorithm::ES384);
    let cases = [
        ("another key", thief.good(&broker)),
        ("another algorithm", foreign.good(&broker)),
        ("no signature", none),
        ("HMAC", hmac),
        ("a changed signature", format!("{message}.{}", signature.chars().rev().collect::<String>())),
        ("no signature part", message.to_owned()),
        ("four parts", format!("{good}.x")),
        ("alg of another key type", header("alg", json!("EdDSA"))),
        ("crit", header("crit", json!(["exp"]))),
        ("typ of an access token", header("typ", json!("at+jwt"))),
        ("typ of a logout token", header("typ", json!("logout+jwt"))),
        ("iss of another API", claim("iss", json!("stock"))),
        ("sub of another API", claim("sub", json!("stock"))),
        (
            "an unknown API",
            signer.assertion(&broker, |_, claims| {
                claims["iss"] = json!("nobody");
                claims["sub"] = json!("nobody");
            }),
        ),
        (
            "an API without this key",
            signer.assertion(&broker, |_, claims| {
                claims["iss"] = json!(stock.id);
                claims["sub"] = json!(stock.id);
            }),
        ),
        ("no id", claim("iss", json!("Not An Id"))),
        ("another aud", claim("aud", json!("https://other.example.com"))),
        ("aud with a slash", claim("aud", json!(format!("{}/", broker.url)))),
        ("aud of another endpoint", claim("aud", json!(broker.at("/oauth2/token")))),
        ("two audiences", claim("aud", json!([broker.url, "https://other.example.com"]))),
        ("no audience", claim("aud", json!([]))),
        ("expired", claim("exp", json!(now - 1))),
        ("expires now", claim("exp", json!(now))),
        ("more than five minutes", claim("exp", json!(now + 400))),
        ("for ever", claim("exp", json!(i64::MAX))),
        ("before all time", claim("exp", json!(i64::MIN))),
        ("exp as text", claim("exp", json!("soon"))),
        ("not valid yet", claim("nbf", json!(now + 120))),
        ("from the future", claim("iat", json!(now + 120))),
        ("empty jti", claim("jti", json!(""))),
        ("long jti", claim("jti", json!("x".repeat(257)))),
        ("without iss", without("iss")),
        ("without sub", without("sub")),
        ("without aud", without("aud")),
        ("without exp", without("exp")),
        ("without jti", without("jti")),
        ("iss twice", twice),
        ("too long", claim("padding", json!("x".repeat(9000)))),
        ("text", "a.b.c".to_owned()),
        ("a token of the broker", token.clone()),
        ("a secret", stock.secret.clone()),
    ];
    for (what, assertion) in &cases {
        for path in [INTROSPECT, REVOKE] {
            let answer = post(&broker, path, &token, assertion).await;
            assert_eq!(answer.status, 401, "{what} at {path}: {answer:?}");
            assert_unauthenticated(&answer);
        }
    }
    // Nothing of this used up an id or revoked anything.
    assert_active(&post(&broker, INTROSPECT, &token, &good).await);
    let refused = broker.audited("resource_server_refused").await;
    assert!(refused.address.is_some());
}

#[actix_web::test]
async fn an_assertion_works_once_on_all_instances() {
    let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..Setup::default() });
    let (token, twin) = (signed_in(&broker).await, broker.twin());
    let (desk, signer) = (Desk::of(&broker), Signer::new(Algorithm::ES256));
    register(&desk, &broker, &signer);
    let assertion = signer.good(&broker);
    assert_active(&post(&broker, INTROSPECT, &token, &assertion).await);
    for instance in [&broker, &twin] {
        for path in [INTROSPECT, REVOKE] {
            assert_unauthenticated(&post(instance, path, &token, &assertion).await);
        }
    }
    let one = signer.good(&broker);
    let at_once = (0..20).map(|i| post([&broker, &twin][i % 2], INTROSPECT, &token, &one));
    let answers = futures_util::future::join_all(at_once).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    assert_active(&post(&twin, INTROSPECT, &token, &signer.good(&broker)).await);
}

#[actix_web::test]
async fn an_assertion_is_given_in_one_way_and_in_the_body() {
    let broker = TestBroker::start();
    let token = signed_in(&broker).await;
    let (desk, signer) = (Desk::of(&broker), Signer::new(Algorithm::ES256));
    register(&desk, &broker, &signer);
    let stock = Api::register(&broker, "stock", &broker.url).await;
    let assertion = signer.good(&broker);
    let (kind, signed) = (("client_assertion_type", KIND), ("client_assertion", &*assertion));
    let saml = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer");
    let at = broker.at(INTROSPECT);
    for (pairs, headers, status) in [
        (&[kind, signed, ("client_secret", &*stock.secret)][..], &[][..], 400),
        (&[kind, signed], &[("authorization", &*stock.basic())], 400),
        (&[signed], &[], 400),
        (&[kind], &[], 400),
        (&[kind, signed, signed], &[], 400),
        (&[saml, signed], &[], 401),
        (&[kind, signed, ("client_id", "stock")], &[], 401),
    ] {
        let pairs = [&[("token", &*token)], pairs].concat();
        let answer = broker.browser().post_form(&at, &pairs, headers).await;
        assert_eq!(answer.status, status, "{pairs:?}: {answer:?}");
    }
    let address = format!("{at}?client_assertion={assertion}");
    let answer = broker.browser().post_form(&address, &[("token", &*token), kind, signed], &[]).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let named = [("token", &*token), kind, signed, ("client_id", "orders")];
    assert_active(&broker.browser().post_form(&at, &named, &[]).await);
}

#[actix_web::test]
async fn two_keys_are_valid_at_a_time_and_a_removed_one_or_a_disabled_api_is_refused_at_once() {
    let broker = TestBroker::start();
    let token = signed_in(&broker).await;
    let desk = Desk::of(&broker);
    let [old, new, third] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::ES256].map(Signer::new);
    register(&desk, &broker, &old);
    desk.file("new.pem", &new.pair.public_key_pem());
    desk.file("third.pem", &third.pair.public_key_pem());
    desk.file("private.pem", &third.pair.serialize_pem());
    let done = |file: &str| desk.json(&["resource-servers", "add-key", "orders", "--public-key", file]);
    let refused =
        |file: &str| desk.refused(2, &["resource-servers", "add-key", "orders", "--public-key", file]);
    assert_eq!(done("new.pem")["added"], true);
    assert_eq!(done("new.pem")["added"], false, "the same key again");
    assert!(refused("third.pem").contains("remove-old-key"));
    assert!(refused("private.pem").contains("private key"));
    assert!(refused("missing.pem").contains("cannot be read"));
    for signer in [&old, &new] {
        assert_active(&post(&broker, INTROSPECT, &token, &signer.good(&broker)).await);
    }
    assert_unauthenticated(&post(&broker, INTROSPECT, &token, &third.good(&broker)).await);
    let listed = desk.json(&["resource-servers", "list"]);
    assert_eq!(
        (listed[0]["secrets"].as_array().unwrap().len(), listed[0]["keys"].as_array().unwrap().len()),
        (0, 2),
        "{listed}"
    );
    assert!(desk.done(&["resource-servers", "list"]).contains("public key"));

    broker.advance(1);
    assert!(desk.refused(2, &["resource-servers", "remove-old-key", "orders"]).contains("--yes"));
    assert_eq!(desk.json(&["resource-servers", "remove-old-key", "orders", "--yes"])["removed"], true);
    assert_eq!(desk.json(&["resource-servers", "remove-old-key", "orders", "--yes"])["removed"], false);
    assert_eq!(desk.json(&["resource-servers", "disable", "orders"])["changed"], true);
    for signer in [&old, &new] {
        assert_unauthenticated(&post(&broker, INTROSPECT, &token, &signer.good(&broker)).await);
    }
    desk.json(&["resource-servers", "enable", "orders"]);
    let mut accepted = 0;
    for signer in [&old, &new] {
        accepted += usize::from(post(&broker, INTROSPECT, &token, &signer.good(&broker)).await.status == 200);
    }
    assert_eq!(accepted, 1, "one key is left");
    desk.done(&["resource-servers", "remove", "orders", "--yes"]);
    assert_eq!(broker.rows("resource_server_keys"), 0);
}

#[actix_web::test]
async fn without_the_key_store_the_answer_is_unknown() {
    let mut server = RedisServer::start(&[]);
    let broker = TestBroker::with(Setup { key_store: Some(server.url()), ..Setup::default() });
    let token = signed_in(&broker).await;
    let (desk, signer) = (Desk::of(&broker), Signer::new(Algorithm::ES256));
    register(&desk, &broker, &signer);
    server.stop();
    for path in [INTROSPECT, REVOKE] {
        assert_unavailable(&post(&broker, path, &token, &signer.good(&broker)).await);
    }
    // What is wrong with an assertion is known without the store.
    let thief = Signer::new(Algorithm::ES256);
    assert_unauthenticated(&post(&broker, INTROSPECT, &token, &thief.good(&broker)).await);
    server.launch();
    assert_recovers(&broker, "Redis was started again").await;
    assert_active(&post(&broker, INTROSPECT, &token, &signer.good(&broker)).await);
}

#[actix_web::test]
async fn the_metadata_names_the_method_and_the_algorithms() {
    let broker = TestBroker::start();
    let metadata =
        broker.browser().get(&broker.at("/.well-known/oauth-authorization-server"), &[]).await.json();
    for endpoint in ["introspection", "revocation"] {
        let methods = &metadata[format!("{endpoint}_endpoint_auth_methods_supported")];
        assert!(methods.as_array().unwrap().contains(&json!("private_key_jwt")), "{methods}");
        let algorithms = &metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
        assert_eq!(*algorithms, json!(["ES256", "EdDSA", "PS256", "RS256"]));
    }
}

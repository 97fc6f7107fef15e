//! An app with a key of its own, which signs DPoP proofs (RFC 9449).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use token_broker::domain::dpop::nonce;
use token_broker::domain::entropy::{Entropy, SystemEntropy};

use super::broker::{Login, TestBroker};
use super::browser::{Answer, Browser};

/// The key of an app.
pub struct AppKey {
    pair: EcdsaKeyPair,
    /// Its public part.
    pub jwk: Value,
}

impl AppKey {
    /// A new key.
    pub fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        Self { jwk: json!({"crv": "P-256", "kty": "EC", "x": x, "y": y}), pair }
    }

    /// Its thumbprint (RFC 7638).
    pub fn jkt(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.jwk.to_string().as_bytes()))
    }

    /// A proof for a request of this method to this address.
    pub fn proof(&self, broker: &TestBroker, method: &str, url: &str) -> Proof<'_> {
        let mut jti = [0; 16];
        SystemEntropy.fill(&mut jti);
        Proof {
            key: self,
            header: json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk}),
            claims: json!({
                "jti": URL_SAFE_NO_PAD.encode(jti), "htm": method, "htu": url, "iat": broker.now().timestamp(),
            }),
        }
    }

    /// A good proof for a request of this method to a path of the broker with this token.
    pub fn proof_with(&self, broker: &TestBroker, method: &str, path: &str, token: &str) -> String {
        self.proof(broker, method, &broker.at(path)).token(token).sign()
    }

    /// A good proof for a request for tokens, with a current nonce.
    pub fn grant_proof(&self, broker: &TestBroker, path: &str) -> String {
        self.proof(broker, "POST", &broker.at(path)).nonce(&current_nonce(broker)).sign()
    }
}

/// A nonce of the broker.
pub fn current_nonce(broker: &TestBroker) -> String {
    nonce::issue(&broker.config.server_keys.ring, broker.now())
}

/// A proof that is not signed yet.
#[derive(Clone)]
pub struct Proof<'a> {
    key: &'a AppKey,
    header: Value,
    claims: Value,
}

impl Proof<'_> {
    /// The same for a request with this token.
    pub fn token(self, token: &str) -> Self {
        let ath = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
        self.claims(json!({"ath": ath}))
    }

    /// The same with this nonce.
    pub fn nonce(self, nonce: &str) -> Self {
        self.claims(json!({"nonce": nonce}))
    }

    /// The same with these claims.
    pub fn claims(mut self, changes: Value) -> Self {
        change(&mut self.claims, &changes);
        self
    }

    /// The same with these members of the header.
    pub fn header(mut self, changes: Value) -> Self {
        change(&mut self.header, &changes);
        self
    }

    /// The text.
    pub fn sign(&self) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&self.header), part(&self.claims));
        let signature = self.key.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn change(object: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        object[name] = value.clone();
    }
}

/// Signs alice in with a login that names this key, up to the one-time key.
pub async fn log_in(broker: &TestBroker, browser: &Browser, key: &AppKey) -> Login {
    broker.ready().await;
    let login = broker.login(&[("provider", "dev"), ("dpop_jkt", &key.jkt())]);
    broker.complete(browser, login, "&user=alice").await
}

/// Redeems a one-time key with this proof.
pub async fn redeem(broker: &TestBroker, login: &Login, proof: &str) -> Answer {
    let body = json!({ "one_time_key": login.key(), "code_verifier": login.verifier });
    broker.browser().post_json(&broker.at("/api/get_token"), &body, &[("dpop", proof)]).await
}

/// Signs alice in and returns a token that is bound to this key.
pub async fn sign_in(broker: &TestBroker, key: &AppKey) -> String {
    let login = log_in(broker, &broker.browser(), key).await;
    let answer = redeem(broker, &login, &key.grant_proof(broker, "/api/get_token")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["token_type"], "DPoP");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// A request with a token of the scheme `DPoP` and this proof.
pub async fn call(broker: &TestBroker, method: &str, path: &str, token: &str, proof: &str) -> Answer {
    let authorization = format!("DPoP {token}");
    let headers = [("authorization", &*authorization), ("dpop", proof)];
    broker.browser().send(method.parse().unwrap(), &broker.at(path), &headers, None).await
}

/// A request with a token and a good proof of this key.
pub async fn call_with(broker: &TestBroker, method: &str, path: &str, token: &str, key: &AppKey) -> Answer {
    call(broker, method, path, token, &key.proof_with(broker, method, path, token)).await
}

/// Checks a refusal of RFC 9449 section 7.1: 401 with this code in the body and in a challenge of the scheme `DPoP`.
#[track_caller]
pub fn assert_refused(answer: &Answer, code: &str, case: impl std::fmt::Debug) {
    assert_eq!(
        (answer.status.as_u16(), answer.error_code().as_deref()),
        (401, Some(code)),
        "{case:?}: {answer:?}"
    );
    let challenge = answer.header("www-authenticate").unwrap();
    let expected = format!(r#"DPoP realm="token-broker", error="{code}", algs="ES256 "#);
    assert!(challenge.starts_with(&expected), "{case:?}: {challenge}");
    let nonce = answer.header("dpop-nonce");
    assert_eq!(nonce.is_some(), code == "use_dpop_nonce", "{case:?}: {answer:?}");
}

//! A script that signs in at the development provider like a broker and records the responses.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use token_broker::domain::clock::{StoppedClock, Timestamp};
use token_broker::domain::entropy::SeededEntropy;
use token_broker::domain::pkce::CodeVerifier;
use token_broker::provider::dev::{DevClient, DevProvider, DevProviderSettings};

use crate::support::process::free_port;
use crate::support::wait::PATIENCE;

pub const CLIENT: &str = "broker";
pub const SECRET: &str = "a secret with : & % +";
pub const CALLBACK: &str = "http://localhost:8080/oauth2_callback?kept=1";

/// One of the two providers on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Oidc,
    Plain,
}

impl Kind {
    pub fn authorize_path(self) -> &'static str {
        if self == Self::Oidc { "/authorize" } else { "/o/authorize/" }
    }

    pub fn token_path(self) -> &'static str {
        if self == Self::Oidc { "/token" } else { "/o/token/" }
    }

    pub fn profile_paths(self) -> &'static [&'static str] {
        match self {
            Self::Oidc => &["/userinfo"],
            Self::Plain => {
                &["/public-api/current_user/base_info", "/public-api/current_user/all_permissions"]
            }
        }
    }
}

/// A new provider with a stopped clock and the same "random" codes in every run.
pub struct Script {
    pub provider: DevProvider,
    pub clock: Arc<StoppedClock>,
    http: reqwest::Client,
    verifier: CodeVerifier,
}

impl Script {
    pub fn new() -> Self {
        Self::start(false)
    }

    pub fn with_open_registration() -> Self {
        Self::start(true)
    }

    fn start(open_registration: bool) -> Self {
        let clock = Arc::new(StoppedClock::at(Timestamp::from_timestamp(1_790_000_000, 0).unwrap()));
        let provider = DevProvider::start(DevProviderSettings {
            listen: ([127, 0, 0, 1], free_port()).into(),
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(SeededEntropy::new(1)),
            clients: vec![DevClient {
                client_id: CLIENT.into(),
                client_secret: SECRET.into(),
                redirect_uris: vec!["http://localhost:8080/other".into(), CALLBACK.into()],
            }],
            open_registration,
        });
        let verifier = CodeVerifier::from_seed(&[1; 32]);
        Self { provider: provider.unwrap(), clock, http: http_client(), verifier }
    }

    /// Stops the provider, checks that it is unreachable, and starts it again.
    pub async fn after_an_outage(self) -> Self {
        let address = self.provider.address();
        let stopped = self.provider.stop().await;
        std::net::TcpStream::connect(address).expect_err("the port is closed during the outage");
        Self { provider: stopped.start_again().unwrap(), ..self }
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.provider.url()))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.provider.url()))
    }

    /// The URL to which a broker would redirect the browser.
    pub fn authorize_url(&self, kind: Kind) -> Url {
        let url = format!("{}{}", self.provider.url(), kind.authorize_path());
        let mut url = Url::parse(&url).unwrap();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", CLIENT)
            .append_pair("redirect_uri", CALLBACK)
            .append_pair("scope", "openid profile email")
            .append_pair("state", "the-state")
            .append_pair("nonce", "the-nonce")
            .append_pair("code_challenge", &self.verifier.challenge().to_string())
            .append_pair("code_challenge_method", "S256");
        url
    }

    /// The same, with a choice appended: `user=alice&fault=wrong_nonce`.
    pub fn choose(&self, kind: Kind, choice: &str) -> RequestBuilder {
        self.http.get(format!("{}&{choice}", self.authorize_url(kind)))
    }

    /// Makes a choice and reads the redirect.
    pub async fn callback(&self, kind: Kind, choice: &str) -> Callback {
        Callback::of(&self.choose(kind, choice).send().await.unwrap())
    }

    /// A valid token request, modified by `change`.
    pub fn token_form(&self, code: &str) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", CALLBACK.to_owned()),
            ("code_verifier", self.verifier.expose().to_owned()),
        ])
    }

    /// Exchanges the code with the client's secret in the body.
    pub fn exchange(&self, kind: Kind, code: &str) -> RequestBuilder {
        let mut form = self.token_form(code);
        form.extend([("client_id", CLIENT.to_owned()), ("client_secret", SECRET.to_owned())]);
        self.post(kind.token_path()).form(&form)
    }

    /// Whether a published key verifies the token's signature, with the algorithm of that key.
    pub async fn is_signed_by_the_provider(&self, token: &str) -> bool {
        let keys: JwkSet = self.get("/jwks").send().await.unwrap().json().await.unwrap();
        let Ok(header) = jsonwebtoken::decode_header(token) else { return false };
        let Some(key) = header.kid.and_then(|kid| keys.find(&kid).cloned()) else { return false };
        if key.common.key_algorithm != Some(header.alg.into()) {
            return false;
        }
        let mut signature_only = Validation::new(header.alg);
        (signature_only.validate_exp, signature_only.validate_aud) = (false, false);
        signature_only.required_spec_claims.clear();
        let key = DecodingKey::from_jwk(&key).unwrap();
        jsonwebtoken::decode::<Value>(token, &key, &signature_only).is_ok()
    }
}

/// The target of the redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    pub address: Url,
    pub params: Vec<(String, String)>,
}

impl Callback {
    pub fn of(answer: &Response) -> Self {
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let address = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        assert!(address.as_str().starts_with(CALLBACK), "{address}");
        let params = address.query_pairs().into_owned().collect();
        Self { address, params }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn code(&self) -> &str {
        self.get("code").expect("a code")
    }
}

#[expect(clippy::disallowed_methods, reason = "a test client of its own, which follows no redirect")]
fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.no_proxy().timeout(PATIENCE).build().unwrap()
}

//! Design section 4: no string in the database, in the key store or in a log can be presented as a credential.
//!
//! A broker lives through everything that can happen at its most verbose log level, while every secret that
//! passes is written down. Then nothing of them is found in what it left behind, and nothing that is found
//! there opens anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use regex::Regex;
use reqwest::Method;
use serde_json::json;
use token_broker::domain::api_token::GenuineToken;
use token_broker::domain::clock::MovableClock;
use token_broker::domain::credential;
use token_broker::provider::dev::{DevProvider, DevProviderSettings};

use crate::support::broker::{CLIENT_SECRET, Login, LoginUrl, Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::dump::{self, Dump};
use crate::support::log::Listener;
use crate::support::redis::RedisServer;
use crate::support::secrets::{RememberingEntropy, Secrets};

const REDIS_PASSWORD: &str = "redis-sesame-4711";
#[cfg(feature = "postgres")]
const DATABASE_PASSWORD: &str = "postgres-sesame-4712";

/// What goes wrong in both kinds of provider, and in OpenID Connect alone.
const FAULTS: &[&str] = &[
    "token_html",
    "token_duplicate_member",
    "token_error_invalid_grant",
    "token_cut",
    "profile_html",
    "profile_401",
    "subject_null",
    "hostile_profile",
    "callback_duplicate_code",
    "callback_wrong_state",
    "callback_error_unknown",
];
const OIDC_FAULTS: &[&str] =
    &["wrong_nonce", "bad_signature", "alg_none", "id_token_garbage", "duplicate_claim"];

/// A broker's life seen from outside: what happens, and which secrets are seen.
pub struct Story {
    base: String,
    route: String,
    pub secrets: Secrets,
    /// Everything that the broker answered, where the secrets do stand.
    transcript: Vec<u8>,
}

impl Story {
    pub fn new(base: &str, route: &str) -> Self {
        let (base, route) = (base.to_owned(), route.to_owned());
        Self { base, route, secrets: Secrets::default(), transcript: Vec::new() }
    }

    fn browser(&self, name: &str) -> Browser {
        let mut browser = Browser::new();
        browser.route(&self.base, &self.route);
        browser.user_agent = format!("{name}/1.0");
        browser
    }

    fn saw(&mut self, answer: &Answer) {
        let text = format!("{:?}\n{}\n", answer.headers, answer.body);
        self.transcript.extend(text.as_bytes());
    }

    fn remember_cookies(&mut self, browser: &Browser) {
        for host in ["localhost", "127.0.0.1"] {
            for value in browser.cookies(host).values() {
                self.secrets.add("a cookie", value);
            }
        }
    }

    async fn log_in(&mut self, browser: &Browser, parameters: &[(&str, &str)], choice: &str) -> Login {
        let begun = LoginUrl::at(&self.base, parameters);
        let authorize = browser.navigate(&begun.url).await;
        self.saw(&authorize);
        let chosen = browser.navigate(&format!("{}{choice}", authorize.location().unwrap())).await;
        let callback = chosen.location().unwrap().to_string();
        self.remember_cookies(browser);
        let back = browser.navigate(&callback).await;
        self.saw(&back);
        self.secrets.add("the SPA's verifier", &begun.verifier);
        self.secrets.add("the SPA's state", &begun.state);
        let pairs = url::Url::parse(&callback).unwrap();
        for (name, value) in pairs.query_pairs().filter(|(_, value)| value.len() >= 32) {
            match &*name {
                "code" => self.secrets.add("a provider's code", value.as_bytes()),
                "state" => self.secrets.add("a state", value.as_bytes()),
                _ => {}
            }
        }
        if let Some(key) = back.parameter("one_time_key") {
            self.secrets.add("a one-time key", &key);
            self.secrets.add("a one-time key's body", &key[4..48]);
        }
        Login { back, callback, verifier: begun.verifier, state: begun.state }
    }

    async fn redeem(&mut self, browser: &Browser, key: &str, verifier: &str) -> Answer {
        let body = json!({ "one_time_key": key, "code_verifier": verifier });
        let answer = browser.post_json(&format!("{}/api/get_token", self.base), &body, &[]).await;
        self.saw(&answer);
        answer
    }

    async fn call(&mut self, method: Method, path: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let url = format!("{}{path}", self.base);
        let answer = self.browser("api").send(method, &url, &[("authorization", &bearer)], None).await;
        self.saw(&answer);
        answer
    }

    fn token(&mut self, answer: &Answer) -> String {
        let body = answer.json();
        let token = body.get("access_token").or_else(|| body.get("token")).and_then(|token| token.as_str());
        let token = token.unwrap_or_else(|| panic!("no token in {answer:?}")).to_owned();
        self.secrets.add("a token", &token);
        self.secrets.add("a token's body", &token[4..70]);
        token
    }

    /// Sign in, rotate, replay, sign out.
    async fn a_whole_life(&mut self, provider: &str) {
        let (browser, thief) = (self.browser("browser"), self.browser("thief"));
        let login = self.log_in(&browser, &[("provider", provider)], "&user=alice").await;
        self.redeem(&browser, &login.key(), &"w".repeat(43)).await;
        let answer = self.redeem(&browser, &login.key(), &login.verifier).await;
        let first = self.token(&answer);
        assert_eq!(self.call(Method::GET, "/api/me", &first).await.status, 200);
        let rotated = self.call(Method::POST, "/api/token/rotate", &first).await;
        let second = self.token(&rotated);
        let sibling = self.call(Method::POST, "/api/token/rotate", &first).await;
        self.token(&sibling);
        assert_eq!(self.call(Method::GET, "/api/permissions", &second).await.status, 200);
        assert_eq!(self.redeem(&thief, &login.key(), &login.verifier).await.status, 400);
        assert_eq!(self.call(Method::GET, "/api/me", &second).await.status, 401, "the replay ended it");
        let login = self.log_in(&browser, &[("provider", provider)], "&user=bob").await;
        let answer = self.redeem(&browser, &login.key(), &login.verifier).await;
        let third = self.token(&answer);
        assert_eq!(self.call(Method::POST, "/api/logout", &third).await.status, 204);
        // Used again, on the wrong path, in the wrong place.
        let strange = browser.navigate(&login.callback).await;
        self.saw(&strange);
        for wrong in [login.key(), login.verifier.clone(), third.clone(), format!("{third}x")] {
            assert_eq!(self.call(Method::GET, "/api/me", &wrong).await.status, 401);
            assert_eq!(self.redeem(&browser, &wrong, &login.verifier).await.status, 400);
            self.call(Method::GET, &format!("/api/me?access_token={wrong}"), &wrong).await;
            self.call(Method::GET, &format!("/api/{wrong}"), &wrong).await;
        }
    }

    async fn a_legacy_life(&mut self, choice: &str) {
        let (login, browser) = self.a_legacy_login(choice).await;
        let answer = self.redeem_legacy(&browser, &login.key()).await;
        let token = self.token(&answer);
        let (login, browser) = self.a_legacy_login(choice).await;
        let again = self.redeem_legacy(&browser, &login.key()).await;
        assert_eq!(self.token(&again), token, "the same token within seven days");
        self.redeem_legacy(&browser, &login.key()).await;
    }

    async fn a_legacy_login(&mut self, choice: &str) -> (Login, Browser) {
        let browser = self.browser("legacy");
        let redirect_uri = format!("{}/legacy", self.base);
        let parameters = [
            ("client_id", "legacy"),
            ("redirect_uri", redirect_uri.as_str()),
            ("code_challenge", ""),
            ("code_challenge_method", ""),
        ];
        (self.log_in(&browser, &parameters, choice).await, browser)
    }

    async fn redeem_legacy(&mut self, browser: &Browser, key: &str) -> Answer {
        let answer = browser.get(&format!("{}/api/get_token/?one_time_key={key}", self.base), &[]).await;
        self.saw(&answer);
        answer
    }

    async fn everything_that_fails(&mut self, provider: &str) {
        let faults = FAULTS.iter().chain(OIDC_FAULTS.iter().filter(|_| provider == "dev"));
        for fault in faults {
            let choice = format!("&user=alice&fault={fault}");
            self.log_in(&self.browser("failing"), &[("provider", provider)], &choice).await;
        }
        self.log_in(&self.browser("denying"), &[("provider", provider)], "&deny=1").await;
    }

    pub async fn everything(&mut self) {
        for provider in ["dev", "ops"] {
            self.a_whole_life(provider).await;
            self.everything_that_fails(provider).await;
        }
        self.a_legacy_life("&user=bob").await;
        // The search finds what it is looking for where it does stand.
        let found = self.secrets.found_in(&self.transcript);
        for what in ["a cookie", "a one-time key", "a token", "the SPA's state"] {
            assert!(found.contains(&what), "{what} was never seen: {found:?}");
        }
    }
}

/// A broker whose every random byte is known, on these stores, and its Redis.
fn broker(database: Option<String>) -> (TestBroker, RememberingEntropy, RedisServer) {
    let redis = RedisServer::start(&[&format!("requirepass {REDIS_PASSWORD}")]);
    let entropy = RememberingEntropy::default();
    let clock = Arc::new(MovableClock::new());
    let provider = DevProvider::start(DevProviderSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        clock: clock.clone(),
        entropy: Arc::new(entropy.clone()),
        clients: Vec::new(),
        open_registration: false,
    });
    let setup = Setup {
        database,
        key_store: Some(redis.url()),
        entropy: Some(Arc::new(entropy.clone())),
        ..Setup::default()
    };
    (TestBroker::with_provider(setup, clock, Arc::new(provider.unwrap())), entropy, redis)
}

fn add_fixed_secrets(secrets: &mut Secrets, server_keys: &str) {
    secrets.add("the client secret", CLIENT_SECRET);
    secrets.add("the password of Redis", REDIS_PASSWORD);
    #[cfg(feature = "postgres")]
    secrets.add("the password of PostgreSQL", DATABASE_PASSWORD);
    let pattern = Regex::new(r#"secret = "([^"]+)""#).unwrap();
    let key = pattern.captures(server_keys).unwrap()[1].to_owned();
    secrets.add("a server key", URL_SAFE_NO_PAD.decode(&key).unwrap());
    secrets.add("a server key's text", key);
    // Every JSON Web Token begins with this, whatever it says.
    secrets.add("an ID token", "eyJhbGci");
    secrets.add("an ID token", "eyJ0eXAi");
}

/// Lives through everything, dumps and searches; then presents what it found.
async fn nothing_is_left_behind(database: Option<String>, dump_database: impl Fn() -> Dump) {
    let log = Listener::start();
    let (broker, entropy, mut redis) = broker(database);
    #[cfg(feature = "postgres")]
    broker.storage().migrate().await.unwrap();
    broker.ready().await;
    let mut story = Story::new(&broker.url, &broker.real_url);
    story.everything().await;
    let open = Open::begin(&mut story).await;

    let (database, key_store) = (dump_database(), dump::redis(&redis.url()));
    let metrics = broker.browser().get(&format!("{}/metrics", broker.admin_url), &[]).await.body;
    for (what, haystack, known) in [
        ("the database", &database.bytes, "login_succeeded"),
        ("the key store", &key_store.bytes, "token-broker:key:"),
        ("the metrics", &metrics.into_bytes(), "http_requests_total"),
    ] {
        assert!(String::from_utf8_lossy(haystack).contains(known), "{what} was not dumped");
        assert_eq!(with_draws(&mut story, &broker, &entropy).found_in(haystack), [""; 0], "in {what}");
    }
    open.nothing_opens(&mut story, &[database, key_store]).await;
    redis.stop();
    open.an_outage(&mut story).await;
    let log = log.text();
    assert!(log.contains("login_succeeded") && log.contains("key store"));
    assert_eq!(with_draws(&mut story, &broker, &entropy).found_in(log.as_bytes()), [""; 0], "in the log");
}

/// The story's secrets with all that was drawn until now.
fn with_draws<'a>(story: &'a mut Story, broker: &TestBroker, entropy: &RememberingEntropy) -> &'a Secrets {
    add_fixed_secrets(&mut story.secrets, &broker.server_keys());
    let draws = entropy.secrets();
    assert!(draws.len() > 100, "{}", draws.len());
    draws.iter().for_each(|draw| story.secrets.add("a random number", draw));
    &story.secrets
}

/// Logins that are open while the thief comes: a live token, and keys that nobody has redeemed.
struct Open {
    token: String,
    key: String,
    verifier: String,
    legacy_key: String,
}

impl Open {
    async fn begin(story: &mut Story) -> Self {
        let browser = story.browser("open");
        let login = story.log_in(&browser, &[], "&user=alice").await;
        let answer = story.redeem(&browser, &login.key(), &login.verifier).await;
        let token = story.token(&answer);
        let parked = story.log_in(&browser, &[], "&user=alice").await;
        let (legacy, _) = story.a_legacy_login("&user=alice").await;
        Self { token, key: parked.key(), verifier: parked.verifier.clone(), legacy_key: legacy.key() }
    }

    /// Presents every string of the dumps, even beside the right verifier; then what is real, which works.
    async fn nothing_opens(&self, story: &mut Story, dumps: &[Dump]) {
        let strings = strings(dumps);
        assert!(strings.len() > 300, "{}", strings.len());
        let browser = story.browser("thief");
        let base = story.base.clone();
        for some in strings.iter().collect::<Vec<_>>().chunks(32) {
            join_all(some.iter().map(|string| self.opens_nothing(&browser, &base, string))).await;
        }
        assert_eq!(story.call(Method::GET, "/api/me", &self.token).await.status, 200);
        let redeemed = story.redeem(&browser, &self.key, &self.verifier).await;
        story.token(&redeemed);
        let redeemed = story.redeem_legacy(&browser, &self.legacy_key).await;
        story.token(&redeemed);
    }

    async fn opens_nothing(&self, browser: &Browser, base: &str, string: &str) {
        let bearer = format!("Bearer {string}");
        let me = browser.get(&format!("{base}/api/me"), &[("authorization", &bearer)]).await;
        assert!(matches!(me.status.as_u16(), 400 | 401), "a token: {string}");
        let key = json!({ "one_time_key": string, "code_verifier": self.verifier });
        let redeemed = browser.post_json(&format!("{base}/api/get_token"), &key, &[]).await;
        assert_eq!(redeemed.error_code().as_deref(), Some("invalid_grant"), "a key: {string}");
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("one_time_key", string).finish();
        let legacy = browser.get(&format!("{base}/api/get_token?{query}"), &[]).await;
        assert_eq!(legacy.body, r#"{"token":null}"#, "a legacy key: {string}");
    }

    /// What is logged when the key store is away, with secrets under way.
    async fn an_outage(&self, story: &mut Story) {
        let browser = story.browser("outage");
        assert_eq!(story.redeem(&browser, &self.key, &self.verifier).await.status, 503);
        let login = story.log_in(&browser, &[], "&user=alice").await;
        assert_eq!(login.error(), "temporarily_unavailable");
    }
}

/// Whatever could be presented of the dumps: texts and their parts, bytes in every alphabet, and bytes dressed
/// as our own credentials, checksum included.
fn strings(dumps: &[Dump]) -> BTreeSet<String> {
    let part = Regex::new("[0-9A-Za-z_~.+/=-]{8,}").unwrap();
    let mut strings = BTreeSet::new();
    let values: Vec<&Vec<u8>> = dumps.iter().flat_map(|dump| &dump.values).collect();
    for value in &values {
        let text = String::from_utf8_lossy(value);
        strings.extend(part.find_iter(&text).map(|found| found.as_str().to_owned()));
        if value.len() >= 16 {
            strings.insert(value.iter().map(|byte| format!("{byte:02x}")).collect());
            strings.insert(URL_SAFE_NO_PAD.encode(value));
        }
        for window in value.windows(32).step_by(4).chain(value.windows(32).last()) {
            strings.insert(credential::encode("tbo_", window).to_string());
        }
        for window in value.windows(48).step_by(4) {
            strings.insert(credential::encode("tbk_", window).to_string());
        }
    }
    // A handle and a MAC out of two columns: 16 bytes, the key's id, 28 bytes.
    let of_length = |length: usize| values.iter().filter(move |value| value.len() == length);
    for (handle, mac) in of_length(16).zip(of_length(32)).chain(of_length(32).zip(of_length(32))) {
        for key_id in 1u32..=2 {
            let body = [&handle[..16], &key_id.to_be_bytes(), &mac[..28]].concat();
            strings.insert(credential::encode("tbk_", &body).to_string());
        }
    }
    strings.retain(|string| string.len() <= 2_000);
    strings
}

#[actix_web::test]
async fn er_03_ok_02_tk_02_nothing_that_opens_anything_is_left_in_sqlite_redis_and_log() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("broker.sqlite").display());
    nothing_is_left_behind(Some(url.clone()), || dump::sqlite(&url)).await;
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn er_03_ok_02_tk_02_nothing_that_opens_anything_is_left_in_postgresql_redis_and_log() {
    let url = crate::support::postgres::database().replace("test@", &format!("test:{DATABASE_PASSWORD}@"));
    nothing_is_left_behind(Some(url.clone()), || dump::postgres(&url)).await;
}

#[actix_web::test]
async fn er_03_a_token_is_more_than_its_row_and_more_than_its_handle() {
    let broker = TestBroker::start();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let handle = GenuineToken::parse(&token, &broker.config.server_keys).unwrap().handle;
    let url = secrecy::ExposeSecret::expose_secret(&broker.config.database.url);
    let digests = dump::sqlite_texts(url, "SELECT hex(handle_digest) AS text FROM api_tokens");
    let digest: String = handle.digest().as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(digests, [digest]);
    // Even who had the handle itself could not write the token down without the server key.
    let mut body = handle.expose().to_vec();
    body.extend([0, 0, 0, 1]);
    body.extend(&handle.digest().as_bytes()[..28]);
    let forged = credential::encode("tbk_", &body);
    assert_eq!(broker.call("/api/me", &forged).await.status, 401);
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

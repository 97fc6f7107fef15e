//! No string in the database, in the key store or in a log can be used as a credential.
//!
//! A broker runs all kinds of requests at its most verbose log level, while the test records every secret. Afterwards,
//! none of the secrets may be found in the stores and the log, and no string found there may work as a credential.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use regex::Regex;
use reqwest::Method;
use serde_json::json;
use token_broker::domain::clock::MovableClock;
use token_broker::domain::credential;
use token_broker::domain::token::GenuineToken;
use token_broker::provider::dev::{DevProvider, DevProviderSettings};

use crate::support::broker::{CLIENT_SECRET, LoginUrl, Setup, TestBroker};
use crate::support::browser::Browser;
use crate::support::dump::{self, Dump};
use crate::support::log::Listener;
use crate::support::process::free_port;
use crate::support::program::Program;
use crate::support::redis::RedisServer;
use crate::support::secrets::{RememberingEntropy, Secrets};
use crate::support::story::Story;

const REDIS_PASSWORD: &str = "redis-sesame-4711";
#[cfg(feature = "postgres")]
const DATABASE_PASSWORD: &str = "postgres-sesame-4712";

/// A broker on these stores whose random bytes are all recorded, and its Redis.
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
    // Every JSON Web Token starts with this.
    secrets.add("an ID token", "eyJhbGci");
    secrets.add("an ID token", "eyJ0eXAi");
}

/// Runs the story, dumps the stores and searches the dumps, then tries every string of the dumps as a credential.
async fn no_credential_is_left(database: Option<String>, dump_database: impl Fn() -> Dump) {
    let log = Listener::start();
    let (broker, entropy, mut redis) = broker(database);
    #[cfg(feature = "postgres")]
    broker.storage().migrate().await.unwrap();
    broker.ready().await;
    let mut story = Story::new(&broker.url, &broker.real_url);
    story.everything(&["dev", "ops"]).await;
    let open = Open::begin(&mut story).await;

    let (database, key_store) = (dump_database(), dump::redis(&redis.url()));
    let metrics = broker.browser().get(&format!("{}/metrics", broker.admin_url), &[]).await.body;
    for (what, haystack, known) in [
        ("the database", &database.bytes, "login_succeeded"),
        ("the key store", &key_store.bytes, "token-broker:key:"),
        ("the metrics", &metrics.into_bytes(), "token_broker_http_requests_total"),
    ] {
        assert!(String::from_utf8_lossy(haystack).contains(known), "{what} was not dumped");
        assert_eq!(with_draws(&mut story, &broker, &entropy).found_in(haystack), [""; 0], "in {what}");
    }
    open.assert_no_string_is_a_credential(&mut story, &[database, key_store]).await;
    redis.stop();
    open.an_outage(&mut story).await;
    let log = log.text();
    assert!(log.contains("login_succeeded") && log.contains("key store"));
    assert_eq!(with_draws(&mut story, &broker, &entropy).found_in(log.as_bytes()), [""; 0], "in the log");
}

/// The secrets of the story and all random values generated until now.
fn with_draws<'a>(story: &'a mut Story, broker: &TestBroker, entropy: &RememberingEntropy) -> &'a Secrets {
    add_fixed_secrets(&mut story.secrets, &broker.server_keys());
    let draws = entropy.secrets();
    assert!(draws.len() > 100, "{}", draws.len());
    draws.iter().for_each(|draw| story.secrets.add("a random number", draw));
    &story.secrets
}

/// Logins in progress when the stores are dumped: a live token, and keys that have not been redeemed.
struct Open {
    token: String,
    key: String,
    verifier: String,
    legacy_key: String,
    signed_in: Browser,
}

impl Open {
    async fn begin(story: &mut Story) -> Self {
        let browser = story.browser("open");
        let login = story.log_in(&browser, &[], "&user=alice").await;
        let answer = story.redeem(&browser, &login.key(), &login.verifier).await;
        let token = story.token(&answer);
        let parked = story.log_in(&browser, &[], "&user=alice").await;
        let (legacy, _) = story.a_legacy_login("&user=alice").await;
        let signed_in = story.browser("signed in");
        story.log_in(&signed_in, &[], "&user=alice").await;
        let (key, verifier) = (parked.key(), parked.verifier.clone());
        Self { token, key, verifier, legacy_key: legacy.key(), signed_in }
    }

    /// Tries every string of the dumps, also with the right verifier; then the real credentials, which work.
    async fn assert_no_string_is_a_credential(&self, story: &mut Story, dumps: &[Dump]) {
        let strings = strings(dumps);

        assert!(strings.len() > 300, "{}", strings.len());
        let browser = story.browser("thief");
        let base = story.base.clone();
        for some in strings.iter().collect::<Vec<_>>().chunks(32) {
            join_all(some.iter().map(|string| self.assert_is_no_credential(&browser, &base, string))).await;
        }
        assert_eq!(story.call(Method::GET, "/api/me", &self.token).await.status, 200);
        let continued = story.continue_session(&self.signed_in, story.provider).await;
        assert!(continued.key().starts_with("tbo_"), "the session's own cookie opens it");
        let redeemed = story.redeem(&browser, &self.key, &self.verifier).await;
        story.token(&redeemed);
        let redeemed = story.redeem_legacy(&browser, &self.legacy_key).await;
        story.token(&redeemed);
    }

    async fn assert_is_no_credential(&self, browser: &Browser, base: &str, string: &str) {
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
        let cookie = format!("tb_session={string}; __Host-Http-tb_session={string}");
        let login = LoginUrl::at(base, &[]).url;
        let begun = browser.get(&login, &[("cookie", &cookie)]).await;
        assert_eq!(
            (begun.status.as_u16(), begun.parameter("one_time_key")),
            (303, None),
            "a cookie: {string}"
        );
        browser.forget_cookies();
    }

    /// The log during an outage of the key store, with logins in progress.
    async fn an_outage(&self, story: &mut Story) {
        let browser = story.browser("outage");
        assert_eq!(story.redeem(&browser, &self.key, &self.verifier).await.status, 503);
        let login = story.log_in(&browser, &[], "&user=alice").await;
        assert_eq!(login.error(), "temporarily_unavailable");
    }
}

/// All candidates from the dumps: texts and their parts, bytes in every encoding, and bytes formatted as credentials of
/// this broker with a valid checksum.
fn strings(dumps: &[Dump]) -> BTreeSet<String> {
    let part = Regex::new("[0-9A-Za-z_~.+/=-]{8,}").unwrap();
    let mut strings = BTreeSet::new();
    let mut binary = BTreeSet::new();
    for value in dumps.iter().flat_map(|dump| &dump.values) {
        let text = String::from_utf8_lossy(value);
        let parts: Vec<&str> = part.find_iter(&text).map(|found| found.as_str()).collect();
        binary.extend(parts.iter().filter_map(|part| URL_SAFE_NO_PAD.decode(part).ok()));
        strings.extend(parts.into_iter().map(str::to_owned));
        if text.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
            binary.insert(value.clone());
        }
    }
    for value in binary.iter().filter(|value| value.len() >= 16) {
        strings.insert(value.iter().map(|byte| format!("{byte:02x}")).collect());
        strings.insert(URL_SAFE_NO_PAD.encode(value));
        // From the start, after the header of a seal (key id and nonce), and from the end.
        for start in [0, 16, value.len().saturating_sub(32), value.len().saturating_sub(48)] {
            let rest = value.get(start..).unwrap_or_default();
            let dress = |prefix, length| Some(credential::encode(prefix, rest.get(..length)?).to_string());
            strings.extend([dress("tbo_", 32), dress("tbk_", 48)].into_iter().flatten());
        }
    }
    // A handle and a MAC out of two columns: 16 bytes, the key's id, 28 bytes.
    let of_length = |length: usize| binary.iter().filter(move |value| value.len() == length);
    for (handle, mac) in of_length(16).zip(of_length(32)).chain(of_length(32).zip(of_length(32))) {
        let body = [&handle[..16], &1u32.to_be_bytes(), &mac[..28]].concat();
        strings.insert(credential::encode("tbk_", &body).to_string());
    }
    strings
}

#[actix_web::test]
async fn no_credential_is_left_in_sqlite_redis_and_log() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("broker.sqlite").display());
    no_credential_is_left(Some(url.clone()), || dump::sqlite(&url)).await;
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn no_credential_is_left_in_postgresql_redis_and_log() {
    let url = crate::support::postgres::database().replace("test@", &format!("test:{DATABASE_PASSWORD}@"));
    no_credential_is_left(Some(url.clone()), || dump::postgres(&url)).await;
}

#[actix_web::test]
async fn a_token_is_more_than_its_row_and_more_than_its_handle() {
    let broker = TestBroker::start();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let handle = GenuineToken::parse(&token, &broker.config.server_keys.ring).unwrap().handle;
    let url = secrecy::ExposeSecret::expose_secret(&broker.config.database.url);
    let digests = dump::sqlite_texts(url, "SELECT hex(handle_digest) AS text FROM tokens");
    let digest: String = handle.digest().as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(digests, [digest]);
    // Even with the handle, the token cannot be computed without the server key.
    let mut body = handle.expose().to_vec();
    body.extend([0, 0, 0, 1]);
    body.extend(&handle.digest().as_bytes()[..28]);
    let forged = credential::encode("tbk_", &body);
    assert_eq!(broker.call("/api/me", &forged).await.status, 401);
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

/// The output of the program at the most verbose level, in the text format.
#[actix_web::test]
async fn the_demo_logs_no_credential() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let port_text = port.to_string();
    let arguments = ["demo", "--port", &port_text, "--data", "data", "--log", "trace"];
    let mut program = Program::start(folder.path(), "demo", &arguments, &[("RUST_BACKTRACE", "full")]);
    program.line("ready: ").await;
    let mut story = Story::new(&format!("http://localhost:{port}"), &format!("http://127.0.0.1:{port}"));
    story.everything(&["dev", "ops"]).await;
    let data = folder.path().join("data");
    add_fixed_secrets(&mut story.secrets, &std::fs::read_to_string(data.join("server_keys.toml")).unwrap());
    let said = program.said();
    assert!(said.contains("login_succeeded") && said.contains("token_rotated"), "{said}");
    assert_eq!(story.secrets.found_in(said.as_bytes()), [""; 0], "in the log");
    let database = dump::sqlite(&format!("sqlite:{}", data.join("broker.sqlite").display()));
    assert!(database.values.iter().any(|value| value == b"alice"), "the database was not dumped");
    assert_eq!(story.secrets.found_in(&database.bytes), [""; 0], "in the database");
}

#[cfg(feature = "postgres")]
mod in_production {
    use token_broker::provider::dev::DevClient;

    use super::*;
    use crate::support::certificates::Certificates;
    use crate::support::production::{CLIENT_ID, PUBLIC, Production, SECRETS};
    use crate::support::{broker, postgres, tls_front};

    /// The clients and the provider of the story, trace, and limits that are not reached.
    fn as_in_the_story(config: &str) -> String {
        let start = config.find("[[clients]]").unwrap();
        let providers = config[..start].replace("id = \"corp\"", "id = \"ops\"");
        format!(
            r#"{providers}
[log]
filter = "trace"
[limits]
failed_redemptions_per_minute = 1000
failed_tokens_per_minute = 1000
[personal_tokens]
enabled = true
[[clients]]
id = "sample"
redirect_uris = ["{PUBLIC}/"]
[[clients]]
id = "legacy"
redirect_uris = ["{PUBLIC}/legacy"]
legacy = true
"#
        )
    }

    #[actix_web::test]
    async fn serve_logs_no_credential() {
        let provider = broker::provider(&Arc::default());
        provider.register(DevClient {
            client_id: CLIENT_ID.to_owned(),
            client_secret: SECRETS[2].into(),
            redirect_uris: vec![format!("{PUBLIC}/oauth2_callback/ops")],
        });
        let certificates_folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::write(certificates_folder.path(), &["0.0.0.0"]);
        let port = tls_front::start(&certificates, provider.address()).await;
        let provider_url = format!("https://0.0.0.0:{port}");
        let mut redis = RedisServer::start(&[&format!("requirepass {}", SECRETS[1])]);
        let database = postgres::database().replace("test@", &format!("test:{}@", SECRETS[0]));
        let production = Production::new(&database, &redis.url(), &provider_url).await;
        production.trust(&certificates.ca);
        production.write(&as_in_the_story(&production.config()));
        let migrated = Program::run(production.folder(), &["migrate", "--config", "token-broker.toml"]).await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        let mut instance = production.serve("only");
        instance.listens().await;

        let mut story = Story::new(PUBLIC, &instance.url);
        story.route(&provider_url, provider.url());
        story.provider = "ops";
        story.everything(&["ops"]).await;
        let keys = std::fs::read_to_string(production.folder().join("server_keys.toml")).unwrap();
        add_fixed_secrets(&mut story.secrets, &keys);
        SECRETS.iter().for_each(|secret| story.secrets.add("a secret of the configuration", secret));
        for (what, dump) in
            [("the database", dump::postgres(&database)), ("the key store", dump::redis(&redis.url()))]
        {
            assert!(dump.values.len() > 20, "{what} was not dumped");
            assert_eq!(story.secrets.found_in(&dump.bytes), [""; 0], "in {what}");
        }
        let open = Open::begin(&mut story).await;
        redis.stop();
        open.an_outage(&mut story).await;
        instance.program.signal("TERM");
        let ended = instance.program.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.err.contains("login_succeeded") && ended.err.contains("key store"), "{ended:?}");
        let said = [migrated.out, migrated.err, ended.out, ended.err].concat();
        assert_eq!(story.secrets.found_in(said.as_bytes()), [""; 0], "in the log");
    }
}

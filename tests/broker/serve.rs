//! The program itself: `serve` in production with PostgreSQL and Redis, `demo`, stop signals, and invalid
//! configurations.

use std::time::Duration;

use serde_json::{Value, json};
use token_broker::domain::clock::monotonic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::broker::{LoginUrl, callback_url};
use crate::support::browser::{Answer, Browser};
use crate::support::outage::{assert_in_time, assert_unavailable};
use crate::support::process::free_port;
use crate::support::production::{Instance, PUBLIC, Production, SECRETS};
use crate::support::program::Program;
use crate::support::redis::RedisServer;
use crate::support::wait::{until, until_true};

mod configuration;
mod demo;

async fn redeem(browser: &Browser, broker: &str, key: &str, verifier: &str) -> Answer {
    let body = json!({"one_time_key": key, "code_verifier": verifier});
    browser.post_json(&format!("{broker}/api/get_token"), &body, &[]).await
}

async fn me(browser: &Browser, broker: &str, token: &str) -> Answer {
    browser.get(&format!("{broker}/api/me"), &[("authorization", &format!("Bearer {token}"))]).await
}

fn token_of(redeemed: &Answer) -> String {
    assert_eq!(redeemed.status, 200, "{redeemed:?}");
    redeemed.json()["access_token"].as_str().unwrap().to_owned()
}

async fn readiness(instance: &Instance) -> Value {
    instance.browser().get(&format!("{PUBLIC}/readyz"), &[]).await.json()
}

/// Waits until `/readyz` reports this value for this ability. The report can be a second old.
async fn assert_becomes(instance: &Instance, ability: &str, able: bool) {
    until(async || {
        let found = readiness(instance).await;
        if found[ability] == able { Ok(()) } else { Err(found) }
    })
    .await;
}

/// A login with a single client, redirect URI and provider.
fn of_the_only_client() -> LoginUrl {
    LoginUrl::at(PUBLIC, &[("client_id", ""), ("redirect_uri", ""), ("provider", "")])
}

/// A request in progress.
struct InFlight(TcpStream);

impl InFlight {
    /// Sends this much of a request, with `Expect: 100-continue` (RFC 9110 section 10.1.1), and waits for the interim
    /// response: then the program is processing the request.
    async fn begin(url: &str, line_and_headers: &str) -> Self {
        const WORD: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!("{line_and_headers}Expect: 100-continue\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut heard = [0; WORD.len()];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, WORD, "{}", String::from_utf8_lossy(&heard));
        Self(stream)
    }

    /// All but the last byte of a request with a body.
    async fn without_the_end(instance: &Instance) -> Self {
        let body = r#"{"one_time_key":"tbo_unknown"}"#;
        let length = body.len();
        let head = format!(
            "POST /api/get_token HTTP/1.1\r\nHost: auth.example.com\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n"
        );
        let mut begun = Self::begin(&instance.url, &head).await;
        begun.0.write_all(&body.as_bytes()[..length - 1]).await.unwrap();
        begun
    }

    /// Sends the rest; returns the raw response.
    async fn finish(mut self, rest: &str) -> String {
        self.0.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// Both stores are unavailable at startup, and the provider's name cannot be resolved.
#[actix_web::test]
async fn the_log_reports_outages_and_recovery() {
    let mut redis = RedisServer::prepare(&[&format!("requirepass {}", SECRETS[1])]);
    let nowhere = format!("postgres://test:{}@127.0.0.1:{}/none", SECRETS[0], free_port());
    let production = Production::new(&nowhere, &redis.url(), "https://provider.invalid").await;
    let mut instance = production.serve("first");
    instance.listens().await;
    let ready = readiness(&instance).await;
    assert_eq!(ready, json!({"ready": false, "log_in": false, "redeem": false, "verify": false}));
    for (part, problem) in [("database", "the database"), ("key store", "the key store is unavailable")] {
        let line = instance.program.line(&format!("\"part\":\"{part}\"")).await;
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["level"], "WARN");
        assert!(event["problem"].as_str().unwrap().contains(problem), "{line}");
    }

    redis.launch();
    let line = instance.program.line("recovered").await;
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["part"], "key store");
    assert_becomes(&instance, "redeem", true).await;
    let ready = readiness(&instance).await;
    assert_eq!(ready, json!({"ready": true, "log_in": false, "redeem": true, "verify": false}));
    let said = instance.program.said();
    assert!(SECRETS.iter().all(|secret| !said.contains(secret)), "{said}");
}

#[actix_web::test]
async fn sigterm_turns_readiness_off_and_lets_requests_finish() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("broker.sqlite").display());
    let production = Production::new(&database, &redis.url(), "https://provider.invalid").await;
    let mut instance = production.serve("first");
    instance.listens().await;
    let admin = format!("{}/healthz", instance.admin_url);
    let browser = Browser::new();
    until_true("it is ready", async || browser.get(&admin, &[]).await.json()["ready"] == true).await;

    let in_flight = InFlight::without_the_end(&instance).await;
    let begun = monotonic();
    instance.program.signal("TERM");
    let health = until(async || {
        let health = browser.get(&admin, &[]).await;
        if health.status == 503 { Ok(health.json()) } else { Err(health) }
    })
    .await;
    assert_eq!(health["verify"], false);
    let parts = health["parts"].as_array().unwrap();
    assert!(parts.iter().any(|part| part["name"] == "this instance"), "{health}");
    let address = instance.url.strip_prefix("http://").unwrap().to_owned();
    until_true("it takes no connections", async || TcpStream::connect(&address).await.is_err()).await;

    let answer = in_flight.finish("}").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid_grant"), "{answer}");
    let ended = instance.program.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_in_time(begun, Duration::from_secs(10), "the end");
    assert!(ended.err.contains("stopping"), "{}", ended.err);
}

/// A client that never sends the rest of its request does not prevent the program from exiting.
#[actix_web::test]
async fn a_request_that_never_ends_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("broker.sqlite").display());
    let production = Production::new(&database, "memory:", "https://provider.invalid").await;
    let impatient = "workers = 2\nshutdown_timeout_seconds = 1";
    production.write(&production.config().replace("workers = 2", impatient));
    let mut instance = production.serve("first");
    instance.listens().await;
    let endless = InFlight::without_the_end(&instance).await;
    let begun = monotonic();
    instance.program.signal("TERM");
    let ended = instance.program.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_in_time(begun, Duration::from_secs(6), "the end");
    drop(endless);
}

#[cfg(feature = "postgres")]
mod postgres {
    use token_broker::provider::dev::DevClient;

    use super::*;
    use crate::support::certificates::Certificates;
    use crate::support::production::CLIENT_ID;
    use crate::support::{broker, postgres, tls_front};

    /// Two instances behind one address, with a provider whose certificate is from a private CA.
    #[actix_web::test]
    async fn a_login_in_production_over_two_instances() {
        let provider = broker::provider(&std::sync::Arc::default());
        provider.register(DevClient {
            client_id: CLIENT_ID.to_owned(),
            client_secret: SECRETS[2].into(),
            redirect_uris: vec![format!("{PUBLIC}/oauth2_callback/corp")],
        });
        let certificates_folder = tempfile::tempdir().unwrap();
        // It resolves to this machine but is not a loopback name, which production refuses.
        let certificates = Certificates::write(certificates_folder.path(), &["0.0.0.0"]);
        let port = tls_front::start(&certificates, provider.address()).await;
        let provider_url = format!("https://0.0.0.0:{port}");
        let redis = RedisServer::start(&[&format!("requirepass {}", SECRETS[1])]);
        let database = postgres::database().replace("test@", &format!("test:{}@", SECRETS[0]));
        let production = Production::new(&database, &redis.url(), &provider_url).await;
        production.trust(&certificates.ca);
        let migrated = Program::run(production.folder(), &["migrate", "--config", "token-broker.toml"]).await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");

        let (mut first, mut second) = (production.serve("first"), production.serve("second"));
        first.listens().await;
        second.listens().await;
        for instance in [&first, &second] {
            assert_becomes(instance, "ready", true).await;
        }
        let browser = first.browser();
        browser.route(&provider_url, provider.url());
        let login = of_the_only_client();
        let callback = callback_url(&browser, &login.url, "&user=alice").await;
        browser.route(PUBLIC, &second.url);
        let back = browser.navigate(&callback).await;
        let key = back.parameter("one_time_key").unwrap_or_else(|| panic!("{back:?}"));
        assert!(back.location().unwrap().as_str().starts_with("https://app.example.com/signed-in?"));
        browser.route(PUBLIC, &first.url);
        let token = token_of(&redeem(&browser, PUBLIC, &key, &login.verifier).await);
        assert_eq!(me(&second.browser(), PUBLIC, &token).await.json()["user"]["username"], "alice");

        first.program.signal("TERM");
        let ended = first.program.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let signed_in = me(&second.browser(), PUBLIC, &token).await;
        assert_eq!(signed_in.status, 200, "{signed_in:?}");
        let said = format!("{}{}{}", ended.out, ended.err, second.program.said());
        for secret in SECRETS.iter().chain(&[token.as_str(), &key, &login.verifier]) {
            assert!(!said.contains(secret), "a secret is in the log");
        }
        assert!(said.contains("login_succeeded") && said.lines().all(|line| line.starts_with('{')), "{said}");
    }

    /// The database exists and is empty: the program says what to do, and its command does it.
    #[actix_web::test]
    async fn an_empty_database_is_explained_and_migrated_by_command() {
        let production = Production::new(&postgres::database(), "memory:", "https://provider.invalid").await;
        let mut instance = production.serve("first");
        instance.listens().await;
        let line = instance.program.line("token-broker migrate").await;
        assert!(line.contains("schema"), "{line}");
        assert_eq!(readiness(&instance).await["verify"], false);
        let migrated = Program::run(production.folder(), &["migrate", "--config", "token-broker.toml"]).await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        assert_becomes(&instance, "verify", true).await;
    }
}

/// An unreachable provider is reported on the broker's own page.
#[actix_web::test]
async fn serve_responds_while_its_provider_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("broker.sqlite").display());
    let production = Production::new(&database, "memory:", "https://provider.invalid").await;
    let config = production.config();
    let (start, end) = (config.find("[[providers]]").unwrap(), config.find("[[clients]]").unwrap());
    let openid = format!(
        "[[providers]]\nid = \"corp\"\nkind = \"oidc\"\nissuer = \"https://0.0.0.0:{}\"\nclient_id = \"x\"\n\
         client_secret_file = \"corp\"\n",
        free_port()
    );
    production.write(&format!("{}{openid}{}", &config[..start], &config[end..]));
    let mut instance = production.serve("first");
    instance.listens().await;
    let browser = instance.browser();
    assert_becomes(&instance, "verify", true).await;
    assert_eq!(readiness(&instance).await["log_in"], false);
    let page = browser.navigate(&of_the_only_client().url).await;
    assert_unavailable(&page);
    assert_eq!(page.header("strict-transport-security"), Some("max-age=31536000; includeSubDomains"));
    instance.program.line("cannot fetch from the provider").await;
}

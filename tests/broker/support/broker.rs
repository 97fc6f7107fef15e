//! A broker for one test: the real server on a free port, with a clock that can be moved and a development provider
//! with configurable faults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use token_broker::config::{self, Config, DevelopmentSetup, KeysFile, Mode};
use token_broker::domain::client::RedirectUri;
use token_broker::domain::clock::{Clock, MovableClock, SystemClock, Timestamp};
use token_broker::domain::entropy::{Entropy, SystemEntropy};
use token_broker::domain::login_attempt::State;
use token_broker::domain::pkce::CodeVerifier;
use token_broker::provider::dev::{
    DevClient, DevProvider, DevProviderSettings, FaultSwitch, StoppedProvider,
};
use token_broker::server::{self, Environment};
use token_broker::storage::Storage;
use token_broker::storage::audit::AuditRecord;
use url::Url;

use super::browser::{Answer, Browser};
use super::process::free_port;
use super::wait::until;
use super::{audit, install_tls_provider, storage};

/// The broker's client at the development provider.
const CLIENT_ID: &str = "token-broker";
pub const CLIENT_SECRET: &str = "a secret of the tests only";

type Adjust = Arc<dyn Fn(&mut Config) + Send + Sync>;

/// The setup of a broker. By default it uses SQLite, memory, and the demo's configuration.
#[derive(Clone, Default)]
pub struct Setup {
    /// `sqlite:…` or `postgres://…`.
    pub database: Option<String>,
    /// `memory:` or `redis://…`.
    pub key_store: Option<String>,
    /// The public URL, if it is not that of the listener.
    pub public_url: Option<String>,
    /// Changes the configuration at the end.
    pub adjust: Option<Adjust>,
    /// The source of the broker's random bytes, for tests that must know them.
    pub entropy: Option<Arc<dyn Entropy>>,
}

impl Setup {
    /// One setup for each kind of database.
    pub async fn each_database() -> Vec<Self> {
        vec![
            Self::default(),
            #[cfg(feature = "postgres")]
            Self { database: Some(storage::Database::postgres().migrated().await.url), ..Self::default() },
        ]
    }

    /// Adds a change of the configuration.
    pub fn adjust(mut self, adjust: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        self.adjust = Some(Arc::new(adjust));
        self
    }
}

/// The public address of [`Setup::https`].
pub const HTTPS_URL: &str = "https://auth.example.com";

impl Setup {
    /// As in production: browsers reach the broker at [`HTTPS_URL`], which is also the origin of the client `sample`.
    pub fn https() -> Self {
        let setup = Self { public_url: Some(HTTPS_URL.to_owned()), ..Self::default() };
        setup.adjust(|config| {
            config.mode = Mode::Production;
            config.http.docs_public = false;
            config.sample.client_id = None;
            for provider in &mut config.providers {
                let callback = format!("{HTTPS_URL}/oauth2_callback/{}", provider.id);
                provider.redirect_uri = callback.parse().unwrap();
            }
            for client in &mut config.clients {
                let path = if client.legacy { "legacy" } else { "" };
                client.redirect_uris = vec![format!("{HTTPS_URL}/{path}").parse().unwrap()];
                if !client.legacy {
                    client.post_logout_redirect_uris = client.redirect_uris.clone();
                }
                client.origins = vec![HTTPS_URL.parse().unwrap()];
            }
        })
    }
}

/// A running broker. It stops when it is dropped.
pub struct TestBroker {
    /// The public URL, without a trailing slash.
    pub url: String,
    /// The URL of this instance.
    pub real_url: String,
    /// The URL of its listener for gateways, if it has one.
    pub gateway_url: Option<String>,
    /// The URL of its admin listener.
    pub admin_url: String,
    /// The clock of the broker and of the provider.
    pub clock: Arc<MovableClock>,
    /// Its identity provider.
    pub provider: Arc<DevProvider>,
    /// Its configuration.
    pub config: Config,
    entropy: Arc<dyn Entropy>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
    folder: Arc<TempDir>,
}

impl TestBroker {
    /// SQLite, memory, everything as in the demo.
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    /// A broker with this setup.
    pub fn with(setup: Setup) -> Self {
        let clock = Arc::new(MovableClock::new());
        let provider = Arc::new(provider(&clock));
        Self::with_provider(setup, clock, provider)
    }

    /// A broker as in the demo, with a provider that has this fault from the start.
    pub fn with_switch(switch: FaultSwitch) -> Self {
        let clock = Arc::new(MovableClock::new());
        let provider = Arc::new(provider(&clock));
        provider.faults().set(switch, true);
        Self::with_provider(Setup::default(), clock, provider)
    }

    /// A broker with this setup and a running provider.
    pub fn with_provider(setup: Setup, clock: Arc<MovableClock>, provider: Arc<DevProvider>) -> Self {
        install_tls_provider();
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let config = config(&setup, &folder, provider.url());
        let entropy = setup.entropy.unwrap_or_else(|| Arc::new(SystemEntropy));
        Self::run(config, clock, entropy, provider, folder)
    }

    /// A second instance: the same configuration, stores, keys, clock and provider, on another port.
    pub fn twin(&self) -> Self {
        self.twin_with(|_| ())
    }

    /// A second instance that differs in what `adjust` changes.
    pub fn twin_with(&self, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        adjust(&mut config);
        config.server.listen.set_port(free_port());
        config.server.admin_listen = Some(SocketAddr::from(([127, 0, 0, 1], free_port())));
        let entropy = self.entropy.clone();
        Self::run(config, self.clock.clone(), entropy, self.provider.clone(), self.folder.clone())
    }

    fn run(
        config: Config,
        clock: Arc<MovableClock>,
        entropy: Arc<dyn Entropy>,
        provider: Arc<DevProvider>,
        folder: Arc<TempDir>,
    ) -> Self {
        for settings in &config.providers {
            provider.register(DevClient {
                client_id: settings.client_id.clone(),
                client_secret: settings.client_secret.clone(),
                redirect_uris: config.providers.iter().map(|p| p.redirect_uri.to_string()).collect(),
            });
        }
        let environment = Environment { clock: clock.clone(), entropy: entropy.clone() };
        let (sender, receiver) = mpsc::channel();
        let build = config.clone();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = server::build(build, environment).await.unwrap();
                let addresses = (server.addr(), server.gateway_addr(), server.admin_addr());
                sender.send((server.handle(), addresses)).unwrap();
                server.run().await.unwrap();
            });
        });
        let (handle, (addr, gateway, admin)) = receiver.recv().expect("the broker starts");
        Self {
            url: config.public_url.as_str().trim_end_matches('/').to_owned(),
            real_url: format!("http://{addr}"),
            gateway_url: gateway.map(|gateway| format!("http://{gateway}")),
            admin_url: format!("http://{}", admin.unwrap()),
            clock,
            provider,
            config,
            entropy,
            handle,
            thread: Some(thread),
            folder,
        }
    }

    /// Stops the provider, which must not be shared with a twin.
    pub async fn stop_provider(&mut self) -> StoppedProvider {
        let stand_in = Arc::new(provider(&self.clock));
        let provider = std::mem::replace(&mut self.provider, stand_in);
        Arc::into_inner(provider).expect("no twin shares the provider").stop().await
    }

    /// Starts the provider again.
    pub fn resume_provider(&mut self, stopped: StoppedProvider) {
        self.provider = Arc::new(stopped.start_again().unwrap());
    }

    /// Moves the time.
    pub fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// The current time of the broker.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sets the time to `moment` and stops the clock.
    pub fn go_to(&self, moment: Timestamp) {
        self.clock.stand_at(moment);
    }

    /// Stops the clock, so that time passes only when it is moved.
    pub fn stop_clock(&self) {
        self.go_to(self.now());
    }

    /// A browser whose requests to the public URL reach this instance.
    pub fn browser(&self) -> Browser {
        let browser = Browser::new();
        browser.route(&self.url, &self.real_url);
        browser
    }

    /// The broker's database, for direct access.
    pub fn storage(&self) -> Storage {
        Storage::new(&storage::settings(self.config.database.url.expose_secret())).unwrap()
    }

    /// The number of rows of a table.
    pub fn rows(&self, table: &str) -> usize {
        storage::sql::count(self.config.database.url.expose_secret(), table)
    }

    /// Waits until the database schema exists.
    pub async fn ready(&self) {
        let browser = self.browser();
        until(async || {
            let all = format!("{}/readyz?require=log_in,redeem,verify", self.url);
            let readiness = browser.get(&all, &[]).await;
            if readiness.json()["ready"] == true { Ok(()) } else { Err(readiness) }
        })
        .await;
    }

    /// The URL of an endpoint.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A login of the client `sample`, with these additional or changed parameters of `/login`.
    pub fn login(&self, parameters: &[(&str, &str)]) -> LoginUrl {
        LoginUrl::at(&self.url, parameters)
    }

    /// A login of the client `sample` with these parameters beside the usual ones, each as often as it is given.
    pub fn login_with(&self, parameters: &[(&str, &str)]) -> LoginUrl {
        let login = self.login(&[]);
        let url = Url::parse_with_params(&login.url, parameters).unwrap();
        LoginUrl { url: url.into(), ..login }
    }

    /// From `/login` to the answer of the callback, as `user` (`alice`, `bob`), with what the authorize page
    /// should do otherwise (`&fault=wrong_nonce`, …).
    pub async fn log_in(&self, browser: &Browser, provider: &str, user: &str, choice: &str) -> Login {
        let login = self.login(&[("provider", provider)]);
        self.complete(browser, login, &format!("&user={user}{choice}")).await
    }

    /// Follows a login to the answer of its callback.
    pub async fn complete(&self, browser: &Browser, login: LoginUrl, choice: &str) -> Login {
        let callback = self.callback_url(browser, &login.url, choice).await;
        let back = browser.navigate(&callback).await;
        Login { back, callback, verifier: login.verifier, state: login.state }
    }

    /// Follows a login to the provider and returns the URL of the callback without calling it.
    pub async fn callback_url(&self, browser: &Browser, login: &str, choice: &str) -> String {
        callback_url(browser, login, choice).await
    }

    /// The file of its server keys.
    pub fn server_keys(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server_keys.toml")).unwrap()
    }

    /// Redeems a one-time key.
    pub async fn redeem(&self, browser: &Browser, key: &str, verifier: &str) -> Answer {
        let body = serde_json::json!({ "one_time_key": key, "code_verifier": verifier });
        browser.post_json(&self.at("/api/get_token"), &body, &[]).await
    }

    /// Signs `user` in and returns the token.
    pub async fn sign_in(&self, browser: &Browser, provider: &str, user: &str) -> String {
        self.ready().await;
        let login = self.log_in(browser, provider, user, "").await;
        let answer = self.redeem(browser, &login.key(), &login.verifier).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// `GET` with a bearer token.
    pub async fn call(&self, path: &str, token: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        self.browser().get(&self.at(path), &[("authorization", &authorization)]).await
    }

    /// `POST` with a bearer token and a JSON body.
    pub async fn post(&self, path: &str, token: &str, body: &serde_json::Value) -> Answer {
        let authorization = format!("Bearer {token}");
        self.browser().post_json(&self.at(path), body, &[("authorization", &authorization)]).await
    }

    /// A login of the client `legacy`, as the SPA of the replaced service starts it.
    pub fn legacy_login(&self) -> LoginUrl {
        let redirect_uri = self.at("/legacy");
        self.login(&[
            ("client_id", "legacy"),
            ("provider", "ops"),
            ("redirect_uri", &redirect_uri),
            ("code_challenge", ""),
            ("code_challenge_method", ""),
        ])
    }

    /// The newest audit row of this kind. Waits until there is one.
    pub async fn audited(&self, kind: &str) -> AuditRecord {
        let storage = self.storage();
        until(async || {
            let rows = audit::newest(&storage, 1_000).await;
            rows.into_iter().find(|row| row.kind == kind).ok_or(kind)
        })
        .await
    }

    /// How often an audit event was counted, by all brokers of this process.
    pub async fn counted(&self, kind: &str) -> u64 {
        let metrics = self.browser().get(&format!("{}/metrics", self.admin_url), &[]).await;
        let name = format!("token_broker_events_total{{event=\"{kind}\"}} ");
        let line = metrics.body.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |number| number.parse().unwrap())
    }

    /// Stops the broker; requests in progress are finished.
    pub fn stop(mut self) {
        self.halt(true);
    }

    fn halt(&mut self, graceful: bool) {
        drop(self.handle.stop(graceful));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.halt(false);
        }
    }
}

/// A login that has not started yet.
#[derive(Debug, Clone)]
pub struct LoginUrl {
    pub url: String,
    pub verifier: String,
    pub state: String,
}

impl LoginUrl {
    /// A login of the client `sample` at the broker `base`, with these additional or changed parameters.
    pub fn at(base: &str, parameters: &[(&str, &str)]) -> Self {
        let redirect_uri = format!("{base}/");
        let usual = [("client_id", "sample"), ("provider", "dev"), ("redirect_uri", &*redirect_uri)];
        Self::new(base, &[&usual, parameters].concat())
    }

    /// `/login` of the broker at `broker` with a fresh state and challenge and these parameters; of two parameters with
    /// the same name the last one is used, and empty ones are omitted.
    pub fn new(broker: &str, parameters: &[(&str, &str)]) -> Self {
        let verifier = CodeVerifier::random(&SystemEntropy);
        let state = State::random(&SystemEntropy).expose();
        let challenge = verifier.challenge().to_string();
        let mut pairs =
            vec![("state", &*state), ("code_challenge", &challenge), ("code_challenge_method", "S256")];
        for parameter in parameters {
            pairs.retain(|(name, _)| name != &parameter.0);
            pairs.push(*parameter);
        }
        let given = pairs.iter().filter(|(_, value)| !value.is_empty());
        let url = Url::parse_with_params(&format!("{broker}/login"), given).unwrap();
        Self { url: url.into(), verifier: verifier.expose().to_owned(), state }
    }
}

/// Follows a login to the provider, as a browser that has no session, and returns the URL of the callback without
/// calling it.
pub async fn callback_url(browser: &Browser, login: &str, choice: &str) -> String {
    browser.forget_session();
    let authorize = browser.navigate(login).await;
    let location =
        authorize.location().unwrap_or_else(|| panic!("no redirect to the provider: {authorize:?}"));
    let chosen = browser.navigate(&format!("{location}{choice}")).await;
    chosen.location().unwrap_or_else(|| panic!("no redirect to the callback: {chosen:?}")).to_string()
}

/// A login that has returned to the SPA.
#[derive(Debug, Clone)]
pub struct Login {
    /// The response of the callback.
    pub back: Answer,
    /// The URL of the callback.
    pub callback: String,
    /// The SPA's verifier.
    pub verifier: String,
    /// The SPA's state.
    pub state: String,
}

impl Login {
    /// The one-time key.
    pub fn key(&self) -> String {
        self.back.parameter("one_time_key").unwrap_or_else(|| panic!("no key in {:?}", self.back))
    }

    /// The error that the SPA gets.
    pub fn error(&self) -> String {
        self.back.parameter("error").unwrap_or_else(|| panic!("no error in {:?}", self.back))
    }

    /// The description of the error, which contains the broker's code.
    pub fn description(&self) -> String {
        self.back.parameter("error_description").unwrap_or_default()
    }
}

/// A development provider that shares the broker's clock.
pub fn provider(clock: &Arc<MovableClock>) -> DevProvider {
    let clock: Arc<dyn Clock> = clock.clone();
    DevProvider::start(DevProviderSettings {
        listen: SocketAddr::from(([127, 0, 0, 1], free_port())),
        clock,
        entropy: Arc::new(SystemEntropy),
        clients: Vec::new(),
        open_registration: false,
    })
    .unwrap()
}

fn config(setup: &Setup, folder: &TempDir, provider_url: &str) -> Config {
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let keys = KeysFile::fresh(&SystemEntropy, SystemClock.now()).text();
    std::fs::write(file("server_keys.toml"), keys.expose_secret()).unwrap();
    let loaded = config::development(DevelopmentSetup {
        port: free_port(),
        database: &file("broker.sqlite"),
        server_keys: &file("server_keys.toml"),
        provider_url,
        provider_client_id: CLIENT_ID,
        provider_client_secret: CLIENT_SECRET,
        apps: &[],
        log_filter: "off",
    });
    let mut config = loaded.unwrap().config;
    let plenty = std::num::NonZeroU32::new(1_000_000).unwrap();
    config.limits.logins = plenty;
    config.limits.callbacks = plenty;
    config.limits.failed_redemptions = plenty;
    config.limits.failed_tokens = plenty;
    config.limits.failed_logout_tokens = plenty;
    config.limits.failed_resource_servers = plenty;
    config.limits.devices = plenty;
    config.server.workers = Some(2);
    config.server.admin_listen = Some(SocketAddr::from(([127, 0, 0, 1], free_port())));
    config.database.synchronous_full = false;
    if let Some(url) = &setup.database {
        config.database.url = url.parse().unwrap();
    }
    if let Some(url) = &setup.key_store {
        config.key_store.url = url.parse().unwrap();
    }
    if let Some(url) = &setup.public_url {
        move_to(&mut config, url.parse().unwrap());
    }
    if let Some(adjust) = &setup.adjust {
        adjust(&mut config);
    }
    config
}

/// Changes the public URL of the broker and all settings that the demo derives from it.
fn move_to(config: &mut Config, public_url: Url) {
    for provider in &mut config.providers {
        provider.redirect_uri = public_url.join(provider.redirect_uri.path()).unwrap();
    }
    for client in &mut config.clients {
        for uri in client.redirect_uris.iter_mut().chain(&mut client.post_logout_redirect_uris) {
            let path = uri.as_str().parse::<Url>().unwrap().path().to_owned();
            *uri = public_url.join(&path).unwrap().as_str().parse().unwrap();
        }
        client.origins = client.redirect_uris.iter().map(RedirectUri::origin).collect();
    }
    config.public_url = public_url;
}

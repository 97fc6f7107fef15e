//! A story with all kinds of requests to a broker, which records every secret that it sees.

use reqwest::Method;
use serde_json::json;

use super::broker::{Login, LoginUrl};
use super::browser::{Answer, Browser};
use super::secrets::Secrets;

/// Faults of both kinds of provider, and faults of OpenID Connect only.
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

/// The story of one broker.
pub struct Story {
    /// The public URL of the broker.
    pub base: String,
    routes: Vec<(String, String)>,
    /// The provider of logins that do not name one.
    pub provider: &'static str,
    /// The recorded secrets.
    pub secrets: Secrets,
    /// All responses of the broker, which do contain the secrets.
    transcript: Vec<u8>,
}

impl Story {
    pub fn new(base: &str, route: &str) -> Self {
        let routes = vec![(base.to_owned(), route.to_owned())];
        let secrets = Secrets::default();
        Self { base: base.to_owned(), routes, provider: "dev", secrets, transcript: Vec::new() }
    }

    /// Sends requests of browsers for `public` to `real`.
    pub fn route(&mut self, public: &str, real: &str) {
        self.routes.push((public.to_owned(), real.to_owned()));
    }

    pub fn browser(&self, name: &str) -> Browser {
        let mut browser = Browser::new();
        self.routes.iter().for_each(|(public, real)| browser.route(public, real));
        browser.user_agent = format!("{name}/1.0");
        browser
    }

    fn saw(&mut self, answer: &Answer) {
        let text = format!("{:?}\n{}\n", answer.headers, answer.body);
        self.transcript.extend(text.as_bytes());
    }

    fn remember_cookies(&mut self, browser: &Browser) {
        for host in ["localhost", "127.0.0.1", "0.0.0.0", "auth.example.com"] {
            for value in browser.cookies(host).values() {
                self.secrets.add("a cookie", value);
            }
        }
    }

    pub async fn log_in(&mut self, browser: &Browser, parameters: &[(&str, &str)], choice: &str) -> Login {
        let parameters = [&[("provider", self.provider)], parameters].concat();
        let begun = LoginUrl::at(&self.base, &parameters);
        browser.forget_session();
        let authorize = browser.navigate(&begun.url).await;
        self.saw(&authorize);
        let chosen = browser
            .navigate(&format!("{}{choice}", authorize.location().unwrap_or_else(|| panic!("{authorize:?}"))))
            .await;
        let callback = chosen.location().unwrap_or_else(|| panic!("{chosen:?}")).to_string();
        self.remember_cookies(browser);
        let back = browser.navigate(&callback).await;
        self.saw(&back);
        self.remember_cookies(browser);
        self.remember_login(&begun, &back);
        let pairs = url::Url::parse(&callback).unwrap();
        for (name, value) in pairs.query_pairs().filter(|(_, value)| value.len() >= 32) {
            match &*name {
                "code" => self.secrets.add("a provider's code", value.as_bytes()),
                "state" => self.secrets.add("a state", value.as_bytes()),
                _ => {}
            }
        }
        Login { back, callback, verifier: begun.verifier, state: begun.state }
    }

    fn remember_login(&mut self, begun: &LoginUrl, back: &Answer) {
        self.secrets.add("the SPA's verifier", &begun.verifier);
        self.secrets.add("the SPA's state", &begun.state);
        if let Some(key) = back.parameter("one_time_key") {
            self.secrets.add("a one-time key", &key);
            self.secrets.add("a one-time key's body", &key[4..48]);
        }
    }

    /// A login of a signed-in browser, without a provider.
    pub async fn continue_session(&mut self, browser: &Browser, provider: &str) -> Login {
        let (back, begun) = self.begin(browser, provider).await;
        self.remember_login(&begun, &back);
        Login { back, callback: String::new(), verifier: begun.verifier, state: begun.state }
    }

    /// `/login` with the current session of the browser.
    async fn begin(&mut self, browser: &Browser, provider: &str) -> (Answer, LoginUrl) {
        let begun = LoginUrl::at(&self.base, &[("provider", provider)]);
        let answer = browser.navigate(&begun.url).await;
        self.saw(&answer);
        self.remember_cookies(browser);
        (answer, begun)
    }

    pub async fn redeem(&mut self, browser: &Browser, key: &str, verifier: &str) -> Answer {
        let body = json!({ "one_time_key": key, "code_verifier": verifier });
        let answer = browser.post_json(&format!("{}/api/get_token", self.base), &body, &[]).await;
        self.saw(&answer);
        answer
    }

    pub async fn call(&mut self, method: Method, path: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let url = format!("{}{path}", self.base);
        let answer = self.browser("api").send(method, &url, &[("authorization", &bearer)], None).await;
        self.saw(&answer);
        answer
    }

    pub fn token(&mut self, answer: &Answer) -> String {
        let body = answer.json();
        let token = body.get("access_token").or_else(|| body.get("token")).and_then(|token| token.as_str());
        let token = token.unwrap_or_else(|| panic!("no token in {answer:?}")).to_owned();
        self.secrets.add("a token", &token);
        self.secrets.add("a token's body", &token[4..70]);
        token
    }

    /// Makes a personal token and uses it.
    async fn a_personal_token(&mut self, maker: &str) {
        let wanted = json!({ "name": "script", "scope": "profile", "expires_in": 3600 });
        let bearer = format!("Bearer {maker}");
        let url = format!("{}/api/personal_tokens", self.base);
        let browser = self.browser("api");
        let answer = browser.post_json(&url, &wanted, &[("authorization", &bearer)]).await;
        self.saw(&answer);
        let personal = self.token(&answer);
        assert_eq!(self.call(Method::GET, "/api/me", &personal).await.status, 200);
        assert_eq!(self.call(Method::GET, "/api/personal_tokens", maker).await.status, 200);
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
        self.a_personal_token(&third).await;
        let continued = self.continue_session(&browser, provider).await;
        let answer = self.redeem(&browser, &continued.key(), &continued.verifier).await;
        self.token(&answer);
        // The plain provider has no logout endpoint.
        let ended = if provider == "ops" { 204 } else { 200 };
        assert_eq!(self.call(Method::POST, "/api/logout", &third).await.status, ended);
        let over = self.begin(&browser, provider).await;
        assert_eq!(over.0.parameter("one_time_key"), None, "{:?}", over.0);
        // Used a second time, on the wrong path, and in the wrong place.
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

    pub async fn a_legacy_login(&mut self, choice: &str) -> (Login, Browser) {
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

    pub async fn redeem_legacy(&mut self, browser: &Browser, key: &str) -> Answer {
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

    /// The whole story with these providers.
    pub async fn everything(&mut self, providers: &[&str]) {
        for provider in providers {
            self.a_whole_life(provider).await;
            self.everything_that_fails(provider).await;
        }
        self.a_legacy_life("&user=bob").await;
        // Checks that the search finds the secrets in the responses.
        let found = self.secrets.found_in(&self.transcript);
        for what in ["a cookie", "a one-time key", "a token", "the SPA's state"] {
            assert!(found.contains(&what), "{what} was never seen: {found:?}");
        }
    }
}

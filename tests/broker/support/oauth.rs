//! Sign-ins by the standard endpoints `/oauth2/authorize` and `/oauth2/token`, as client libraries use them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use token_broker::config::Config;

use super::broker::{Login, LoginUrl, Setup, TestBroker};
use super::browser::{Answer, Browser};

/// The nonce of every authorization request.
pub const NONCE: &str = "n-0S6_WzA2Mj";

pub const TOKEN: &str = "/oauth2/token";

/// A broker whose client `sample` gets refresh tokens, and with a second client `other` with the same addresses.
pub fn setup() -> Setup {
    setup_with(|_| ())
}

/// The same, with one more change of the configuration.
pub fn setup_with(adjust: impl Fn(&mut Config) + Send + Sync + 'static) -> Setup {
    Setup::default().adjust(move |config| {
        config.clients[0].refresh_tokens = true;
        let mut other = config.clients[0].clone();
        other.id = "other".parse().unwrap();
        config.clients.push(other);
        adjust(config);
    })
}

/// An authorization request of the client `sample`, with these additional or changed parameters.
pub fn authorization(broker: &TestBroker, parameters: &[(&str, &str)]) -> LoginUrl {
    let usual = [("response_type", "code"), ("scope", "openid profile email"), ("nonce", NONCE)];
    let login = broker.login(&[&usual, parameters].concat());
    LoginUrl { url: login.url.replacen("/login?", "/oauth2/authorize?", 1), ..login }
}

/// Signs alice in, up to the code.
pub async fn authorize(broker: &TestBroker, browser: &Browser, parameters: &[(&str, &str)]) -> Login {
    broker.ready().await;
    broker.complete(browser, authorization(broker, parameters), "&user=alice").await
}

/// The authorization code of a sign-in.
pub fn code(login: &Login) -> String {
    login.back.parameter("code").unwrap_or_else(|| panic!("no code in {:?}", login.back))
}

/// Posts a form to the token endpoint.
pub async fn post(broker: &TestBroker, form: &[(&str, &str)]) -> Answer {
    broker.browser().post_form(&broker.at(TOKEN), form, &[]).await
}

/// Exchanges the code of a sign-in as the client `sample`, with these additional or changed parameters; empty ones are omitted.
pub async fn exchange(broker: &TestBroker, login: &Login, changed: &[(&str, &str)]) -> Answer {
    let (code, redirect_uri) = (code(login), broker.at("/"));
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("client_id", "sample"),
        ("redirect_uri", &redirect_uri),
        ("code", &code),
        ("code_verifier", &login.verifier),
    ];
    for pair in changed {
        form.retain(|(name, _)| *name != pair.0);
        form.push(*pair);
    }
    form.retain(|(_, value)| !value.is_empty());
    post(broker, &form).await
}

/// Signs alice in and returns the tokens.
pub async fn tokens(broker: &TestBroker, parameters: &[(&str, &str)]) -> Value {
    let login = authorize(broker, &broker.browser(), parameters).await;
    let answer = exchange(broker, &login, &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Renews tokens as the client `sample`.
pub async fn refresh(broker: &TestBroker, refresh_token: &str) -> Answer {
    let form = [("grant_type", "refresh_token"), ("client_id", "sample"), ("refresh_token", refresh_token)];
    post(broker, &form).await
}

/// A member of a JSON answer, as text.
pub fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}")).to_owned()
}

/// The header and the claims of a JWT, unverified.
pub fn decode(jwt: &str) -> (Value, Value) {
    let part = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    let mut parts = jwt.split('.');
    (part(parts.next().unwrap()), part(parts.next().unwrap()))
}

/// Checks that this is an error of RFC 6749 section 5.2.
#[track_caller]
pub fn assert_error(answer: &Answer, status: u16, code: &str, case: impl std::fmt::Debug) {
    let seen = (answer.status.as_u16(), answer.error_code());
    assert_eq!(seen, (status, Some(code.to_owned())), "{case:?}: {answer:?}");
    assert!(answer.json().get("error_description").is_some(), "{case:?}: {answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{case:?}");
}

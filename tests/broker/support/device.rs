//! A device that wants to be connected, and the browser in which its user does it.

use regex::Regex;
use serde_json::Value;

use super::broker::TestBroker;
use super::browser::{Answer, Browser};
use super::oauth;

pub const AUTHORIZATION: &str = "/oauth2/device_authorization";
pub const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A device that waits for its user.
pub struct Device {
    /// The answer with the codes.
    pub codes: Value,
    /// What it says of itself.
    browser: Browser,
}

impl Device {
    /// Starts the connection of a device of the client `sample` with these parameters.
    pub async fn start(broker: &TestBroker, parameters: &[(&str, &str)]) -> Self {
        let mut browser = broker.browser();
        browser.user_agent = "curl/8.14".to_owned();
        let answer = ask(broker, &browser, parameters).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Self { codes: answer.json(), browser }
    }

    /// The code that the user enters.
    pub fn user_code(&self) -> String {
        oauth::text(&self.codes, "user_code")
    }

    /// Asks for the tokens at this instance, at once.
    pub async fn poll(&self, broker: &TestBroker) -> Answer {
        self.poll_with(broker, &[]).await
    }

    /// Asks with this DPoP proof.
    pub async fn poll_with_proof(&self, broker: &TestBroker, proof: &str) -> Answer {
        self.send(broker, &[], &[("dpop", proof)]).await
    }

    /// Asks with changed parameters.
    pub async fn poll_with(&self, broker: &TestBroker, changed: &[(&str, &str)]) -> Answer {
        self.send(broker, changed, &[]).await
    }

    async fn send(&self, broker: &TestBroker, changed: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let code = oauth::text(&self.codes, "device_code");
        let mut form = vec![("grant_type", GRANT), ("client_id", "sample"), ("device_code", &*code)];
        for pair in changed {
            form.retain(|(name, _)| *name != pair.0);
            form.push(*pair);
        }
        form.retain(|(_, value)| !value.is_empty());
        self.browser.route(&broker.url, &broker.real_url);
        self.browser.post_form(&broker.at(oauth::TOKEN), &form, headers).await
    }

    /// The same after the interval.
    pub async fn poll_later(&self, broker: &TestBroker) -> Answer {
        broker.advance(5);
        self.poll(broker).await
    }
}

/// Asks for codes; `client_id` is `sample` unless it is given.
pub async fn ask(broker: &TestBroker, browser: &Browser, parameters: &[(&str, &str)]) -> Answer {
    let mut form = parameters.to_vec();
    if !form.iter().any(|(name, _)| *name == "client_id") {
        form.push(("client_id", "sample"));
    }
    form.retain(|(_, value)| !value.is_empty());
    browser.post_form(&broker.at(AUTHORIZATION), &form, &[]).await
}

/// A browser that is signed in, by the page's own sign-in.
pub async fn signed_in(broker: &TestBroker, user: &str) -> Browser {
    broker.ready().await;
    let browser = broker.browser();
    let back =
        sign_in(broker, &browser, &broker.at("/device/sign_in?provider=dev"), &format!("&user={user}")).await;
    assert_eq!(back.location().unwrap().as_str(), broker.at("/device"), "{back:?}");
    browser
}

/// Follows a sign-in of the page to the answer of its callback.
pub async fn sign_in(broker: &TestBroker, browser: &Browser, link: &str, choice: &str) -> Answer {
    let callback = broker.callback_url(browser, link, choice).await;
    browser.navigate(&callback).await
}

/// Sends a form of the page, as the page does.
pub async fn post(broker: &TestBroker, browser: &Browser, form: &[(&str, &str)]) -> Answer {
    let own = [
        ("origin", &*broker.url),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("accept", "text/html"),
    ];
    browser.post_form(&broker.at("/device"), form, &own).await
}

/// Enters a code.
pub async fn enter(broker: &TestBroker, browser: &Browser, code: &str) -> Answer {
    post(broker, browser, &[("user_code", code)]).await
}

/// The sealed question of a page that asks.
pub fn question(page: &Answer) -> String {
    let field = Regex::new(r#"name="question" value="([A-Za-z0-9_-]+)""#).unwrap();
    let found = field.captures(&page.body).unwrap_or_else(|| panic!("no question in {page:?}"));
    found[1].to_owned()
}

/// Enters a code and gives this answer.
pub async fn answer(broker: &TestBroker, browser: &Browser, code: &str, answer: &str) -> Answer {
    let page = enter(broker, browser, code).await;
    post(broker, browser, &[("user_code", code), ("question", &question(&page)), ("answer", answer)]).await
}

/// Checks that this is the page with this title.
#[track_caller]
pub fn assert_page(page: &Answer, title: &str) {
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains(&format!("<h1>{title}</h1>")), "{title}: {page:?}");
}

pub const CONNECTED: &str = "Your device is connected";
pub const REFUSED: &str = "The device was not connected";
pub const ASK: &str = "Connect Sample app to your account?";
pub const ENTER: &str = "Connect a device";

/// What the page says of a code that no device is waiting with.
pub const UNKNOWN: &str = "No device is waiting with this code";
/// What it says of one that was answered.
pub const USED: &str = "This code was already used";
/// What it says of a text that is no code.
pub const NO_CODE: &str = "That is not a code";

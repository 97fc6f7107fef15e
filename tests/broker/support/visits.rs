//! Pages behind a gateway: the policy `tools`, and browsers that visit its pages.

use reqwest::Method;
use token_broker::config::Config;
use token_broker::domain::client::Origin;
use token_broker::domain::pages::{PageClient, Pages};
use token_broker::domain::policy::{Policy, Requirements};

use super::broker::{TestBroker, callback_url};
use super::browser::{Answer, Browser};

/// The origin of the pages in tests without a real gateway.
pub const TOOLS: &str = "https://tools.example.com";

/// Adds a policy whose pages are these. The gateway is on this machine.
pub fn add_pages(config: &mut Config, id: &str, origins: &[&str], all: Requirements) {
    let id = id.parse().unwrap();
    let origins = origins.iter().map(|origin| origin.parse::<Origin>().unwrap()).collect();
    let pages = Pages::new(&id, origins).unwrap();
    let audience = "https://tools.example.com".parse().unwrap();
    let policy = Policy { id, all, ..Policy::default_for(audience).unwrap() };
    let client = pages.client(PageClient {
        policy: policy.id.clone(),
        display_name: "Tools".to_owned(),
        audience: policy.audience.clone(),
        scopes: policy.all.scopes.clone(),
        inactivity: None,
    });
    config.clients.push(client.unwrap());
    config.policies.push(Policy { pages: Some(pages), ..policy });
    config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
}

/// The code of a refusal: of problem details for a program, of a page for a person.
pub fn refusal(answer: &Answer) -> Option<String> {
    let page = answer.body.split_once("<code>").and_then(|(_, rest)| rest.split_once("</code>"));
    answer.error_code().or_else(|| page.map(|(code, _)| code.to_owned()))
}

/// What a browser says about a navigation of its window.
pub const NAVIGATION: [(&str, &str); 4] = [
    ("accept", "text/html"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

/// What a browser says about a call of a script of the page.
pub const SCRIPT: [(&str, &str); 3] =
    [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];

/// A browser and the gateway that asks for it, without a real gateway.
pub struct Visitor {
    pub browser: Browser,
    pub origin: String,
    /// What the gateway says in place of the origin.
    pub said: Option<String>,
    /// The address of the gateway at the broker.
    pub address: &'static str,
}

impl Visitor {
    pub fn new(broker: &TestBroker) -> Self {
        let browser = broker.browser();
        browser.route(TOOLS, &broker.real_url);
        Self { browser, origin: TOOLS.to_owned(), said: None, address: "/authz/caddy/tools" }
    }

    /// What a gateway adds.
    fn forwarded<'a>(&'a self, method: &'a str, target: &'a str) -> Vec<(&'a str, &'a str)> {
        let (scheme, host) = self.said.as_ref().unwrap_or(&self.origin).split_once("://").unwrap();
        vec![
            ("x-forwarded-proto", scheme),
            ("x-forwarded-host", host),
            ("x-forwarded-uri", target),
            ("x-forwarded-method", method),
        ]
    }

    /// The question of the gateway about a request.
    pub async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let all = [&self.forwarded(method, target)[..], headers].concat();
        let url = format!("{}{}", self.origin, self.address);
        self.browser.send(Method::GET, &url, &all, None).await
    }

    /// A navigation of the window.
    pub async fn navigate(&self, target: &str) -> Answer {
        self.ask("GET", target, &NAVIGATION).await
    }

    /// A call of a script of the page.
    pub async fn call(&self, target: &str) -> Answer {
        self.ask("GET", target, &SCRIPT).await
    }

    /// The way back of a sign-in, which the gateway passes on.
    pub async fn come_back(&self, url: &str) -> Answer {
        let all = [&self.forwarded("GET", "/")[..], &NAVIGATION].concat();
        self.browser.send(Method::GET, url, &all, None).await
    }

    /// From the page to the broker's redirect back to the site, at the provider as `user`.
    pub async fn to_callback(&self, target: &str, user: &str) -> String {
        let away = self.navigate(target).await;
        let login = away.location().unwrap_or_else(|| panic!("no sign-in: {away:?}"));
        let login = format!("{login}&provider=dev");
        let callback = callback_url(&self.browser, &login, &format!("&user={user}")).await;
        let back = self.browser.navigate(&callback).await;
        back.location().unwrap_or_else(|| panic!("no way back: {back:?}")).to_string()
    }

    /// Signs in; returns where the browser ends.
    pub async fn sign_in(&self, target: &str, user: &str) -> String {
        let back = self.come_back(&self.to_callback(target, user).await).await;
        back.location().unwrap_or_else(|| panic!("not signed in: {back:?}")).to_string()
    }

    /// Signs in as someone else, without what the browser knows of the first one.
    pub async fn sign_in_again(&self, user: &str) {
        self.browser.forget_cookies();
        self.sign_in("/", user).await;
    }
}

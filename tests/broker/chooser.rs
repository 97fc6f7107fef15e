//! The page on which a user chooses a provider.

use std::collections::BTreeMap;

use regex::Regex;
use token_broker::domain::client::KeyDelivery;
use url::Url;

use crate::pages::links;
use crate::support::broker::{Setup, TestBroker};
use crate::support::oauth::authorization;

#[actix_web::test]
async fn without_a_provider_the_user_chooses_and_the_login_continues() {
    let broker = TestBroker::start();
    broker.ready().await;
    for (chosen, user) in [(0, "alice"), (1, "bob")] {
        let browser = broker.browser();
        let login = broker.login(&[("provider", "")]);
        let page = browser.navigate(&login.url).await;
        assert_eq!(
            (page.status.as_u16(), page.header("content-type")),
            (200, Some("text/html; charset=utf-8"))
        );
        assert!(page.body.contains("Sign in to Sample app"), "{page:?}");
        assert!(page.body.contains("Continue with Development provider, plain OAuth 2"), "{page:?}");
        assert!(browser.cookies("localhost").is_empty(), "nothing began yet");

        let links = links(&page);
        assert_eq!(links.len(), 3, "{page:?}");
        let provider = broker.config.providers[chosen].id.as_str();
        assert!(links[chosen].ends_with(&format!("&provider={provider}")), "{links:?}");
        let next = page.url.join(&links[chosen]).unwrap();
        let callback = broker.callback_url(&browser, next.as_str(), &format!("&user={user}")).await;
        let back = browser.navigate(&callback).await;
        assert_eq!(back.parameter("state"), Some(login.state));
        let key = back.parameter("one_time_key").unwrap();
        let answer = broker.redeem(&browser, &key, &login.verifier).await;
        let me = broker.call("/api/me", answer.json()["access_token"].as_str().unwrap()).await.json();
        assert_eq!((&me["user"]["provider"], &me["user"]["username"]), (&provider.into(), &user.into()));
    }
}

/// A user who cancels returns to the application with an error, as at the provider, and without a key.
#[actix_web::test]
async fn the_user_can_return_to_the_application() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.clients[1].key_delivery = KeyDelivery::Fragment;
    }));
    let browser = broker.browser();
    for (client, name, address) in [
        ("sample", "Sample app", format!("{}/?error=", broker.url)),
        ("vite-react", "Sample app on another origin", "http://localhost:5173/#error=".to_owned()),
    ] {
        let redirect_uri = address.split(['?', '#']).next().unwrap();
        let login = broker.login(&[("provider", ""), ("client_id", client), ("redirect_uri", redirect_uri)]);
        let page = browser.navigate(&login.url).await;
        assert!(page.body.contains(&format!(">Back to {name}</a>")), "{page:?}");
        let links = links(&page);
        let back: Url = links.last().unwrap().parse().unwrap();
        assert!(back.as_str().starts_with(&address), "{back}");
        let query = format!("{}&{}", back.query().unwrap_or_default(), back.fragment().unwrap_or_default());
        let said: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!((&*said["error"], &said["state"]), ("access_denied", &login.state));
        let id = page.header("x-request-id").unwrap();
        let text = "The sign-in was cancelled, or this account is not allowed to sign in. Try another account, or ask an administrator.";
        assert_eq!(said["error_description"], format!("{text} (access_denied, request {id})"));
    }
    assert!(browser.cookies("localhost").is_empty(), "nothing began");
}

#[actix_web::test]
async fn a_single_provider_needs_no_chooser() {
    let broker = TestBroker::with(Setup::default().adjust(|config| config.providers.truncate(1)));
    let answer = broker.browser().navigate(&broker.login(&[("provider", "")]).url).await;
    let location = answer.location().unwrap();
    assert!(location.as_str().starts_with(&format!("{}/authorize?", broker.provider.url())), "{location}");
}

#[actix_web::test]
async fn the_chooser_has_no_script_and_cannot_be_framed() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.providers[0].display_name = "<script>alert(1)</script>\"onclick='x".to_owned();
        config.clients[0].display_name = "</title><b>&amp;".to_owned();
    }));
    let page = broker.browser().navigate(&broker.login(&[("provider", "")]).url).await;
    assert_eq!(page.status, 200);
    for forbidden in ["<script", "<b>", "<img", "<link", "<iframe", "<form", " style=", "\"onclick"] {
        assert!(!page.body.contains(forbidden), "{forbidden}: {}", page.body);
    }
    assert!(page.body.contains("&lt;script&gt;alert(1)"), "{}", page.body);
    let policy = page.header("content-security-policy").unwrap();
    let own_style = Regex::new(
        "^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'$",
    );
    assert!(own_style.unwrap().is_match(policy), "{policy}");
    assert_eq!(page.header("cross-origin-opener-policy"), Some("same-origin"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
}

#[actix_web::test]
async fn the_chooser_escapes_what_it_repeats() {
    let broker = TestBroker::start();
    let state = "\"><script>alert(1)</script>";
    for url in [
        broker.login(&[("provider", ""), ("state", state)]).url,
        authorization(&broker, &[("provider", ""), ("state", state), ("nonce", state)]).url,
    ] {
        let page = broker.browser().navigate(&url).await;
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.body.contains("state=") && !page.body.contains("<script"), "{page:?}");
    }
}

#[actix_web::test]
async fn an_invalid_login_is_refused_before_the_chooser() {
    let broker = TestBroker::start();
    for (name, value) in [
        ("redirect_uri", "https://evil.example/"),
        ("client_id", "nobody"),
        ("state", "\"><script>\u{7f}"),
        ("code_challenge", ""),
    ] {
        let login = broker.login(&[("provider", ""), (name, value)]).url;
        let answer = broker.browser().navigate(&login).await;
        let code = if name == "client_id" { "invalid_client" } else { "invalid_request" };
        answer.assert_own_page(400, code);
        assert!(!answer.body.contains("<script"), "{answer:?}");
    }
}

//! `token-broker demo`: everything in one process, with its own files.

use std::path::Path;

use super::*;
use crate::support::storage::sql;

struct Demo {
    program: Program,
    url: String,
    port: u16,
}

impl Demo {
    async fn start(folder: &Path, port: u16) -> Self {
        Self::start_with(folder, port, &[]).await
    }

    async fn start_with(folder: &Path, port: u16, options: &[&str]) -> Self {
        let port_text = port.to_string();
        let arguments = [&["demo", "--port", &port_text, "--data", "data"], options].concat();
        let mut program = Program::start(folder, "demo", &arguments, &[]);
        let ready = program.line("ready: ").await;
        let url = format!("http://localhost:{port}");
        assert_eq!(ready, format!("ready: {url}/"));
        Self { program, url, port }
    }

    fn login(&self, provider: &str) -> LoginUrl {
        LoginUrl::at(&self.url, &[("provider", provider)])
    }

    /// `localhost` can also resolve to an address on which the demo does not listen.
    fn browser(&self) -> Browser {
        let browser = Browser::new();
        browser.route(&self.url, &format!("http://127.0.0.1:{}", self.port));
        browser
    }
}

#[actix_web::test]
async fn the_demo_signs_users_in_and_remembers_them() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path(), free_port()).await;
    let mut tokens = Vec::new();
    for (provider, user) in [("dev", "alice"), ("ops", "bob")] {
        let browser = demo.browser();
        let login = demo.login(provider);
        let callback = callback_url(&browser, &login.url, &format!("&user={user}")).await;
        let key = browser.navigate(&callback).await.parameter("one_time_key").unwrap();
        let token = token_of(&redeem(&browser, &demo.url, &key, &login.verifier).await);
        assert_eq!(me(&browser, &demo.url, &token).await.json()["user"]["username"], user);
        tokens.push((token, user));
    }
    let port = demo.port;
    demo.program.signal("INT");
    let ended = demo.program.end().await;
    assert_eq!(ended.code, Some(0), "Ctrl-C: {ended:?}");

    let demo = Demo::start(folder.path(), port).await;
    for (token, user) in &tokens {
        assert_eq!(me(&demo.browser(), &demo.url, token).await.json()["user"]["username"], *user);
    }
}

#[actix_web::test]
async fn the_demo_accepts_other_apps_at_the_given_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let apps = ["--app", "http://localhost:3000", "--app", "http://127.0.0.1:3000/signed-in"];
    let demo = Demo::start_with(folder.path(), free_port(), &apps).await;
    let browser = demo.browser();
    let with_slash = "http://localhost:3000/";
    for (redirect_uri, origin) in [(with_slash, "http://localhost:3000"), (apps[3], "http://127.0.0.1:3000")]
    {
        let login = LoginUrl::at(&demo.url, &[("client_id", "app"), ("redirect_uri", redirect_uri)]);
        let callback = callback_url(&browser, &login.url, "&user=alice").await;
        let back = browser.navigate(&callback).await;
        assert!(
            back.header("location").unwrap().starts_with(&format!("{redirect_uri}?one_time_key=")),
            "{back:?}"
        );
        let key = serde_json::json!({
            "one_time_key": back.parameter("one_time_key").unwrap(), "code_verifier": login.verifier,
        });
        let url = format!("{}/api/get_token", demo.url);
        let answer = browser.post_json(&url, &key, &[("origin", origin)]).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{answer:?}");
        assert_eq!(me(&browser, &demo.url, &token_of(&answer)).await.json()["token"]["client_id"], "app");
        browser.forget_session();
    }
    let elsewhere =
        LoginUrl::at(&demo.url, &[("client_id", "app"), ("redirect_uri", "http://localhost:3001/")]);
    let refused = browser.navigate(&elsewhere.url).await;
    refused.assert_own_page(400, "invalid_request");
    for registered in [with_slash, apps[3]] {
        assert!(refused.body.contains(&format!("<li><code>{registered}</code></li>")), "{refused:?}");
    }
}

/// The callback waits for the database lock when the signal arrives.
#[actix_web::test]
async fn a_login_in_progress_is_completed_before_the_demo_ends() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path(), free_port()).await;
    let (browser, login) = (demo.browser(), demo.login("dev"));
    let callback = callback_url(&browser, &login.url, "&user=alice").await;
    let file = folder.path().join("data/broker.sqlite");
    let lock = sql::SqliteLock::of(&format!("sqlite:{}", file.display()));
    let cookies: Vec<_> =
        browser.cookies("localhost").iter().map(|(name, value)| format!("{name}={value}")).collect();
    let target = callback.strip_prefix(&demo.url).unwrap();
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost:{}\r\nCookie: {}\r\nConnection: close\r\n",
        demo.port,
        cookies.join("; ")
    );
    let in_flight = InFlight::begin(&format!("http://127.0.0.1:{}", demo.port), &head).await;
    demo.program.signal("TERM");
    sleep(Duration::from_millis(500)).await;
    drop(lock);
    let answer = in_flight.finish("").await;
    assert!(answer.starts_with("HTTP/1.1 303 ") && answer.contains("?one_time_key=tbo_"), "{answer}");
    let ended = demo.program.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let url = format!("sqlite:{}", file.display());
    assert_eq!((sql::count(&url, "users"), sql::count(&url, "tokens")), (1, 1));
}

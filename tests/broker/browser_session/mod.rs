//! The browser session: a user stays signed in, in this browser only, until the session ends.

mod asked;
mod cookie;
mod replaced;
mod stores;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::audit;
use crate::support::broker::{Login, LoginUrl, Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::wait::until_true;

/// The result of `/login`.
#[derive(Debug, PartialEq, Eq)]
enum Leads {
    /// Back to the SPA with a key.
    Back,
    /// Back to the SPA with this error.
    Error(String),
    /// To this provider.
    Provider(&'static str),
    /// To the page on which a provider is chosen.
    Chooser,
}

fn leads(broker: &TestBroker, answer: &Answer) -> Leads {
    if let Some(error) = answer.parameter("error") {
        return Leads::Error(error);
    }
    match answer.location().map(|location| location.to_string()) {
        Some(location) if location.starts_with(&format!("{}/authorize?", broker.provider.url())) => {
            Leads::Provider("dev")
        }
        Some(location) if location.starts_with(&format!("{}/o/authorize/?", broker.provider.url())) => {
            Leads::Provider("ops")
        }
        Some(_) if answer.parameter("one_time_key").is_some() => Leads::Back,
        None if answer.status == 200 && answer.body.contains("Choose how you want to sign in") => {
            Leads::Chooser
        }
        _ => panic!("it leads nowhere: {answer:?}"),
    }
}

/// The result of `/login` with these parameters in this browser.
async fn login_leads(broker: &TestBroker, browser: &Browser, parameters: &[(&str, &str)]) -> Leads {
    leads(broker, &browser.navigate(&broker.login(parameters).url).await)
}

/// A login that redirects back to the SPA without the provider.
async fn continued(broker: &TestBroker, browser: &Browser, login: LoginUrl) -> Login {
    let back = browser.navigate(&login.url).await;
    assert_eq!(leads(broker, &back), Leads::Back, "{back:?}");
    Login { back, callback: String::new(), verifier: login.verifier, state: login.state }
}

async fn redeemed(broker: &TestBroker, browser: &Browser, login: &Login) -> String {
    let answer = broker.redeem(browser, &login.key(), &login.verifier).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// The token that a signed-in browser gets without the provider.
async fn another_token(broker: &TestBroker, browser: &Browser) -> String {
    let login = continued(broker, browser, broker.login(&[])).await;
    redeemed(broker, browser, &login).await
}

/// A login at the provider by a browser that may have a session.
async fn fresh_login(broker: &TestBroker, browser: &Browser, user: &str, choice: &str) -> Login {
    let login = broker.login(&[("prompt", "login")]);
    let authorize = browser.navigate(&login.url).await.location().unwrap();
    let chosen = browser.navigate(&format!("{authorize}&user={user}{choice}")).await;
    let callback = chosen.location().unwrap().to_string();
    let back = browser.navigate(&callback).await;
    Login { back, callback, verifier: login.verifier, state: login.state }
}

async fn me(broker: &TestBroker, token: &str) -> Value {
    let me = broker.call("/api/me", token).await;
    assert_eq!(me.status, 200, "{me:?}");
    me.json()
}

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

fn session_cookie(browser: &Browser) -> Option<String> {
    browser.cookies("localhost").remove("tb_session")
}

/// The session cookie in the response: its value and attributes.
fn set_session(answer: &Answer) -> Option<(String, String)> {
    let lines = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let mut found = lines.filter_map(|line| {
        let (name, rest) = line.split_once('=')?;
        let (value, attributes) = rest.split_once("; ")?;
        name.ends_with("tb_session").then(|| (value.to_owned(), attributes.to_owned()))
    });
    let first = found.next();
    assert_eq!(found.next(), None, "{answer:?}");
    first
}

fn asked_providers(broker: &TestBroker) -> u64 {
    let log = broker.provider.log();
    ["/authorize", "/o/authorize/", "/token", "/o/token/"].iter().map(|path| log.count(path)).sum()
}

/// A second SPA beside `sample`.
fn with_a_second_client() -> Setup {
    Setup::default().adjust(|config| {
        let mut second = config.clients[0].clone();
        second.id = "second".parse().unwrap();
        second.redirect_uris = vec!["https://second.example.com/".parse().unwrap()];
        second.origins = vec!["https://second.example.com".parse().unwrap()];
        config.clients.push(second);
    })
}

fn second_client(broker: &TestBroker) -> LoginUrl {
    broker.login(&[("client_id", "second"), ("redirect_uri", "https://second.example.com/")])
}

#[actix_web::test]
async fn reload_second_tab_and_restart_get_tokens_of_one_session_without_the_provider() {
    for provider in ["dev", "ops"] {
        let broker = TestBroker::start();
        let browser = broker.browser();
        let mut tokens = vec![broker.sign_in(&browser, provider, "alice").await];
        let session = me(&broker, &tokens[0]).await["session"]["id"].clone();
        let asked = asked_providers(&broker);
        let (second_tab, restarted) = (browser.copy(), browser.copy());
        for browser in [&browser, &second_tab, &restarted] {
            broker.advance(86_400);
            let login = continued(&broker, browser, broker.login(&[("provider", "")])).await;
            assert_eq!(login.back.status, 303);
            assert_eq!(login.back.parameter("state").as_ref(), Some(&login.state));
            assert!(login.back.header("location").unwrap().starts_with(&broker.at("/?one_time_key=tbo_")));
            assert_eq!(login.back.header("cache-control"), Some("no-store"));
            assert_eq!(login.back.header("referrer-policy"), Some("no-referrer"));
            tokens.push(redeemed(&broker, browser, &login).await);
        }
        assert_eq!(asked_providers(&broker), asked, "the provider was asked again");
        for token in &tokens {
            let me = me(&broker, token).await;
            assert_eq!((&me["session"]["id"], &me["user"]["username"]), (&session, &json!("alice")));
        }
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), 4, "each is another one");
        let event = broker.audited("session_continued").await;
        assert_eq!(event.session.unwrap().to_string(), session.as_str().unwrap());
        assert_eq!((event.provider.as_deref(), event.client.as_deref()), (Some(provider), Some("sample")));
        assert!(event.user.is_some() && event.token.is_some(), "{event:?}");
    }
}

/// The key of a continued session has the same protection as the key from a callback.
#[actix_web::test]
async fn the_key_of_a_continued_session_needs_its_verifier_and_works_once() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let first = broker.sign_in(&browser, "dev", "alice").await;
    let login = continued(&broker, &browser, broker.login(&[])).await;
    let other = broker.login(&[]).verifier;
    for wrong in [other.as_str(), ""] {
        let refused = broker.redeem(&browser, &login.key(), wrong).await;
        assert_eq!(refused.error_code().as_deref(), Some("invalid_grant"), "{refused:?}");
    }
    let token = redeemed(&broker, &browser, &login).await;
    let twice = broker.redeem(&browser, &login.key(), &login.verifier).await;
    assert_eq!(twice.error_code().as_deref(), Some("invalid_grant"));
    assert_eq!([status(&broker, &first).await, status(&broker, &token).await], [200, 200], "a double submit");
    // A replay by another browser ends the session, so the cookie becomes invalid.
    let mut thief = broker.browser();
    thief.user_agent = "thief/1.0".to_owned();
    assert_eq!(broker.redeem(&thief, &login.key(), &login.verifier).await.status, 400);
    assert_eq!([status(&broker, &first).await, status(&broker, &token).await], [401, 401]);
    assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Provider("dev"));
}

#[actix_web::test]
async fn two_clients_in_one_browser_share_a_session_and_no_token() {
    let broker = TestBroker::with(with_a_second_client());
    let browser = broker.browser();
    let first = broker.sign_in(&browser, "dev", "alice").await;
    let login = continued(&broker, &browser, second_client(&broker)).await;
    assert!(login.back.header("location").unwrap().starts_with("https://second.example.com/?one_time_key="));
    let second = redeemed(&broker, &browser, &login).await;
    let (of_first, of_second) = (me(&broker, &first).await, me(&broker, &second).await);
    assert_eq!(of_first["session"]["id"], of_second["session"]["id"]);
    assert_eq!(of_first["token"]["client_id"], "sample");
    assert_eq!(of_second["token"]["client_id"], "second");
    assert!(broker.post("/api/logout", &second, &json!({})).await.status.is_success());
    assert_eq!([status(&broker, &first).await, status(&broker, &second).await], [401, 401]);
    assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Provider("dev"));
}

#[actix_web::test]
async fn other_browsers_are_not_signed_in() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    broker.sign_in(&browser, "dev", "alice").await;
    assert_eq!(login_leads(&broker, &broker.browser(), &[]).await, Leads::Provider("dev"));
    browser.forget_session();
    assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Provider("dev"));
}

/// The ways in which a session can end.
#[derive(Debug, Clone, Copy)]
enum End {
    Logout,
    LogoutEverywhere,
    Administrator,
    Disabled,
    Expired,
}

impl End {
    async fn of(self, broker: &TestBroker, token: &str) {
        let who = me(broker, token).await;
        let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
        let storage = broker.storage();
        match self {
            Self::Logout => drop(broker.post("/api/logout", token, &json!({})).await),
            Self::LogoutEverywhere => {
                drop(broker.post("/api/logout", token, &json!({"everywhere": true})).await);
            }
            Self::Administrator => {
                let session = id(&who["session"]).parse().unwrap();
                assert_eq!(storage.end_session(session, broker.now()).await.unwrap(), [session]);
            }
            Self::Disabled => {
                let user = id(&who["user"]).parse().unwrap();
                audit::set_user_disabled(broker, user, true);
            }
            Self::Expired => broker.advance(30 * 86_400 + 1),
        }
    }
}

#[actix_web::test]
async fn after_its_end_a_session_needs_the_provider() {
    for end in [End::Logout, End::LogoutEverywhere, End::Administrator, End::Disabled, End::Expired] {
        let broker = TestBroker::start();
        let browser = broker.browser();
        let token = broker.sign_in(&browser, "dev", "alice").await;
        let copied = browser.copy();
        end.of(&broker, &token).await;
        let answer = browser.navigate(&broker.login(&[]).url).await;
        assert_eq!(leads(&broker, &answer), Leads::Provider("dev"), "{end:?}");
        // The cookie stays: this answer may arrive after that of a callback in another tab, whose cookie it would
        // delete.
        assert_eq!(set_session(&answer), None, "{end:?}: {answer:?}");
        // With several providers the user chooses.
        let answer = copied.navigate(&broker.login(&[("provider", "")]).url).await;
        assert_eq!(leads(&broker, &answer), Leads::Chooser, "{end:?}");
        assert_eq!(set_session(&answer), None, "{end:?}: {answer:?}");
    }
}

#[actix_web::test]
async fn a_continued_session_ends_thirty_days_after_its_login() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    broker.sign_in(&browser, "dev", "alice").await;
    let begun = broker.now();
    for days in [10, 20, 29] {
        broker.go_to(begun + chrono::TimeDelta::days(days));
        let login = continued(&broker, &browser, broker.login(&[])).await;
        let left: i64 = set_session(&login.back).unwrap().1.rsplit('=').next().unwrap().parse().unwrap();
        let expected = (30 - days) * 86_400;
        assert!((expected - 60..=expected).contains(&left), "{days}: {left}");
        redeemed(&broker, &browser, &login).await;
    }
    broker.go_to(begun + chrono::TimeDelta::seconds(30 * 86_400 - 60));
    let last = another_token(&broker, &browser).await;
    let login = broker.login(&[]);
    broker.advance(61);
    assert_eq!(status(&broker, &last).await, 401, "a token ends with its session");
    assert_eq!(leads(&broker, &browser.navigate(&login.url).await), Leads::Provider("dev"));
}

#[actix_web::test]
async fn a_session_can_be_shorter() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        config.lifetimes.api_token = chrono::TimeDelta::seconds(3_600);
        config.lifetimes.session = chrono::TimeDelta::seconds(3_600);
    }));
    let browser = broker.browser();
    broker.sign_in(&browser, "dev", "alice").await;
    broker.advance(3_500);
    assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Back);
    broker.advance(101);
    assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Provider("dev"));
}

#[actix_web::test]
async fn a_login_starts_a_new_session_and_ends_the_previous_one_of_the_browser() {
    for user in ["alice", "bob"] {
        let broker = TestBroker::start();
        let (browser, elsewhere) = (broker.browser(), broker.browser());
        let old = broker.sign_in(&browser, "dev", "alice").await;
        let tab = another_token(&broker, &browser).await;
        let other_device = broker.sign_in(&elsewhere, "dev", "alice").await;
        let before = (me(&broker, &old).await["session"]["id"].clone(), session_cookie(&browser).unwrap());
        let thief = browser.copy();
        broker.advance(1);

        let login = fresh_login(&broker, &browser, user, "").await;
        let new = redeemed(&broker, &browser, &login).await;
        let who = me(&broker, &new).await;
        assert_eq!(who["user"]["username"], user);
        assert_ne!((&who["session"]["id"], &session_cookie(&browser).unwrap()), (&before.0, &before.1));
        until_true("the previous session has ended", async || status(&broker, &old).await == 401).await;
        assert_eq!(status(&broker, &tab).await, 401, "{user}");
        assert_eq!(status(&broker, &other_device).await, 200, "another browser's session is not touched");
        assert_eq!(login_leads(&broker, &thief, &[]).await, Leads::Provider("dev"), "the old cookie is dead");
        let again = another_token(&broker, &browser).await;
        assert_eq!(me(&broker, &again).await["session"]["id"], who["session"]["id"]);
        let ended = broker.audited("session_ended").await;
        assert_eq!(ended.session.unwrap().to_string(), before.0.as_str().unwrap());
    }
}

#[actix_web::test]
async fn a_failed_login_does_not_change_the_session() {
    let broker = TestBroker::start();
    let (browser, bobs) = (broker.browser(), broker.browser());
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let bob = broker.sign_in(&bobs, "dev", "bob").await;
    End::Disabled.of(&broker, &bob).await;
    let cookie = session_cookie(&browser);
    for (user, choice) in
        [("alice", "&fault=wrong_nonce"), ("alice", "&fault=callback_error_server_error"), ("bob", "")]
    {
        let login = fresh_login(&broker, &browser, user, choice).await;
        assert!(login.back.parameter("error").is_some(), "{login:?}");
        assert_eq!(set_session(&login.back), None, "{login:?}");
        // A callback without an attempt does not affect the session either, and leads back to the SPA.
        let again = browser.navigate(&login.callback).await;
        assert_eq!(again.header("location"), Some(&*broker.at("/#")), "{again:?}");
        assert_eq!(set_session(&again), None, "{again:?}");
    }
    assert_eq!(session_cookie(&browser), cookie);
    assert_eq!(status(&broker, &token).await, 200);
    another_token(&broker, &browser).await;
}

#[actix_web::test]
async fn parallel_logins_with_one_cookie_all_get_tokens_of_its_session() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let session = me(&broker, &token).await["session"]["id"].clone();
    let tabs: Vec<_> = (0..20).map(|_| browser.copy()).collect();
    let mut tokens = join_all(tabs.iter().map(|tab| another_token(&broker, tab))).await;
    for token in &tokens {
        assert_eq!(me(&broker, token).await["session"]["id"], session);
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 20);
}

#[actix_web::test]
async fn tokens_of_a_continued_session_are_capped_like_all_others() {
    let broker = TestBroker::with(Setup::default().adjust(|config| config.live_tokens_per_user = 3));
    let browser = broker.browser();
    let mut tokens = vec![broker.sign_in(&browser, "dev", "alice").await];
    for _ in 0..4 {
        broker.advance(1);
        tokens.push(another_token(&broker, &browser).await);
    }
    let mut live = Vec::new();
    for token in &tokens {
        live.push(status(&broker, token).await);
    }
    assert_eq!(live, [401, 401, 200, 200, 200]);
}

#[actix_web::test]
async fn reloads_in_one_browser_revoke_no_token_of_another() {
    let broker = TestBroker::start();
    broker.ready().await;
    let phone = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let laptop = broker.browser();
    let mut tokens = vec![broker.sign_in(&laptop, "dev", "alice").await];
    for _ in 0..55 {
        broker.advance(2);
        tokens.push(another_token(&broker, &laptop).await);
    }
    assert_eq!(status(&broker, &phone).await, 200);
    // Twenty tabs of one client keep theirs.
    let (over, live) = tokens.split_at(tokens.len() - 20);
    assert_eq!(status(&broker, over.last().unwrap()).await, 401);
    for token in live {
        assert_eq!(status(&broker, token).await, 200);
    }
}

/// Legacy clients have one token for all browsers of a user, so they do not use browser sessions.
#[actix_web::test]
async fn a_legacy_client_does_not_start_continue_or_end_a_browser_session() {
    let broker = TestBroker::start();
    broker.ready().await;
    let legacy = broker.browser();
    let login = broker.complete(&legacy, broker.legacy_login(), "&user=alice").await;
    assert!(login.key().starts_with("tbo_"));
    assert_eq!((set_session(&login.back), session_cookie(&legacy)), (None, None));

    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let cookie = session_cookie(&browser);
    let begun = browser.navigate(&broker.legacy_login().url).await;
    assert_eq!(leads(&broker, &begun), Leads::Provider("ops"));
    let chosen = browser.navigate(&format!("{}&user=bob", begun.location().unwrap())).await;
    let back = browser.navigate(chosen.location().unwrap().as_str()).await;
    assert!(back.parameter("one_time_key").is_some(), "{back:?}");
    assert_eq!((set_session(&back), session_cookie(&browser)), (None, cookie));
    assert_eq!(status(&broker, &token).await, 200);
    another_token(&broker, &browser).await;
}

/// The back button, a bookmark, a URL of another site: a browser that is signed in is sent on to its application,
/// without a key.
#[actix_web::test]
async fn a_callback_without_an_attempt_leads_a_signed_in_browser_to_its_application() {
    for setup in Setup::each_database().await {
        let home = "https://second.example.com/app/";
        let two = with_a_second_client().adjust.unwrap();
        let broker = TestBroker::with(setup.adjust(move |config| {
            two(config);
            config.clients.last_mut().unwrap().home_uri = Some(home.parse().unwrap());
        }));
        broker.ready().await;
        let browser = broker.browser();
        let login = broker.complete(&browser, second_client(&broker), "&user=alice").await;
        let token = redeemed(&broker, &browser, &login).await;
        let cookie = session_cookie(&browser);
        let made_up = broker.at("/oauth2_callback/dev?code=x&state=y");
        for callback in [&login.callback, &made_up] {
            let onward = browser.navigate(callback).await;
            // With an empty fragment: otherwise the browser would keep that of the callback.
            assert_eq!(
                (onward.status.as_u16(), onward.header("location")),
                (303, Some(&*format!("{home}#"))),
                "{onward:?}"
            );
            assert_eq!(set_session(&onward), None);
            broker.browser().navigate(callback).await.assert_own_page(400, "invalid_state");
        }
        assert_eq!(session_cookie(&browser), cookie);
        // What an attempt that is still open says about its client counts more than the session.
        let open = broker.login(&[("prompt", "login")]);
        let authorize = browser.navigate(&open.url).await.location().unwrap();
        let chosen = browser.navigate(&format!("{authorize}&user=alice")).await;
        let callback = chosen.location().unwrap().to_string();
        broker.advance(601);
        let onward = browser.navigate(&callback).await;
        assert_eq!(onward.header("location"), Some(&*broker.at("/#")), "{onward:?}");
        // Signed out, it gets the page.
        assert!(broker.post("/api/logout", &token, &json!({})).await.status.is_success());
        browser.navigate(&login.callback).await.assert_own_page(400, "invalid_state");
    }
}

//! A sign-in in a browser that has a session: the older sessions end when the SPA redeems the key, and not when some
//! site sends the browser through a callback. All of a user's sessions of a browser end together.

use secrecy::ExposeSecret;

use super::*;
use crate::support::administration::Desk;
use crate::support::oauth;
use crate::support::rows;
use crate::support::storage::sql::{self, SqliteLock};
use crate::support::wait::until_true;

/// The sessions with a condition, on either database.
fn sessions(broker: &TestBroker, condition: &str) -> usize {
    sql::count(broker.config.database.url.expose_secret(), &format!("sessions WHERE {condition}"))
}

async fn is_refused_soon(broker: &TestBroker, token: &str) {
    until_true("the token is refused", async || status(broker, token).await == 401).await;
}

async fn session_of(broker: &TestBroker, token: &str) -> String {
    me(broker, token).await["session"]["id"].as_str().unwrap().to_owned()
}

/// What another site can do to a signed-in browser whose provider asks the person nothing. The key goes to the SPA's
/// address and needs a verifier that only the other site has.
async fn another_site_signs_in(broker: &TestBroker, browser: &Browser, user: &str) -> Login {
    let login = fresh_login(broker, browser, user, "").await;
    assert!(login.key().starts_with("tbo_"));
    login
}

#[actix_web::test]
async fn no_navigation_of_another_site_ends_a_session() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let browser = broker.browser();
        let tab = broker.sign_in(&browser, "dev", "alice").await;
        let cookie = session_cookie(&browser);
        for user in ["alice", "bob", "alice"] {
            another_site_signs_in(&broker, &browser, user).await;
        }
        assert_ne!(session_cookie(&browser), cookie);
        assert_eq!(status(&broker, &tab).await, 200);
        // The site then opens an SPA that signs in by itself.
        let opened = another_token(&broker, &browser).await;
        assert_ne!(session_of(&broker, &opened).await, session_of(&broker, &tab).await);
        // Time for an effect that there should not be: as long as that of a later sign-in takes.
        let other = broker.browser();
        let earlier = broker.sign_in(&other, "dev", "bob").await;
        let login = fresh_login(&broker, &other, "bob", "").await;
        redeemed(&broker, &other, &login).await;
        is_refused_soon(&broker, &earlier).await;
        assert_eq!([status(&broker, &tab).await, status(&broker, &opened).await], [200, 200]);

        assert!(broker.post("/api/logout", &tab, &json!({})).await.status.is_success());
        assert_eq!([status(&broker, &tab).await, status(&broker, &opened).await], [401, 401]);
        assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Provider("dev"), "no cookie continues");
    }
}

/// Each navigation makes a token, of which a user can have a limited number: those that no one redeemed do not count
/// against those in use.
#[actix_web::test]
async fn no_number_of_navigations_revokes_the_token_of_an_open_tab() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup.adjust(|config| config.live_tokens_per_user = 3));
        let browser = broker.browser();
        let tab = broker.sign_in(&browser, "dev", "alice").await;
        assert_eq!(status(&broker, &tab).await, 200);
        let tokens = |condition: &str| {
            sql::count(broker.config.database.url.expose_secret(), &format!("tokens WHERE {condition}"))
        };
        until_true("the use is stored", async || tokens("last_used_at IS NOT NULL") == 1).await;
        for _ in 0..25 {
            assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Back);
        }
        for _ in 0..25 {
            another_site_signs_in(&broker, &browser, "alice").await;
        }
        assert_eq!(status(&broker, &tab).await, 200);
        assert_eq!(sessions(&broker, "revoked_at IS NULL"), 21, "twenty that no one used, and the tab's");
        assert_eq!(tokens("revoked_at IS NULL"), 4, "three that were not used, and the tab's");
    }
}

#[actix_web::test]
async fn the_older_sessions_of_a_browser_end_when_the_key_is_redeemed() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let (browser, elsewhere) = (broker.browser(), broker.browser());
        let first = broker.sign_in(&browser, "dev", "alice").await;
        let phone = broker.sign_in(&elsewhere, "dev", "alice").await;
        let ended = session_of(&broker, &first).await;
        fresh_login(&broker, &browser, "alice", "").await; // its key is lost
        let login = fresh_login(&broker, &browser, "alice", "").await;
        for wrong in [broker.login(&[]).verifier.as_str(), ""] {
            assert_eq!(broker.redeem(&browser, &login.key(), wrong).await.status, 400);
        }
        assert_eq!((status(&broker, &first).await, sessions(&broker, "revoked_at IS NULL")), (200, 4));
        let last = redeemed(&broker, &browser, &login).await;
        is_refused_soon(&broker, &first).await;
        until_true("the lost one has ended", async || sessions(&broker, "revoked_at IS NULL") == 2).await;
        assert_eq!([status(&broker, &last).await, status(&broker, &phone).await], [200, 200]);
        until_true("both are in the audit trail", async || {
            let events = audit::newest(&broker.storage(), 100).await;
            let ends: Vec<_> = events.iter().filter(|event| event.kind == "session_ended").collect();
            ends.len() == 2
                && ends.iter().all(|event| event.user.is_some() && event.client.as_deref() == Some("sample"))
                && ends.iter().any(|event| event.session.unwrap().to_string() == ended)
        })
        .await;
    }
}

#[actix_web::test]
async fn a_code_that_is_exchanged_also_ends_them() {
    let broker = TestBroker::with(oauth::setup());
    let browser = broker.browser();
    let first = broker.sign_in(&browser, "dev", "alice").await;
    let login = oauth::authorization(&broker, &[("prompt", "login")]);
    let authorize = browser.navigate(&login.url).await.location().unwrap();
    let chosen = browser.navigate(&format!("{authorize}&user=alice")).await;
    let callback = chosen.location().unwrap().to_string();
    let back = browser.navigate(&callback).await;
    let login = Login { back, callback, verifier: login.verifier, state: login.state };
    assert_eq!(status(&broker, &first).await, 200);
    assert_eq!(oauth::exchange(&broker, &login, &[]).await.status, 200);
    is_refused_soon(&broker, &first).await;
}

#[actix_web::test]
async fn another_user_of_the_same_browser_ends_the_session_of_the_one_before() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let browser = broker.browser();
        let alice = broker.sign_in(&browser, "dev", "alice").await;
        let login = fresh_login(&broker, &browser, "bob", "").await;
        assert_eq!(status(&broker, &alice).await, 200, "bob has not come back to the SPA yet");
        let bob = redeemed(&broker, &browser, &login).await;
        is_refused_soon(&broker, &alice).await;

        // A sign-out ends no session of another user, who may have signed in since.
        let login = fresh_login(&broker, &browser, "alice", "").await;
        assert!(broker.post("/api/logout", &bob, &json!({})).await.status.is_success());
        let alice = redeemed(&broker, &browser, &login).await;
        assert_eq!([status(&broker, &bob).await, status(&broker, &alice).await], [401, 200]);
    }
}

/// Tabs that were restored at once, each with a login of its own: every one stays signed in, whatever the order in
/// which they complete it, and the sign-out in one of them is that of all.
#[actix_web::test]
async fn twenty_parallel_sign_ins_of_a_browser_stay_and_end_together() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let browser = broker.browser();
        let first = broker.sign_in(&browser, "dev", "alice").await;
        let mut tabs = Vec::new();
        for _ in 0..20 {
            let tab = browser.copy();
            let login = broker.login(&[("prompt", "login")]);
            let authorize = tab.navigate(&login.url).await.location().unwrap();
            let chosen = tab.navigate(&format!("{authorize}&user=alice")).await;
            tabs.push((tab, login, chosen.location().unwrap().to_string()));
        }
        let tokens = join_all(tabs.iter().map(async |(tab, login, callback)| {
            let key = tab.navigate(callback).await.parameter("one_time_key").unwrap();
            let answer = broker.redeem(tab, &key, &login.verifier).await;
            answer.json()["access_token"].as_str().unwrap().to_owned()
        }));
        let tokens = tokens.await;
        is_refused_soon(&broker, &first).await;
        for token in &tokens {
            assert_eq!(status(&broker, token).await, 200);
        }
        assert!(broker.post("/api/logout", &tokens[7], &json!({})).await.status.is_success());
        for (token, (tab, ..)) in tokens.iter().zip(&tabs) {
            assert_eq!(status(&broker, token).await, 401);
            assert_eq!(login_leads(&broker, tab, &[]).await, Leads::Provider("dev"));
        }
        assert_eq!(sessions(&broker, "revoked_at IS NULL"), 0);
    }
}

/// The ways in which a person, an administrator or a theft ends a session.
#[derive(Debug, Clone, Copy)]
enum Way {
    Logout,
    Page,
    List,
    Administrator,
    Replay,
    Revocation,
}

impl Way {
    /// Ends the session of `token`, whose key was that of `login`, or with the page that of the browser's cookie.
    async fn end(self, broker: &TestBroker, browser: &Browser, token: &str, login: &Login) {
        let session = session_of(broker, token).await;
        let done = match self {
            Self::Logout => broker.post("/api/logout", token, &json!({})).await.status.is_success(),
            Self::Page => {
                let headers = [("origin", &*broker.url), ("sec-fetch-dest", "document")];
                let fields = [("client_id", "sample")];
                browser.post_form(&broker.at("/logout"), &fields, &headers).await.status.is_success()
            }
            Self::List => {
                let phone = broker.sign_in(&broker.browser(), "dev", "alice").await;
                let bearer = format!("Bearer {phone}");
                let path = broker.at(&format!("/api/sessions/{session}"));
                let headers = [("authorization", &*bearer)];
                let deleted = browser.send(reqwest::Method::DELETE, &path, &headers, None).await;
                assert_eq!(status(broker, &phone).await, 200);
                deleted.status.is_success()
            }
            Self::Administrator => {
                let said = Desk::of(broker).done(&["sessions", "end", &session]);
                said == format!("session {session} ended, and 1 other session of the same browser\n")
            }
            Self::Replay => {
                let mut thief = broker.browser();
                thief.user_agent = "thief/1.0".to_owned();
                broker.redeem(&thief, &login.key(), &login.verifier).await.status == 400
            }
            Self::Revocation => {
                let form = [("client_id", "sample"), ("token", token)];
                browser.post_form(&broker.at("/oauth2/revoke"), &form, &[]).await.status.is_success()
            }
        };
        assert!(done, "{self:?}");
    }
}

#[actix_web::test]
async fn whatever_ends_a_session_ends_the_users_others_of_the_same_browser() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        broker.ready().await;
        for way in [Way::Logout, Way::Page, Way::List, Way::Administrator, Way::Replay, Way::Revocation] {
            let (browser, elsewhere) = (broker.browser(), broker.browser());
            let other_browser = broker.sign_in(&elsewhere, "dev", "alice").await;
            let login = broker.log_in(&browser, "dev", "alice", "").await;
            let token = redeemed(&broker, &browser, &login).await;
            let newer = another_site_signs_in(&broker, &browser, "alice").await;
            let open = sessions(&broker, "revoked_at IS NULL");
            way.end(&broker, &browser, &token, &login).await;
            let left = open + usize::from(matches!(way, Way::List)) - 2;
            assert_eq!(sessions(&broker, "revoked_at IS NULL"), left, "{way:?}");
            assert_eq!([status(&broker, &token).await, status(&broker, &other_browser).await], [401, 200]);
            assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Provider("dev"), "{way:?}");
            // A key that is redeemed afterwards opens nothing.
            let late = redeemed(&broker, &browser, &newer).await;
            assert_eq!(status(&broker, &late).await, 401, "{way:?}");
        }
    }
}

/// An instance of the program before writes sessions without a browser.
#[actix_web::test]
async fn a_session_without_a_browser_is_one_of_its_own() {
    for setup in Setup::each_database().await {
        let broker = TestBroker::with(setup);
        let browser = broker.browser();
        let first = broker.sign_in(&browser, "dev", "alice").await;
        let old = fresh_login(&broker, &browser, "alice", "").await;
        let url = broker.config.database.url.expose_secret().to_owned();
        sql::execute(&url, "UPDATE sessions SET browser_id = NULL");
        let second = redeemed(&broker, &browser, &old).await;
        let login = fresh_login(&broker, &browser, "alice", "").await;
        let third = redeemed(&broker, &browser, &login).await;
        is_refused_soon(&broker, &second).await;
        assert_eq!([status(&broker, &first).await, status(&broker, &third).await], [200, 200]);
        assert!(broker.post("/api/logout", &third, &json!({})).await.status.is_success());
        assert_eq!(sessions(&broker, "revoked_at IS NULL"), 1);
    }
}

#[actix_web::test]
async fn a_locked_database_delays_the_end_of_the_older_sessions() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let first = broker.sign_in(&browser, "dev", "alice").await;
    let login = fresh_login(&broker, &browser, "alice", "").await;
    let lock = SqliteLock::of(broker.config.database.url.expose_secret());
    let second = redeemed(&broker, &browser, &login).await;
    assert_eq!([status(&broker, &first).await, status(&broker, &second).await], [200, 200]);
    drop(lock);
    is_refused_soon(&broker, &first).await;
    assert_eq!(status(&broker, &second).await, 200);
    assert_eq!(rows::count(&broker, "sessions", "revoked_at IS NULL"), 1);
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn a_stopped_database_delays_the_end_of_the_older_sessions() {
    let mut server = crate::support::postgres::Postgres::own();
    let broker = TestBroker::with(Setup { database: Some(server.database()), ..Setup::default() });
    broker.storage().migrate().await.unwrap();
    let browser = broker.browser();
    let first = broker.sign_in(&browser, "dev", "alice").await;
    let login = fresh_login(&broker, &browser, "alice", "").await;
    server.stop();
    let second = redeemed(&broker, &browser, &login).await;
    server.resume();
    is_refused_soon(&broker, &first).await;
    assert_eq!(status(&broker, &second).await, 200);
}

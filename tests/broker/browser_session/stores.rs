//! `/login` of a signed-in browser while a store is unavailable, and with two instances on the same stores.

use super::*;
use crate::support::outage::{SOON, assert_nothing_lost, assert_recovers, assert_told_to_the_spa, within};
use crate::support::redis::RedisServer;
use crate::support::rows;
use crate::support::storage::sql::SqliteLock;

/// The SPA is told to try again; the browser stays signed in.
async fn assert_unknown(broker: &TestBroker, browser: &Browser, parameters: &[(&str, &str)]) {
    let cookie = session_cookie(browser);
    let login = broker.login(parameters);
    let asked = asked_providers(broker);
    let answer = within(SOON, "/login", browser.navigate(&login.url)).await;
    assert_told_to_the_spa(&answer, &login.state, "temporarily_unavailable");
    assert_nothing_lost(&answer);
    assert_eq!(session_cookie(browser), cookie);
    assert_eq!(asked_providers(broker), asked);
}

#[actix_web::test]
async fn an_unavailable_key_store_signs_no_user_out_and_uses_up_no_token() {
    let mut redis = RedisServer::start(&[]);
    let broker = TestBroker::with(
        Setup { key_store: Some(redis.url()), ..Setup::default() }
            .adjust(|config| config.live_tokens_per_user = 2),
    );
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    redis.stop();
    for prompt in ["", "none", ""] {
        assert_unknown(&broker, &browser, &[("prompt", prompt)]).await;
    }
    assert_eq!(rows::count(&broker, "tokens", "1"), 1, "no token was written");
    assert_eq!(status(&broker, &token).await, 200);
    redis.launch();
    assert_recovers(&broker, "the key store was started again").await;
    assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Back);
}

/// The key store fails between the sign-in and the storing of the key: the browser gets the cookie of the new session,
/// with which the next attempt succeeds. The session before stays, because nothing was redeemed.
#[actix_web::test]
async fn if_the_key_cannot_be_stored_the_browser_stays_signed_in() {
    let redis = RedisServer::start(&[]);
    let parking = |right: &str| redis.ask::<()>(redis::cmd("ACL").arg("SETUSER").arg("default").arg(right));
    let broker = TestBroker::with(Setup { key_store: Some(redis.url()), ..Setup::default() });
    let browser = broker.browser();
    let before = broker.sign_in(&browser, "dev", "alice").await;
    let cookie = session_cookie(&browser);

    parking("-eval");
    let login = fresh_login(&broker, &browser, "bob", "").await;
    assert_told_to_the_spa(&login.back, &login.state, "temporarily_unavailable");
    assert_eq!(status(&broker, &before).await, 200);
    assert_ne!(session_cookie(&browser), cookie);
    assert!(
        browser.cookies("localhost").keys().all(|name| name.ends_with("tb_session")),
        "no attempt is left"
    );
    assert_unknown(&broker, &browser, &[]).await;

    parking("+eval");
    let asked = asked_providers(&broker);
    let token = another_token(&broker, &browser).await;
    assert_eq!(me(&broker, &token).await["user"]["username"], "bob");
    assert_eq!(asked_providers(&broker), asked, "the user does not have to sign in again");
    assert_eq!(status(&broker, &before).await, 200);
    assert_eq!(rows::count(&broker, "sessions", "revoked_at IS NULL"), 2);
}

#[actix_web::test]
async fn a_locked_database_signs_no_user_out() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    broker.sign_in(&browser, "dev", "alice").await;
    let lock = SqliteLock::of(secrecy::ExposeSecret::expose_secret(&broker.config.database.url));
    assert_unknown(&broker, &browser, &[]).await;
    // A browser without a session is redirected to the provider, as usual.
    assert_eq!(login_leads(&broker, &broker.browser(), &[]).await, Leads::Provider("dev"));
    drop(lock);
    another_token(&broker, &browser).await;
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::support::postgres::{Postgres, database};
    use crate::support::redis;

    #[actix_web::test]
    async fn an_unavailable_database_signs_no_user_out() {
        let mut server = Postgres::own();
        let broker = TestBroker::with(Setup { database: Some(server.database()), ..Setup::default() });
        broker.storage().migrate().await.unwrap();
        let browser = broker.browser();
        broker.sign_in(&browser, "dev", "alice").await;
        server.stop();
        for parameters in [&[][..], &[("prompt", "none")], &[("prompt", "login")], &[("provider", "")]] {
            assert_unknown(&broker, &browser, parameters).await;
        }
        // An invalid cookie is refused without a query, whatever the state of the database.
        let stranger = broker.browser();
        stranger.set_cookie("localhost", "tb_session", Some("made-up"));
        assert_eq!(login_leads(&broker, &stranger, &[]).await, Leads::Provider("dev"));
        server.resume();
        assert_recovers(&broker, "the database was started again").await;
        assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Back);
    }

    #[actix_web::test]
    async fn a_session_of_one_instance_is_continued_and_ended_at_another() {
        let setup = Setup { database: Some(database()), key_store: Some(redis::url()), ..Setup::default() };
        let first = TestBroker::with(setup);
        first.storage().migrate().await.unwrap();
        let second = first.twin();
        first.ready().await;
        second.ready().await;
        let browser = first.browser();
        let token = first.sign_in(&browser, "dev", "alice").await;
        let session = me(&second, &token).await["session"]["id"].clone();

        let tabs: Vec<_> = (0..10).map(|_| browser.copy()).collect();
        for (i, tab) in tabs.iter().enumerate() {
            let instance = [&first, &second][i % 2];
            tab.route(&instance.url, &instance.real_url);
        }
        let asked = asked_providers(&first);
        let tokens = join_all(tabs.iter().map(|tab| another_token(&first, tab))).await;
        for token in &tokens {
            assert_eq!(me(&first, token).await["session"]["id"], session);
        }
        assert_eq!(asked_providers(&first), asked);

        assert!(second.post("/api/logout", &tokens[3], &json!({})).await.status.is_success());
        assert_eq!(login_leads(&first, &browser, &[]).await, Leads::Provider("dev"));
    }

    /// Two browsers swap their users repeatedly and concurrently. Their transactions must not deadlock.
    #[actix_web::test]
    async fn browsers_that_change_users_at_the_same_moment_do_not_block_each_other() {
        let broker = TestBroker::with(Setup { database: Some(database()), ..Setup::default() });
        broker.storage().migrate().await.unwrap();
        let (one, other) = (broker.browser(), broker.browser());
        broker.sign_in(&one, "dev", "alice").await;
        broker.sign_in(&other, "dev", "bob").await;
        for users in [["bob", "alice"], ["alice", "bob"]].iter().cycle().take(10) {
            let logins = join_all(
                [&one, &other]
                    .iter()
                    .zip(users)
                    .map(|(browser, user)| fresh_login(&broker, browser, user, "")),
            );
            let logins = logins.await;
            join_all(
                [&one, &other].iter().zip(&logins).map(|(browser, login)| redeemed(&broker, browser, login)),
            )
            .await;
        }
        let live = "revoked_at IS NULL";
        let count = |condition: &str| {
            let url = secrecy::ExposeSecret::expose_secret(&broker.config.database.url);
            crate::support::storage::sql::count(url, &format!("sessions WHERE {condition}"))
        };
        until_true("the older ones have ended", async || {
            (count(live), count("revoked_at IS NOT NULL")) == (2, 20)
        })
        .await;
    }
}

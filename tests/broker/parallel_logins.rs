//! The first login of a user, eight times concurrently, in fifty rounds: one user is created, and no login fails.

use futures_util::future::join_all;
use secrecy::ExposeSecret;
use token_broker::domain::clock::monotonic;

use crate::support::broker::{LoginUrl, Setup, TestBroker};
use crate::support::browser::Browser;
use crate::support::outage::report;
use crate::support::storage::sql;

const PEOPLE: usize = 8;
const ROUNDS: usize = 50;

async fn parallel_first_logins_create_one_user(setup: Setup, database: &str) {
    let broker = TestBroker::with(setup);
    if !database.starts_with("SQLite") {
        broker.storage().migrate().await.unwrap();
    }
    broker.ready().await;
    let browsers: Vec<Browser> = (0..PEOPLE).map(|_| broker.browser()).collect();
    let url = broker.config.database.url.expose_secret().to_owned();
    let begun = monotonic();
    for round in 0..ROUNDS {
        let provider = ["dev", "ops"][round % 2];
        let ready =
            join_all(browsers.iter().map(|browser| at_the_callback(&broker, browser, provider))).await;
        let ends = ready.iter().map(|(browser, login, callback)| finish(&broker, browser, login, callback));
        let users = join_all(ends).await;
        assert!(users.iter().all(|user| user == &users[0]), "round {round}: {users:?}");
        for (table, rows) in [("users", 1), ("identities", 1), ("sessions", PEOPLE), ("tokens", PEOPLE)] {
            assert_eq!(sql::count(&url, table), rows, "round {round}: {table}");
        }
        sql::execute(
            &url,
            // Sessions before tokens, as everywhere, to avoid deadlocks with writes of the last use.
            "DELETE FROM sessions; DELETE FROM identities; DELETE FROM users;",
        );
    }
    let logins = PEOPLE * ROUNDS;
    report(&format!("{database}: {logins} first logins, {PEOPLE} at a time, in {:?}", begun.elapsed()));
}

async fn at_the_callback<'a>(
    broker: &TestBroker,
    browser: &'a Browser,
    provider: &str,
) -> (&'a Browser, LoginUrl, String) {
    let login = broker.login(&[("provider", provider)]);
    let callback = broker.callback_url(browser, &login.url, "&user=alice").await;
    (browser, login, callback)
}

/// Returns the id of the user who is then signed in.
async fn finish(broker: &TestBroker, browser: &Browser, login: &LoginUrl, callback: &str) -> String {
    let back = browser.navigate(callback).await;
    let key = back.parameter("one_time_key").unwrap_or_else(|| panic!("{back:?}"));
    let redeemed = broker.redeem(browser, &key, &login.verifier).await;
    assert_eq!(redeemed.status, 200, "{redeemed:?}");
    let token = format!("Bearer {}", redeemed.json()["access_token"].as_str().unwrap());
    let me = browser.get(&broker.at("/api/me"), &[("authorization", &token)]).await;
    assert_eq!(me.status, 200, "{me:?}");
    me.json()["user"]["id"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn parallel_first_logins_create_one_user_on_sqlite() {
    parallel_first_logins_create_one_user(Setup::default(), "SQLite, memory").await;
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn parallel_first_logins_create_one_user_on_postgresql() {
    let setup = Setup {
        database: Some(crate::support::postgres::database()),
        key_store: Some(crate::support::redis::url()),
        ..Setup::default()
    };
    parallel_first_logins_create_one_user(setup, "PostgreSQL, Redis").await;
}

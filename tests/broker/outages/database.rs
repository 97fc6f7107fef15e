//! The database fails: stopped, halted, or locked by another writer.

use std::time::Duration;

use super::*;

/// Writes wait and then report the outage; reads continue.
#[actix_web::test]
async fn another_writer_holds_the_sqlite_file() {
    let broker = TestBroker::start();
    let underway = Underway::at(&broker).await;
    let lock = lock(&broker);
    let limit = Duration::from_secs(5);
    let (browser, login, callback) = &underway.returning;
    let nothing = json!({});
    let (back, rotated, ended, me, redeemed) = join!(
        within(limit, "the callback", browser.navigate(callback)),
        within(limit, "rotate", broker.post("/api/token/rotate", &underway.token, &nothing)),
        within(limit, "logout", broker.post("/api/logout", &underway.leaving, &nothing)),
        within(SOON, "/api/me", broker.call("/api/me", &underway.token)),
        within(SOON, "redemption", redeem(&broker, &underway.waiting)),
    );
    assert_told_to_the_spa(&back, &login.state, "temporarily_unavailable");
    assert_unavailable(&rotated);
    assert_unavailable(&ended);
    assert_eq!((me.status.as_u16(), redeemed.status.as_u16()), (200, 200), "{me:?} {redeemed:?}");

    drop(lock);
    assert_eq!(broker.post("/api/token/rotate", &underway.token, &json!({})).await.status, 200);
    assert_eq!(broker.call("/api/me", &underway.leaving).await.status, 200, "no session was ended");
    assert_eq!(broker.post("/api/logout", &underway.leaving, &json!({})).await.status, 200);
    assert_signs_in(&broker).await;
}

#[cfg(feature = "postgres")]
mod postgres {
    use token_broker::domain::audit::AuditKind;

    use super::*;
    use crate::support::postgres::Postgres;
    use crate::support::redis;

    async fn broker(server: &Postgres) -> TestBroker {
        let setup =
            Setup { database: Some(server.database()), key_store: Some(redis::url()), ..Setup::default() };
        let broker = TestBroker::with(setup);
        broker.storage().migrate().await.unwrap();
        broker
    }

    /// Keys can be redeemed; whether a token is live is unknown, and no token is revoked.
    async fn assert_database_is_missed(broker: &TestBroker, underway: &Underway, limit: Duration) {
        let (browser, login, callback) = &underway.returning;
        let (token, nothing) = (&underway.token, json!({}));
        let everywhere = json!({"everywhere": true});
        let url = broker.login(&[]).url;
        let (begun, back, redeemed, me, permissions, rotated, ended, ()) = join!(
            within(SOON, "/login", async { broker.browser().navigate(&url).await }),
            within(limit, "the callback", browser.navigate(callback)),
            within(SOON, "redemption", redeem(broker, &underway.waiting)),
            within(limit, "/api/me", broker.call("/api/me", token)),
            within(limit, "/api/permissions", broker.call("/api/permissions", token)),
            within(limit, "rotate", broker.post("/api/token/rotate", token, &nothing)),
            within(limit, "logout", broker.post("/api/logout", &underway.leaving, &everywhere)),
            assert_becomes(broker, (false, true, false)),
        );
        assert_eq!(begun.status, 303);
        assert_told_to_the_spa(&back, &login.state, "temporarily_unavailable");
        assert_eq!(redeemed.status, 200, "{redeemed:?}");
        for answer in [&me, &permissions, &rotated, &ended] {
            assert_unavailable(answer);
        }
        let problems = problems(broker).await;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].0, "database");

        let forged = within(SOON, "a forged token", broker.call("/api/me", "tbk_forged")).await;
        assert_eq!(forged.status, 401);
    }

    /// Nothing was lost, and the audit events of the outage are written.
    async fn assert_nothing_was_lost(broker: &TestBroker, underway: &Underway) {
        for token in [&underway.token, &underway.leaving] {
            assert_eq!(broker.call("/api/me", token).await.status, 200);
        }
        assert_eq!(broker.post("/api/token/rotate", &underway.token, &json!({})).await.status, 200);
        assert_signs_in(broker).await;
        broker.audited(AuditKind::LoginFailed.as_str()).await;
    }

    #[actix_web::test]
    async fn postgresql_stops_in_the_middle_of_a_login() {
        let mut server = Postgres::own();
        let broker = broker(&server).await;
        let underway = Underway::at(&broker).await;
        server.stop();
        assert_database_is_missed(&broker, &underway, SOON).await;
        server.resume();
        assert_recovers(&broker, "PostgreSQL was started again").await;
        assert_nothing_was_lost(&broker, &underway).await;
    }

    /// Its connections stay open but unresponsive: the first statements wait for their whole timeout (2 s for a
    /// connection of the pool, 5 s for a statement).
    #[actix_web::test]
    async fn postgresql_hangs_in_the_middle_of_a_login() {
        let server = Postgres::own();
        let broker = broker(&server).await;
        let underway = Underway::at(&broker).await;
        let frozen = server.freeze();
        assert_database_is_missed(&broker, &underway, Duration::from_secs(8)).await;
        drop(frozen);
        assert_recovers(&broker, "PostgreSQL went on").await;
        assert_nothing_was_lost(&broker, &underway).await;
    }
}

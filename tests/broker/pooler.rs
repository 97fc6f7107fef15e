//! PgBouncer in transaction mode between the broker and PostgreSQL.

use futures_util::future::join_all;
use token_broker::storage::{Pooler, Storage, StorageSettings};

use crate::support::broker::{Setup, TestBroker};
use crate::support::outage::{problems, readiness};
use crate::support::postgres::{PgBouncer, Postgres};
use crate::support::redis;
use crate::support::storage::settings;

#[actix_web::test]
async fn forty_logins_through_a_pooler_in_transaction_mode_succeed() {
    let server = Postgres::own();
    let pooler = PgBouncer::before(&server);
    let url = pooler.url(&server.database());
    let pooled = StorageSettings { pooler: Pooler::Transaction, ..settings(&url) };
    Storage::new(&pooled).unwrap().migrate().await.unwrap();

    let setup = Setup { database: Some(url), key_store: Some(redis::url()), ..Setup::default() };
    let broker = TestBroker::with(setup.adjust(|config| config.database.pooler = Pooler::Transaction));
    let another = broker.twin();
    broker.ready().await;
    for broker in [&broker, &another].repeat(2) {
        let tokens = join_all((0..10).map(|number| async move {
            let user = if number % 2 == 0 { "alice" } else { "bob" };
            broker.sign_in(&broker.browser(), "dev", user).await
        }));
        let tokens = tokens.await;
        let answers = join_all(tokens.iter().map(async |token| {
            let rotated = broker.post("/api/token/rotate", token, &serde_json::json!({})).await;
            (broker.call("/api/me", token).await.status.as_u16(), rotated.status.as_u16())
        }));
        assert!(answers.await.iter().all(|statuses| *statuses == (200, 200)));
    }
    assert_eq!(readiness(&broker).await, (true, true, true));
}

/// Without the setting it is noticed before a query gets a wrong answer.
#[actix_web::test]
async fn an_unmentioned_pooler_is_refused_with_the_setting_that_it_needs() {
    let server = Postgres::own();
    let pooler = PgBouncer::before(&server);
    let url = pooler.url(&server.database());
    let migrating = Storage::new(&settings(&url)).unwrap().migrate().await.unwrap_err().to_string();
    assert!(migrating.contains("database.pooler = \"transaction\""), "{migrating}");

    let broker = TestBroker::with(Setup { database: Some(url), ..Setup::default() });
    assert_eq!(readiness(&broker).await, (false, true, false));
    let problems = problems(&broker).await;
    assert!(problems[0].0 == "database" && problems[0].1.contains("database.pooler"), "{problems:?}");
}

//! SIGTERM ends the program in time whatever hangs behind it, and no request that was accepted goes unanswered.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use token_broker::domain::clock::monotonic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::outage::{assert_in_time, report};
use crate::support::production::{Instance, PUBLIC, Production};

/// How long a stop may take, whatever happens.
const STOP: Duration = Duration::from_secs(28);

/// An installation with SQLite and memory, which waits so many seconds for its load balancer.
async fn installation(drain: u32) -> Production {
    let folder = tempfile::tempdir().unwrap().keep();
    let database = format!("sqlite:{}", folder.join("broker.sqlite").display());
    let production = Production::new(&database, "memory:", "https://provider.invalid").await;
    draining(&production, drain);
    production
}

fn draining(production: &Production, seconds: u32) {
    let drain = format!("workers = 2\ndrain_seconds = {seconds}");
    production.write(&production.config().replace("workers = 2", &drain));
}

async fn assert_ends_in_time(instance: Instance) {
    let begun = monotonic();
    instance.program.signal("TERM");
    let ended = instance.program.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_in_time(begun, STOP, "the end");
    report(&format!("ended after {:?}", begun.elapsed()));
}

/// Requests of one client, one after the other, until the listener is closed. Returns how many were answered, and how
/// many were sent on a connection that the broker had not said it would close, and not answered.
async fn keep_asking(address: String, ended: &AtomicBool) -> (usize, usize) {
    const REQUEST: &str =
        "GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: auth.example.com\r\n\r\n";
    let (mut answered, mut unanswered) = (0, 0);
    while !ended.load(Ordering::Relaxed) {
        let Ok(mut connection) = TcpStream::connect(&address).await else { break };
        loop {
            let sent = connection.write_all(REQUEST.as_bytes()).await.is_ok();
            let Some(last) = answer(&mut connection).await else {
                unanswered += usize::from(sent);
                break;
            };
            answered += 1;
            if last {
                break;
            }
        }
    }
    (answered, unanswered)
}

/// Reads one answer; returns whether it is the last on this connection, or `None` if it does not come.
async fn answer(connection: &mut TcpStream) -> Option<bool> {
    let (mut read, mut bytes) = (Vec::new(), [0; 16_384]);
    loop {
        let more = connection.read(&mut bytes).await.ok().filter(|read| *read > 0)?;
        read.extend_from_slice(&bytes[..more]);
        let text = String::from_utf8_lossy(&read).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
        if body.len() >= length {
            return Some(head.contains("connection: close"));
        }
    }
}

/// 64 clients that never pause, over three stops. Once the broker reports that it is not ready, no new connection is
/// opened, as a load balancer behaves; those that are open continue until the broker closes them.
#[actix_web::test]
async fn a_stop_under_load_leaves_no_request_unanswered() {
    let production = installation(2).await;
    let (mut answered, mut unanswered) = (0, 0);
    for round in 0..3 {
        let mut instance = production.serve(&format!("round-{round}"));
        instance.listens().await;
        let ended = Arc::new(AtomicBool::new(false));
        let asking = AtomicUsize::new(0);
        let address = instance.url.strip_prefix("http://").unwrap().to_owned();
        let clients = join_all((0..64).map(|_| async {
            asking.fetch_add(1, Ordering::Relaxed);
            keep_asking(address.clone(), &ended).await
        }));
        let browser = instance.browser();
        let stop = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            instance.program.signal("TERM");
            while browser.get(&format!("{PUBLIC}/readyz"), &[]).await.status != 503 {}
            ended.store(true, Ordering::Relaxed);
        };
        let (counts, ()) = tokio::join!(clients, stop);
        for (more, lost) in counts {
            answered += more;
            unanswered += lost;
        }
        assert_eq!(instance.program.end().await.code, Some(0));
        assert_eq!(asking.into_inner(), 64);
    }
    report(&format!("{answered} answered, {unanswered} not"));
    assert!(answered > 1_000, "{answered}");
    assert_eq!(unanswered, 0);
}

/// The file of the server keys becomes a pipe that no one writes to: reading it never ends.
#[actix_web::test]
async fn a_keys_file_that_hangs_does_not_prevent_the_end() {
    let production = installation(0).await;
    let mut instance = production.serve("first");
    instance.listens().await;
    let file = production.folder().join("server_keys.toml");
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg("-m").arg("600").arg(&file).status().unwrap().success());
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_ends_in_time(instance).await;
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn a_frozen_database_does_not_prevent_the_end() {
    use crate::support::postgres::Postgres;
    use crate::support::redis;
    use crate::support::wait::until_true;

    let server = Postgres::own();
    let production = Production::new(&server.database(), &redis::url(), "https://provider.invalid").await;
    draining(&production, 0);
    let migrated = crate::support::program::Program::run(
        production.folder(),
        &["migrate", "--config", "token-broker.toml"],
    );
    assert_eq!(migrated.await.code, Some(0));
    let mut instance = production.serve("first");
    instance.listens().await;
    let (browser, ready) = (instance.browser(), format!("{PUBLIC}/readyz?require=verify"));
    until_true("it is ready", async || browser.get(&ready, &[]).await.status == 200).await;
    let _frozen = server.freeze();
    until_true("it hangs", async || browser.get(&ready, &[]).await.status == 503).await;
    assert_ends_in_time(instance).await;
}

//! Reconnecting of the key store: slowly and under load.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use token_broker::key_store::{KeyStore, KeyStoreError, Taken};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::key_store::{TTL, cause_of_failure, entry, first, name, store};
use crate::support::outage::within;
use crate::support::redis::RedisServer;
use crate::support::wait::{until, until_true};

/// A port that forwards to `port` with a delay of 50 ms in each direction, like a distant server.
fn distant(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for caller in listener.incoming() {
            let (caller, server) = (caller.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
            pass_on(caller.try_clone().unwrap(), server.try_clone().unwrap());
            pass_on(server, caller);
        }
    });
    near
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            thread::sleep(Duration::from_millis(50));
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

/// Sends 200 commands per second, without waiting for responses, until it is aborted.
fn constant_calls(store: &KeyStore) -> JoinHandle<()> {
    let store = store.clone();
    tokio::spawn(async move {
        loop {
            let store = store.clone();
            tokio::spawn(async move { store.ping().await });
            sleep(Duration::from_millis(5)).await;
        }
    })
}

/// Waits until two calls in a row are answered, at most four seconds.
async fn answers_again(store: &KeyStore) {
    let twice = until_true("it answers", async || store.ping().await.is_ok() && store.ping().await.is_ok());
    within(Duration::from_secs(4), "recovery", twice).await;
}

#[tokio::test]
async fn a_frozen_redis_is_reconnected_under_constant_load() {
    let server = RedisServer::start(&[]);
    let store = store(&format!("redis://127.0.0.1:{}", distant(server.port())));
    store.ping().await.unwrap();
    let calls = constant_calls(&store);
    let frozen = server.freeze();
    sleep(Duration::from_millis(2_500)).await;
    cause_of_failure(&store).await;
    drop(frozen);
    answers_again(&store).await;
    calls.abort();
}

#[tokio::test]
async fn an_unresponsive_network_longer_than_one_attempt_is_recovered_from() {
    let server = RedisServer::start(&[]);
    let frozen = server.freeze();
    let store = store(&server.url());
    let calls = constant_calls(&store);
    sleep(Duration::from_millis(5_500)).await;
    assert!(cause_of_failure(&store).await.contains("connecting took more than"));
    drop(frozen);
    answers_again(&store).await;
    calls.abort();
}

/// Redis takes the entries when it continues: for one caller that has given up, and for one that has gone away.
#[tokio::test]
async fn an_entry_that_is_taken_too_late_is_put_back() {
    let server = RedisServer::start(&[]);
    let store = store(&server.url());
    let names = [name(), name()];
    for name in &names {
        store.put(name, entry(), TTL).await.unwrap();
    }
    let frozen = server.freeze();
    let [late, gone] = names.clone().map(|name| {
        let store = store.clone();
        tokio::spawn(async move { store.take(&name, b"too late").await })
    });
    sleep(Duration::from_millis(200)).await;
    gone.abort();
    assert!(late.await.unwrap().is_err());
    drop(frozen);
    for name in &names {
        let taken = until(async || match store.take(name, b"in time").await {
            Ok(taken) if taken == first() => Ok(taken),
            other => Err(other),
        });
        within(Duration::from_secs(4), "the entry", taken).await;
        assert!(matches!(store.take(name, b"again").await.unwrap(), Taken::Again { .. }));
    }
}

/// Redis could execute a retry between the late take and its undoing, and would answer it as a replay.
#[tokio::test]
async fn a_retry_is_not_sent_before_the_late_take_has_ended() {
    let server = RedisServer::start(&[]);
    let (store, name) = (store(&server.url()), name());
    store.put(&name, entry(), TTL).await.unwrap();
    let frozen = server.freeze();
    store.take(&name, b"too late").await.unwrap_err();
    match store.take(&name, b"retry").await.unwrap_err() {
        KeyStoreError::Unavailable(cause) => assert!(cause.to_string().contains("earlier call"), "{cause}"),
        KeyStoreError::Full => panic!("an outage is not a full store"),
    }
    drop(frozen);
    let taken = until(async || store.take(&name, b"in time").await);
    assert_eq!(within(Duration::from_secs(4), "the entry", taken).await, first());
}

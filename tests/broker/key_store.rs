//! The key store: the same story in memory and on one Redis server, and outages of Redis.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use token_broker::domain::clock::{Clock, MovableClock, SystemClock};
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::one_time_key::{EntryName, OneTimeKey};
use token_broker::key_store::{
    KeyStore, KeyStoreError, KeyStoreSettings, NewEntry, Pace, Paced, Seen, Taken,
};
use tokio::time::sleep;

use crate::support::certificates::Certificates;
use crate::support::install_tls_provider;
use crate::support::outage::{RECOVERY, within};
use crate::support::process::free_port;
use crate::support::redis::{self as servers, RedisServer};
use crate::support::wait::until;

pub const TTL: Duration = Duration::from_secs(120);

/// How long a caller waits for Redis.
pub const ATTEMPT: Duration = Duration::from_secs(1);

pub fn store(url: &str) -> KeyStore {
    store_with_clock(url, Arc::new(SystemClock))
}

fn store_with_clock(url: &str, clock: Arc<dyn Clock>) -> KeyStore {
    install_tls_provider();
    KeyStore::new(&KeyStoreSettings::new(url.parse().unwrap()), clock).unwrap()
}

pub fn name() -> EntryName {
    OneTimeKey::random(&SystemEntropy).entry_name(None)
}

pub fn entry() -> NewEntry {
    NewEntry { grant: b"grant".to_vec(), receipt: b"receipt".to_vec() }
}

pub fn first() -> Taken {
    Taken::First { grant: b"grant".to_vec() }
}

/// The cause with which the store reports an outage. Any other result fails the test.
pub async fn cause_of_failure(store: &KeyStore) -> String {
    match within(ATTEMPT, "the refusal", store.take(&name(), b"")).await.unwrap_err() {
        KeyStoreError::Unavailable(cause) => cause.to_string(),
        KeyStoreError::Full => panic!("an outage is not a full store"),
    }
}

/// Waits until the store works again, which must be in time.
pub async fn recovers(store: &KeyStore) {
    within(RECOVERY, "recovery", until(async || store.put(&name(), entry(), TTL).await)).await;
}

/// The behaviour of every store, as seen by two brokers that share it.
pub async fn story(one: KeyStore, other: KeyStore) {
    one.ping().await.unwrap();

    // An entry is taken once; all later callers see what the first one left.
    let key = name();
    assert_eq!(other.take(&key, b"too early").await.unwrap(), Taken::Nothing);
    assert_eq!(other.peek(&key).await.unwrap(), Seen::Nothing);
    one.put(&key, entry(), TTL).await.unwrap();
    // Looking at an entry does not take it.
    for store in [&one, &other] {
        assert_eq!(store.peek(&key).await.unwrap(), Seen::Waiting { grant: b"grant".to_vec() });
    }
    assert_eq!(other.take(&key, b"mine").await.unwrap(), first());
    assert_eq!(one.peek(&key).await.unwrap(), Seen::Taken);
    for store in [&one, &other] {
        let again = Taken::Again { receipt: b"receipt".to_vec(), redemption: b"mine".to_vec() };
        assert_eq!(store.take(&key, b"theirs").await.unwrap(), again);
    }
    assert_eq!(one.take(&name(), b"").await.unwrap(), Taken::Nothing);

    // What was taken can be put back by the mark that the taking left, and by no other.
    other.put_back(&key, b"theirs", b"another").await.unwrap();
    assert!(matches!(one.take(&key, b"theirs").await.unwrap(), Taken::Again { .. }));
    other.put_back(&key, b"mine", b"grant").await.unwrap();
    other.put_back(&key, b"mine", b"another").await.unwrap();
    assert_eq!(one.take(&key, b"second").await.unwrap(), first());
    let again = Taken::Again { receipt: b"receipt".to_vec(), redemption: b"second".to_vec() };
    assert_eq!(other.take(&key, b"third").await.unwrap(), again);
    let nothing = name();
    one.put_back(&nothing, b"mine", b"grant").await.unwrap();
    assert_eq!(one.take(&nothing, b"mine").await.unwrap(), Taken::Nothing);

    // Sealed bytes are any bytes, and parts can be empty.
    let (key, bytes) = (name(), (0..=255).collect::<Vec<u8>>());
    one.put(&key, NewEntry { grant: bytes.clone(), receipt: Vec::new() }, TTL).await.unwrap();
    assert_eq!(one.take(&key, &bytes).await.unwrap(), Taken::First { grant: bytes.clone() });
    let again = Taken::Again { receipt: Vec::new(), redemption: bytes };
    assert_eq!(one.take(&key, b"").await.unwrap(), again);

    // An entry that is stored only if there is none: the first one stays, and its receipt can be read at any time.
    let key = name();
    assert_eq!(one.receipt(&key).await.unwrap(), None);
    let puts = (0..50).map(|i| [&one, &other][i % 2].put_new(&key, entry(), TTL));
    let stored = join_all(puts).await.into_iter().filter(|stored| *stored.as_ref().unwrap()).count();
    assert_eq!(stored, 1);
    for _ in 0..2 {
        assert_eq!(other.receipt(&key).await.unwrap().as_deref(), Some(&b"receipt"[..]));
        other.take(&key, b"mine").await.unwrap();
    }
    assert!(!one.put_new(&key, entry(), TTL).await.unwrap(), "it was taken, and is still there");

    a_request_waits(&one, &other).await;

    // A name is used once by any caller, names are independent, and checking does not use a name.
    assert!(!one.is_used("attempt").await.unwrap());
    let marks = (0..100).map(|i| [&one, &other][i % 2].mark_used("attempt", TTL));
    let made = join_all(marks).await.into_iter().filter(|mark| *mark.as_ref().unwrap()).count();
    assert_eq!(made, 1);
    assert!(other.is_used("attempt").await.unwrap() && !other.is_used("another attempt").await.unwrap());
    assert!(one.mark_used("another attempt", TTL).await.unwrap());

    // The marks of proofs are others.
    assert!(one.mark_proof("attempt", false, TTL).await.unwrap());
    assert!(!other.mark_proof("attempt", false, TTL).await.unwrap());
    assert!(!other.is_used("proof").await.unwrap());
}

/// A request is stored once, found by anyone, and asked about no faster than allowed.
async fn a_request_waits(one: &KeyStore, other: &KeyStore) {
    let key = name();
    let (value, now) = ((0..=255).collect::<Vec<u8>>(), SystemClock.now());
    let pace = |milliseconds| Pace {
        now: now + TimeDelta::milliseconds(milliseconds),
        interval: TimeDelta::seconds(5),
        penalty: TimeDelta::seconds(3),
    };
    assert_eq!(one.find_request(&key).await.unwrap(), None);
    assert_eq!(one.pace_request(&key, pace(0)).await.unwrap(), Paced::Nothing);
    assert!(one.add_request(&key, &value, TTL).await.unwrap());
    assert!(!other.add_request(&key, b"other", TTL).await.unwrap());
    for store in [one, other] {
        assert_eq!(store.find_request(&key).await.unwrap().as_ref(), Some(&value));
    }
    assert_eq!(one.take(&key, b"").await.unwrap(), Taken::Nothing, "a request is no entry");
    for (at, in_time) in [
        (0, true),
        (4_999, false),
        (12_999, true),
        (20_999, true),
        (28_998, false),
        (39_998, true),
        (10_000, true),
        (20_999, false),
    ] {
        let expected = if in_time { Paced::InTime(value.clone()) } else { Paced::TooEarly };
        assert_eq!(
            [one, other][at % 2].pace_request(&key, pace(i64::try_from(at).unwrap())).await.unwrap(),
            expected,
            "{at}"
        );
    }
    let asked = (0..30).map(|i| [one, other][i % 2].pace_request(&key, pace(90_000)));
    let in_time = join_all(asked).await.into_iter().filter(|paced| matches!(paced, Ok(Paced::InTime(_))));
    assert_eq!(in_time.count(), 1, "of those who ask at once, one is answered");
}

#[tokio::test]
async fn the_story_in_memory() {
    let store = store("memory:");
    story(store.clone(), store).await;
}

#[tokio::test]
async fn the_story_on_redis() {
    let url = servers::url();
    story(store(&url), store(&url)).await;
}

#[tokio::test]
async fn an_attempt_is_used_once_and_its_mark_expires() {
    let clock = Arc::new(MovableClock::new());
    let store = store_with_clock("memory:", clock.clone());
    assert!(store.mark_used("attempt", TTL).await.unwrap());
    assert!(!store.mark_used("attempt", TTL).await.unwrap());
    clock.advance(TimeDelta::seconds(121));
    assert!(store.mark_used("attempt", TTL).await.unwrap());
}

/// Lets 100 callers, half of them at each broker, take each of `rounds` entries concurrently.
///
/// Four threads, each with a runtime of its own as the workers of the server have.
fn race(rounds: usize, stores: [&(dyn Fn() -> KeyStore + Sync); 2]) {
    let names: Vec<EntryName> = (0..rounds).map(|_| name()).collect();
    let start = Barrier::new(4);
    let thread = |i: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = stores[i % 2]();
        let round = |name: &EntryName| {
            if i == 0 {
                runtime.block_on(store.put(name, entry(), TTL)).unwrap();
            }
            start.wait();
            let answers = runtime.block_on(join_all((0..25).map(|_| store.take(name, b"x"))));
            start.wait();
            answers.into_iter().filter(|answer| answer.as_ref().unwrap() == &first()).count()
        };
        names.iter().map(round).collect::<Vec<_>>()
    };
    let firsts: Vec<Vec<usize>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let thread = &thread;
                scope.spawn(move || thread(i))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for round in 0..rounds {
        assert_eq!(firsts.iter().map(|thread| thread[round]).sum::<usize>(), 1, "round {round}");
    }
}

#[test]
fn of_100_concurrent_callers_one_is_first_in_memory() {
    let store = store("memory:");
    race(1_000, [&|| store.clone(), &|| store.clone()]);
}

#[test]
fn of_100_concurrent_callers_one_is_first_on_redis() {
    let url = servers::url();
    race(1_000, [&|| store(&url), &|| store(&url)]);
}

#[tokio::test]
async fn redis_deletes_the_entry_and_its_receipt_after_120_seconds() {
    let url = servers::url();
    let (store, key) = (store(&url), name());
    let remaining = || {
        let name = format!("token-broker:key:{}", key.as_str());
        servers::ask::<i64>(&url, redis::cmd("PTTL").arg(name)).unwrap()
    };
    store.put(&key, entry(), TTL).await.unwrap();
    let before = remaining();
    assert!((119_000..=120_000).contains(&before), "{before}");
    store.take(&key, b"x").await.unwrap();
    let after = remaining();
    assert!((1..=before).contains(&after), "{after} after {before}");
    store.put_back(&key, b"x", b"grant").await.unwrap();
    let after = remaining();
    assert!((1..=before).contains(&after), "{after} after {before}");

    store.mark_used("attempt", TTL).await.unwrap();
    let mark: i64 = servers::ask(&url, redis::cmd("PTTL").arg("token-broker:used:attempt")).unwrap();
    assert!((119_000..=120_000).contains(&mark), "{mark}");
}

#[tokio::test]
async fn redis_deletes_the_grant_when_it_is_taken() {
    let url = servers::url();
    let (store, key) = (store(&url), name());
    let stored = || {
        let name = format!("token-broker:key:{}", key.as_str());
        servers::ask::<std::collections::BTreeMap<String, String>>(&url, redis::cmd("HGETALL").arg(name))
            .unwrap()
    };
    store.put(&key, entry(), TTL).await.unwrap();
    assert_eq!(stored().into_keys().collect::<Vec<_>>(), ["grant", "receipt"]);
    store.take(&key, b"x").await.unwrap();
    assert_eq!(stored().into_keys().collect::<Vec<_>>(), ["receipt", "redemption"]);
    store.put_back(&key, b"x", b"grant").await.unwrap();
    assert_eq!(stored().into_keys().collect::<Vec<_>>(), ["grant", "receipt"]);
}

#[tokio::test]
async fn a_full_redis_refuses_new_keys_and_still_redeems_old_ones() {
    let server = RedisServer::start(&["maxmemory-policy noeviction"]);
    let (store, key) = (store(&server.url()), name());
    store.put(&key, entry(), TTL).await.unwrap();
    server.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1));
    assert!(matches!(store.put(&name(), entry(), TTL).await, Err(KeyStoreError::Full)));
    assert!(matches!(store.mark_used("attempt", TTL).await, Err(KeyStoreError::Full)));
    assert_eq!(store.take(&key, b"x").await.unwrap(), first());
    server.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(0));
    store.put(&name(), entry(), TTL).await.unwrap();
}

#[tokio::test]
async fn a_redis_user_limited_to_its_commands_and_prefix_is_enough() {
    let server = RedisServer::start(&[]);
    let mut rights = redis::cmd("ACL");
    rights.arg("SETUSER").arg("broker").arg("on").arg(">its-password").arg("~token-broker:*");
    for command in ["+eval", "+hset", "+hmget", "+hdel", "+pexpire", "+set", "+exists", "+ping"] {
        rights.arg(command);
    }
    server.ask::<()>(&rights);
    let url = server.url().replace("redis://", "redis://broker:its-password@");
    story(store(&url), store(&url)).await;
    assert!(servers::ask::<()>(&url, redis::cmd("SET").arg("foreign").arg(1)).is_err());
}

#[tokio::test]
async fn a_stopped_redis_is_an_outage_and_recovery_is_detected() {
    let mut server = RedisServer::start(&[]);
    let store = store(&server.url());
    store.put(&name(), entry(), TTL).await.unwrap();
    server.stop();
    let cause = cause_of_failure(&store).await;
    assert!(cause.contains("refused") || cause.contains("pipe"), "{cause}");
    assert!(cause_of_failure(&store).await.contains("refused"));
    server.launch();
    recovers(&store).await;
}

#[tokio::test]
async fn a_redis_restart_while_idle_fails_no_login() {
    let mut server = RedisServer::start(&[]);
    let store = store(&server.url());
    store.ping().await.unwrap();
    server.stop();
    server.launch();
    // The runtime of this test was not polled in the meantime; that of a server is polled while it is idle.
    sleep(Duration::from_millis(50)).await;
    store.put(&name(), entry(), TTL).await.unwrap();
}

#[tokio::test]
async fn a_frozen_redis_times_out_after_a_second() {
    let server = RedisServer::start(&[]);
    let (connected, fresh) = (store(&server.url()), store(&server.url()));
    let key = name();
    connected.put(&key, entry(), TTL).await.unwrap();
    let frozen = server.freeze();
    assert!(cause_of_failure(&connected).await.contains("1s"));
    assert!(cause_of_failure(&fresh).await.contains("1s"));
    // Many concurrent callers wait no longer than one.
    let marks = join_all((0..200).map(|_| connected.mark_used("attempt", TTL)));
    assert!(within(ATTEMPT, "the marks", marks).await.iter().all(Result::is_err));
    drop(frozen);
    recovers(&connected).await;
    assert_eq!(connected.take(&key, b"x").await.unwrap(), first());
}

#[tokio::test]
async fn a_broker_can_start_before_its_redis() {
    let mut server = RedisServer::prepare(&[]);
    let store = store(&server.url());
    assert!(cause_of_failure(&store).await.contains("refused"));
    server.launch();
    recovers(&store).await;
}

#[tokio::test]
async fn a_wrong_password_is_reported_without_its_value_and_can_be_fixed_without_restart() {
    let server = RedisServer::start(&["requirepass right-password"]);
    let store = store(&server.url().replace("right-password", "wrong-password"));
    let cause = cause_of_failure(&store).await;
    assert!(cause.contains("WRONGPASS") && !cause.contains("wrong-password"), "{cause}");
    assert!(!format!("{store:?}").contains("password"));
    server.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("wrong-password"));
    recovers(&store).await;

    let without = self::store(&server.url().replace(":right-password@", ""));
    assert!(cause_of_failure(&without).await.contains("NOAUTH"));
}

#[tokio::test]
async fn tls_works_only_with_the_right_ca_and_host_name() {
    let mut server = RedisServer::prepare(&[]);
    let files = Certificates::write(server.folder(), &["localhost"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = Certificates::write(elsewhere.path(), &["localhost"]);
    let tls_port = free_port();
    server.set(&format!("tls-port {tls_port}"));
    server.set(&format!(
        "tls-cert-file {}\ntls-key-file {}",
        files.certificate.display(),
        files.key.display()
    ));
    server.set(&format!("tls-ca-cert-file {}\ntls-auth-clients yes", files.ca.display()));
    server.launch();
    let own = format!("cert_file={}&key_file={}", files.certificate.display(), files.key.display());
    let url = |host: &str, ca: &std::path::Path| {
        format!("rediss://{host}:{tls_port}?ca_file={}&{own}", ca.display())
    };

    let right = url("localhost", &files.ca);
    story(store(&right), store(&right)).await;
    let cause = cause_of_failure(&store(&url("localhost", &foreign.ca))).await;
    assert!(cause.contains("UnknownIssuer"), "{cause}");
    let cause = cause_of_failure(&store(&url("127.0.0.1", &files.ca))).await;
    assert!(cause.contains("not valid for name"), "{cause}");
    let cause = cause_of_failure(&store(&format!("rediss://localhost:{tls_port}"))).await;
    assert!(cause.contains("certificate"), "{cause}");
}

//! The key store on a cluster and with sentinels.

use futures_util::future::join_all;
use token_broker::domain::one_time_key::EntryName;
use token_broker::key_store::{KeyStore, Taken};

use crate::key_store::{ATTEMPT, TTL, cause_of_failure, entry, first, name, recovers, store, story};
use crate::support::outage::{RECOVERY, within};
use crate::support::redis_groups::{RedisCluster, RedisSentinel};
use crate::support::wait::until_true;

#[tokio::test]
async fn the_story_on_a_cluster() {
    let cluster = RedisCluster::start();
    story(store(&cluster.url()), store(&cluster.url())).await;

    // Names are spread over the nodes.
    let store = store(&cluster.url());
    let names: Vec<EntryName> = (0..50).map(|_| name()).collect();
    for key in &names {
        store.put(key, entry(), TTL).await.unwrap();
    }
    for key in &names {
        assert_eq!(store.take(key, b"x").await.unwrap(), first());
    }

    // A slot that moves to another node causes no failure.
    let moved = name();
    cluster.move_slot_of(&format!("token-broker:key:{}", moved.as_str()));
    store.put(&moved, entry(), TTL).await.unwrap();
    assert_eq!(store.take(&moved, b"x").await.unwrap(), first());

    // One node of three is frozen: a new broker finds the others, and each answer comes in time.
    let frozen = cluster.nodes[2].freeze();
    let late = self::store(&cluster.url());
    let takes = join_all(names.iter().map(|key| late.take(key, b"x")));
    let answers = within(ATTEMPT, "the answers", takes).await;
    assert!(answers.iter().any(Result::is_ok) && answers.iter().any(Result::is_err));
    drop(frozen);
    recovers_everywhere(&late, &names).await;
    recovers_everywhere(&store, &names).await;
}

/// Waits until all these entries can be read, within the time limit.
async fn recovers_everywhere(store: &KeyStore, names: &[EntryName]) {
    let all = until_true("every key is in reach", async || {
        join_all(names.iter().map(|key| store.take(key, b"x"))).await.iter().all(Result::is_ok)
    });
    within(RECOVERY, "recovery", all).await;
}

#[tokio::test]
async fn the_story_with_a_sentinel_and_a_failover() {
    let mut group = RedisSentinel::start();
    let (one, other) = (store(&group.url()), store(&group.url()));
    story(one.clone(), other.clone()).await;

    let key = name();
    one.put(&key, entry(), TTL).await.unwrap();
    group.wait_for_replica();
    group.primary.stop();
    let cause = cause_of_failure(&one).await;
    assert!(!cause.contains("password"), "{cause}");
    recovers(&one).await;
    assert_eq!(one.take(&key, b"mine").await.unwrap(), first());
    assert!(matches!(other.take(&key, b"theirs").await.unwrap(), Taken::Again { .. }));
}

#[tokio::test]
async fn an_unresponsive_first_sentinel_fails_no_login() {
    let group = RedisSentinel::start();
    let silent = group.another_sentinel();
    let url = group.url_by_way_of(silent.port());
    // One broker has used both sentinels before the first becomes unresponsive, the other has not.
    let (connected, fresh) = (store(&url), store(&url));
    connected.ping().await.unwrap();
    let frozen = silent.freeze();
    recovers(&fresh).await;
    group
        .primary
        .ask::<()>(redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes"));
    recovers(&connected).await;
    recovers(&fresh).await;
    drop(frozen);
}

//! The storage: the same story on SQLite and on PostgreSQL.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures_util::future::join_all;
use token_broker::domain::audit::{Actor, AuditEvent, AuditKind};
use token_broker::domain::browser_session::{SessionDigest, SessionSecret};
use token_broker::domain::clock::{Clock, SystemClock, Timestamp};
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::ids::{IdentityId, SessionId, UserId};
use token_broker::domain::lifetimes;
use token_broker::domain::profile::{NameList, ProfileText};
use token_broker::domain::standing::{Standing, TokenRecord};
use token_broker::domain::user::Permissions;
use token_broker::storage::audit::AuditRecord;
use token_broker::storage::purge::Purged;
use token_broker::storage::sign_in::{NewBrowserSession, PreviousSession, SignIn, SignInRefused, SignedIn};
use token_broker::storage::tokens::{Rotation, RotationLimits};
use token_broker::storage::{Backend, Storage};

use crate::support::audit;
use crate::support::storage::{
    Database, after, found, login, noon, owner_of, rotate, sign_in, sign_in_where, successor, token,
};

/// Runs each test on a new database of each kind.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test] async fn $test() { super::$test(Database::sqlite().migrated().await).await; })*
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            use super::*;
            $(#[tokio::test] async fn $test() { super::$test(Database::postgres().migrated().await).await; })*
        }
    };
}

on_both! {
    written_values_are_read_back
    a_user_is_found_by_provider_and_subject_only
    parallel_first_logins_create_one_user
    a_disabled_user_is_refused_and_not_changed
    a_reused_token_is_live_and_of_the_same_user_and_client
    parallel_logins_reuse_one_token
    rotation_supersedes_once_and_allows_siblings
    parallel_rotations_write_only_the_allowed_siblings
    a_refused_rotation_changes_nothing
    live_tokens_are_limited_at_login_and_rotation
    the_newest_token_survives_a_clock_that_was_set_back
    expired_rows_are_purged
    several_instances_purge_at_once
    ending_a_session_ends_its_tokens_and_no_others
    a_login_takes_over_the_browser_of_an_open_session
    a_purge_is_not_ahead_of_the_database
    all_sessions_of_a_user_end
    a_revoked_token_is_flagged
    the_audit_trail_is_stored
}

async fn written_values_are_read_back(database: Database) {
    let storage = &database.storage;
    storage.check().await.unwrap();
    let begun = login("alice", noon());
    let (profile, owner) = (begun.profile.clone(), owner_of(&begun));
    let signed_in = sign_in(storage, begun).await;
    assert!(signed_in.first_login);

    let record = found(storage, signed_in.token.facts.handle).await;
    assert_eq!(record.token, signed_in.token);
    assert_eq!((record.superseded_at, record.revoked_at), (None, None));
    assert_eq!(record.token.facts.owner, owner);
    let state = record.session.unwrap();
    assert_eq!((state.revoked_at, state.last_used_at, record.user_disabled_at), (None, None, None));
    assert_eq!((Some(state.session.id), state.session.created_at), (owner.session_id, noon()));
    assert_eq!(state.session.expires_at, noon() + lifetimes::SESSION);
    assert_eq!(state.session.auth_time, Some(noon() - TimeDelta::minutes(5)));
    assert_eq!(record.user.id, owner.user_id);
    assert_eq!((record.user.provider, record.user.subject), (profile.provider, profile.subject));
    assert_eq!((record.user.username, record.user.display_name), (profile.username, None));
    assert_eq!((record.user.email, record.user.email_verified), (profile.email, true));
    let permissions = permissions(storage, owner.identity_id).await;
    assert_eq!((permissions.permissions, permissions.groups), (profile.permissions, NameList::default()));
    assert_eq!(permissions.as_of, noon());
    assert_eq!(storage.permissions_of(IdentityId::random(&SystemEntropy)).await.unwrap(), None);

    let unknown = token(owner, noon()).facts.handle;
    assert!(storage.find_token(unknown).await.unwrap().is_none());
}

fn session_revoked_at(record: &TokenRecord) -> Option<Timestamp> {
    record.session.as_ref().unwrap().revoked_at
}

async fn permissions(storage: &Storage, identity: IdentityId) -> Permissions {
    storage.permissions_of(identity).await.unwrap().expect("the identity exists")
}

async fn a_user_is_found_by_provider_and_subject_only(database: Database) {
    let storage = &database.storage;
    let first = sign_in(storage, login("alice", noon())).await;
    let mut again = login("alice", after(60));
    again.profile.username = ProfileText::clean("Alice the second");
    again.profile.email = None;
    again.profile.email_verified = false;
    let second = sign_in(storage, again).await;
    assert!(!second.first_login);
    assert_eq!(second.token.facts.owner.user_id, first.token.facts.owner.user_id);
    assert_ne!(second.token.facts.owner.session_id, first.token.facts.owner.session_id);
    let user = found(storage, first.token.facts.handle).await.user;
    assert_eq!(user.username, ProfileText::clean("Alice the second"));
    assert_eq!((user.email, user.email_verified), (None, false));
    assert_eq!(permissions(storage, first.token.facts.owner.identity_id).await.as_of, after(60));

    let mut elsewhere = login("alice", noon());
    elsewhere.profile.provider = "ops".parse().unwrap();
    for other in [login("Alice", noon()), login("alice ", noon()), elsewhere] {
        let signed_in = sign_in(storage, other).await;
        assert!(signed_in.first_login);
        assert_ne!(signed_in.token.facts.owner.user_id, first.token.facts.owner.user_id);
    }
}

async fn parallel_first_logins_create_one_user(database: Database) {
    let instances = [database.storage.clone(), database.another_instance()];
    for round in 0..50 {
        let subject = format!("subject-{round}");
        let logins = (0..8).map(|n| sign_in(&instances[n % 2], login(&subject, noon())));
        let done = join_all(logins).await;
        assert_eq!(done.iter().filter(|signed_in| signed_in.first_login).count(), 1, "round {round}");
        let user = done[0].token.facts.owner.user_id;
        assert!(done.iter().all(|signed_in| signed_in.token.facts.owner.user_id == user), "round {round}");
    }
}

async fn a_disabled_user_is_refused_and_not_changed(database: Database) {
    let storage = &database.storage;
    let token_1 = sign_in(storage, login("alice", noon())).await.token.facts;
    let event = AuditEvent { user: Some(token_1.owner.user_id), ..event(after(1)) };
    let disabled = storage.disable_user(token_1.owner.user_id, event.clone()).await.unwrap();
    assert!(disabled.is_some_and(|done| done.changed && done.sessions_ended == 1));
    assert_eq!(found(storage, token_1.handle).await.user_disabled_at, Some(after(1)));

    let mut again = login("alice", after(2));
    again.profile.username = ProfileText::clean("changed");
    let refused = storage.sign_in(again, |_| panic!("no token is issued"), |_| true).await.unwrap();
    assert_eq!(refused.unwrap_err(), SignInRefused::UserDisabled);
    assert_eq!(found(storage, token_1.handle).await.user.username, ProfileText::clean("alice"));

    assert_eq!(storage.enable_user(token_1.owner.user_id, event.clone()).await.unwrap(), Some(true));
    assert!(!sign_in(storage, login("alice", after(3))).await.first_login);
    assert_eq!(storage.enable_user(UserId::random(&SystemEntropy), event).await.unwrap(), None);
}

async fn a_reused_token_is_live_and_of_the_same_user_and_client(database: Database) {
    let storage = &database.storage;
    let reuse = |at| {
        let mut login = login("alice", at);
        login.reuse = true;
        login
    };
    let first = sign_in(storage, reuse(noon())).await.token;
    assert_eq!(sign_in(storage, reuse(after(1))).await.token, first);
    assert_eq!(permissions(storage, first.facts.owner.identity_id).await.as_of, after(1));

    let mut other_client = reuse(after(2));
    other_client.client_id = Some("other".parse().unwrap());
    assert_ne!(sign_in(storage, other_client).await.token, first);
    assert_ne!(sign_in_where(storage, reuse(after(3)), |_| false).await.token, first);

    // After any kind of end of a token, the next login gets a new one.
    let mut last = sign_in(storage, reuse(after(4))).await.token.facts;
    storage.revoke_token(last.handle, after(5)).await.unwrap();
    let revoked = last.id;
    last = sign_in_where(storage, reuse(after(6)), move |record| record.token.facts.id != first.facts.id)
        .await
        .token
        .facts;
    assert_ne!(last.id, revoked);
    storage.end_sessions_of(last.owner.user_id, after(7)).await.unwrap();
    let after_logout = sign_in(storage, reuse(after(8))).await.token.facts;
    assert_ne!(after_logout.id, last.id);
    let Rotation::Rotated(rotated) = rotate(storage, after_logout.handle, after(9)).await else { panic!() };
    assert_eq!(sign_in(storage, reuse(after(10))).await.token, *rotated);
    let expired = rotated.facts.expires_at;
    assert_ne!(sign_in(storage, reuse(expired)).await.token, *rotated);
}

async fn parallel_logins_reuse_one_token(database: Database) {
    let instances = [database.storage.clone(), database.another_instance()];
    for round in 0..10 {
        let subject = format!("subject-{round}");
        let logins = (0..8).map(|n| {
            let mut login = login(&subject, noon());
            login.reuse = true;
            sign_in(&instances[n % 2], login)
        });
        let done = join_all(logins).await;
        assert!(done.iter().all(|signed_in| signed_in.token == done[0].token), "round {round}");
    }
}

async fn rotation_supersedes_once_and_allows_siblings(database: Database) {
    let storage = &database.storage;
    let first = sign_in(storage, login("alice", noon())).await.token.facts;
    for n in 1..=5 {
        let Rotation::Rotated(next) = rotate(storage, first.handle, after(n)).await else { panic!() };
        assert_eq!(found(storage, next.facts.handle).await.token, *next);
        assert_eq!(next.facts.owner, first.owner);
        assert_eq!(found(storage, first.handle).await.superseded_at, Some(after(1)));
    }
    assert!(matches!(rotate(storage, first.handle, after(6)).await, Rotation::TooManySiblings));
}

async fn parallel_rotations_write_only_the_allowed_siblings(database: Database) {
    let instances = [database.storage.clone(), database.another_instance()];
    for round in 0..10 {
        let subject = format!("subject-{round}");
        let handle = sign_in(&instances[0], login(&subject, noon())).await.token.facts.handle;
        let done = join_all((0..8).map(|n| rotate(&instances[n % 2], handle, after(1)))).await;
        let rotated = done.iter().filter(|rotation| matches!(rotation, Rotation::Rotated(_))).count();
        assert_eq!(rotated, lifetimes::ROTATION_SIBLINGS, "round {round}");
        let refused = done.iter().filter(|rotation| matches!(rotation, Rotation::TooManySiblings)).count();
        assert_eq!(rotated + refused, 8, "round {round}");
    }
}

async fn a_refused_rotation_changes_nothing(database: Database) {
    let storage = &database.storage;
    let first = sign_in(storage, login("alice", noon())).await.token.facts;
    let limits = RotationLimits { siblings: 5, live_tokens: 50 };
    let issue = |_: &_| panic!("no token is issued");
    let judge = move |record: &TokenRecord| {
        assert_eq!(record.token.facts.id, first.id);
        Standing::SessionEnded
    };
    let refused = storage.rotate(first.handle, after(1), limits, judge, issue).await.unwrap();
    assert!(matches!(refused, Rotation::Refused(Some(Standing::SessionEnded))));
    assert_eq!(found(storage, first.handle).await.superseded_at, None);

    let unknown = token(first.owner, noon()).facts.handle;
    let judge = |_: &_| panic!("there is nothing to judge");
    let refused = storage.rotate(unknown, after(1), limits, judge, issue).await.unwrap();
    assert!(matches!(refused, Rotation::Refused(None)));
}

async fn live_tokens_are_limited_at_login_and_rotation(database: Database) {
    let storage = &database.storage;
    let mut handles = Vec::new();
    for n in 0..4 {
        let mut login = login("alice", after(n));
        login.live_tokens = 3;
        handles.push(sign_in(storage, login).await.token.facts.handle);
    }
    let revoked = async |n: usize| found(storage, handles[n]).await.revoked_at;
    assert_eq!([revoked(0).await, revoked(1).await], [Some(after(3)), None]);
    assert_eq!([revoked(2).await, revoked(3).await], [None, None]);

    // A rotation replaces its token; its siblings count.
    let limits = RotationLimits { siblings: 5, live_tokens: 3 };
    for (at, oldest) in [(10, None), (11, Some(after(11)))] {
        let issue = move |record: &_| successor(record, after(at));
        let rotation =
            storage.rotate(handles[3], after(at), limits, |_| Standing::Live, issue).await.unwrap();
        assert!(matches!(rotation, Rotation::Rotated(_)));
        assert_eq!(revoked(1).await, oldest);
    }
}

async fn the_newest_token_survives_a_clock_that_was_set_back(database: Database) {
    let storage = &database.storage;
    let old = sign_in(storage, login("alice", after(3600))).await.token.facts;
    let mut back = login("alice", noon());
    back.live_tokens = 1;
    let newest = sign_in(storage, back).await.token.facts;
    assert_eq!(found(storage, newest.handle).await.revoked_at, None);
    assert_eq!(found(storage, old.handle).await.revoked_at, Some(noon()));
}

async fn expired_rows_are_purged(database: Database) {
    let storage = &database.storage;
    let day = 86_400;
    let expires = sign_in(storage, login("alice", noon())).await.token.facts;
    let ended = sign_in(storage, login("bob", noon())).await.token.facts;
    storage.end_session(ended.owner.session_id.unwrap(), noon()).await.unwrap();
    storage.record_audit(vec![event(noon()), event(after(day))]).await.unwrap();

    assert_eq!(storage.purge(after(day), noon(), 100).await.unwrap(), Purged::default());
    let purged = storage.purge(after(day + 1), after(1), 1).await.unwrap();
    assert_eq!(purged, Purged { tokens: 1, sessions: 1, audit_events: 1 });
    assert!(storage.find_token(ended.handle).await.unwrap().is_none());
    assert!(storage.find_token(expires.handle).await.unwrap().is_some());

    // The session outlives its token: its browser can get a new one.
    let purged = storage.purge(after(8 * day + 1), after(1), 100).await.unwrap();
    assert_eq!(purged, Purged { tokens: 1, sessions: 0, audit_events: 0 });
    let purged = storage.purge(after(31 * day + 1), after(1), 100).await.unwrap();
    assert_eq!(purged, Purged { tokens: 0, sessions: 1, audit_events: 0 });
    assert!(!sign_in(storage, login("alice", after(32 * day))).await.first_login, "users stay");
}

async fn several_instances_purge_at_once(database: Database) {
    for n in 0..40 {
        let signed_in = sign_in(&database.storage, login(&format!("subject-{n}"), noon())).await;
        database.storage.end_session(signed_in.token.facts.owner.session_id.unwrap(), noon()).await.unwrap();
    }
    let instances = [database.storage.clone(), database.another_instance(), database.another_instance()];
    let later = after(2 * 86_400);
    let mut done = join_all(instances.iter().map(|storage| storage.purge(later, noon(), 3))).await;
    // An instance that finds another one purging stops; the rest is purged the next time.
    done.push(database.storage.purge(later, noon(), 100).await);
    let done: Vec<Purged> = done.into_iter().map(Result::unwrap).collect();
    assert_eq!(done.iter().map(|purged| purged.tokens).sum::<usize>(), 40);
    assert_eq!(done.iter().map(|purged| purged.sessions).sum::<usize>(), 40);
}

async fn ending_a_session_ends_its_tokens_and_no_others(database: Database) {
    let storage = &database.storage;
    let here = sign_in(storage, login("alice", noon())).await.token.facts;
    let there = sign_in(storage, login("alice", noon())).await.token.facts;
    let session = here.owner.session_id.unwrap();
    assert_eq!(storage.end_session(session, after(1)).await.unwrap(), [session]);
    let ended = found(storage, here.handle).await;
    assert_eq!((session_revoked_at(&ended), ended.revoked_at), (Some(after(1)), Some(after(1))));
    let open = found(storage, there.handle).await;
    assert_eq!((session_revoked_at(&open), open.revoked_at), (None, None));

    assert_eq!(storage.end_session(session, after(2)).await.unwrap(), []);
    assert_eq!(session_revoked_at(&found(storage, here.handle).await), Some(after(1)));
    assert_eq!(storage.end_session(SessionId::random(&SystemEntropy), after(2)).await.unwrap(), []);
}

/// The login of a browser that sends the cookie `previous` and began its login at `began`, and the digest of its new
/// cookie.
fn login_over(previous: Option<SessionDigest>, began: Timestamp, now: Timestamp) -> (SignIn, SessionDigest) {
    let digest = SessionSecret::random(&SystemEntropy).digest();
    let previous = previous.map(|digest| PreviousSession { digest, login_began: began });
    (SignIn { browser_session: Some(NewBrowserSession { digest, previous }), ..login("alice", now) }, digest)
}

/// A login takes over the browser of a session that was open when the login began, even if it has ended since, and of
/// no other.
async fn a_login_takes_over_the_browser_of_an_open_session(database: Database) {
    let storage = &database.storage;
    let (first, cookie) = login_over(None, noon(), noon());
    let first = sign_in(storage, first).await;
    assert!(!first.is_same_browser);
    let session = |signed_in: &SignedIn| signed_in.token.facts.owner.session_id.unwrap();
    let over = async |cookie, began, now| {
        let (login, digest) = login_over(Some(cookie), began, now);
        (sign_in(storage, login).await, digest)
    };
    let stranger = SessionSecret::random(&SystemEntropy).digest();
    assert!(!over(stranger, after(1), after(2)).await.0.is_same_browser);
    let expired = noon() + lifetimes::SESSION;
    assert!(!over(cookie, expired, expired).await.0.is_same_browser);
    let (second, second_cookie) = over(cookie, after(1), after(2)).await;
    assert!(second.is_same_browser);

    // The older one ends with the newer one's redemption, and only with that of a login that began later.
    let none = storage.end_older_sessions(session(&second), noon(), after(3)).await.unwrap();
    assert_eq!(none, []);
    let ended = storage.end_older_sessions(session(&second), after(1), after(3)).await.unwrap();
    assert_eq!(ended.iter().map(|ended| ended.session).collect::<Vec<_>>(), [session(&first)]);
    assert_eq!(storage.end_older_sessions(session(&second), after(1), after(3)).await.unwrap(), []);
    assert_eq!(session_revoked_at(&found(storage, first.token.facts.handle).await), Some(after(3)));

    // A parallel tab sent the cookie of the first one before that ended.
    let (third, _) = over(cookie, after(3), after(4)).await;
    assert!(third.is_same_browser);
    assert!(!over(cookie, after(4), after(5)).await.0.is_same_browser, "a cookie that was dead before");
    let (fourth, _) = over(second_cookie, after(4), after(5)).await;
    let ended = storage.end_session(session(&third), after(6)).await.unwrap();
    assert_eq!(ended[0], session(&third));
    assert_eq!(
        BTreeSet::from_iter(ended),
        BTreeSet::from([&second, &third, &fourth].map(session)),
        "all three are of the same browser"
    );
}

/// A clock that is ahead deletes nothing that another instance still considers live.
async fn a_purge_is_not_ahead_of_the_database(database: Database) {
    let storage = &database.storage;
    let now = SystemClock.now();
    let behind = now - TimeDelta::days(1);
    assert_eq!(storage.purge_time(behind).await.unwrap(), behind);
    let ahead = now + TimeDelta::days(40);
    let at = storage.purge_time(ahead).await.unwrap();
    if database.url.starts_with("sqlite:") {
        assert_eq!(at, ahead, "one machine has one clock");
    } else {
        assert!((at - now).abs() < TimeDelta::minutes(1), "{at}");
    }
}

async fn all_sessions_of_a_user_end(database: Database) {
    let storage = &database.storage;
    let one = sign_in(storage, login("alice", noon())).await.token.facts;
    let two = sign_in(storage, login("alice", noon())).await.token.facts;
    let bob = sign_in(storage, login("bob", noon())).await.token.facts;
    let ended = storage.end_sessions_of(one.owner.user_id, after(1)).await.unwrap();
    assert_eq!(
        BTreeSet::from_iter(ended),
        BTreeSet::from([&one, &two].map(|facts| facts.owner.session_id.unwrap()))
    );
    for handle in [one.handle, two.handle] {
        let record = found(storage, handle).await;
        assert_eq!((session_revoked_at(&record), record.revoked_at), (Some(after(1)), Some(after(1))));
    }
    assert_eq!(session_revoked_at(&found(storage, bob.handle).await), None);
    assert!(storage.end_sessions_of(one.owner.user_id, after(2)).await.unwrap().is_empty());
}

async fn a_revoked_token_is_flagged(database: Database) {
    let storage = &database.storage;
    let token = sign_in(storage, login("alice", noon())).await.token.facts;
    assert!(storage.revoke_token(token.handle, after(1)).await.unwrap());
    let seen_elsewhere = found(&database.another_instance(), token.handle).await;
    assert_eq!((seen_elsewhere.revoked_at, session_revoked_at(&seen_elsewhere)), (Some(after(1)), None));
    assert!(!storage.revoke_token(token.handle, after(2)).await.unwrap());
    assert_eq!(found(storage, token.handle).await.revoked_at, Some(after(1)));
}

fn event(at: Timestamp) -> AuditEvent {
    AuditEvent::new(AuditKind::LoginStarted, at, &"request".parse().unwrap())
}

async fn the_audit_trail_is_stored(database: Database) {
    let storage: &Storage = &database.storage;
    let facts = sign_in(storage, login("alice", noon())).await.token.facts;
    let full = AuditEvent {
        kind: AuditKind::TokenRotated,
        address: Some("2001:db8::7".parse().unwrap()),
        client: Some("web".parse().unwrap()),
        provider: Some("corp".parse().unwrap()),
        user: Some(facts.owner.user_id),
        session: facts.owner.session_id,
        token: Some(facts.handle),
        reason: Some("invalid_token".into()),
        actor: Actor::new("operator"),
        resource_server: Some("orders".parse().unwrap()),
        ..event(after(1))
    };
    storage.record_audit(Vec::new()).await.unwrap();
    let many = (0..1500).map(|_| event(noon())).chain([full]).collect();
    storage.record_audit(many).await.unwrap();

    let newest = audit::newest(storage, 2).await;
    let expected = AuditRecord {
        at: after(1),
        kind: "token_rotated".to_owned(),
        request_id: "request".to_owned(),
        address: Some("2001:db8::7".to_owned()),
        client: Some("web".to_owned()),
        provider: Some("corp".to_owned()),
        user: Some(facts.owner.user_id),
        session: facts.owner.session_id,
        token: Some(facts.handle.short_id()),
        reason: Some("invalid_token".to_owned()),
        actor: Some("operator".to_owned()),
        resource_server: Some("orders".to_owned()),
    };
    assert_eq!(newest[0], expected);
    assert_eq!((newest[1].kind.as_str(), newest[1].user), ("login_started", None));
    assert_eq!(audit::newest(storage, 9999).await.len(), 1501);
}

#[tokio::test]
async fn the_backend_is_chosen_by_the_scheme() {
    assert_eq!(Database::sqlite().storage.backend(), Backend::Sqlite);
    #[cfg(feature = "postgres")]
    assert_eq!(Database::postgres().storage.backend(), Backend::Postgres);
}

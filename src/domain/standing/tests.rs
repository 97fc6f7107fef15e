use chrono::TimeDelta;

use super::super::client::Client;
use super::super::entropy::SeededEntropy;
use super::super::ids::{IdentityId, SessionId, TokenId, UserId};
use super::super::key_ring::{KeyId, ServerKey};
use super::super::lifetimes::{API_TOKEN, LAST_USE_GRAIN, SESSION};
use super::super::session::Session;
use super::super::token::{TokenFacts, TokenHandle, TokenOwner};
use super::super::token_kind::TokenKind;
use super::*;

const SECOND: TimeDelta = TimeDelta::seconds(1);
const MICROSECOND: TimeDelta = TimeDelta::microseconds(1);
const INACTIVITY: TimeDelta = TimeDelta::minutes(20);

/// A token of a session that was issued at the time zero, and what is known beside its row.
struct Case {
    record: TokenRecord,
    client: Option<Client>,
    last_used: Option<Timestamp>,
    keys: KeyRing,
}

fn at(after: TimeDelta) -> Timestamp {
    Timestamp::UNIX_EPOCH + after
}

/// The ring with this key only.
fn ring(id: u32) -> KeyRing {
    KeyRing::new(KeyId(id), vec![ServerKey::new(KeyId(id), vec![1; 32]).unwrap()]).unwrap()
}

fn case(kind: TokenKind) -> Case {
    let entropy = SeededEntropy::new(1);
    let keys = ring(1);
    let session = Session {
        id: SessionId::random(&entropy),
        created_at: at(TimeDelta::zero()),
        expires_at: at(SESSION),
        auth_time: None,
    };
    let session = (kind == TokenKind::Session).then_some(SessionState {
        session,
        revoked_at: None,
        last_used_at: None,
    });
    let user_id = UserId::random(&entropy);
    let facts = TokenFacts {
        id: TokenId::random(&entropy),
        kind,
        handle: TokenHandle::random(&entropy).digest(),
        key_id: KeyId(1),
        owner: TokenOwner {
            user_id,
            identity_id: IdentityId::random(&entropy),
            session_id: session.as_ref().map(|state| state.session.id),
        },
        name: None,
        client_id: "web".parse().unwrap(),
        audiences: "https://api.example.com".parse().unwrap(),
        scopes: "profile".parse().unwrap(),
        issued_at: at(TimeDelta::zero()),
        expires_at: at(API_TOKEN),
        dpop_jkt: None,
    };
    let binding = facts.binding(keys.issuing()).to_vec();
    let user = User {
        id: user_id,
        provider: "corp".parse().unwrap(),
        subject: "alice".parse().unwrap(),
        username: None,
        display_name: None,
        email: None,
        email_verified: false,
    };
    let record = TokenRecord {
        token: StoredToken { facts, binding, sealed_handle: None },
        superseded_at: None,
        revoked_at: None,
        last_used_at: None,
        session,
        user,
        user_disabled_at: None,
    };
    Case { record, client: Some(Client::example()), last_used: None, keys }
}

impl Case {
    fn standing(&self, after: TimeDelta) -> Standing {
        standing(&self.record, self.client.as_ref(), self.last_used, &self.keys, at(after))
    }

    fn session(&mut self) -> &mut SessionState {
        self.record.session.as_mut().unwrap()
    }
}

/// A change that spoils a token, and what is then reported.
type Flaw = (fn(&mut Case), Standing);

/// What can be wrong with a token, in the order in which it is reported.
const FLAWS: [Flaw; 8] = [
    (|case| case.keys = ring(2), Standing::KeyRemoved),
    (|case| case.record.token.binding[0] ^= 1, Standing::Forged),
    (|case| case.record.revoked_at = Some(at(API_TOKEN * 2)), Standing::Revoked),
    (|case| case.session().revoked_at = Some(at(API_TOKEN * 2)), Standing::SessionEnded),
    (|case| case.record.user_disabled_at = Some(at(API_TOKEN * 2)), Standing::UserDisabled),
    (|case| case.client = None, Standing::ClientGone),
    (|case| case.session().session.expires_at = at(SECOND), Standing::Expired),
    (|case| case.record.superseded_at = Some(at(-ROTATION_OVERLAP)), Standing::Superseded { reuse: true }),
];

#[test]
fn each_flaw_is_reported_and_of_several_the_first() {
    let now = SECOND * 2;
    for (position, (_, reported)) in FLAWS.iter().enumerate() {
        let mut flawed = case(TokenKind::Session);
        for (flaw, _) in &FLAWS[position..] {
            flaw(&mut flawed);
        }
        assert_eq!(flawed.standing(now), *reported);
        let mut alone = case(TokenKind::Session);
        (FLAWS[position].0)(&mut alone);
        assert_eq!(alone.standing(now), *reported);
        assert!(!reported.is_usable());
    }
    assert_eq!(case(TokenKind::Session).standing(now), Standing::Live);
}

#[test]
fn a_disabled_client_is_gone() {
    let mut disabled = case(TokenKind::Session);
    disabled.client.as_mut().unwrap().enabled = false;
    assert_eq!(disabled.standing(SECOND), Standing::ClientGone);
}

#[test]
fn a_token_whose_session_is_missing_is_refused() {
    let mut lost = case(TokenKind::Session);
    lost.record.session = None;
    assert_eq!(lost.standing(SECOND), Standing::SessionEnded);
    assert_eq!(case(TokenKind::Personal).standing(SECOND), Standing::Live);
}

#[test]
fn a_removed_server_key_and_a_changed_row_are_told_apart() {
    let mut removed = case(TokenKind::Session);
    removed.keys = ring(2);
    assert_eq!(removed.standing(SECOND), Standing::KeyRemoved);
    let changes: [fn(&mut TokenFacts); 10] = [
        |facts| facts.kind = TokenKind::Personal,
        |facts| facts.owner.user_id = UserId::random(&SeededEntropy::new(9)),
        |facts| facts.owner.identity_id = IdentityId::random(&SeededEntropy::new(9)),
        |facts| facts.owner.session_id = None,
        |facts| facts.name = super::super::profile::ProfileText::clean("another"),
        |facts| facts.client_id = "other".parse().unwrap(),
        |facts| facts.audiences = "https://other.example.com".parse().unwrap(),
        |facts| facts.scopes = "admin profile".parse().unwrap(),
        |facts| facts.issued_at += MICROSECOND,
        |facts| facts.expires_at += MICROSECOND,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = case(TokenKind::Session);
        change(&mut changed.record.token.facts);
        assert_eq!(changed.standing(SECOND), Standing::Forged, "change {number}");
    }
}

#[test]
fn lifetimes_end_to_the_microsecond() {
    let token = case(TokenKind::Session);
    assert_eq!(token.standing(API_TOKEN - MICROSECOND), Standing::Live);
    assert_eq!(token.standing(API_TOKEN), Standing::Expired);
    let mut short = case(TokenKind::Session);
    short.session().session.expires_at = at(SECOND);
    assert_eq!(short.standing(SECOND - MICROSECOND), Standing::Live);
    assert_eq!(short.standing(SECOND), Standing::Expired);
}

#[test]
fn a_rotated_token_works_until_its_overlap_ends_and_never_again() {
    let mut rotated = case(TokenKind::Session);
    let then = TimeDelta::hours(1);
    rotated.record.superseded_at = Some(at(then));
    let overlap = Standing::Overlap { until: at(then + ROTATION_OVERLAP) };
    for now in [then - ROTATION_OVERLAP + MICROSECOND, then, then + ROTATION_OVERLAP - MICROSECOND] {
        assert_eq!(rotated.standing(now), overlap);
    }
    assert_eq!(rotated.standing(then + ROTATION_OVERLAP), Standing::Superseded { reuse: true });
    // The clock was set back: when the rotation was, no one knows.
    assert_eq!(rotated.standing(then - ROTATION_OVERLAP), Standing::Superseded { reuse: false });
}

#[test]
fn a_session_is_idle_by_its_latest_use_from_wherever_it_is_known() {
    let limit = INACTIVITY + LAST_USE_GRAIN;
    let mut idle = case(TokenKind::Session);
    idle.client.as_mut().unwrap().inactivity = Some(INACTIVITY);
    assert_eq!(idle.standing(limit - MICROSECOND), Standing::Live);
    assert_eq!(idle.standing(limit), Standing::Idle);
    idle.last_used = Some(at(SECOND));
    assert_eq!(idle.standing(limit), Standing::Live, "a use that is not stored yet");
    idle.last_used = None;
    idle.session().last_used_at = Some(at(SECOND));
    assert_eq!(idle.standing(limit), Standing::Live, "a stored use");
    assert_eq!(idle.standing(limit + SECOND), Standing::Idle);
    idle.client.as_mut().unwrap().inactivity = None;
    assert_eq!(idle.standing(limit + SECOND), Standing::Live);
}

#[test]
fn a_personal_token_depends_on_no_session() {
    let mut personal = case(TokenKind::Personal);
    personal.client.as_mut().unwrap().inactivity = Some(INACTIVITY);
    assert_eq!(personal.standing(API_TOKEN - MICROSECOND), Standing::Live);
    assert_eq!(personal.standing(API_TOKEN), Standing::Expired);
    personal.record.user_disabled_at = Some(at(SECOND));
    assert_eq!(personal.standing(SECOND), Standing::UserDisabled);
}

#[test]
fn a_token_is_owned_until_something_other_than_its_client_ends_it() {
    let now = SECOND * 2;
    let owned = |case: &Case| is_owned(&case.record, &case.keys, at(now));
    for kind in [TokenKind::Session, TokenKind::Personal] {
        assert!(owned(&case(kind)), "{kind:?}");
    }
    for (flaw, reported) in FLAWS {
        let mut flawed = case(TokenKind::Session);
        flaw(&mut flawed);
        let is_no_flaw = matches!(reported, Standing::ClientGone | Standing::Superseded { .. });
        assert_eq!(owned(&flawed), is_no_flaw, "{reported:?}");
    }
    let mut expired = case(TokenKind::Personal);
    expired.record.token.facts.expires_at = at(now);
    expired.record.token.binding = expired.record.token.facts.binding(expired.keys.issuing()).to_vec();
    assert!(!owned(&expired));
}

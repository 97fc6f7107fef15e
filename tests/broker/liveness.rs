//! The SQL conditions of `src/storage/liveness.rs` say the same as `domain::standing`, over random rows and clocks, on
//! both databases. Values around every limit are favoured, to the microsecond.
//!
//! A hundred rounds per database, or the number in `TOKEN_BROKER_TEST_ROUNDS`. Rows with a broken MAC are not among the
//! rows: SQL cannot see it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use chrono::{SecondsFormat, TimeDelta};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use token_broker::domain::client::{Client, KeyDelivery, KeyParameter};
use token_broker::domain::clock::Timestamp;
use token_broker::domain::dpop::ClientDpop;
use token_broker::domain::ids::{IdentityId, SessionId, TokenId, UserId};
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};
use token_broker::domain::lifetimes::{LAST_USE_GRAIN, ROTATION_OVERLAP};
use token_broker::domain::session::{Browser, Session, SessionRecord, SessionState};
use token_broker::domain::standing::{SessionStanding, Standing, TokenRecord, session_standing, standing};
use token_broker::domain::token::{HandleDigest, StoredToken, TokenFacts, TokenOwner};
use token_broker::domain::token_kind::TokenKind;
use token_broker::domain::user::User;
use token_broker::storage::Storage;
use token_broker::storage::purge::Purged;
use token_broker::storage::sessions::SessionFilter;
use token_broker::storage::tokens::{TokenFilter, UsableAt};
use uuid::Uuid;

use crate::support::storage::{Database, login, noon, sql};

const SEED: [u8; 32] = *b"token-broker liveness, seed one!";

/// The limits of inactivity that clients have.
const LIMITS: [TimeDelta; 3] = [TimeDelta::minutes(10), TimeDelta::hours(1), TimeDelta::days(1)];

/// How long the purge keeps rows.
const KEPT: TimeDelta = TimeDelta::days(1);

const MICROSECOND: TimeDelta = TimeDelta::microseconds(1);
const USERS: usize = 3;
const CLIENTS: usize = 4;
const SESSIONS: usize = 8;
const KEYS: [u32; 3] = [1, 2, 3];

/// A time, as microseconds after now.
type Offset = i64;

#[derive(Debug, Clone)]
struct World {
    now: Timestamp,
    /// Whether each client is enabled, and its limit of inactivity. A token's client may also be unregistered.
    clients: Vec<(bool, Option<TimeDelta>)>,
    /// Which of [`KEYS`] are in the ring.
    ring: Vec<u32>,
    /// When each user was disabled.
    users: Vec<Option<Offset>>,
    sessions: Vec<SessionCase>,
    tokens: Vec<TokenCase>,
    login: LoginCase,
}

#[derive(Debug, Clone)]
struct SessionCase {
    id: u128,
    user: usize,
    cookie: bool,
    created: Offset,
    expires: Offset,
    revoked: Option<Offset>,
    used: Option<Offset>,
}

#[derive(Debug, Clone)]
struct TokenCase {
    id: u128,
    /// The session of a session token; `None` for a personal one.
    session: Option<usize>,
    /// The user of a personal token.
    user: usize,
    client: usize,
    key: u32,
    issued: Offset,
    expires: Offset,
    superseded: Option<Offset>,
    revoked: Option<Offset>,
    used: Option<Offset>,
}

/// A login with reuse, whose new token replaces the user's oldest ones.
#[derive(Debug, Clone)]
struct LoginCase {
    user: usize,
    client: usize,
    live_tokens: usize,
}

fn micros(delta: TimeDelta) -> Offset {
    delta.num_microseconds().unwrap()
}

/// Around a limit, to the microsecond, or anywhere within forty days.
fn moment() -> impl Strategy<Value = Offset> {
    let mut limits = vec![0, micros(ROTATION_OVERLAP), -micros(ROTATION_OVERLAP), -micros(KEPT)];
    limits.extend(LIMITS.map(|limit| -micros(limit + LAST_USE_GRAIN)));
    let wide = micros(TimeDelta::days(40));
    prop_oneof![3 => (select(limits), -1..=1_i64).prop_map(|(limit, by)| limit + by), 1 => -wide..wide]
}

/// Mostly in the future, so that enough tokens are usable.
fn expiry() -> impl Strategy<Value = Offset> {
    prop_oneof![4 => 1..micros(TimeDelta::days(30)), 1 => moment()]
}

/// A moment that is mostly not there.
fn rarely() -> impl Strategy<Value = Option<Offset>> {
    prop_oneof![7 => Just(None), 1 => moment().prop_map(Some)]
}

fn session() -> impl Strategy<Value = SessionCase> {
    let times = (moment(), expiry(), rarely(), proptest::option::of(moment()));
    (any::<u128>(), 0..USERS, any::<bool>(), times).prop_map(|(id, user, cookie, times)| {
        let (created, expires, revoked, used) = times;
        SessionCase { id, user, cookie, created: created.min(expires - 1), expires, revoked, used }
    })
}

fn token() -> impl Strategy<Value = TokenCase> {
    let owner = (proptest::option::weighted(0.8, 0..SESSIONS), 0..USERS, 0..=CLIENTS, select(KEYS.to_vec()));
    let overlap = micros(ROTATION_OVERLAP);
    let near =
        prop_oneof![1 => -overlap - 1..=-overlap + 1, 1 => overlap - 1..=overlap + 1, 1 => -overlap..overlap];
    let superseded = prop_oneof![4 => Just(None), 2 => near.prop_map(Some), 1 => moment().prop_map(Some)];
    let times = (moment(), expiry(), superseded, rarely(), proptest::option::of(moment()));
    (any::<u128>(), owner, times).prop_map(|(id, (session, user, client, key), times)| {
        let (issued, expires, superseded, revoked, used) = times;
        let issued = issued.min(expires - 1);
        TokenCase { id, session, user, client, key, issued, expires, superseded, revoked, used }
    })
}

fn world() -> impl Strategy<Value = World> {
    let limit = prop_oneof![1 => Just(None), 3 => select(LIMITS.to_vec()).prop_map(Some)];
    let clients = proptest::collection::vec((proptest::bool::weighted(0.9), limit), CLIENTS);
    let ring =
        prop_oneof![3 => Just(KEYS.to_vec()), 1 => proptest::sample::subsequence(KEYS.to_vec(), 1..=3)];
    let sessions = proptest::collection::vec(session(), SESSIONS);
    let tokens = proptest::collection::vec(token(), 1..40);
    let users = proptest::collection::vec(rarely(), USERS);
    let login = (0..USERS, 0..CLIENTS, 1..4_usize).prop_map(|(user, client, live_tokens)| LoginCase {
        user,
        client,
        live_tokens,
    });
    let years = 0..micros(TimeDelta::days(3650));
    (years, clients, ring, users, sessions, tokens, login).prop_map(
        |(later, clients, ring, users, mut sessions, mut tokens, login)| {
            let now = noon() + TimeDelta::microseconds(later);
            // In random order, and different from each other.
            let ids = tokens.iter_mut().map(|token| &mut token.id);
            for (number, id) in sessions.iter_mut().map(|session| &mut session.id).chain(ids).enumerate() {
                *id = *id >> 8 << 8 | u128::try_from(number).unwrap();
            }
            World { now, clients, ring, users, sessions, tokens, login }
        },
    )
}

fn key(id: u32) -> ServerKey {
    ServerKey::new(KeyId(id), vec![u8::try_from(id).unwrap(); 32]).unwrap()
}

fn ring(ids: &[u32]) -> KeyRing {
    KeyRing::new(KeyId(ids[0]), ids.iter().copied().map(key).collect()).unwrap()
}

/// The id of something that is numbered.
fn numbered(kind: u128, number: usize) -> Uuid {
    Uuid::from_u128(kind << 64 | u128::try_from(number).unwrap())
}

fn client(enabled: bool, inactivity: Option<TimeDelta>) -> Client {
    Client {
        id: "any".parse().unwrap(),
        display_name: String::new(),
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        home_uri: None,
        origins: Vec::new(),
        key_delivery: KeyDelivery::Query,
        key_parameter: KeyParameter::OneTimeKey,
        native: false,
        refresh_tokens: false,
        device: false,
        legacy: false,
        enabled,
        audiences: "api".parse().unwrap(),
        scopes: "profile".parse().unwrap(),
        login_parameters: Vec::new(),
        inactivity,
        pages_of: None,
        dpop: ClientDpop::Optional,
    }
}

/// The rows as the domain sees them.
impl World {
    fn at(&self, offset: Offset) -> Timestamp {
        self.now + TimeDelta::microseconds(offset)
    }

    fn user(&self, number: usize) -> User {
        User {
            id: UserId::from(numbered(1, number)),
            provider: "corp".parse().unwrap(),
            subject: format!("user-{number}").parse().unwrap(),
            username: None,
            display_name: None,
            email: None,
            email_verified: false,
        }
    }

    fn state(&self, case: &SessionCase) -> SessionState {
        SessionState {
            session: Session {
                id: SessionId::from(Uuid::from_u128(case.id)),
                created_at: self.at(case.created),
                expires_at: self.at(case.expires),
                auth_time: None,
            },
            revoked_at: case.revoked.map(|offset| self.at(offset)),
            last_used_at: case.used.map(|offset| self.at(offset)),
        }
    }

    /// Newest first, as in lists.
    fn session_records(&self) -> Vec<SessionRecord> {
        let record = |case: &SessionCase| SessionRecord {
            state: self.state(case),
            identity_id: IdentityId::from(numbered(2, case.user)),
            browser: Browser::new("192.0.2.7".parse().unwrap(), None),
            user: self.user(case.user),
            user_disabled_at: self.users[case.user].map(|offset| self.at(offset)),
        };
        let mut records: Vec<SessionRecord> = self.sessions.iter().map(record).collect();
        records.sort_by_key(|record| (record.state.session.created_at, record.state.session.id));
        records.reverse();
        records
    }

    /// Newest first, as in lists.
    fn token_records(&self) -> Vec<TokenRecord> {
        let mut records: Vec<TokenRecord> = self.tokens.iter().map(|case| self.token_record(case)).collect();
        sort(&mut records);
        records
    }

    fn token_record(&self, case: &TokenCase) -> TokenRecord {
        let session = case.session.map(|number| &self.sessions[number]);
        let user = session.map_or(case.user, |session| session.user);
        let owner = TokenOwner {
            user_id: UserId::from(numbered(1, user)),
            identity_id: IdentityId::from(numbered(2, user)),
            session_id: session.map(|session| SessionId::from(Uuid::from_u128(session.id))),
        };
        let kind = if session.is_some() { TokenKind::Session } else { TokenKind::Personal };
        let id = Uuid::from_u128(case.id);
        let times = (self.at(case.issued), self.at(case.expires));
        TokenRecord {
            token: stored(id, kind, case.key, owner, case.client, times),
            superseded_at: case.superseded.map(|offset| self.at(offset)),
            revoked_at: case.revoked.map(|offset| self.at(offset)),
            last_used_at: case.used.map(|offset| self.at(offset)),
            session: session.map(|session| self.state(session)),
            user: self.user(user),
            user_disabled_at: self.users[user].map(|offset| self.at(offset)),
        }
    }

    /// The judgement that this test is about.
    fn standing(&self, record: &TokenRecord) -> Standing {
        let name = record.token.facts.client_id.as_str();
        let number: usize = name.strip_prefix("client-").unwrap().parse().unwrap();
        let client = self.clients.get(number).map(|(enabled, limit)| client(*enabled, *limit));
        standing(record, client.as_ref(), None, &ring(&self.ring), self.now)
    }

    fn usable_at(&self) -> UsableAt {
        let clients = self.clients.iter().enumerate().filter(|(_, (enabled, _))| *enabled);
        UsableAt {
            now: self.now,
            clients: clients
                .map(|(number, (_, limit))| (client_id(number).parse().unwrap(), *limit))
                .collect(),
            keys: self.ring.iter().copied().map(KeyId).collect(),
        }
    }
}

fn client_id(number: usize) -> String {
    format!("client-{number}")
}

fn stored(
    id: Uuid,
    kind: TokenKind,
    key_id: u32,
    owner: TokenOwner,
    client: usize,
    (issued_at, expires_at): (Timestamp, Timestamp),
) -> StoredToken {
    let facts = TokenFacts {
        id: TokenId::from(id),
        kind,
        handle: HandleDigest::from_bytes([id.as_bytes().as_slice(); 2].concat().try_into().unwrap()),
        key_id: KeyId(key_id),
        owner,
        name: None,
        client_id: client_id(client).parse().unwrap(),
        audiences: "api".parse().unwrap(),
        scopes: "profile".parse().unwrap(),
        issued_at,
        expires_at,
        dpop_jkt: None,
    };
    let binding = facts.binding(&key(key_id)).to_vec();
    StoredToken { facts, binding, sealed_handle: None }
}

fn sort(records: &mut [TokenRecord]) {
    records.sort_by_key(|record| (record.token.facts.issued_at, record.token.facts.id));
    records.reverse();
}

/// The standing if nothing were wrong with client and keys.
fn permissive(record: &TokenRecord, now: Timestamp) -> Standing {
    standing(record, Some(&client(true, None)), None, &ring(&KEYS), now)
}

/// What a token's own row says: its session, if it is in one, is open for ever, and its user is enabled.
fn own_row(record: &TokenRecord) -> TokenRecord {
    let session = record.session.clone().map(|state| SessionState {
        revoked_at: None,
        session: Session { expires_at: Timestamp::MAX_UTC, ..state.session },
        ..state
    });
    TokenRecord { session, user_disabled_at: None, ..record.clone() }
}

/// The record as it was at an earlier moment, of an enabled user.
fn as_of(record: &TokenRecord, at: Timestamp) -> TokenRecord {
    let session = record
        .session
        .clone()
        .map(|state| SessionState { revoked_at: state.revoked_at.filter(|revoked| *revoked <= at), ..state });
    TokenRecord {
        superseded_at: record.superseded_at.filter(|superseded| *superseded <= at),
        revoked_at: record.revoked_at.filter(|revoked| *revoked <= at),
        session,
        user_disabled_at: None,
        ..record.clone()
    }
}

fn id_of(record: &TokenRecord) -> TokenId {
    record.token.facts.id
}

fn session_id_of(record: &SessionRecord) -> SessionId {
    record.state.session.id
}

/// Values as the databases write them.
struct Literals {
    sqlite: bool,
}

impl Literals {
    fn id(&self, id: Uuid) -> String {
        if self.sqlite { format!("x'{}'", id.simple()) } else { format!("'{id}'") }
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.sqlite { format!("x'{digits}'") } else { format!("'\\x{digits}'") }
    }

    fn time(&self, time: Timestamp) -> String {
        if self.sqlite {
            time.timestamp_micros().to_string()
        } else {
            format!("'{}'", time.to_rfc3339_opts(SecondsFormat::Micros, true))
        }
    }

    fn times(&self, time: Option<Timestamp>) -> String {
        time.map_or_else(|| "NULL".to_owned(), |time| self.time(time))
    }

    fn users(&self, world: &World) -> [String; 2] {
        let disabled = |number: usize| self.times(world.users[number].map(|offset| world.at(offset)));
        let time = self.time(world.now);
        let user = |n| format!("({}, {}, {time})", self.id(numbered(1, n)), disabled(n));
        let no = if self.sqlite { "0" } else { "false" };
        let identity = |n| {
            let (id, user) = (self.id(numbered(2, n)), self.id(numbered(1, n)));
            format!("({id}, {user}, 'corp', 'user-{n}', {no}, '[]', '[]', {time}, {time})")
        };
        [
            (0..USERS).map(user).collect::<Vec<_>>().join(", "),
            (0..USERS).map(identity).collect::<Vec<_>>().join(", "),
        ]
    }

    fn session(&self, world: &World, case: &SessionCase) -> String {
        let (record, id) = (world.state(case), Uuid::from_u128(case.id));
        let cookie = [id.as_bytes().as_slice(); 2].concat();
        let fields = [
            self.id(id),
            self.id(numbered(1, case.user)),
            self.id(numbered(2, case.user)),
            if case.cookie { self.bytes(&cookie) } else { "NULL".to_owned() },
            self.time(record.session.created_at),
            self.time(record.session.expires_at),
            self.times(record.revoked_at),
            self.times(record.last_used_at),
            "'192.0.2.0/24'".to_owned(),
        ];
        format!("({})", fields.join(", "))
    }

    fn token(&self, record: &TokenRecord) -> String {
        let facts = &record.token.facts;
        let fields = [
            self.id(facts.id.as_uuid()),
            format!("'{}'", facts.kind),
            self.bytes(facts.handle.as_bytes()),
            facts.key_id.to_string(),
            self.id(facts.owner.user_id.as_uuid()),
            self.id(facts.owner.identity_id.as_uuid()),
            facts.owner.session_id.map_or_else(|| "NULL".to_owned(), |id| self.id(id.as_uuid())),
            format!("'{}', '{}', '{}'", facts.client_id, facts.audiences, facts.scopes),
            self.time(facts.issued_at),
            self.time(facts.expires_at),
            self.bytes(&record.token.binding),
            self.times(record.superseded_at),
            self.times(record.revoked_at),
            self.times(record.last_used_at),
        ];
        format!("({})", fields.join(", "))
    }

    /// Replaces every row by those of `world`.
    fn load(&self, world: &World) -> String {
        let [users, identities] = self.users(world);
        let sessions: Vec<String> = world.sessions.iter().map(|case| self.session(world, case)).collect();
        let tokens: Vec<String> = world.token_records().iter().map(|record| self.token(record)).collect();
        let pragma = if self.sqlite { "PRAGMA foreign_keys = ON;" } else { "" };
        format!(
            "{pragma} BEGIN; DELETE FROM users; INSERT INTO users (id, disabled_at, created_at) VALUES {users}; \
             INSERT INTO identities (id, user_id, provider_id, subject, email_verified, permissions, groups, as_of, \
             created_at) VALUES {identities}; \
             INSERT INTO sessions (id, user_id, identity_id, cookie_digest, created_at, expires_at, revoked_at, \
             last_used_at, address_prefix) VALUES {}; \
             INSERT INTO tokens (id, kind, handle_digest, key_id, user_id, identity_id, session_id, client_id, \
             audiences, scopes, issued_at, expires_at, binding, superseded_at, revoked_at, last_used_at) VALUES {}; \
             COMMIT",
            sessions.join(", "),
            tokens.join(", ")
        )
    }
}

async fn all_tokens(storage: &Storage) -> Vec<TokenRecord> {
    let filter = TokenFilter { limit: 10_000, ..TokenFilter::default() };
    storage.list_tokens(filter).await.unwrap().unwrap()
}

async fn all_sessions(storage: &Storage) -> Vec<SessionRecord> {
    let filter = SessionFilter { limit: 10_000, ..SessionFilter::default() };
    storage.list_sessions(filter).await.unwrap().unwrap()
}

/// How often each standing was met.
type Met = RefCell<BTreeMap<&'static str, usize>>;

async fn usable_tokens(storage: &Storage, world: &World, met: &Met) -> Result<(), TestCaseError> {
    let all = world.token_records();
    prop_assert_eq!(&all_tokens(storage).await, &all);
    for record in &all {
        *met.borrow_mut().entry(world.standing(record).as_str()).or_default() += 1;
    }
    let usable: Vec<TokenId> =
        all.iter().filter(|record| world.standing(record).is_usable()).map(id_of).collect();
    let filter = TokenFilter { usable: Some(world.usable_at()), limit: 10_000, ..TokenFilter::default() };
    let listed = storage.list_tokens(filter).await.unwrap().unwrap();
    prop_assert_eq!(listed.iter().map(id_of).collect::<Vec<_>>(), usable);
    Ok(())
}

async fn live_sessions(storage: &Storage, world: &World, met: &Met) -> Result<(), TestCaseError> {
    let all = world.session_records();
    prop_assert_eq!(&all_sessions(storage).await, &all);
    let is_live = |record: &SessionRecord| session_standing(record, world.now) == SessionStanding::Live;
    let live: Vec<&SessionRecord> = all.iter().filter(|record| is_live(record)).collect();
    for record in &all {
        let name = match session_standing(record, world.now) {
            SessionStanding::Live => "a live session",
            SessionStanding::Ended => "an ended session",
            SessionStanding::Expired => "an expired session",
            SessionStanding::UserDisabled => "a disabled user's session",
        };
        *met.borrow_mut().entry(name).or_default() += 1;
    }
    let filter = SessionFilter { live_at: Some(world.now), limit: 10_000, ..SessionFilter::default() };
    let listed = storage.list_sessions(filter).await.unwrap().unwrap();
    let ids = |records: &[&SessionRecord]| records.iter().map(|r| session_id_of(r)).collect::<Vec<_>>();
    prop_assert_eq!(listed.iter().map(session_id_of).collect::<Vec<_>>(), ids(&live));

    let tokens = world.token_records();
    let has_unexpired_token = |session: SessionId| {
        tokens.iter().filter(|record| record.token.facts.owner.session_id == Some(session)).any(|record| {
            !matches!(permissive(&own_row(record), world.now), Standing::Revoked | Standing::Expired)
        })
    };
    for number in 0..USERS {
        let user = UserId::from(numbered(1, number));
        let own = |record: &&SessionRecord| {
            let id = session_id_of(record);
            let case = world.sessions.iter().find(|case| SessionId::from(Uuid::from_u128(case.id)) == id);
            record.user.id == user && (case.unwrap().cookie || has_unexpired_token(id))
        };
        let expected: BTreeSet<SessionId> = live.iter().copied().filter(own).map(session_id_of).collect();
        let listed = storage.live_sessions_of(user, world.now).await.unwrap();
        prop_assert_eq!(listed.iter().map(session_id_of).collect::<BTreeSet<_>>(), expected);
    }
    Ok(())
}

/// A login that may reuse a token, and whose token replaces the oldest ones.
async fn candidates_of_a_login(storage: &Storage, world: &World, met: &Met) -> Result<(), TestCaseError> {
    let LoginCase { user, client, live_tokens } = world.login;
    let before = world.token_records();
    let own: Vec<&TokenRecord> = before
        .iter()
        .filter(|record| record.user.id == UserId::from(numbered(1, user)))
        .filter(|record| record.token.facts.kind == TokenKind::Session)
        .collect();
    let mut login = login(&format!("user-{user}"), world.now);
    login.client_id = Some(client_id(client).parse().unwrap());
    login.reuse = true;
    login.live_tokens = live_tokens;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let now = world.now;
    let issue = move |owner| {
        let id = Uuid::from_u128(u128::MAX);
        stored(id, TokenKind::Session, KEYS[0], owner, client, (now, now + TimeDelta::days(7)))
    };
    let reusable = move |record: &TokenRecord| {
        seen.lock().unwrap().push(id_of(record));
        false
    };
    let signed_in = storage.sign_in(login, issue, reusable).await.unwrap();
    prop_assert_eq!(signed_in.is_err(), world.users[user].is_some());
    if signed_in.is_err() {
        prop_assert_eq!(&all_tokens(storage).await, &before);
        return Ok(());
    }
    let of_client = own.iter().filter(|record| record.token.facts.client_id.as_str() == client_id(client));
    let live: Vec<TokenId> = of_client
        .filter(|record| permissive(record, now) == Standing::Live)
        .map(|record| id_of(record))
        .collect();
    *met.borrow_mut().entry("a reusable token").or_default() += live.len();
    prop_assert_eq!(asked.lock().unwrap().clone(), live);

    let current = own.iter().filter(|record| permissive(&own_row(record), now) == Standing::Live);
    // Used and unused ones are counted on their own; the new token is unused.
    let (used, unused): (Vec<_>, Vec<_>) = current.partition(|record| record.last_used_at.is_some());
    let surplus = unused.into_iter().skip(live_tokens - 1).chain(used.into_iter().skip(live_tokens));
    let surplus: BTreeSet<TokenId> = surplus.map(id_of).collect();
    *met.borrow_mut().entry("a surplus token").or_default() += surplus.len();
    let after = all_tokens(storage).await;
    prop_assert_eq!(after.len(), before.len() + 1);
    let revoked = |record: &&TokenRecord| {
        let earlier = before.iter().find(|earlier| id_of(earlier) == id_of(record));
        earlier.is_some_and(|earlier| earlier.revoked_at != record.revoked_at)
    };
    prop_assert_eq!(after.iter().filter(revoked).map(id_of).collect::<BTreeSet<_>>(), surplus);
    Ok(())
}

/// The purge deletes what was revoked or expired by its own row before the kept day, and nothing that was usable since.
async fn purged_rows(storage: &Storage, world: &World, met: &Met) -> Result<(), TestCaseError> {
    let (tokens, sessions) = (all_tokens(storage).await, all_sessions(storage).await);
    let kept_since = world.now - KEPT;
    let eve = kept_since - MICROSECOND;
    let is_dead = |record: &TokenRecord| {
        let then = permissive(&own_row(&as_of(record, eve)), eve);
        matches!(then, Standing::Revoked | Standing::Expired)
    };
    let (gone, left): (Vec<&TokenRecord>, Vec<&TokenRecord>) =
        tokens.iter().partition(|record| is_dead(record));
    for record in &gone {
        for at in [kept_since, kept_since + MICROSECOND, world.now] {
            prop_assert!(!permissive(&as_of(record, at), at).is_usable(), "{record:?} was usable at {at}");
        }
    }
    let is_kept = |record: &&SessionRecord| {
        let mut then = (*record).clone();
        then.state.revoked_at = then.state.revoked_at.filter(|revoked| *revoked <= eve);
        then.user_disabled_at = None;
        let has_token =
            left.iter().any(|token| token.token.facts.owner.session_id == Some(session_id_of(record)));
        has_token || session_standing(&then, eve) == SessionStanding::Live
    };
    let kept: Vec<SessionRecord> = sessions.iter().filter(is_kept).cloned().collect();
    *met.borrow_mut().entry("a purged token").or_default() += gone.len();
    *met.borrow_mut().entry("a purged session").or_default() += sessions.len() - kept.len();

    let expected = Purged { tokens: gone.len(), sessions: sessions.len() - kept.len(), audit_events: 0 };
    let counted = storage.count_purgeable(world.now, noon()).await.unwrap();
    prop_assert_eq!(counted, expected);
    prop_assert_eq!(storage.purge(world.now, noon(), 7).await.unwrap(), expected);
    let left: Vec<TokenRecord> = left.into_iter().cloned().collect();
    prop_assert_eq!(all_tokens(storage).await, left);
    prop_assert_eq!(all_sessions(storage).await, kept);
    Ok(())
}

async fn check(database: &Database, world: &World, met: &Met) -> Result<(), TestCaseError> {
    let literals = Literals { sqlite: database.url.starts_with("sqlite:") };
    sql::execute(&database.url, &literals.load(world));
    let storage = &database.storage;
    usable_tokens(storage, world, met).await?;
    live_sessions(storage, world, met).await?;
    candidates_of_a_login(storage, world, met).await?;
    purged_rows(storage, world, met).await
}

/// Everything that has to be met, so that the test cannot pass without looking.
const TO_BE_MET: [&str; 18] = [
    "live",
    "overlap",
    "superseded",
    "revoked",
    "session_ended",
    "expired",
    "idle",
    "user_disabled",
    "client_gone",
    "key_removed",
    "a live session",
    "an ended session",
    "an expired session",
    "a disabled user's session",
    "a reusable token",
    "a surplus token",
    "a purged token",
    "a purged session",
];

#[expect(clippy::print_stdout, reason = "the seed and the rounds are part of the result")]
fn sql_agrees_with_the_judgement(database: Database) {
    let rounds = std::env::var("TOKEN_BROKER_TEST_ROUNDS").map_or(100, |text| text.parse().unwrap());
    println!("seed {:?}, {rounds} rounds", str::from_utf8(&SEED).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(database.storage.migrate()).unwrap();
    let met = Met::default();
    let config =
        Config { cases: rounds, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let outcome = runner.run(&world(), |world| runtime.block_on(check(&database, &world, &met)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let met = met.into_inner();
    println!("{met:?}");
    for name in TO_BE_MET {
        assert!(met.contains_key(name) && met[name] > 0, "{name} was never met: {met:?}");
    }
}

#[test]
fn sql_agrees_with_the_judgement_in_sqlite() {
    sql_agrees_with_the_judgement(Database::sqlite());
}

#[cfg(feature = "postgres")]
#[test]
fn sql_agrees_with_the_judgement_in_postgres() {
    sql_agrees_with_the_judgement(Database::postgres());
}

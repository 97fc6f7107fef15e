//! Every state of a token against every surface: all of them answer by the same judgement, and what an administrator
//! sees is what `/api/me` says.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::ids::{TokenId, UserId};
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};
use token_broker::domain::profile::ProfileText;
use token_broker::domain::request_id::RequestId;
use token_broker::domain::standing::TokenRecord;
use token_broker::domain::token::{AccessToken, GenuineToken, TokenFacts, TokenHandle, TokenOwner};
use token_broker::domain::token_kind::TokenKind;
use token_broker::flow::administration::tokens::{self, ListedToken};
use token_broker::flow::administration::{Administration, users};
use token_broker::state::ClientRegistry;
use token_broker::storage::tokens::TokenFilter;

use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
use crate::support::rows::{change, hex, row_of};

/// The inactivity limit of the client, in seconds.
const INACTIVITY: i64 = 600;

/// A state of a token, and what an administrator's list calls it; `None` if the row is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Live,
    Overlap,
    Superseded,
    Revoked,
    SessionEnded,
    LoggedOut,
    Expired,
    SessionExpired,
    Idle,
    UserDisabled,
    UserDeleted,
    ClientDisabled,
    ClientRemoved,
    Forged,
    ServerKeyRemoved,
    RowGone,
    Personal,
    PersonalRevoked,
    PersonalExpired,
    PersonalUserDisabled,
    PersonalUserDisabledByCommand,
    PersonalUserDeleted,
    PersonalClientDisabled,
    PersonalClientRemoved,
    PersonalForged,
    PersonalServerKeyRemoved,
    PersonalRowGone,
}

const STATES: [(State, Option<&str>); 27] = [
    (State::Live, Some("live")),
    (State::Overlap, Some("overlap")),
    (State::Superseded, Some("superseded")),
    (State::Revoked, Some("revoked")),
    (State::SessionEnded, Some("session_ended")),
    (State::LoggedOut, Some("revoked")),
    (State::Expired, Some("expired")),
    (State::SessionExpired, Some("expired")),
    (State::Idle, Some("idle")),
    (State::UserDisabled, Some("user_disabled")),
    (State::UserDeleted, None),
    (State::ClientDisabled, Some("client_gone")),
    (State::ClientRemoved, Some("client_gone")),
    (State::Forged, Some("forged")),
    (State::ServerKeyRemoved, Some("forged")),
    (State::RowGone, None),
    (State::Personal, Some("live")),
    (State::PersonalRevoked, Some("revoked")),
    (State::PersonalExpired, Some("expired")),
    (State::PersonalUserDisabled, Some("user_disabled")),
    (State::PersonalUserDisabledByCommand, Some("revoked")),
    (State::PersonalUserDeleted, None),
    (State::PersonalClientDisabled, Some("client_gone")),
    (State::PersonalClientRemoved, Some("client_gone")),
    (State::PersonalForged, Some("forged")),
    (State::PersonalServerKeyRemoved, Some("forged")),
    (State::PersonalRowGone, None),
];

impl State {
    fn is_usable(self) -> bool {
        matches!(self, Self::Live | Self::Overlap | Self::Personal)
    }

    fn is_personal(self) -> bool {
        matches!(
            self,
            Self::Personal
                | Self::PersonalRevoked
                | Self::PersonalExpired
                | Self::PersonalUserDisabled
                | Self::PersonalUserDisabledByCommand
                | Self::PersonalUserDeleted
                | Self::PersonalClientDisabled
                | Self::PersonalClientRemoved
                | Self::PersonalForged
                | Self::PersonalServerKeyRemoved
                | Self::PersonalRowGone
        )
    }

    /// Brings a token into this state; the instance to ask may be another one than it was issued by.
    async fn arrange(self, broker: TestBroker) -> Arranged {
        let mut token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let record = record(&broker, &token).await;
        if self.is_personal() {
            token = personal(&broker, &record);
        }
        let id = self::record(&broker, &token).await.token.facts.id;
        let row = row_of(&broker, &token);
        let update = |assignment: &str| {
            let changed = change(&broker, &format!("UPDATE tokens SET {assignment} WHERE {row}"));
            assert_eq!(changed, 1, "{self:?}");
        };
        let change_session = |assignment: &str| {
            let session = format!("id = (SELECT session_id FROM tokens WHERE {row})");
            assert_eq!(change(&broker, &format!("UPDATE sessions SET {assignment} WHERE {session}")), 1);
        };
        match self {
            Self::Live | Self::Personal => {}
            Self::Overlap | Self::Superseded => {
                let rotated = broker.post("/api/token/rotate", &token, &json!({})).await;
                assert_eq!(rotated.status, 200, "{rotated:?}");
                broker.advance(if self == Self::Overlap { 30 } else { 61 });
            }
            Self::Revoked | Self::PersonalRevoked => update("revoked_at = issued_at"),
            // A logout also revokes the session's tokens; a login in the same browser as another user does not.
            Self::SessionEnded => change_session("revoked_at = created_at"),
            Self::LoggedOut => {
                let out = broker.post("/api/logout", &token, &json!({})).await;
                assert!(out.status.is_success(), "{out:?}");
            }
            Self::Expired => broker.advance(604_801),
            Self::SessionExpired => change_session("expires_at = created_at + 1"),
            Self::Idle => broker.advance(INACTIVITY + 301),
            Self::UserDisabled | Self::PersonalUserDisabled => {
                audit::set_user_disabled(&broker, record.user.id, true);
            }
            Self::PersonalUserDisabledByCommand | Self::UserDeleted | Self::PersonalUserDeleted => {
                self.administer(&broker, record.user.id).await;
            }
            Self::ClientDisabled
            | Self::PersonalClientDisabled
            | Self::ClientRemoved
            | Self::PersonalClientRemoved
            | Self::ServerKeyRemoved
            | Self::PersonalServerKeyRemoved => {
                return Arranged { token, id, twin: Some(self.reconfigured(&broker)), broker };
            }
            Self::Forged | Self::PersonalForged => update("scopes = 'admin permissions profile'"),
            Self::RowGone | Self::PersonalRowGone => {
                assert_eq!(change(&broker, &format!("DELETE FROM tokens WHERE {row}")), 1);
            }
            Self::PersonalExpired => broker.advance(366 * 86_400 + 1),
        }
        Arranged { token, id, twin: None, broker }
    }

    /// Disables or deletes the user by the command.
    async fn administer(self, broker: &TestBroker, user: UserId) {
        let administration = administration(broker);
        let user = users::find(&administration, &user.to_string()).await.unwrap();
        if self == Self::PersonalUserDisabledByCommand {
            assert_eq!(users::disable(&administration, &user).await.unwrap().personal_tokens_revoked, 1);
        } else {
            users::delete(&administration, &user).await.unwrap();
        }
    }

    /// Another instance, whose configuration brings about this state.
    fn reconfigured(self, broker: &TestBroker) -> TestBroker {
        broker.twin_with(|config| match self {
            Self::ClientDisabled | Self::PersonalClientDisabled => disable(config),
            Self::ClientRemoved | Self::PersonalClientRemoved => {
                config.clients.retain(|client| client.id.as_str() != "sample")
            }
            Self::ServerKeyRemoved | Self::PersonalServerKeyRemoved => {
                let key = ServerKey::new(KeyId(4_000_000_000), vec![9; 32]).unwrap();
                config.server_keys = KeyRing::new(key.id(), vec![key]).unwrap().into();
            }
            other => panic!("no configuration brings about {other:?}"),
        })
    }
}

fn disable(config: &mut token_broker::config::Config) {
    config.clients.iter_mut().for_each(|client| client.enabled = client.id.as_str() != "sample");
}

struct Arranged {
    broker: TestBroker,
    /// The instance that is asked, if it is another one.
    twin: Option<TestBroker>,
    token: String,
    id: TokenId,
}

impl Arranged {
    fn asked(&self) -> &TestBroker {
        self.twin.as_ref().unwrap_or(&self.broker)
    }

    async fn listed(&self, all: bool) -> Option<ListedToken> {
        let filter = TokenFilter { limit: 100, ..TokenFilter::default() };
        let listed = tokens::list(&administration(self.asked()), filter, all).await.unwrap();
        listed.into_iter().find(|listed| listed.id == self.id)
    }
}

/// An administrator with the configuration, the keys and the clock of an instance.
fn administration(broker: &TestBroker) -> Administration {
    Administration {
        storage: broker.storage(),
        clients: ClientRegistry::new(broker.config.clients.clone()),
        keys: broker.config.server_keys.ring.clone(),
        clock: broker.clock.clone(),
        entropy: Arc::new(SystemEntropy),
        audit_kept: TimeDelta::days(90),
        actor: None,
        run_id: RequestId::with_prefix("cli", &SystemEntropy),
    }
}

async fn record(broker: &TestBroker, token: &str) -> TokenRecord {
    let genuine = GenuineToken::parse(token, &broker.config.server_keys.ring).unwrap();
    *broker.storage().find_token(genuine.handle.digest()).await.unwrap().unwrap()
}

/// A personal token of the same user, client and scopes, for a year.
fn personal(broker: &TestBroker, of: &TokenRecord) -> String {
    let key = broker.config.server_keys.ring.issuing();
    let handle = TokenHandle::random(&SystemEntropy);
    let facts = TokenFacts {
        id: TokenId::random(&SystemEntropy),
        kind: TokenKind::Personal,
        handle: handle.digest(),
        owner: TokenOwner { session_id: None, ..of.token.facts.owner },
        name: ProfileText::clean("backup script"),
        expires_at: of.token.facts.issued_at + TimeDelta::days(366),
        ..of.token.facts.clone()
    };
    let blob = |bytes: &[u8]| format!("x'{}'", hex(bytes));
    let values = [
        blob(facts.id.as_uuid().as_bytes()),
        "'personal'".to_owned(),
        blob(facts.handle.as_bytes()),
        facts.key_id.to_string(),
        blob(facts.owner.user_id.as_uuid().as_bytes()),
        blob(facts.owner.identity_id.as_uuid().as_bytes()),
        "'backup script'".to_owned(),
        format!("'{}'", facts.client_id),
        format!("'{}'", facts.audiences),
        format!("'{}'", facts.scopes),
        facts.issued_at.timestamp_micros().to_string(),
        facts.expires_at.timestamp_micros().to_string(),
        blob(&facts.binding(key)),
    ];
    let insert = format!(
        "INSERT INTO tokens (id, kind, handle_digest, key_id, user_id, identity_id, name, client_id, audiences, \
         scopes, issued_at, expires_at, binding) VALUES ({})",
        values.join(", ")
    );
    assert_eq!(change(broker, &insert), 1);
    AccessToken::issue(TokenKind::Personal, key, &handle).expose().to_owned()
}

/// The surfaces that ask for any token, and those that ask for a session's; what changes most comes last.
const ANY_KIND: [(&str, &str); 2] = [("GET", "/api/me"), ("GET", "/api/permissions")];
const SESSION_ONLY: [(&str, &str, u16); 8] = [
    ("GET", "/api/personal_tokens", 200),
    ("DELETE", "/api/personal_tokens/6f1d2c3b-8a52-4e14-8b9b-4f3f8a6f1d2c", 404),
    ("POST", "/api/personal_tokens", 415),
    ("GET", "/api/sessions", 200),
    ("DELETE", "/api/sessions/6f1d2c3b-8a52-4e14-8b9b-4f3f8a6f1d2c", 404),
    ("DELETE", "/api/sessions", 204),
    ("POST", "/api/token/rotate", 200),
    ("POST", "/api/logout", 200),
];

#[actix_web::test]
async fn every_surface_says_the_same_about_every_state() {
    for (state, listed_as) in STATES {
        let arranged = state.arrange(with_inactivity_limit()).await;
        let listed = arranged.listed(true).await;
        assert_eq!(listed.map(|listed| listed.state), listed_as, "{state:?}: tokens list --all");
        let usable = arranged.listed(false).await;
        assert_eq!(usable.is_some(), state.is_usable(), "{state:?}: tokens list");
        for (method, path) in ANY_KIND {
            let expected = if state.is_usable() { (200, None) } else { (401, Some("invalid_token")) };
            assert_eq!(
                ask(&arranged, method, path).await,
                expected.into_owned(),
                "{state:?}: {method} {path}"
            );
        }
        for (method, path, status) in SESSION_ONLY {
            let expected = match state {
                _ if !state.is_usable() => (401, Some("invalid_token")),
                _ if state.is_personal() => (403, Some("insufficient_scope")),
                _ if status == 404 => (404, Some("not_found")),
                _ if status == 415 => (415, Some("unsupported_media_type")),
                _ => (status, None),
            };
            assert_eq!(
                ask(&arranged, method, path).await,
                expected.into_owned(),
                "{state:?}: {method} {path}"
            );
        }
    }
}

trait IntoOwned {
    fn into_owned(self) -> (u16, Option<String>);
}

impl IntoOwned for (u16, Option<&str>) {
    fn into_owned(self) -> (u16, Option<String>) {
        (self.0, self.1.map(str::to_owned))
    }
}

async fn ask(arranged: &Arranged, method: &str, path: &str) -> (u16, Option<String>) {
    let broker = arranged.asked();
    let authorization = format!("Bearer {}", arranged.token);
    let headers = [("authorization", authorization.as_str())];
    let answer = broker.browser().send(method.parse().unwrap(), &broker.at(path), &headers, None).await;
    (answer.status.as_u16(), answer.error_code())
}

fn with_inactivity_limit() -> TestBroker {
    TestBroker::with(Setup::default().adjust(|config| {
        for client in config.clients.iter_mut().filter(|client| !client.legacy) {
            client.inactivity = Some(TimeDelta::seconds(INACTIVITY));
        }
    }))
}

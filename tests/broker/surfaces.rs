//! Every state of a token against every surface: all of them answer by the same judgement, and what an administrator
//! sees is what `/api/me` says.

use chrono::TimeDelta;
use serde_json::json;
use token_broker::domain::ids::{TokenId, UserId};
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};
use token_broker::flow::administration::tokens::{self, ListedToken};
use token_broker::flow::administration::users;
use token_broker::storage::tokens::TokenFilter;

use crate::support::administration::administrator;
use crate::support::api::{Api, assert_inactive, assert_unauthenticated};
use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
#[cfg(feature = "postgres")]
use crate::support::outage::{assert_recovers, assert_unavailable};
use crate::support::personal::{self, record};
#[cfg(feature = "postgres")]
use crate::support::postgres::Postgres;
use crate::support::rows::{change, row_of};

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
    (State::ServerKeyRemoved, Some("key_removed")),
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
    (State::PersonalServerKeyRemoved, Some("key_removed")),
    (State::PersonalRowGone, None),
];

impl State {
    fn removes_server_key(self) -> bool {
        matches!(self, Self::ServerKeyRemoved | Self::PersonalServerKeyRemoved)
    }

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
            token = personal::of_record(&broker, &record);
        }
        let id = personal::record(&broker, &token).await.token.facts.id;
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
        let administration = administrator(broker);
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
        let listed = tokens::list(&administrator(self.asked()), filter, all).await.unwrap();
        listed.into_iter().find(|listed| listed.id == self.id)
    }
}

/// The surfaces that ask for any token, and those that ask for a session's; what changes most comes last.
const ANY_KIND: [(&str, &str); 7] = [
    ("GET", "/api/me"),
    ("GET", "/api/permissions"),
    ("GET", "/authz"),
    ("GET", "/authz/nginx"),
    ("HEAD", "/authz/traefik"),
    ("GET", "/authz/caddy?access_token=x"),
    ("POST", "/authz/envoy:default/api/y?q=1"),
];
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
        let broker = with_inactivity_limit();
        let right = Api::register(&broker, "right", &broker.url).await;
        let foreign = Api::register(&broker, "foreign", "https://orders.example.com").await;
        let arranged = state.arrange(broker).await;
        let listed = arranged.listed(true).await;
        assert_eq!(listed.map(|listed| listed.state), listed_as, "{state:?}: tokens list --all");
        let usable = arranged.listed(false).await;
        assert_eq!(usable.is_some(), state.is_usable(), "{state:?}: tokens list");
        for (method, path) in ANY_KIND {
            // A response to HEAD has no body.
            let code = Some("invalid_token").filter(|_| method != "HEAD");
            let expected = if state.is_usable() { (200, None) } else { (401, code) };
            assert_eq!(
                ask(&arranged, method, path).await,
                expected.into_owned(),
                "{state:?}: {method} {path}"
            );
        }
        let foreign = foreign.introspect(arranged.asked(), &arranged.token).await;
        if state.removes_server_key() {
            assert_unauthenticated(&foreign)
        } else {
            assert_inactive(&foreign)
        }
        assert_introspected(&right, &arranged, state).await;
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

/// An API that a token is for is told what `/api/me` says of it.
async fn assert_introspected(api: &Api, arranged: &Arranged, state: State) {
    let answer = api.introspect(arranged.asked(), &arranged.token).await;
    if state.removes_server_key() {
        // The digest of the API's secret is made with the same server key.
        return assert_unauthenticated(&answer);
    }
    if !state.is_usable() {
        return assert_inactive(&answer);
    }
    let told = answer.json();
    assert_eq!((&told["active"], &told["jti"]), (&json!(true), &json!(arranged.id)), "{state:?}: {answer:?}");
    let me = arranged.asked().call("/api/me", &arranged.token).await.json();
    assert_eq!(
        (&told["sub"], &told["client_id"], &told["scope"], &told["aud"], &told["kind"]),
        (
            &me["user"]["id"],
            &me["token"]["client_id"],
            &me["token"]["scope"],
            &me["token"]["audience"],
            &me["token"]["kind"]
        ),
        "{state:?}"
    );
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

/// The database cannot answer: no surface says anything about the token, and nothing is revoked.
#[cfg(feature = "postgres")]
#[actix_web::test]
async fn while_the_database_is_stopped_every_surface_says_unknown() {
    let mut server = Postgres::own();
    let broker = TestBroker::with(Setup { database: Some(server.database()), ..Setup::default() });
    broker.storage().migrate().await.unwrap();
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let right = Api::register(&broker, "right", &broker.url).await;
    let foreign = Api::register(&broker, "foreign", "https://orders.example.com").await;
    let bearer = format!("Bearer {token}");
    server.stop();
    for api in [&right, &foreign] {
        assert_unavailable(&api.introspect(&broker, &token).await);
        assert_unavailable(&api.revoke(&broker, &token).await);
    }
    let form = [("client_id", "sample"), ("token", token.as_str())];
    assert_unavailable(&broker.browser().post_form(&broker.at("/oauth2/revoke"), &form, &[]).await);
    let session_only = SESSION_ONLY.map(|(method, path, _)| (method, path));
    for (method, path) in ANY_KIND.into_iter().chain(session_only) {
        let headers = [("authorization", bearer.as_str())];
        // An answer to HEAD has no body that could say anything.
        let method = if method == "HEAD" { "GET" } else { method };
        let answer = broker.browser().send(method.parse().unwrap(), &broker.at(path), &headers, None).await;
        assert_unavailable(&answer);
    }
    server.resume();
    assert_recovers(&broker, "PostgreSQL was started again").await;
    assert_eq!(right.introspect(&broker, &token).await.json()["active"], true);
    assert_inactive(&foreign.introspect(&broker, &token).await);
}

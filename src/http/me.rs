//! `/api/me` and `/api/permissions`: what the broker knows of the signed-in person.

use actix_web::{get, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::errors::errors;
use super::extract::access::{self, AnyToken, Profile};
use crate::domain::clock::Timestamp;
use crate::domain::profile::ProfileText;
use crate::domain::token_kind::TokenKind;
use crate::error::Result;
use crate::flow;
use crate::flow::authenticate::Authenticated;
use crate::state::Broker;

/// The signed-in person, the presented token, and its session.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    user: MeUser,
    token: MeToken,
    /// The session that the token belongs to; null for a personal token.
    #[schema(required)]
    session: Option<MeSession>,
}

/// The person.
#[derive(Debug, Serialize, ToSchema)]
struct MeUser {
    /// The stable local id.
    #[schema(example = "0b3c4f6e-5a3d-4c2b-9d8e-7f6a5b4c3d2e")]
    id: Uuid,
    /// The provider that the person signed in at.
    #[schema(example = "corp")]
    provider: String,
    /// The login name.
    #[schema(required, example = "alice")]
    username: Option<String>,
    /// The full name.
    #[schema(required, example = "Alice Example")]
    display_name: Option<String>,
    /// The email address.
    #[schema(required, example = "alice@example.com")]
    email: Option<String>,
    /// Whether the provider has verified the address.
    #[schema(example = true)]
    email_verified: bool,
}

/// The token's own facts.
#[derive(Debug, Serialize, ToSchema)]
struct MeToken {
    /// When it was issued.
    #[schema(example = "2026-11-22T10:15:00Z")]
    issued_at: DateTime<Utc>,
    /// When it expires.
    #[schema(example = "2026-11-29T10:15:00Z")]
    expires_at: DateTime<Utc>,
    /// Seconds until it expires, counted from now.
    #[schema(example = 604_800)]
    expires_in: i64,
    /// The APIs it is for. An API that is not among them must refuse it.
    #[schema(example = json!(["https://orders.example.com"]))]
    audience: Vec<String>,
    /// Its scopes, space-separated.
    #[schema(example = "permissions profile")]
    scope: String,
    /// The client it was issued to.
    #[schema(example = "web")]
    client_id: String,
    /// What kind of token it is.
    kind: MeTokenKind,
}

/// A kind of token: `session` for a client's token inside a session, `personal` for one that a person made for
/// scripts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(example = "session")]
enum MeTokenKind {
    Session,
    Personal,
}

impl From<TokenKind> for MeTokenKind {
    fn from(kind: TokenKind) -> Self {
        match kind {
            TokenKind::Session => Self::Session,
            TokenKind::Personal => Self::Personal,
        }
    }
}

/// The session that the token belongs to.
#[derive(Debug, Serialize, ToSchema)]
struct MeSession {
    /// Its id; authenticates nothing.
    #[schema(example = "6f1d2c3b-8a52-4e14-8b9b-4f3f8a6f1d2c")]
    id: Uuid,
    /// When the login was.
    #[schema(example = "2026-11-22T10:15:00Z")]
    created_at: DateTime<Utc>,
    /// When it ends, at the latest.
    #[schema(example = "2026-12-22T10:15:00Z")]
    expires_at: DateTime<Utc>,
    /// When the person last authenticated at the provider, if it says so.
    #[schema(required, example = "2026-11-22T10:14:52Z")]
    auth_time: Option<DateTime<Utc>>,
}

impl Me {
    fn new(authenticated: Authenticated, now: Timestamp) -> Self {
        let Authenticated { user, session, token } = authenticated;
        let text = |text: Option<ProfileText>| text.map(|text| text.as_str().to_owned());
        Self {
            user: MeUser {
                id: user.id.as_uuid(),
                provider: user.provider.into(),
                username: text(user.username),
                display_name: text(user.display_name),
                email: text(user.email),
                email_verified: user.email_verified,
            },
            token: MeToken {
                issued_at: token.issued_at,
                expires_at: token.expires_at,
                expires_in: (token.expires_at - now).num_seconds().max(0),
                audience: token.audiences.iter().map(|audience| audience.as_str().to_owned()).collect(),
                scope: token.scopes.to_string(),
                client_id: token.client_id.into(),
                kind: token.kind.into(),
            },
            session: session.map(|session| MeSession {
                id: session.id.as_uuid(),
                created_at: session.created_at,
                expires_at: session.expires_at,
                auth_time: session.auth_time,
            }),
        }
    }
}

/// What the provider lets the person do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Permissions {
    /// As the provider names them.
    #[schema(example = json!(["deploy", "read"]))]
    permissions: Vec<String>,
    /// The groups the person is in.
    #[schema(example = json!(["staff"]))]
    groups: Vec<String>,
    /// When this was read at the provider: at the login.
    #[schema(example = "2026-11-22T10:15:00Z")]
    as_of: DateTime<Utc>,
}

errors!(
    BearerErrors,
    [InvalidRequest, InvalidToken, MissingToken, InsufficientScope, RateLimited, TemporarilyUnavailable,]
);

/// Who is signed in
///
/// Returns the user the token acts for, the token's details and its session. Tokens of every client and audience are
/// accepted: an API that asks here must compare `token.audience` with its own name. Needs the scope `profile`.
#[utoipa::path(
    tag = "Profile",
    security(("bearer" = [])),
    responses((status = 200, description = "The signed-in user.", body = Me), BearerErrors),
)]
#[get("/me")]
pub async fn me(
    broker: web::Data<Broker>,
    AnyToken { authenticated, .. }: AnyToken<Profile>,
) -> Result<web::Json<Me>> {
    Ok(web::Json(Me::new(authenticated, broker.clock.now())))
}

/// What the signed-in user may do
///
/// The permissions and groups that the provider reported at the login. Needs the scope `permissions`.
#[utoipa::path(
    tag = "Profile",
    security(("bearer" = [])),
    responses((status = 200, description = "Permissions and groups.", body = Permissions), BearerErrors),
)]
#[get("/permissions")]
pub async fn permissions(
    broker: web::Data<Broker>,
    AnyToken { authenticated, .. }: AnyToken<access::Permissions>,
) -> Result<web::Json<Permissions>> {
    let found = flow::permissions::permissions(&broker, &authenticated).await?;
    Ok(web::Json(Permissions {
        permissions: found.permissions.iter().map(str::to_owned).collect(),
        groups: found.groups.iter().map(str::to_owned).collect(),
        as_of: found.as_of,
    }))
}

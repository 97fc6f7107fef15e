//! `/api/sessions`: where the person is signed in, and signing out there.

use actix_web::{HttpResponse, delete, get, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::errors::errors;
use super::extract::access::{NoScope, Profile, SessionToken};
use crate::domain::caller::Caller;
use crate::domain::device::DeviceKind;
use crate::error::Result;
use crate::flow;
use crate::flow::sessions::ListedSession;
use crate::state::Broker;

/// Where the person is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sessions {
    /// The current session first, then the newest; two hundred at most.
    sessions: Vec<OneSession>,
}

/// One browser in which the person is signed in.
#[derive(Debug, Serialize, ToSchema)]
struct OneSession {
    /// Its id; authenticates nothing.
    #[schema(example = "6f1d2c3b-8a52-4e14-8b9b-4f3f8a6f1d2c")]
    id: Uuid,
    /// Whether it is the session of the presented token.
    #[schema(example = true)]
    current: bool,
    /// The browser and its machine, as far as known.
    device: SessionDevice,
    /// When the login was.
    #[schema(example = "2026-11-22T10:15:00Z")]
    created_at: DateTime<Utc>,
    /// When its token was last used, accurate to five minutes; null before the first use.
    #[schema(required, example = "2026-11-22T11:40:00Z")]
    last_used_at: Option<DateTime<Utc>>,
    /// When it ends, at the latest.
    #[schema(example = "2026-12-22T10:15:00Z")]
    expires_at: DateTime<Utc>,
    /// The provider that the user signed in at.
    #[schema(example = "corp")]
    provider: String,
    /// The network of the login, not the full address.
    #[schema(example = "192.0.2.0/24")]
    address_prefix: String,
}

/// A browser and its machine, by the `User-Agent` header of the login: a hint, not proof.
#[derive(Debug, Serialize, ToSchema)]
struct SessionDevice {
    /// As far as it is known.
    #[schema(required, example = "Firefox on Linux")]
    name: Option<String>,
    /// What kind of machine it is.
    kind: SessionDeviceKind,
}

/// A kind of machine: `mobile` is a phone or a tablet, `other` anything that is neither that nor a computer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(example = "computer")]
enum SessionDeviceKind {
    Computer,
    Mobile,
    Other,
    Unknown,
}

impl From<DeviceKind> for SessionDeviceKind {
    fn from(kind: DeviceKind) -> Self {
        match kind {
            DeviceKind::Computer => Self::Computer,
            DeviceKind::Mobile => Self::Mobile,
            DeviceKind::Other => Self::Other,
            DeviceKind::Unknown => Self::Unknown,
        }
    }
}

impl From<ListedSession> for OneSession {
    fn from(listed: ListedSession) -> Self {
        Self {
            id: listed.session.id.as_uuid(),
            current: listed.current,
            device: SessionDevice { name: listed.device.name, kind: listed.device.kind.into() },
            created_at: listed.session.created_at,
            last_used_at: listed.last_used_at,
            expires_at: listed.session.expires_at,
            provider: listed.provider.into(),
            address_prefix: listed.address_prefix.to_string(),
        }
    }
}

errors!(
    ListErrors,
    [InvalidRequest, InvalidToken, MissingToken, InsufficientScope, RateLimited, TemporarilyUnavailable]
);

errors!(
    EndErrors,
    [
        InvalidRequest,
        InvalidToken,
        MissingToken,
        InsufficientScope,
        OriginNotAllowed,
        NotFound,
        RateLimited,
        TemporarilyUnavailable
    ]
);

errors!(
    EndOthersErrors,
    [
        InvalidRequest,
        InvalidToken,
        MissingToken,
        InsufficientScope,
        OriginNotAllowed,
        RateLimited,
        TemporarilyUnavailable
    ]
);

/// Where the user is signed in
///
/// The live sessions of the user the token acts for. Needs the scope `profile`.
#[utoipa::path(
    tag = "Sessions",
    security(("bearer" = [])),
    responses((status = 200, description = "The live sessions.", body = Sessions), ListErrors),
)]
#[get("/sessions")]
pub async fn sessions(
    broker: web::Data<Broker>,
    SessionToken { signed_in, .. }: SessionToken<Profile>,
) -> Result<web::Json<Sessions>> {
    let listed = flow::sessions::list(&broker, &signed_in).await?;
    Ok(web::Json(Sessions { sessions: listed.into_iter().map(OneSession::from).collect() }))
}

/// End one session
///
/// Ends it at once, with the user's other sessions of the same browser: all their tokens become invalid. It may be the
/// current session. Another user's session is not found.
#[utoipa::path(
    tag = "Sessions",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id of one of the user's live sessions.", example = "6f1d2c3b-8a52-4e14-8b9b-4f3f8a6f1d2c")),
    responses((status = 204, description = "The session has ended."), EndErrors),
)]
#[delete("/sessions/{id}")]
pub async fn end_session(
    broker: web::Data<Broker>,
    caller: Caller,
    SessionToken { signed_in, .. }: SessionToken<NoScope>,
    id: web::Path<String>,
) -> Result<HttpResponse> {
    flow::sessions::end(&broker, &caller, &signed_in, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// End all other sessions
///
/// Ends them at once; the session of the presented token stays. To end that one as well, use `POST /api/logout` with
/// `{"everywhere": true}`.
#[utoipa::path(
    tag = "Sessions",
    security(("bearer" = [])),
    responses((status = 204, description = "The other sessions have ended."), EndOthersErrors),
)]
#[delete("/sessions")]
pub async fn end_other_sessions(
    broker: web::Data<Broker>,
    caller: Caller,
    SessionToken { signed_in, .. }: SessionToken<NoScope>,
) -> Result<HttpResponse> {
    flow::sessions::end_others(&broker, &caller, &signed_in).await?;
    Ok(HttpResponse::NoContent().finish())
}

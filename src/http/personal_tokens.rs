//! `/api/personal_tokens`: the tokens that the person made for scripts.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::errors::errors;
use super::extract::access::{NoScope, Profile, SessionToken};
use super::extract::body::{self, MediaType};
use crate::domain::caller::Caller;
use crate::error::{Error, ErrorCode, Result};
use crate::flow;
use crate::flow::personal_tokens::{Expiry, MakeRequest, NewPersonalToken, PersonalToken};
use crate::state::Broker;

/// The person's tokens for scripts, and what may be made.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonalTokens {
    /// The tokens that are neither revoked nor expired, newest first.
    personal_tokens: Vec<OnePersonalToken>,
    /// Whether this broker lets people make personal tokens.
    #[schema(example = true)]
    enabled: bool,
    /// Days until a new one expires, at the latest.
    #[schema(example = 366)]
    max_days: i64,
    /// How many one person may have.
    #[schema(example = 20)]
    per_user: usize,
}

/// A token that the person made for scripts. Its text is in no list: only the answer that made it had it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OnePersonalToken {
    /// Its id; authenticates nothing.
    #[schema(example = "2791c83b-9aca-4609-b0b5-65c7846790dd")]
    id: Uuid,
    /// The short one-way id under which logs name it.
    #[schema(example = "18b57dd3")]
    log_id: String,
    /// What the person calls it.
    #[schema(example = "Nightly export")]
    name: String,
    /// Its scopes, space-separated.
    #[schema(example = "profile")]
    scope: String,
    /// The APIs it is for.
    #[schema(example = json!(["https://orders.example.com"]))]
    audience: Vec<String>,
    /// The client with which it was made.
    #[schema(example = "web")]
    client_id: String,
    /// When it was made.
    #[schema(example = "2026-11-22T10:15:00Z")]
    created_at: DateTime<Utc>,
    /// When it expires.
    #[schema(example = "2027-02-20T10:15:00Z")]
    expires_at: DateTime<Utc>,
    /// When it was last used, accurate to five minutes; null before the first use.
    #[schema(required, example = "2026-11-22T11:40:00Z")]
    last_used_at: Option<DateTime<Utc>>,
}

/// A new token for scripts.
#[derive(Serialize, ToSchema)]
pub struct MadePersonalToken<'a> {
    /// The token: shown here and nowhere else.
    #[schema(example = "tbp_…")]
    token: &'a str,
    /// Everything else about it, as in the list.
    personal_token: OnePersonalToken,
}

/// What the new token is called and may do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonalTokenBody {
    /// What the person calls it: 1 to 100 characters.
    #[schema(example = "Nightly export")]
    name: String,
    /// Its scopes, space-separated: at most those of the access token.
    #[schema(example = "profile")]
    scope: String,
    /// The APIs it is for: at most those of the access token, which are the default.
    #[serde(default)]
    #[schema(example = json!(["https://orders.example.com"]))]
    resource: Vec<String>,
    /// Seconds until it expires. Either this or `expires_at` is required.
    #[schema(example = 7_776_000)]
    expires_in: Option<u64>,
    /// When it expires. Either this or `expires_in` is required.
    #[schema(value_type = Option<String>, example = json!(null))]
    expires_at: Option<DateTime<Utc>>,
}

impl TryFrom<PersonalTokenBody> for MakeRequest {
    type Error = Error;

    fn try_from(body: PersonalTokenBody) -> Result<Self> {
        let expiry = match (body.expires_in, body.expires_at) {
            (Some(seconds), None) => Expiry::In(seconds),
            (None, Some(time)) => Expiry::At(time),
            _ => {
                let text = "Exactly one of the members 'expires_in' and 'expires_at' is required.";
                return Err(Error::new(ErrorCode::InvalidRequest).detail(text));
            }
        };
        Ok(Self { name: body.name, scope: body.scope, resource: body.resource, expiry })
    }
}

impl From<PersonalToken> for OnePersonalToken {
    fn from(listed: PersonalToken) -> Self {
        let facts = listed.facts;
        Self {
            id: facts.id.as_uuid(),
            log_id: facts.handle.short_id(),
            name: facts.name.map(|name| name.as_str().to_owned()).unwrap_or_default(),
            scope: facts.scopes.to_string(),
            audience: facts.audiences.iter().map(|audience| audience.as_str().to_owned()).collect(),
            client_id: facts.client_id.into(),
            created_at: facts.issued_at,
            expires_at: facts.expires_at,
            last_used_at: listed.last_used_at,
        }
    }
}

errors!(
    ListErrors,
    [InvalidRequest, InvalidToken, MissingToken, InsufficientScope, RateLimited, TemporarilyUnavailable]
);

errors!(
    MakeErrors,
    [
        InvalidRequest,
        InvalidTarget,
        InvalidToken,
        MissingToken,
        InsufficientUserAuthentication,
        InsufficientScope,
        OriginNotAllowed,
        MethodNotAllowed,
        RequestTimeout,
        TooManyPersonalTokens,
        ContentTooLarge,
        UnsupportedMediaType,
        RateLimited,
        TemporarilyUnavailable,
    ]
);

errors!(
    RevokeErrors,
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

/// List the personal tokens
///
/// The tokens that the person behind the access token made for scripts, never another's, and never the tokens
/// themselves. Needs a token of a session with the scope `profile`.
#[utoipa::path(
    tag = "Personal tokens",
    security(("bearer" = [])),
    responses((status = 200, description = "The personal tokens.", body = PersonalTokens), ListErrors),
)]
#[get("/personal_tokens")]
pub async fn personal_tokens(
    broker: web::Data<Broker>,
    SessionToken { signed_in, .. }: SessionToken<Profile>,
) -> Result<web::Json<PersonalTokens>> {
    let listed = flow::personal_tokens::list(&broker, &signed_in).await?;
    let settings = broker.personal_tokens;
    Ok(web::Json(PersonalTokens {
        personal_tokens: listed.into_iter().map(OnePersonalToken::from).collect(),
        enabled: settings.enabled,
        max_days: settings.max_lifetime.num_days(),
        per_user: settings.per_user,
    }))
}

/// Make a personal token
///
/// A token for scripts, in no session: it works until it expires, until it is revoked or until the person is disabled.
/// Its text is shown once. It may do at most what the access token may, which must be of a session whose sign-in is
/// fresh: otherwise the challenge says with which `max_age` to sign in again (RFC 9470). Where the broker does not
/// offer personal tokens, the method is not allowed.
#[utoipa::path(
    tag = "Personal tokens",
    security(("bearer" = [])),
    request_body(content = PersonalTokenBody, description = "Its name, scopes, APIs and expiry.", content_type = "application/json"),
    responses((status = 201, description = "The new token.", body = MadePersonalToken), MakeErrors),
)]
#[post("/personal_tokens")]
pub async fn make_personal_token(
    broker: web::Data<Broker>,
    caller: Caller,
    SessionToken { signed_in, .. }: SessionToken<NoScope>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse> {
    let wanted = read(&request, payload).await?;
    let NewPersonalToken { token, made } =
        flow::personal_tokens::make(&broker, &caller, &signed_in, wanted).await?;
    Ok(HttpResponse::Created().json(MadePersonalToken { token: token.expose(), personal_token: made.into() }))
}

async fn read(request: &HttpRequest, payload: web::Payload) -> Result<MakeRequest> {
    if MediaType::of(request)? != MediaType::Json {
        return Err(ErrorCode::UnsupportedMediaType.into());
    }
    let bytes = body::read(payload).await?;
    body::json::<PersonalTokenBody>(&bytes)?.try_into()
}

/// Revoke a personal token
///
/// Immediately. Another person's token is not found.
#[utoipa::path(
    tag = "Personal tokens",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id of one of the person's personal tokens.", example = "2791c83b-9aca-4609-b0b5-65c7846790dd")),
    responses((status = 204, description = "The token is revoked."), RevokeErrors),
)]
#[delete("/personal_tokens/{id}")]
pub async fn revoke_personal_token(
    broker: web::Data<Broker>,
    caller: Caller,
    SessionToken { signed_in, .. }: SessionToken<NoScope>,
    id: web::Path<String>,
) -> Result<HttpResponse> {
    flow::personal_tokens::revoke(&broker, &caller, &signed_in, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

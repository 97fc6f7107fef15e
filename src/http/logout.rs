//! `POST /api/logout`: ends the session, or all sessions, of the caller.

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::errors::errors;
use super::extract::access::{NoScope, SessionToken};
use super::extract::body::{self, MediaType};
use crate::domain::caller::Caller;
use crate::error::{ErrorCode, Result};
use crate::flow;
use crate::flow::logout::LogoutRequest;
use crate::state::Broker;

/// Which sessions end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogoutBody {
    /// Whether all sessions of the user end, not only this one.
    #[serde(default)]
    #[schema(example = false)]
    everywhere: bool,
    /// Whether the personal tokens are revoked as well; only together with `everywhere`.
    #[serde(default)]
    #[schema(example = false)]
    personal_tokens: bool,
}

/// What is left to do.
#[derive(Serialize, ToSchema)]
pub struct LogoutAnswer {
    /// Where to send the browser's window, to sign out at the provider as well; absent if the provider cannot end its
    /// session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, example = "https://auth.example.com/logout?client_id=web")]
    provider_logout_url: Option<Url>,
    /// After a logout everywhere: how many personal tokens of the person were revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 0)]
    personal_tokens_revoked: Option<usize>,
    /// After a logout everywhere: how many personal tokens of the person still work.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 2)]
    personal_tokens_left: Option<usize>,
}

errors!(
    LogoutErrors,
    [
        InvalidRequest,
        InvalidToken,
        MissingToken,
        InsufficientScope,
        OriginNotAllowed,
        RequestTimeout,
        ContentTooLarge,
        UnsupportedMediaType,
        RateLimited,
        TemporarilyUnavailable,
    ]
);

/// Sign out
///
/// Ends the session of the token at once, with the user's other sessions of the same browser: all their tokens become
/// invalid. The body is optional. If the provider can also end its own session, or if that is unknown at the moment,
/// the response contains the URL to open in the browser window. A logout everywhere leaves personal tokens valid,
/// unless they are named, and says how many there are.
#[utoipa::path(
    tag = "Tokens",
    security(("bearer" = [])),
    request_body(content = Option<LogoutBody>, description = "Optional.", content_type = "application/json"),
    responses(
        (status = 204, description = "The session has ended, and there is no more to do."),
        (status = 200, description = "The session has ended here; what has not ended is in the answer.", body = LogoutAnswer),
        LogoutErrors,
    ),
)]
#[post("/logout")]
pub async fn logout(
    broker: web::Data<Broker>,
    caller: Caller,
    SessionToken { signed_in, .. }: SessionToken<NoScope>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse> {
    // The body is read only after the token was accepted.
    let body = read(&request, payload).await?;
    let request = LogoutRequest { everywhere: body.everywhere, personal_tokens: body.personal_tokens };
    let done = flow::logout::logout(&broker, &caller, &signed_in, request).await?;
    let answer = LogoutAnswer {
        provider_logout_url: done.provider_logout_url,
        personal_tokens_revoked: done.personal_tokens.map(|tokens| tokens.revoked),
        personal_tokens_left: done.personal_tokens.map(|tokens| tokens.left),
    };
    Ok(match answer {
        LogoutAnswer { provider_logout_url: None, personal_tokens_left: None, .. } => {
            HttpResponse::NoContent().finish()
        }
        answer => HttpResponse::Ok().json(answer),
    })
}

async fn read(request: &HttpRequest, payload: web::Payload) -> Result<LogoutBody> {
    let bytes = body::read(payload).await?;
    if matches!(bytes.trim_ascii(), b"" | b"null") {
        return Ok(LogoutBody::default());
    }
    match MediaType::of(request)? {
        MediaType::Json => body::json(&bytes),
        MediaType::Form => Err(ErrorCode::UnsupportedMediaType.into()),
    }
}

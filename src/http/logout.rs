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
use crate::state::Broker;

/// Which sessions end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogoutBody {
    /// Whether all sessions of the user end, not only this one.
    #[serde(default)]
    #[schema(example = false)]
    everywhere: bool,
}

/// What is left to do.
#[derive(Serialize, ToSchema)]
pub struct LogoutAnswer {
    /// Where to send the browser's window, to sign out at the provider as well.
    #[schema(value_type = String, example = "https://auth.example.com/logout?client_id=web")]
    provider_logout_url: Url,
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
/// Ends the session of the token at once: all its tokens become invalid. The body is optional. If the provider can also
/// end its own session, or if that is unknown at the moment, the response contains the URL to open in the browser window.
#[utoipa::path(
    tag = "Tokens",
    security(("bearer" = [])),
    request_body(content = Option<LogoutBody>, description = "Optional.", content_type = "application/json"),
    responses(
        (status = 204, description = "The session has ended, and there is no more to do."),
        (status = 200, description = "The session has ended here; the one at the provider has not.", body = LogoutAnswer),
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
    let logout_url = flow::logout::logout(&broker, &caller, &signed_in, body.everywhere).await?;
    Ok(match logout_url {
        Some(provider_logout_url) => HttpResponse::Ok().json(LogoutAnswer { provider_logout_url }),
        None => HttpResponse::NoContent().finish(),
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

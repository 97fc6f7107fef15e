//! `POST /api/token/rotate`: a new token for a live one.

use actix_web::{HttpResponse, post, web};

use super::errors::errors;
use super::extract::dpop::PresentedToken;
use super::redeem::TokenAnswer;
use crate::domain::caller::Caller;
use crate::error::Result;
use crate::flow;
use crate::state::Broker;

errors!(
    RotateErrors,
    [
        InvalidRequest,
        InvalidToken,
        MissingToken,
        InsufficientScope,
        OriginNotAllowed,
        RateLimited,
        TemporarilyUnavailable,
    ]
);

/// Rotate the token
///
/// Exchanges a live token for a new one, which never outlives the session. The old token stays valid for 60 seconds;
/// within that time other tabs can rotate it too. The successor of a token that is bound to a key is bound to the same key.
#[utoipa::path(
    tag = "Tokens",
    security(("bearer" = [])),
    responses((status = 200, description = "The new token.", body = TokenAnswer), RotateErrors),
)]
#[post("/token/rotate")]
pub async fn rotate(
    broker: web::Data<Broker>,
    caller: Caller,
    token: PresentedToken,
) -> Result<HttpResponse> {
    let issued = flow::rotate::rotate(&broker, &caller, &token.presented()).await?;
    Ok(HttpResponse::Ok().json(TokenAnswer::from(&issued)))
}

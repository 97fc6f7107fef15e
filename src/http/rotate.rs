//! `POST /api/token/rotate`: a new token for a live one.

use actix_web::{HttpResponse, post, web};

use super::errors::errors;
use super::extract::bearer::Bearer;
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

/// Renew the token
///
/// A new token for a live one, at most until the end of the session. The old one works 60 seconds more and cannot be
/// renewed again, except by other tabs within these 60 seconds.
#[utoipa::path(
    tag = "Tokens",
    security(("bearer" = [])),
    responses((status = 200, description = "The new token.", body = TokenAnswer), RotateErrors),
)]
#[post("/token/rotate")]
pub async fn rotate(broker: web::Data<Broker>, caller: Caller, bearer: Bearer) -> Result<HttpResponse> {
    let issued = flow::rotate::rotate(&broker, &caller, bearer.expose()).await?;
    Ok(HttpResponse::Ok().json(TokenAnswer::from(&issued)))
}

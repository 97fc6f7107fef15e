//! `POST /oauth2/revoke`: a client or a resource server gives up a token (RFC 7009).

use actix_web::{HttpRequest, HttpResponse, post, web};

use super::errors::errors;
use super::extract::token_form::{self, TokenForm};
use crate::domain::caller::Caller;
use crate::error::Result;
use crate::flow::resource_server::ENDPOINTS;
use crate::flow::revoke as flow;
use crate::state::Broker;

/// The path, for the metadata (RFC 8414 section 2).
pub const PATH: &str = ENDPOINTS[1];

/// `revocation_endpoint_auth_methods_supported` of the metadata (RFC 8414 section 2): a resource server has a secret
/// or a key, a public client only its `client_id`.
pub const AUTH_METHODS: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];

errors!(
    RevokeErrors,
    [
        InvalidRequest,
        InvalidClient,
        InvalidGrant,
        UnauthenticatedClient,
        OriginNotAllowed,
        RequestTimeout,
        ContentTooLarge,
        UnsupportedMediaType,
        RateLimited,
        TemporarilyUnavailable,
    ]
);

/// Revoke a token
///
/// OAuth 2.0 Token Revocation (RFC 7009). A client revokes a token that was issued to it by sending the token with its
/// `client_id`; an API revokes a token that is for it with its own credentials. A session's token ends its session, as
/// a logout does; a personal token ends alone. Takes effect with the next request everywhere. The answer
/// is 200 also if the token is unknown or no longer valid. 503 means that nothing was revoked: try again. Pages of the
/// client can call it (RFC 7009 section 2.3).
#[utoipa::path(
    tag = "For APIs",
    security(("resource_server" = []), ()),
    request_body(
        description = "The token, as a form.",
        content((TokenForm = "application/x-www-form-urlencoded")),
    ),
    responses(
        (status = 200, description = "The token does not work, or no longer."),
        RevokeErrors,
    ),
)]
#[post("")]
pub async fn revoke(
    broker: web::Data<Broker>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse> {
    let asked = token_form::read(&request, payload).await?;
    flow::revoke(&broker, &caller, &asked.credentials, &asked.token).await?;
    Ok(HttpResponse::Ok().finish())
}

//! `/api/get_token`: the SPA exchanges its one-time key for its bearer token.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::errors::errors;
use super::extract::body::{self, MediaType};
use super::extract::dpop;
use super::extract::parameters::{self, Parameters, parameters};
use crate::domain::caller::Caller;
use crate::error::{Error, Result};
use crate::flow::IssuedToken;
use crate::flow::redeem::{self as flow, RedeemRequest};
use crate::state::Broker;

parameters! {
    /// What the SPA sends to redeem its key.
    #[derive(Deserialize, ToSchema)]
    pub struct RedeemBody {
        /// The key from the redirect.
        #[schema(required, example = "tbo_…")]
        one_time_key,
        /// The secret behind the login's `code_challenge` (RFC 7636 section 4.1). Required unless the client is a
        /// `legacy` one.
        #[schema(example = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")]
        code_verifier,
        /// The client; checked if present.
        #[schema(example = "web")]
        client_id,
    }
}

/// A bearer token (RFC 6749 section 5.1).
#[derive(Serialize, ToSchema)]
pub struct TokenAnswer<'a> {
    /// The token: shown here and nowhere else.
    #[schema(example = "tbk_…")]
    access_token: &'a str,
    /// `DPoP` for a token that is bound to a key (RFC 9449), otherwise `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until it expires, counted from now.
    #[schema(example = 604_800)]
    expires_in: i64,
    /// When it expires.
    #[schema(example = "2026-11-29T10:15:00Z")]
    expires_at: DateTime<Utc>,
    /// Its scopes, space-separated.
    #[schema(example = "profile")]
    scope: String,
}

/// `token_type` (RFC 6749 section 7.1, RFC 9449 section 5).
pub fn token_type(is_bound: bool) -> &'static str {
    if is_bound { "DPoP" } else { "Bearer" }
}

impl<'a> From<&'a IssuedToken> for TokenAnswer<'a> {
    fn from(issued: &'a IssuedToken) -> Self {
        Self {
            access_token: issued.token.expose(),
            token_type: token_type(issued.is_bound),
            expires_in: issued.expires_in,
            expires_at: issued.expires_at,
            scope: issued.scopes.to_string(),
        }
    }
}

/// The answer for `legacy` clients.
#[derive(Serialize, ToSchema)]
pub struct LegacyTokenAnswer<'a> {
    /// The token, or `null` if the key is unknown, used or expired.
    #[schema(required, example = "tbk_…")]
    token: Option<&'a str>,
}

errors!(
    RedeemErrors,
    [
        InvalidRequest,
        InvalidGrant,
        InvalidDpopProofForGrant,
        UseDpopNonceForGrant,
        OriginNotAllowed,
        RequestTimeout,
        ContentTooLarge,
        UnsupportedMediaType,
        RateLimited,
        TemporarilyUnavailable,
    ]
);

/// Redeem a one-time key
///
/// Exchanges the key for the bearer token, once and within 120 seconds. A wrong verifier does not use up the key.
/// Redeeming a used key ends its session, except within ten seconds from the same browser. Unknown, used, expired and unproven keys get the same answer.
/// The key of a login with `dpop_jkt` needs a DPoP proof of that key (RFC 9449) in the header `DPoP`.
#[utoipa::path(
    tag = "Tokens",
    params(("DPoP" = Option<String>, Header, description = "A DPoP proof of the key that the token is bound to (RFC 9449).", example = "eyJ…")),
    request_body(
        description = "As JSON or as a form. A key in the address is refused.",
        content((RedeemBody = "application/json"), (RedeemBody = "application/x-www-form-urlencoded")),
    ),
    responses(
        (status = 200, description = "The token.", body = TokenAnswer),
        RedeemErrors,
    ),
)]
#[post("/get_token")]
pub async fn get_token(
    broker: web::Data<Broker>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse> {
    let issued = flow::redeem(&broker, &caller, read(&request, payload).await?).await?;
    Ok(HttpResponse::Ok().json(TokenAnswer::from(&issued)))
}

async fn read(request: &HttpRequest, payload: web::Payload) -> Result<RedeemRequest> {
    let query = request.query_string().as_bytes();
    if parameters::has(query, "one_time_key") || parameters::has(query, "code_verifier") {
        return Err(Error::invalid_request("Send the one-time key in the body, not in the address."));
    }
    let media_type = MediaType::of(request)?;
    let bytes = body::read(payload).await?;
    let body = match media_type {
        MediaType::Json => body::json(&bytes)?,
        MediaType::Form => RedeemBody::read(&bytes)?,
    };
    let missing = || Error::invalid_request("The parameter 'one_time_key' is missing.");
    let one_time_key = body.one_time_key.filter(|key| !key.is_empty()).ok_or_else(missing)?;
    Ok(RedeemRequest {
        one_time_key,
        code_verifier: body.code_verifier,
        client_id: body.client_id,
        proof: dpop::of_token_request(request)?,
    })
}

errors!(LegacyErrors, [InvalidRequest, OriginNotAllowed, RateLimited, TemporarilyUnavailable,]);

parameters! {
    /// The query of a redemption for a legacy client.
    struct LegacyParameters { one_time_key }
}

/// Redeem a one-time key of a legacy client
///
/// The contract of the service that this broker replaces, for clients with `legacy = true` and for no other: without
/// any such client the method is not allowed.
#[utoipa::path(
    tag = "Tokens",
    params(("one_time_key" = String, Query, description = "The key from the redirect.", example = "tbo_…")),
    responses(
        (status = 200, description = "The token, or `null`.", body = LegacyTokenAnswer),
        LegacyErrors,
    ),
)]
#[get("/get_token")]
pub async fn get_token_legacy(
    broker: web::Data<Broker>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let LegacyParameters { one_time_key } = LegacyParameters::read(request.query_string().as_bytes())?;
    let issued = match one_time_key {
        Some(key) => flow::redeem_legacy(&broker, &caller, &key).await?,
        None => None,
    };
    let token = issued.as_ref().map(|issued| issued.token.expose());
    Ok(HttpResponse::Ok().json(LegacyTokenAnswer { token }))
}

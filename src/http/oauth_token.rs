//! `POST /oauth2/token`: the token endpoint of OAuth 2 for public clients.

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::errors::errors;
use super::extract::body::{self, MediaType};
use super::extract::dpop;
use super::extract::parameters::{self, Parameters, parameters};
use super::redeem::token_type;
use crate::domain::caller::Caller;
use crate::domain::refresh_token::RefreshToken;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::oauth_token::{self as flow, TokenRequest, TokenSet};
use crate::state::Broker;

parameters! {
    /// What a client sends (RFC 6749 sections 4.1.3 and 6, RFC 8628 section 3.4).
    #[derive(ToSchema)]
    pub struct TokenForm {
        /// `authorization_code`; `refresh_token` for clients that use refresh tokens; `urn:ietf:params:oauth:grant-type:device_code` for devices.
        #[schema(value_type = String, required, example = "authorization_code")]
        grant_type,
        /// The client.
        #[schema(value_type = String, required, example = "web")]
        client_id,
        /// The code from the redirect.
        #[schema(value_type = Option<String>, example = "tbo_…")]
        code,
        /// The same as in the authorization request, if it was sent there.
        #[schema(value_type = Option<String>, example = "https://app.example.com/signed-in")]
        redirect_uri,
        /// The secret behind the `code_challenge` (RFC 7636 section 4.1).
        #[schema(value_type = Option<String>, example = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")]
        code_verifier,
        /// The refresh token.
        #[schema(value_type = Option<String>, example = "tbr_…")]
        refresh_token,
        /// The code that the device got.
        #[schema(value_type = Option<String>, example = "tbd_…")]
        device_code,
        /// With a refresh token: scopes that the token must have.
        #[schema(value_type = Option<String>, example = "openid profile")]
        scope,
        /// Public clients have none: anything but an empty text is refused.
        #[schema(value_type = Option<String>, example = "")]
        client_secret,
    }
}

/// Tokens (RFC 6749 section 5.1, OpenID Connect Core section 3.1.3.3).
#[derive(Serialize, ToSchema)]
pub struct TokenSetAnswer<'a> {
    /// The access token.
    #[schema(example = "tbk_…")]
    access_token: &'a str,
    /// `DPoP` for a token that is bound to a key (RFC 9449), otherwise `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 604_800)]
    expires_in: i64,
    /// Its scopes, space-separated.
    #[schema(example = "email openid profile")]
    scope: String,
    /// For clients with `refresh_tokens = true`. It can be used once; it lives one day longer than the access token, but not
    /// longer than the session.
    #[schema(example = "tbr_…")]
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    /// With the scope `openid`: who signed in, as a JWT signed with ES256. It opens nothing.
    #[schema(example = "eyJ…")]
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
}

impl<'a> From<&'a TokenSet> for TokenSetAnswer<'a> {
    fn from(set: &'a TokenSet) -> Self {
        Self {
            access_token: set.access.token.expose(),
            token_type: token_type(set.access.is_bound),
            expires_in: set.access.expires_in,
            scope: set.access.scopes.to_string(),
            refresh_token: set.refresh.as_ref().map(RefreshToken::expose),
            id_token: set.id_token.as_deref(),
        }
    }
}

errors!(
    TokenErrors,
    [
        InvalidRequest,
        InvalidClient,
        InvalidGrant,
        InvalidDpopProofForGrant,
        UseDpopNonceForGrant,
        AuthorizationPending,
        SlowDown,
        ExpiredToken,
        DeviceDenied,
        InvalidScope,
        InvalidTarget,
        UnauthorizedClient,
        UnsupportedGrantType,
        OriginNotAllowed,
        RequestTimeout,
        ContentTooLarge,
        UnsupportedMediaType,
        RateLimited,
        TemporarilyUnavailable,
    ]
);

/// Token endpoint
///
/// For public clients, which send `client_id` in the body and no secret. `authorization_code` redeems the code of
/// `/oauth2/authorize` once, with its verifier and with the same `redirect_uri`; a code that is used again ends the session.
/// `refresh_token` renews a token by the rules of `POST /api/token/rotate`: the old tokens work 60 seconds more, and a
/// refresh token that is used again later ends the session. With a device code, a device asks whether its user has connected
/// it: until then the answer is `authorization_pending`, or `slow_down` if it asks too often; the code is good for one answer
/// with tokens. With a DPoP proof in the header `DPoP` (RFC 9449), the tokens are bound to its key.
#[utoipa::path(
    tag = "Standard OAuth 2 and OpenID Connect",
    params(("DPoP" = Option<String>, Header, description = "A DPoP proof of the key that the token is bound to (RFC 9449).", example = "eyJ…")),
    request_body(
        description = "As a form. May also have `resource`, the same as in the authorization request (RFC 8707).",
        content((TokenForm = "application/x-www-form-urlencoded")),
    ),
    responses((status = 200, description = "The tokens.", body = TokenSetAnswer), TokenErrors),
)]
#[post("")]
pub async fn token(
    broker: web::Data<Broker>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse> {
    let set = flow::token(&broker, &caller, &read(&request, payload).await?).await?;
    Ok(HttpResponse::Ok().json(TokenSetAnswer::from(&set)))
}

async fn read(request: &HttpRequest, payload: web::Payload) -> Result<TokenRequest> {
    let query = request.query_string().as_bytes();
    if ["code", "code_verifier", "refresh_token", "device_code", "client_secret"]
        .iter()
        .any(|name| parameters::has(query, name))
    {
        return Err(Error::invalid_request("Send the parameters in the body, not in the address."));
    }
    if request.headers().contains_key(AUTHORIZATION) {
        let text = "Clients are public here: send client_id in the body, without an Authorization header.";
        return Err(Error::invalid_request(text));
    }
    if MediaType::of(request)? != MediaType::Form {
        return Err(ErrorCode::UnsupportedMediaType.into());
    }
    let bytes = body::read(payload).await?;
    let form = TokenForm::read(&bytes)?;
    if form.client_secret.is_some() {
        return Err(Error::new(ErrorCode::InvalidClient)
            .detail("Clients are public here and have no secret: send client_id alone."));
    }
    let resources =
        parameters::all(&bytes, "resource", "The parameter 'resource' is not percent-encoded UTF-8.")?;
    Ok(TokenRequest {
        grant_type: form.grant_type,
        client_id: form.client_id,
        code: form.code,
        redirect_uri: form.redirect_uri,
        code_verifier: form.code_verifier,
        refresh_token: form.refresh_token,
        device_code: form.device_code,
        scope: form.scope,
        resources,
        proof: dpop::of_token_request(request)?,
    })
}

//! `POST /oauth2/backchannel_logout`: a provider reports that a person has signed out there.

use actix_web::{HttpRequest, HttpResponse, post, web};
use utoipa::ToSchema;

use super::errors::errors;
use super::extract::body::{self, MediaType};
use super::extract::parameters::{self, Parameters, parameters};
use crate::domain::caller::Caller;
use crate::error::{Error, ErrorCode, Result};
use crate::flow;
use crate::state::Broker;

parameters! {
    /// What a provider sends (Back-Channel Logout 1.0 section 2.5).
    #[derive(ToSchema)]
    pub struct BackchannelLogoutForm {
        /// A signed JWT that names the session (`sid`) or the person (`sub`) that is signed out.
        #[schema(value_type = String, required, example = "eyJ…")]
        logout_token,
    }
}

errors!(
    BackchannelLogoutErrors,
    [
        InvalidRequest,
        OriginNotAllowed,
        RequestTimeout,
        ContentTooLarge,
        UnsupportedMediaType,
        RateLimited,
        TemporarilyUnavailable,
    ]
);

/// End sessions on behalf of a provider
///
/// For the providers' servers: OpenID Connect Back-Channel Logout 1.0. Register this address at the provider as
/// `backchannel_logout_uri`. With `sid` that session ends, with `sub` alone every session of that user at that
/// provider. A token can be used once.
#[utoipa::path(
    tag = "Sign-out",
    request_body(
        description = "The logout token, as a form.",
        content((BackchannelLogoutForm = "application/x-www-form-urlencoded")),
    ),
    responses(
        (status = 200, description = "The named sessions have ended, or there were none."),
        BackchannelLogoutErrors,
    ),
)]
#[post("/oauth2/backchannel_logout")]
pub async fn backchannel_logout(
    broker: web::Data<Broker>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse> {
    let token = read(&request, payload).await?;
    flow::backchannel_logout::backchannel_logout(&broker, &caller, &token).await?;
    Ok(HttpResponse::Ok().finish())
}

async fn read(request: &HttpRequest, payload: web::Payload) -> Result<String> {
    if parameters::has(request.query_string().as_bytes(), "logout_token") {
        return Err(Error::invalid_request("Send the logout token in the body, not in the address."));
    }
    if MediaType::of(request)? != MediaType::Form {
        return Err(ErrorCode::UnsupportedMediaType.into());
    }
    let form = BackchannelLogoutForm::read(&body::read(payload).await?)?;
    form.logout_token.ok_or_else(|| Error::invalid_request("The parameter 'logout_token' is missing."))
}

//! `POST /oauth2/device_authorization`: a device asks to be connected.

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::errors::errors;
use super::extract::body::{self, MediaType};
use super::extract::parameters::{self, Parameters, parameters};
use crate::domain::caller::Caller;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::device_authorization::{self as flow, DeviceAuthorization, DeviceAuthorizationRequest};
use crate::state::Broker;

parameters! {
    /// What a device sends (RFC 8628 section 3.1).
    #[derive(ToSchema)]
    pub struct DeviceAuthorizationForm {
        /// The client: one with `device = true`.
        #[schema(value_type = String, required, example = "cli")]
        client_id,
        /// The scopes of the token, space-separated. Those that the client cannot have are ignored. Omitted: the scopes of the client.
        #[schema(value_type = Option<String>, example = "openid profile")]
        scope,
        /// Public clients have none: anything but an empty text is refused.
        #[schema(value_type = Option<String>, example = "")]
        client_secret,
    }
}

/// The codes (RFC 8628 section 3.2).
#[derive(Serialize, ToSchema)]
pub struct DeviceAuthorizationAnswer<'a> {
    /// The code with which the device asks at `/oauth2/token`. A secret of the device.
    #[schema(example = "tbd_…")]
    device_code: &'a str,
    /// The code that the user enters: eight letters without vowels. Case, spaces and dashes do not matter.
    #[schema(example = "WDJB-MJHT")]
    user_code: String,
    /// Where the user enters it.
    #[schema(example = "https://auth.example.com/device")]
    verification_uri: String,
    /// The same with the code filled in, for a link or a QR code. The user still has to compare the code and to confirm.
    #[schema(example = "https://auth.example.com/device?user_code=WDJB-MJHT")]
    verification_uri_complete: String,
    /// Seconds until both codes expire.
    #[schema(example = 600)]
    expires_in: i64,
    /// Seconds to wait between two questions at `/oauth2/token`.
    #[schema(example = 5)]
    interval: i64,
}

errors!(
    DeviceAuthorizationErrors,
    [
        InvalidRequest,
        InvalidClient,
        InvalidScope,
        InvalidTarget,
        UnauthorizedClient,
        OriginNotAllowed,
        RequestTimeout,
        ContentTooLarge,
        UnsupportedMediaType,
        RateLimited,
        TemporarilyUnavailable,
    ]
);

/// Start the sign-in of a device
///
/// For command-line tools, TVs and other devices without a browser (RFC 8628). The device shows `user_code` and
/// `verification_uri` to its user, who signs in there with any browser and confirms; meanwhile the device asks at
/// `/oauth2/token`. Not for pages: there is no cross-origin access.
#[utoipa::path(
    tag = "Devices",
    request_body(
        description = "As a form. May also have `resource`, as at `/login` (RFC 8707).",
        content((DeviceAuthorizationForm = "application/x-www-form-urlencoded")),
    ),
    responses(
        (status = 200, description = "The codes.", body = DeviceAuthorizationAnswer),
        DeviceAuthorizationErrors,
    ),
)]
#[post("/oauth2/device_authorization")]
pub async fn device_authorization(
    broker: web::Data<Broker>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse> {
    let authorization = flow::authorize_device(&broker, &caller, &read(&request, payload).await?).await?;
    let DeviceAuthorization {
        device_code,
        user_code,
        verification_uri,
        verification_uri_complete,
        expires_in,
        interval,
    } = authorization;
    Ok(HttpResponse::Ok().json(DeviceAuthorizationAnswer {
        device_code: &device_code,
        user_code,
        verification_uri,
        verification_uri_complete,
        expires_in,
        interval,
    }))
}

async fn read(request: &HttpRequest, payload: web::Payload) -> Result<DeviceAuthorizationRequest> {
    if request.headers().contains_key(AUTHORIZATION) {
        let text = "Clients are public here: send client_id in the body, without an Authorization header.";
        return Err(Error::invalid_request(text));
    }
    if MediaType::of(request)? != MediaType::Form {
        return Err(ErrorCode::UnsupportedMediaType.into());
    }
    let bytes = body::read(payload).await?;
    let form = DeviceAuthorizationForm::read(&bytes)?;
    if form.client_secret.is_some() {
        return Err(Error::new(ErrorCode::InvalidClient)
            .detail("Clients are public here and have no secret: send client_id alone."));
    }
    let resources =
        parameters::all(&bytes, "resource", "The parameter 'resource' is not percent-encoded UTF-8.")?;
    Ok(DeviceAuthorizationRequest { client_id: form.client_id, scope: form.scope, resources })
}

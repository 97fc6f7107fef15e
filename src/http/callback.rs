//! `GET /oauth2_callback`: the provider redirects the browser here, and the broker redirects it to the SPA.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, get, web};

use super::error_page::StartAgain;
use super::errors::errors;
use super::extract::attempt_cookies::{self, AttemptCookies};
use super::extract::parameters::{Parameters, all, parameters};
use super::extract::session_cookie::{self, SessionCookie};
use crate::domain::caller::Caller;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::callback::{self as flow, CallbackEnd, CallbackFailure, CallbackRequest};
use crate::state::Broker;

parameters! {
    /// The parameter that finds the attempt.
    #[derive(utoipa::IntoParams)]
    #[into_params(parameter_in = Query)]
    struct StateParameter {
        /// The state of the attempt.
        #[param(example = "gkVZ2mXj7GQy1bT0pHc9Dw")]
        state,
    }
}

parameters! {
    /// The rest of the provider's answer.
    #[derive(utoipa::IntoParams)]
    #[into_params(parameter_in = Query)]
    struct CallbackParameters {
        /// The provider's authorization code.
        #[param(example = "SplxlOBeZQQYbYS6WxSbIA")]
        code,
        /// The provider's issuer (RFC 9207).
        #[param(example = "https://login.example.com")]
        iss,
        /// The provider's refusal (RFC 6749 section 4.1.2.1).
        #[param(example = "access_denied")]
        error,
    }
}

errors!(CallbackErrors, [InvalidRequest, InvalidState, IssuerMismatch, RateLimited, TemporarilyUnavailable,]);

/// Complete a login
///
/// The redirect URI to register at the provider. A user who signs in here begins a new session; those that the browser
/// had when the login began end once the key is redeemed. If the callback is the provider's answer to this browser's
/// login, the browser is redirected to the SPA with `one_time_key` and `state`, or with `error`, `error_description`
/// and `state`. If it answers no open login, a browser with a live session is redirected to the SPA's home address.
/// Otherwise, the broker shows its own error page, with a link to the SPA if that is known.
#[utoipa::path(
    tag = "Sign-in",
    params(StateParameter, CallbackParameters),
    responses(
        (status = 303, description = "Redirect to the SPA, in success or failure.", headers(
            ("Location" = String, description = "The login's `redirect_uri` with `one_time_key` and `state`, or `error`, `error_description` and `state`; or the home address of the SPA."),
            ("Set-Cookie" = String, description = "Deletes the attempt and, once a session has begun, sets its cookie: `__Host-Http-tb_session`, as long as the session can last."),
        )),
        CallbackErrors,
    ),
)]
#[get("/oauth2_callback")]
pub async fn oauth2_callback(
    broker: web::Data<Broker>,
    caller: Caller,
    cookies: AttemptCookies,
    session: SessionCookie,
    request: HttpRequest,
) -> Result<HttpResponse> {
    complete(&broker, &caller, cookies, session, &request).await
}

/// Complete a login at one of several providers
///
/// The same as `GET /oauth2_callback`, with a path of its own for each provider, so that an answer from another one
/// is noticed (RFC 9700 section 4.4.2.2).
#[utoipa::path(
    tag = "Sign-in",
    params(
        StateParameter, CallbackParameters,
        ("provider" = String, Path, description = "The id of the provider.", example = "corp"),
    ),
    responses(
        (status = 303, description = "Redirect to the SPA, in success or failure.", headers(
            ("Location" = String, description = "The login's `redirect_uri` with `one_time_key` and `state`, or `error`, `error_description` and `state`; or the home address of the SPA."),
            ("Set-Cookie" = String, description = "Deletes the attempt and, once a session has begun, sets its cookie: `__Host-Http-tb_session`, as long as the session can last."),
        )),
        CallbackErrors,
    ),
)]
#[get("/oauth2_callback/{provider}")]
pub async fn oauth2_callback_of_provider(
    broker: web::Data<Broker>,
    caller: Caller,
    cookies: AttemptCookies,
    session: SessionCookie,
    request: HttpRequest,
) -> Result<HttpResponse> {
    complete(&broker, &caller, cookies, session, &request).await
}

async fn complete(
    broker: &Broker,
    caller: &Caller,
    cookies: AttemptCookies,
    session: SessionCookie,
    request: &HttpRequest,
) -> Result<HttpResponse> {
    let query = request.query_string().as_bytes();
    // The state is read first: if it is readable, its attempt is used up even if another parameter is malformed.
    let StateParameter { state } = StateParameter::read(query)?;
    let path = request.path().to_owned();
    let (CallbackParameters { code, iss, error }, malformed) =
        match parameters(query, flow::code_parameter(broker, &path)) {
            Ok(parameters) => (parameters, None),
            Err(malformed) => (CallbackParameters::default(), Some(malformed)),
        };
    let AttemptCookies { attempts, conflicting } = cookies;
    let session_cookie = session.value();
    let callback =
        CallbackRequest { path, code, state, iss, error, attempts, conflicting, session_cookie, malformed };
    let secure = broker.secure_cookies();
    let (mut response, forget) = match flow::callback(broker, caller, callback).await {
        Ok(CallbackEnd { location, forget, session_cookie }) => {
            let mut response = HttpResponse::SeeOther().insert_header((LOCATION, location)).finish();
            session_cookie::change(&mut response, session_cookie, secure)?;
            (response, forget)
        }
        Err(CallbackFailure { error, forget, start_again }) => {
            let mut response = HttpResponse::from_error(error);
            if let Some(home) = start_again {
                response.extensions_mut().insert(StartAgain(home));
            }
            (response, forget)
        }
    };
    if let Some(id) = &forget {
        let cookie = attempt_cookies::forget(id, secure);
        response.add_cookie(&cookie).map_err(|cause| Error::new(ErrorCode::ServerError).caused_by(cause))?;
    }
    Ok(response)
}

/// The parameters beside `state`. Some providers give the code another name.
fn parameters(query: &[u8], code_parameter: &str) -> Result<CallbackParameters> {
    let read = CallbackParameters::read(query)?;
    if code_parameter == "code" {
        return Ok(read);
    }
    let mut codes = all(query, code_parameter, "The authorization code is not percent-encoded UTF-8.")?;
    let code = codes.pop();
    if !codes.is_empty() {
        return Err(Error::invalid_request("The authorization code is given more than once."));
    }
    Ok(CallbackParameters { code, ..read })
}

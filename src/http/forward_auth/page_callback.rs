//! `GET /_token-broker/callback`, on the origin of a page: the browser comes back from `/login`, and is redirected to the
//! page with its cookie.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, get, web};

use super::visit;
use crate::domain::caller::Caller;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::page_sign_in::{self as flow, PageCallback, PageCallbackFailure};
use crate::http::HttpSettings;
use crate::http::errors::errors;
use crate::http::extract::navigation::Navigation;
use crate::http::extract::page_cookies;
use crate::http::extract::parameters::{Parameters, parameters};
use crate::state::Broker;

parameters! {
    /// What `/login` has added to the redirect URI.
    #[derive(utoipa::IntoParams)]
    #[into_params(parameter_in = Query)]
    struct PageCallbackParameters {
        /// The state of the sign-in.
        #[param(example = "gkVZ2mXj7GQy1bT0pHc9Dw")]
        state,
        /// The one-time key, which the broker redeems itself.
        #[param(example = "tbo_…")]
        one_time_key,
        /// Why there is no key.
        #[param(example = "access_denied")]
        error,
    }
}

errors!(
    PageCallbackErrors,
    [
        InvalidRequest,
        InvalidState,
        InvalidGrant,
        AccessDenied,
        NotANavigation,
        RateLimited,
        TemporarilyUnavailable
    ]
);

/// Complete a sign-in to a page
///
/// A gateway passes this path of a protected site on to the broker, with the site in `X-Forwarded-Proto` and
/// `X-Forwarded-Host`. The sign-in must have begun on this site, in this browser.
#[utoipa::path(
    tag = "Gateways",
    params(PageCallbackParameters),
    responses(
        (status = 303, description = "Back to the page where the sign-in began.", headers(
            ("Location" = String, description = "The page."),
            ("Set-Cookie" = String, description = "Deletes the sign-in and sets the cookie of the policy: `__Host-Http-tb_page_…`, as long as its token can last."),
        )),
        PageCallbackErrors,
    ),
)]
#[get("/_token-broker/callback")]
pub async fn page_callback(
    broker: web::Data<Broker>,
    caller: Caller,
    _navigation: Navigation,
    settings: web::Data<HttpSettings>,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let PageCallbackParameters { state, one_time_key, error } =
        PageCallbackParameters::read(request.query_string().as_bytes())?;
    let origin = visit::origin(&request, &settings.trusted_proxies);
    let secure = visit::is_secure(origin.as_ref());
    let open_attempts = page_cookies::attempts(request.headers(), secure);
    let callback = PageCallback { origin, state, one_time_key, error, open_attempts };
    let (mut response, forget) = match flow::complete(&broker, &caller, callback).await {
        Ok((signed_in, attempt)) => {
            let mut response = HttpResponse::SeeOther();
            response.insert_header((LOCATION, signed_in.location));
            response.cookie(page_cookies::keep(
                &signed_in.policy,
                signed_in.session,
                signed_in.lives,
                secure,
            ));
            (response.finish(), Some(attempt))
        }
        Err(PageCallbackFailure { error, forget }) => (HttpResponse::from_error(error), forget),
    };
    if let Some(id) = &forget {
        let cookie = page_cookies::forget_attempt(id, secure);
        response.add_cookie(&cookie).map_err(|cause| Error::new(ErrorCode::ServerError).caused_by(cause))?;
    }
    Ok(response)
}

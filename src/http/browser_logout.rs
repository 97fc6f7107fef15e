//! `/logout`: the person signs out in the browser, here and at the provider.

use actix_web::cookie::Cookie;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use utoipa::ToSchema;

use super::errors::errors;
use super::extract::body::{self, MediaType};
use super::extract::logout_cookie::{self, LogoutCookie};
use super::extract::navigation::Navigation;
use super::extract::own_page::OwnPage;
use super::extract::parameters::{Parameters, parameters};
use super::extract::session_cookie::{self, SessionCookie};
use super::language::Language;
use super::{logout_pages, pages};
use crate::domain::caller::Caller;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::browser_logout::{self as flow, LogoutRequest, LogoutStep, Onward};
use crate::state::Broker;

parameters! {
    /// What a logout request says; the logout page's form repeats it.
    #[derive(Clone, utoipa::IntoParams, ToSchema)]
    #[into_params(parameter_in = Query)]
    pub struct LogoutForm {
        /// The registered client. Optional if there is only one, or if the browser need not return anywhere.
        #[schema(example = "web")]
        #[param(example = "web")]
        client_id,
        /// Where the browser returns to: one of the addresses registered for it, byte for byte. Optional if the client has only one; without one, the browser ends on a page of the broker.
        #[schema(example = "https://app.example.com/signed-out")]
        #[param(example = "https://app.example.com/signed-out")]
        post_logout_redirect_uri,
        /// Handed back unchanged: 1 to 512 characters of A-Z, a-z, 0-9, `-` and `_`.
        #[schema(example = "af0ifjsldkj")]
        #[param(example = "af0ifjsldkj")]
        state,
    }
}

parameters! {
    /// The query of the way back from the provider.
    #[derive(utoipa::IntoParams)]
    #[into_params(parameter_in = Query)]
    struct ReturnParameters {
        /// The state of the logout request.
        #[param(example = "gkVZ2mXj7GQy1bT0pHc9Dw")]
        state,
    }
}

/// Clears what pages of this origin have stored. Not `"cookies"`: that would also clear the cookies of every
/// subdomain, which belong to other services; ours are expired by name. Not `"cache"`: no answer of ours is cached.
const CLEAR_SITE_DATA: (HeaderName, HeaderValue) =
    (HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"storage\""));

errors!(OpenErrors, [InvalidRequest, InvalidClient, NotANavigation, TemporarilyUnavailable]);

/// Open the logout page
///
/// The SPA sends the browser's window here, or a user opens it. It ends nothing: with a live session in this
/// browser it asks, and only the page's own form signs out. Without one (the SPA has called `POST /api/logout`
/// before) the browser is redirected to the provider's logout, if it has one, and from there to
/// `post_logout_redirect_uri`.
#[utoipa::path(
    tag = "Sign-out",
    params(LogoutForm),
    responses(
        (status = 200, description = "The page that asks, or the page that says that the user is signed out.", content_type = "text/html; charset=utf-8", body = String, example = "<!DOCTYPE html>… Sign out of Web? …"),
        (status = 303, description = "Redirect to the provider's logout, or back to the SPA.", headers(
            ("Location" = String, description = "The provider's logout request, or `post_logout_redirect_uri` with `state`."),
            ("Set-Cookie" = String, description = "Makes the browser forget its session, and remember the logout while it is at the provider."),
        )),
        OpenErrors,
    ),
)]
#[get("/logout")]
pub async fn logout_page(
    broker: web::Data<Broker>,
    _navigation: Navigation,
    cookie: SessionCookie,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let form = LogoutForm::read(request.query_string().as_bytes())?;
    open(&broker, cookie, form, Language::of(&request)).await
}

async fn open(
    broker: &Broker,
    cookie: SessionCookie,
    mut form: LogoutForm,
    language: Language,
) -> Result<HttpResponse> {
    let presented = cookie != SessionCookie::Absent;
    let onward = match flow::open(broker, logout_request(form.clone(), cookie)).await? {
        LogoutStep::Ask(question) => {
            let page = logout_pages::ask(&question, &form.present(), language);
            return Ok(pages::answer(page, &pages::OWN_FORM));
        }
        LogoutStep::GoOn(onward) => onward,
    };
    let (mut response, attempt) = match onward {
        Onward::Provider { location, attempt, .. } => (see_other(location.as_str()), Some(attempt)),
        Onward::Client(location) => (see_other(&location), None),
        Onward::Stay { unreachable, back } => (signed_out(unreachable, back, language), None),
    };
    let secure = broker.secure_cookies();
    add(&mut response, presented.then(|| session_cookie::forget(secure)))?;
    add(&mut response, attempt.map(|attempt| logout_cookie::keep(attempt, secure)))?;
    Ok(response)
}

errors!(
    EndErrors,
    [
        InvalidRequest,
        InvalidClient,
        NotANavigation,
        OriginNotAllowed,
        RequestTimeout,
        ContentTooLarge,
        UnsupportedMediaType,
        TemporarilyUnavailable,
    ]
);

/// Sign out in the browser
///
/// The form of the logout page, which no other site can send. Ends the browser's session with all its tokens at
/// once. The answer is a page that leads on by itself, to the provider's logout or back to the SPA.
#[utoipa::path(
    tag = "Sign-out",
    request_body(
        description = "The page's own fields.",
        content((LogoutForm = "application/x-www-form-urlencoded")),
    ),
    responses(
        (status = 200, description = "The page that says so and leads on.", content_type = "text/html; charset=utf-8", body = String, headers(
            ("Set-Cookie" = String, description = "Makes the browser forget its session, and remember the logout while it is at the provider."),
            ("Clear-Site-Data" = String, description = "`\"storage\"`: what pages of this origin have stored."),
        ), example = "<!DOCTYPE html>… You are signed out …"),
        EndErrors,
    ),
)]
#[post("/logout")]
pub async fn end_browser_session(
    broker: web::Data<Broker>,
    caller: Caller,
    _navigation: Navigation,
    _own_page: OwnPage,
    cookie: SessionCookie,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse> {
    if MediaType::of(&request)? != MediaType::Form {
        return Err(ErrorCode::UnsupportedMediaType.into());
    }
    let form = LogoutForm::read(&body::read(payload).await?)?;
    let onward = flow::end(&broker, &caller, logout_request(form, cookie)).await?;
    let (secure, language) = (broker.secure_cookies(), Language::of(&request));
    let (mut response, attempt) = match onward {
        Onward::Provider { location, attempt, provider } => {
            (page(logout_pages::going_on(location.as_str(), Some(&provider), language)), Some(attempt))
        }
        Onward::Client(location) => (page(logout_pages::going_on(&location, None, language)), None),
        Onward::Stay { unreachable, back } => (signed_out(unreachable, back, language), None),
    };
    let (name, value) = CLEAR_SITE_DATA;
    response.headers_mut().insert(name, value);
    add(&mut response, Some(session_cookie::forget(secure)))?;
    add(&mut response, attempt.map(|attempt| logout_cookie::keep(attempt, secure)))?;
    Ok(response)
}

errors!(ReturnErrors, [InvalidRequest, TemporarilyUnavailable]);

/// Come back from the provider's logout
///
/// Where the provider sends the browser back to: register this address there. A browser that began the logout goes
/// on to the SPA; any other one gets the answer of `GET /logout`.
#[utoipa::path(
    tag = "Sign-out",
    params(ReturnParameters),
    responses(
        (status = 200, description = "The page that says that the person is signed out, or asks whether they want to be.", content_type = "text/html; charset=utf-8", body = String, example = "<!DOCTYPE html>… You are signed out …"),
        (status = 303, description = "Back to the SPA.", headers(
            ("Location" = String, description = "`post_logout_redirect_uri` with the SPA's `state`."),
            ("Set-Cookie" = String, description = "Makes the browser forget the logout."),
        )),
        ReturnErrors,
    ),
)]
#[get("/logout/callback")]
pub async fn logout_callback(
    broker: web::Data<Broker>,
    cookie: LogoutCookie,
    session: SessionCookie,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let ReturnParameters { state } = ReturnParameters::read(request.query_string().as_bytes())?;
    let language = Language::of(&request);
    let mut response = match flow::return_to_client(&broker, state.as_deref(), cookie.0.as_deref()) {
        Some(Onward::Client(location)) => see_other(&location),
        Some(_) => signed_out(None, None, language),
        None => return open(&broker, session, LogoutForm::default(), language).await,
    };
    add(&mut response, Some(logout_cookie::forget(broker.secure_cookies())))?;
    Ok(response)
}

fn logout_request(form: LogoutForm, cookie: SessionCookie) -> LogoutRequest {
    let LogoutForm { client_id, post_logout_redirect_uri, state } = form;
    LogoutRequest { client_id, post_logout_redirect_uri, state, session_cookie: cookie.value() }
}

fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, location)).finish()
}

fn page(page: maud::Markup) -> HttpResponse {
    pages::answer(page, &pages::NO_SCRIPT)
}

fn signed_out(unreachable: Option<String>, back: Option<String>, language: Language) -> HttpResponse {
    page(logout_pages::signed_out(unreachable.as_deref(), back.as_deref(), language))
}

fn add(response: &mut HttpResponse, cookie: Option<Cookie<'_>>) -> Result<()> {
    let Some(cookie) = cookie else { return Ok(()) };
    response.add_cookie(&cookie).map_err(|cause| Error::new(ErrorCode::ServerError).caused_by(cause))
}

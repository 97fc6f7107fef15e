//! `/logout`: the person signs out in the browser, here and at the provider.

use actix_web::cookie::Cookie;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use utoipa::ToSchema;

use super::extract::body::{self, MediaType};
use super::extract::logout_cookie::{self, LogoutCookie};
use super::extract::navigation::Navigation;
use super::extract::own_page::OwnPage;
use super::extract::parameters::{self, Parameter, parameter};
use super::extract::session_cookie::{self, SessionCookie};
use super::openapi::errors;
use super::{logout_pages, pages};
use crate::domain::caller::Caller;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::browser_logout::{self as flow, LogoutRequest, LogoutStep, Onward};
use crate::state::Broker;

const PARAMETERS: [Parameter; 3] =
    [parameter!("client_id"), parameter!("post_logout_redirect_uri"), parameter!("state")];

/// Takes what pages of this origin have stored with it. Not `"cookies"`: that would take those of every
/// subdomain, too, which are other services' business; ours are expired by name. Not `"cache"`: nothing of ours is
/// ever cached.
const CLEAR_SITE_DATA: (HeaderName, HeaderValue) =
    (HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"storage\""));

errors!(OpenErrors, SignOutPage, [InvalidRequest, InvalidClient, NotANavigation, TemporarilyUnavailable]);

/// Open the logout page
///
/// The SPA sends the browser's window here, or a person opens it. It ends nothing: with a live session in this
/// browser it asks, and only the page's own form signs out. Without one (the SPA has called `POST /api/logout`
/// before) the browser goes straight on: to the provider's logout, where the session's provider has one, and from
/// there to `post_logout_redirect_uri`.
#[utoipa::path(
    tag = "Sign-out",
    params(
        ("client_id" = Option<String>, Query, description = "The registered client. May be omitted where there is only one, and where the browser need not return anywhere.", example = "web"),
        ("post_logout_redirect_uri" = Option<String>, Query, description = "Where the browser returns to: one of the addresses registered for it, byte for byte. May be omitted where the client has only one; without any the end is a page here.", example = "https://app.example.com/signed-out"),
        ("state" = Option<String>, Query, description = "Handed back unchanged: 1 to 512 characters of A-Z, a-z, 0-9, `-` and `_`.", example = "af0ifjsldkj"),
    ),
    responses(
        (status = 200, description = "The page that asks, or the page that says that the person is signed out.", content_type = "text/html; charset=utf-8", body = String, example = "<!DOCTYPE html>… Sign out of Web? …"),
        (status = 303, description = "On to the provider's logout, or back to the SPA.", headers(
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
    let values = parameters::read(request.query_string().as_bytes(), PARAMETERS)?;
    open(&broker, cookie, values).await
}

async fn open(
    broker: &Broker,
    cookie: SessionCookie,
    values: [Option<String>; PARAMETERS.len()],
) -> Result<HttpResponse> {
    let presented = cookie != SessionCookie::Absent;
    let onward = match flow::open(broker, logout_request(values.clone(), cookie)).await? {
        LogoutStep::Ask(question) => {
            let given = PARAMETERS.iter().zip(&values);
            let fields: Vec<(&str, &str)> =
                given.filter_map(|(known, value)| Some((known.name, value.as_deref()?))).collect();
            return Ok(pages::answer(logout_pages::ask(&question, &fields), &logout_pages::OWN_FORM));
        }
        LogoutStep::GoOn(onward) => onward,
    };
    let (mut response, attempt) = match onward {
        Onward::Provider { location, attempt, .. } => (see_other(location.as_str()), Some(attempt)),
        Onward::Client(location) => (see_other(&location), None),
        Onward::Stay { unreachable, back } => (signed_out(unreachable, back), None),
    };
    let secure = broker.secure_cookies();
    add(&mut response, presented.then(|| session_cookie::forget(secure)))?;
    add(&mut response, attempt.map(|attempt| logout_cookie::keep(attempt, secure)))?;
    Ok(response)
}

/// What the page's form sends.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form that is read parameter by parameter")]
pub struct LogoutForm {
    /// As in `GET /logout`.
    #[schema(example = "web")]
    client_id: Option<String>,
    /// As in `GET /logout`.
    #[schema(example = "https://app.example.com/signed-out")]
    post_logout_redirect_uri: Option<String>,
    /// As in `GET /logout`.
    #[schema(example = "af0ifjsldkj")]
    state: Option<String>,
}

errors!(
    EndErrors,
    SignOutPage,
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
    let values = parameters::read(&body::read(payload).await?, PARAMETERS)?;
    let onward = flow::end(&broker, &caller, logout_request(values, cookie)).await?;
    let secure = broker.secure_cookies();
    let (mut response, attempt) = match onward {
        Onward::Provider { location, attempt, provider } => {
            (page(logout_pages::going_on(location.as_str(), Some(&provider))), Some(attempt))
        }
        Onward::Client(location) => (page(logout_pages::going_on(&location, None)), None),
        Onward::Stay { unreachable, back } => (signed_out(unreachable, back), None),
    };
    let (name, value) = CLEAR_SITE_DATA;
    response.headers_mut().insert(name, value);
    add(&mut response, Some(session_cookie::forget(secure)))?;
    add(&mut response, attempt.map(|attempt| logout_cookie::keep(attempt, secure)))?;
    Ok(response)
}

errors!(ReturnErrors, SignOutPage, [InvalidRequest, TemporarilyUnavailable]);

/// Come back from the provider's logout
///
/// Where the provider sends the browser back to: register this address there. A browser that began the logout goes
/// on to the SPA; any other one gets the answer of `GET /logout`.
#[utoipa::path(
    tag = "Sign-out",
    params(("state" = Option<String>, Query, description = "The state of the logout request.", example = "gkVZ2mXj7GQy1bT0pHc9Dw")),
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
    let [state] = parameters::read(request.query_string().as_bytes(), [parameter!("state")])?;
    let mut response = match flow::return_to_client(&broker, state.as_deref(), cookie.0.as_deref()) {
        Some(Onward::Client(location)) => see_other(&location),
        Some(_) => signed_out(None, None),
        None => return open(&broker, session, [const { None }; PARAMETERS.len()]).await,
    };
    add(&mut response, Some(logout_cookie::forget(broker.secure_cookies())))?;
    Ok(response)
}

fn logout_request(values: [Option<String>; 3], cookie: SessionCookie) -> LogoutRequest {
    let [client_id, post_logout_redirect_uri, state] = values;
    LogoutRequest { client_id, post_logout_redirect_uri, state, session_cookie: cookie.value() }
}

fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, location)).finish()
}

fn page(page: maud::Markup) -> HttpResponse {
    pages::answer(page, &pages::NO_SCRIPT)
}

fn signed_out(unreachable: Option<String>, back: Option<String>) -> HttpResponse {
    page(logout_pages::signed_out(unreachable.as_deref(), back.as_deref()))
}

fn add(response: &mut HttpResponse, cookie: Option<Cookie<'_>>) -> Result<()> {
    let Some(cookie) = cookie else { return Ok(()) };
    response.add_cookie(&cookie).map_err(|cause| Error::new(ErrorCode::ServerError).caused_by(cause))
}

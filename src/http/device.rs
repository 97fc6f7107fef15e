//! `/device`: the page on which a person connects a device.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use utoipa::ToSchema;

use super::errors::errors;
use super::extract::attempt_cookies::AttemptCookies;
use super::extract::body::{self, MediaType};
use super::extract::navigation::Navigation;
use super::extract::own_page::OwnPage;
use super::extract::parameters::{Parameters, parameters};
use super::extract::session_cookie::SessionCookie;
use super::language::Language;
use super::login::redirect;
use super::{device_pages, pages};
use crate::domain::caller::Caller;
use crate::error::{ErrorCode, Result};
use crate::flow::device_answer::{self, AnswerRequest};
use crate::flow::device_page::{self as flow, DevicePage};
use crate::flow::device_sign_in::{DeviceSignIn, DeviceSignInStep, sign_in};
use crate::state::Broker;

parameters! {
    /// The query of the page.
    #[derive(utoipa::IntoParams)]
    #[into_params(parameter_in = Query)]
    struct DevicePageParameters {
        /// The code to fill in. Nothing is looked up with it before the person confirms.
        #[param(example = "WDJB-MJHT")]
        user_code,
        /// Why a sign-in for this page failed.
        #[param(example = "access_denied")]
        error,
    }
}

parameters! {
    /// The forms of the page.
    #[derive(ToSchema)]
    pub struct DeviceForm {
        /// The code that the device shows.
        #[schema(value_type = String, required, example = "WDJB-MJHT")]
        user_code,
        /// The sealed question, for an answer.
        #[schema(value_type = Option<String>, example = "AAAAAfR2…")]
        question,
        /// `connect` or `refuse`. Without it, the code is looked up and the person is asked.
        #[schema(value_type = Option<String>, example = "connect")]
        answer,
    }
}

parameters! {
    /// The query of a sign-in for the page.
    #[derive(utoipa::IntoParams)]
    #[into_params(parameter_in = Query)]
    struct DeviceSignInParameters {
        /// The code to come back with.
        #[param(example = "WDJB-MJHT")]
        user_code,
        /// The id of a configured provider. May be omitted if there is only one.
        #[param(example = "corp")]
        provider,
        /// `select_account`: the person wants to use another account.
        #[param(example = "select_account")]
        prompt,
    }
}

errors!(PageErrors, [InvalidRequest, NotANavigation, TemporarilyUnavailable]);

/// Open the page that connects devices
///
/// Shows a form for the code or, in a browser that is not signed in, the way to sign in. Changes nothing: `user_code` only
/// fills the form in.
#[utoipa::path(
    tag = "Devices",
    params(DevicePageParameters),
    responses(
        (status = 200, description = "The page.", content_type = "text/html; charset=utf-8", body = String, example = "<!DOCTYPE html>… Connect a device …"),
        PageErrors,
    ),
)]
#[get("/device")]
pub async fn device_page(
    broker: web::Data<Broker>,
    _navigation: Navigation,
    cookie: SessionCookie,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let DevicePageParameters { user_code, error } =
        DevicePageParameters::read(request.query_string().as_bytes())?;
    let cookie = cookie.value();
    let page = flow::open(&broker, cookie.as_deref(), user_code.as_deref(), error.as_deref()).await?;
    Ok(show(&page, Language::of(&request)))
}

errors!(
    AnswerErrors,
    [
        InvalidRequest,
        NotANavigation,
        OriginNotAllowed,
        RequestTimeout,
        ContentTooLarge,
        UnsupportedMediaType,
        RateLimited,
        TemporarilyUnavailable,
    ]
);

/// Look a code up, or answer
///
/// The forms of the page, which no other site can send. A code alone is looked up: the next page says which client asks,
/// shows the code once more, and has a form with the answer. The answer counts if the same session was asked about the same
/// code within ten minutes; otherwise the person is asked again. What is wrong with a code is said on the page.
#[utoipa::path(
    tag = "Devices",
    request_body(
        description = "The page's own fields.",
        content((DeviceForm = "application/x-www-form-urlencoded")),
    ),
    responses(
        (status = 200, description = "The next page.", content_type = "text/html; charset=utf-8", body = String, example = "<!DOCTYPE html>… Connect Command line to your account? …"),
        AnswerErrors,
    ),
)]
#[post("/device")]
pub async fn answer_device_page(
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
    let DeviceForm { user_code, question, answer } = DeviceForm::read(&body::read(payload).await?)?;
    let cookie = cookie.value();
    let page = if answer.is_none() && question.is_none() {
        flow::look_up(&broker, &caller, cookie.as_deref(), user_code.as_deref()).await?
    } else {
        let answer = AnswerRequest { user_code, question, answer };
        device_answer::answer(&broker, &caller, cookie.as_deref(), answer).await?
    };
    Ok(show(&page, Language::of(&request)))
}

errors!(
    SignInErrors,
    [InvalidRequest, NotANavigation, RateLimited, ProviderError, TemporarilyUnavailable, ProviderTimeout]
);

/// Sign in to connect a device
///
/// Sends the browser to the provider; its callback begins a browser session, without any token, and leads back to `/device`.
/// With several providers and none named, a page lets the person choose.
#[utoipa::path(
    tag = "Devices",
    params(DeviceSignInParameters),
    responses(
        (status = 200, description = "The page that lets the person choose a provider.", content_type = "text/html; charset=utf-8", body = String, example = "<!DOCTYPE html>… Choose how you want to sign in …"),
        (status = 303, description = "Redirect to the provider, with the cookie of this attempt.", headers(
            ("Location" = String, description = "The provider's authorization endpoint."),
            ("Set-Cookie" = String, description = "The sealed attempt, as at `/login`."),
        )),
        SignInErrors,
    ),
)]
#[get("/device/sign_in")]
pub async fn device_sign_in(
    broker: web::Data<Broker>,
    caller: Caller,
    _navigation: Navigation,
    cookies: AttemptCookies,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let DeviceSignInParameters { user_code, provider, prompt } =
        DeviceSignInParameters::read(request.query_string().as_bytes())?;
    let wanted = DeviceSignIn { user_code, provider, prompt, open_attempts: cookies.attempts };
    Ok(match sign_in(&broker, &caller, wanted).await? {
        DeviceSignInStep::Redirect(to_provider) => redirect(to_provider, broker.secure_cookies()),
        DeviceSignInStep::Choose(choice) => show(&DevicePage::SignIn(choice), Language::of(&request)),
    })
}

fn show(page: &DevicePage, language: Language) -> HttpResponse {
    let policy = match page {
        DevicePage::Enter { .. } | DevicePage::Ask(_) => &pages::OWN_FORM,
        DevicePage::SignIn(_) | DevicePage::Connected { .. } | DevicePage::Refused => &pages::NO_SCRIPT,
    };
    pages::answer(device_pages::page(page, language), policy)
}

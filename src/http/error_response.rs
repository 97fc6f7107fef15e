//! How a failed request is answered: one code and one fixed text, in the [`Shape`] of its route.
//!
//! OAuth-shaped endpoints answer as RFC 6749 section 5.2 requires, browser pages in plain words, everything else
//! with problem details (RFC 9457). The framework's own refusals (404, 413, panics) get the same treatment.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::challenge::{BASIC, BearerRefused, challenge};
use super::error_page::{self, Doing, FailedPage, WayOut};
use super::language::Language;
use super::pages;
use crate::error::{Error, ErrorCode};

/// The format of a route's errors; `routes.rs` names it for each route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"error", "error_description", "request_id"}` (RFC 6749 section 5.2).
    OAuth,
    /// The broker's own page, for people who sign in.
    Page,
    /// The same page, for people who sign out.
    SignOutPage,
    /// The page for a browser that asks for an address without a route.
    NotFoundPage,
    /// The same page, for people who visit a site behind a gateway.
    VisitedPage,
    /// The same page, for people who connect a device.
    DevicePage,
    /// Problem details (RFC 9457).
    Problem,
}

impl Shape {
    /// The media type of an error.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OAuth => "application/json",
            Self::Page | Self::SignOutPage | Self::DevicePage | Self::NotFoundPage | Self::VisitedPage => {
                "text/html; charset=utf-8"
            }
            Self::Problem => "application/problem+json",
        }
    }
}

/// An error of an OAuth-shaped endpoint (RFC 6749 section 5.2).
#[derive(Debug, Serialize, ToSchema)]
pub struct OAuthError {
    /// A stable code.
    #[schema(example = "invalid_grant")]
    pub error: &'static str,
    /// What to do about it, in plain words.
    pub error_description: &'static str,
    /// The id of the request in the log.
    #[schema(example = "5f0c8a52d7e14f8b9b4f3f8a6f1d2c3b")]
    pub request_id: String,
}

/// Problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` identifies the problem.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub kind: &'static str,
    /// The reason phrase of the status.
    #[schema(example = "Unauthorized")]
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 401)]
    pub status: u16,
    /// A stable code.
    #[schema(example = "invalid_token")]
    pub code: &'static str,
    /// What to do about it, in plain words.
    pub detail: &'static str,
    /// The id of the request in the log.
    #[schema(example = "5f0c8a52d7e14f8b9b4f3f8a6f1d2c3b")]
    pub request_id: String,
}

impl OAuthError {
    /// The error with this code and text.
    pub fn new(code: ErrorCode, text: &'static str, request_id: &str) -> Self {
        Self { error: code.as_str(), error_description: text, request_id: request_id.to_owned() }
    }
}

impl Problem {
    /// The problem with this code and text.
    pub fn new(code: ErrorCode, text: &'static str, request_id: &str) -> Self {
        Self {
            kind: "about:blank",
            title: status(code).canonical_reason().unwrap_or_default(),
            status: code.status(),
            code: code.as_str(),
            detail: text,
            request_id: request_id.to_owned(),
        }
    }
}

fn status(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Status and headers; the body is written by [`render`], which knows the request.
impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        status(self.code())
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        if let Some(seconds) = self.retry_after_seconds() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(
            self.code(),
            ErrorCode::MissingToken
                | ErrorCode::InvalidToken
                | ErrorCode::InsufficientScope
                | ErrorCode::InsufficientUserAuthentication
                | ErrorCode::InvalidDpopProof
                | ErrorCode::UseDpopNonce
        ) {
            challenge(&mut response, self);
        }
        if self.code() == ErrorCode::UnauthenticatedClient {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(BASIC));
        }
        response
    }
}

/// The answer to the wrapped error, with a challenge in every case.
impl ResponseError for BearerRefused {
    fn status_code(&self) -> StatusCode {
        self.0.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.0.error_response();
        challenge(&mut response, &self.0);
        response
    }
}

/// Why a request failed.
#[derive(Debug)]
pub struct Failure {
    /// The stable code.
    pub code: ErrorCode,
    /// The text for the caller.
    pub text: &'static str,
    /// The cause, for the log.
    pub cause: Option<String>,
}

impl Failure {
    /// The failure behind an answer; `None` for a success and for a body that the handler wrote itself.
    pub fn of(response: &HttpResponse) -> Option<Self> {
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        let Some(error) = response.error() else {
            let own = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
            return (!own).then(|| Self::framework(status, None));
        };
        let ours = error.as_error::<Error>().or_else(|| error.as_error().map(|BearerRefused(error)| error));
        Some(match ours {
            Some(error) => Self { code: error.code(), text: error.public_text(), cause: error.cause_chain() },
            // The framework's texts can quote the request, so they are dropped.
            None => Self::framework(status, Some("refused by the framework")),
        })
    }

    fn framework(status: StatusCode, cause: Option<&str>) -> Self {
        let same_status = ErrorCode::ALL.iter().copied().find(|code| code.status() == status.as_u16());
        let code = same_status.unwrap_or(if status.is_client_error() {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::ServerError
        });
        Self { code, text: code.public_text(), cause: cause.map(str::to_owned) }
    }
}

/// Writes a failure into its answer and keeps the headers that are already set (`Allow`, CORS, challenges).
/// `page` is called for pages only: it says where they lead, and in which language.
pub fn render(
    response: HttpResponse,
    failure: &Failure,
    shape: Shape,
    request_id: &str,
    page: impl FnOnce() -> (WayOut, Language),
) -> HttpResponse {
    let (code, text) = (failure.code, failure.text);
    let page = |doing| {
        let (way_out, language) = page();
        error_page::page(&FailedPage { doing, code, text, request_id, way_out: &way_out }, language)
            .into_string()
    };
    let body = match shape {
        Shape::OAuth => serde_json::to_string(&OAuthError::new(code, text, request_id)).unwrap_or_default(),
        Shape::Problem => serde_json::to_string(&Problem::new(code, text, request_id)).unwrap_or_default(),
        Shape::Page => page(Doing::SignIn),
        Shape::SignOutPage => page(Doing::SignOut),
        Shape::DevicePage => page(Doing::ConnectDevice),
        Shape::NotFoundPage => page(Doing::Open),
        Shape::VisitedPage => page(Doing::Visit),
    };
    let mut response = response.set_body(BoxBody::new(body));
    *response.status_mut() = status(code);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(shape.media_type()));
    if matches!(
        shape,
        Shape::Page | Shape::SignOutPage | Shape::DevicePage | Shape::NotFoundPage | Shape::VisitedPage
    ) {
        pages::add_headers(headers, &pages::NO_SCRIPT);
    }
    response
}

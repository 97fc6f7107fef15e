//! `GET /`: the sample app where it is switched on, otherwise a plain page.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::openapi::errors;
use super::{HttpSettings, pages};
use crate::error::Result;

errors!(FrontErrors, Problem, []);

/// The front page
///
/// The sample app in the demo and where `[sample]` is configured, otherwise a plain page.
#[utoipa::path(
    tag = "Service",
    responses(
        (status = 200, description = "The page.", content_type = "text/html; charset=utf-8", body = String),
        (status = 304, description = "The sample's page is still the one that `If-None-Match` names."),
        FrontErrors,
    ),
)]
#[get("/")]
pub async fn front_page(request: HttpRequest, settings: web::Data<HttpSettings>) -> Result<HttpResponse> {
    match &settings.sample {
        Some(sample) => sample.page(&request).await,
        None => Ok(pages::answer(pages::front(), &pages::NO_SCRIPT)),
    }
}

//! `GET /`: the sample app if it is enabled, otherwise a plain page.

use actix_web::{HttpRequest, HttpResponse, route, web};

use super::language::Language;
use super::middleware::host;
use super::pages;
use super::sample::{Sample, to_public_address};
use crate::domain::loopback::is_loopback;
use crate::error::Result;
use crate::state::Broker;

/// The front page without the sample app.
#[utoipa::path(method(get, head), path = "/")]
#[route("/", method = "GET", method = "HEAD")]
pub async fn front_page(request: HttpRequest) -> HttpResponse {
    pages::answer(pages::front(Language::of(&request)), &pages::NO_SCRIPT)
}

/// The sample app's page.
#[utoipa::path(method(get, head), path = "/")]
#[route("/", method = "GET", method = "HEAD")]
pub async fn sample_page(
    request: HttpRequest,
    broker: web::Data<Broker>,
    sample: web::Data<Sample>,
) -> Result<HttpResponse> {
    if is_other_loopback_name(&request, &broker) {
        return Ok(to_public_address(&broker));
    }
    sample.page(&request).await
}

/// Whether the browser uses another loopback name than the public one, such as `127.0.0.1` for `localhost`: the
/// sample would be shown, but every login would be refused, because that address is not registered.
fn is_other_loopback_name(request: &HttpRequest, broker: &Broker) -> bool {
    let own = broker.public_url.host_str().unwrap_or_default();
    let other = |host: &str| is_loopback(host) && !host.eq_ignore_ascii_case(own);
    broker.development && host::authority(request).is_some_and(|authority| other(authority.host()))
}

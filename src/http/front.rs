//! `GET /`: the sample app where it is switched on, otherwise a plain page.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, route, web};

use super::middleware::host;
use super::{HttpSettings, pages};
use crate::domain::loopback::is_loopback;
use crate::error::Result;
use crate::state::Broker;

/// The front page
#[utoipa::path(method(get, head), path = "/")]
#[route("/", method = "GET", method = "HEAD")]
pub async fn front_page(
    request: HttpRequest,
    broker: web::Data<Broker>,
    settings: web::Data<HttpSettings>,
) -> Result<HttpResponse> {
    match &settings.sample {
        Some(_) if is_astray(&request, &broker) => Ok(to_public_address(&broker)),
        Some(sample) => sample.page(&request).await,
        None => Ok(pages::answer(pages::front(), &pages::NO_SCRIPT)),
    }
}

/// Whether the browser came by another name of this machine than the public one, as in `127.0.0.1` for
/// `localhost`: the sample would be shown, and every login refused, because its address is not the registered one.
fn is_astray(request: &HttpRequest, broker: &Broker) -> bool {
    let own = broker.public_url.host_str().unwrap_or_default();
    let other = |host: &str| is_loopback(host) && !host.eq_ignore_ascii_case(own);
    broker.development && host::authority(request).is_some_and(|authority| other(authority.host()))
}

/// Sends the browser to where the sample works. Nothing of the request goes along.
pub(super) fn to_public_address(broker: &Broker) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, broker.public_url.as_str())).finish()
}

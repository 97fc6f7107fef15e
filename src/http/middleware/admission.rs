//! What is refused before routing: overlong addresses and bodies, foreign hosts, foreign origins.

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, VARY};
use actix_web::middleware::Next;

use super::host::OwnNames;
use super::{content_length, host, origin, url_length};
use crate::error::Result;
use crate::http::route_table::{Callers, RouteTable};
use crate::state::Broker;

/// Lets a request through to its handler, or answers it here.
pub async fn admit(
    request: ServiceRequest,
    next: Next<BoxBody>,
    broker: &Broker,
    own_names: &OwnNames,
) -> std::result::Result<ServiceResponse, Error> {
    match check(&request, broker, own_names) {
        Ok(()) => next.call(request).await,
        Err(refused) => {
            let mut response = request.error_response(refused);
            // The same request from another origin might be admitted (Fetch, "CORS protocol and HTTP caches").
            response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
            Ok(response)
        }
    }
}

fn check(request: &ServiceRequest, broker: &Broker, own_names: &OwnNames) -> Result<()> {
    url_length::check(request)?;
    let callers = RouteTable::find(request.request()).map_or(Callers::Clients, |route| route.callers);
    // A gateway passes on the header fields of its visitor, but no body.
    if callers != Callers::Gateways {
        content_length::check(request)?;
    }
    match callers {
        Callers::Clients => host::check(request, own_names).and_then(|()| origin::check(request, broker)),
        Callers::Probes | Callers::Visitors => origin::check(request, broker),
        Callers::Gateways => Ok(()),
    }
}

//! Cross-origin access: for the exact origins of registered clients, without cookies, and only where
//! `http/routes.rs` says so.

use actix_cors::Cors;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::web;

use crate::http::dpop_headers::DPOP_NONCE;
use crate::state::Broker;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a browser may keep a preflight's answer, in seconds.
const PREFLIGHT_MAX_AGE: usize = 600;

/// The layer for SPA-facing endpoints.
///
/// A page of a registered origin may send any header: error reporting, tracing and HTTP libraries add their own
/// (`sentry-trace`, `traceparent`, `x-requested-with`, …), and a preflight that refuses one of them breaks every call of the
/// app. A refusal would protect nothing: no cookie is involved, and other programs can send any header anyway.
pub fn layer(broker: web::Data<Broker>) -> Cors {
    let registered = move |origin: &HeaderValue, _: &_| {
        origin.to_str().is_ok_and(|origin| broker.clients.is_registered_origin(origin))
    };
    Cors::default()
        .allowed_origin_fn(registered)
        .allowed_methods(["GET", "POST", "DELETE"])
        .allow_any_header()
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER, REQUEST_ID, DPOP_NONCE])
        .max_age(PREFLIGHT_MAX_AGE)
}

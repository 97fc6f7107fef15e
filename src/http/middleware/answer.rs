//! Every answer is finished here: errors get their body, and every answer gets the security headers, the request id
//! and one line in the log, even after a panic.
//!
//! The log line and the metrics hold the route's pattern, never the path, the query, a header or a body.

use std::panic::AssertUnwindSafe;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse};
use futures_util::FutureExt;
use ipnet::IpNet;
use tracing::{Instrument, error, info, info_span};

use super::measure::{self, Listener};
use super::security_headers;
use crate::domain::caller::Caller;
use crate::domain::clock::{Moment, monotonic};
use crate::domain::request_id::RequestId;
use crate::error::ErrorCode;
use crate::http::connection::{AfterTheLast, Connection};
use crate::http::error_response::{self, Failure, Shape};
use crate::http::extract::caller;
use crate::http::pages;
use crate::http::route_table::{Callers, RouteTable};
use crate::state::Broker;

/// The route label of a request that no route matched.
const NO_ROUTE: &str = "unmatched";

/// Runs the request and finishes its answer.
pub async fn finish(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
    broker: &Broker,
    trusted_proxies: &[IpNet],
    listener: Listener,
) -> Result<ServiceResponse, Error> {
    let connection = Connection::of(&request);
    if let Some(connection) = &connection
        && connection.begin(&mut request).await == Err(AfterTheLast)
    {
        return Ok(request.into_response(HttpResponse::BadRequest().finish()));
    }
    let caller = caller::of(request.headers(), request.peer_addr(), trusted_proxies, &*broker.entropy);
    let (shape, callers) = RouteTable::find(request.request())
        .map_or((Shape::Problem, Callers::Clients), |route| (route.errors, route.callers));
    let finishing = Finishing {
        broker,
        listener,
        method: measure::method_name(request.method()),
        shape,
        callers,
        request_id: caller.request_id.clone(),
        started: monotonic(),
        connection,
    };
    let span = info_span!("request", request_id = %caller.request_id, address = %caller.address);
    request.extensions_mut().insert::<Caller>(caller);

    let outcome = AssertUnwindSafe(next.call(request)).catch_unwind().instrument(span.clone()).await;
    let _entered = span.enter();
    let failed = match outcome {
        Ok(Ok(response)) => {
            let (request, response) = response.into_parts();
            let route = request.match_pattern();
            let route = route.as_deref().unwrap_or(NO_ROUTE);
            let response = finishing.finish(response, route, request.query_string());
            return Ok(ServiceResponse::new(request, response));
        }
        Ok(Err(error)) => error,
        // The panic consumed the request, so this answer is finished without it.
        Err(_panic) => {
            crate::error::Error::new(ErrorCode::ServerError).caused_by("a handler panicked").into()
        }
    };
    let response = finishing.finish(HttpResponse::from_error(failed), NO_ROUTE, "");
    Err(InternalError::from_response("answered", response).into())
}

/// What finishing an answer needs from the start of the request.
struct Finishing<'a> {
    broker: &'a Broker,
    listener: Listener,
    method: &'static str,
    shape: Shape,
    callers: Callers,
    request_id: RequestId,
    started: Moment,
    connection: Option<Connection>,
}

impl Finishing<'_> {
    fn finish(&self, mut response: HttpResponse, route: &str, query: &str) -> HttpResponse {
        let failure = Failure::of(&response);
        if let Some(failure) = &failure {
            let start_again = || pages::start_again(self.broker, query);
            response =
                error_response::render(response, failure, self.shape, self.request_id.as_str(), start_again);
        }
        let headers = response.headers_mut();
        // A gateway passes an error on as an answer of another site, whose host must not get this site's rules.
        let own_host = self.callers != Callers::Gateways;
        security_headers::add(headers, own_host && self.broker.public_url.scheme() == "https");
        if let Ok(id) = HeaderValue::from_str(self.request_id.as_str()) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        self.record(route, response.status(), failure.as_ref());
        let body_is_due = self.connection.as_ref().is_some_and(Connection::answered);
        if body_is_due || self.broker.is_stopping() {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        response
    }

    fn record(&self, route: &str, status: StatusCode, failure: Option<&Failure>) {
        let elapsed = self.started.elapsed();
        let (method, status) = (self.method, status.as_u16());
        let code = failure.map(|failure| failure.code.as_str());
        let cause = failure.and_then(|failure| failure.cause.as_deref());
        let duration_ms = elapsed.as_secs_f64() * 1000.0;
        if status >= 500 {
            error!(method, route, status, duration_ms, code, cause, "request failed");
        } else {
            info!(method, route, status, duration_ms, code, cause, "request");
        }
        measure::record(self.listener, (method, route), status, code, elapsed);
    }
}

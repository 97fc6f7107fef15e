//! Every answer is finished here: errors get their body, and every answer gets the security headers, the request id
//! and one line in the log, even after a panic.
//!
//! The log line and the metrics hold the route's pattern, never the path, the query, a header or a body.

use std::panic::AssertUnwindSafe;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{ACCEPT, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse};
use futures_util::FutureExt;
use ipnet::IpNet;
use tracing::{Instrument, debug, error, info, info_span};

use super::measure::{self, Listener, NO_ROUTE};
use super::security_headers;
use crate::domain::caller::Caller;
use crate::domain::clock::{Moment, monotonic};
use crate::domain::dpop::NonceDemand;
use crate::domain::request_id::RequestId;
use crate::error::ErrorCode;
use crate::flow::possession::new_nonce;
use crate::http::challenge;
use crate::http::connection::{AfterTheLast, Connection};
use crate::http::dpop_headers::DpopHeaders;
use crate::http::error_page::{self, StartAgain, WayOut};
use crate::http::error_response::{self, Failure, Shape};
use crate::http::extract::caller;
use crate::http::language::Language;
use crate::http::route_table::{Callers, RouteTable};
use crate::state::Broker;

/// Routes that machines ask every few seconds. What they find is logged when it changes, by the task that watches the
/// stores.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

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
        .map_or((Shape::NotFoundPage, Callers::Clients), |route| (route.errors, route.callers));
    let shape = shape_for(&request, shape);
    let finishing = Finishing {
        broker,
        listener,
        method: measure::method_name(request.method()),
        shape,
        callers,
        language: Language::of(request.request()),
        request_id: caller.request_id.clone(),
        started: monotonic(),
        connection,
        dpop: DpopHeaders::of(request.headers()),
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
    language: Language,
    request_id: RequestId,
    started: Moment,
    connection: Option<Connection>,
    dpop: DpopHeaders,
}

impl Finishing<'_> {
    fn finish(&self, mut response: HttpResponse, route: &str, query: &str) -> HttpResponse {
        let failure = Failure::of(&response);
        if let Some(failure) = &failure {
            // A handler knows more than the route about who waits for the answer, and what they were about to open.
            let shape = response.extensions().get::<Shape>().copied().unwrap_or(self.shape);
            let home = response.extensions().get::<StartAgain>().cloned();
            let page = || match shape {
                Shape::DevicePage => (WayOut::of_device_page(), self.language),
                Shape::VisitedPage => (WayOut::of_visited_page(), self.language),
                _ => (error_page::way_out(self.broker, query, home), self.language),
            };
            response = error_response::render(response, failure, shape, self.request_id.as_str(), page);
        }
        let headers = response.headers_mut();
        let code = failure.as_ref().map(|failure| failure.code);
        challenge::finish_dpop(headers, self.dpop, || self.nonce(route, code));
        // Not all gateways pass on more than one challenge.
        if code == Some(ErrorCode::MissingToken)
            && !matches!(self.callers, Callers::Gateways | Callers::Visitors)
        {
            challenge::offer_dpop(headers);
        }
        // A gateway passes this on as an answer of another site, whose host must not get this site's rules.
        let own_host = !matches!(self.callers, Callers::Gateways | Callers::Visitors);
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

    /// A nonce for the next proof, if the caller will need one (RFC 9449 sections 8.2 and 9).
    fn nonce(&self, route: &str, code: Option<ErrorCode>) -> Option<String> {
        let is_missing = matches!(code, Some(ErrorCode::UseDpopNonce | ErrorCode::UseDpopNonceForGrant));
        let is_demanded = match self.broker.dpop_nonces {
            NonceDemand::WrongTime => false,
            NonceDemand::TokenEndpoints => ["/api/get_token", "/oauth2/token"].contains(&route),
            NonceDemand::Always => true,
        };
        (is_missing || (self.dpop.has_proof && is_demanded)).then(|| new_nonce(self.broker))
    }

    fn record(&self, route: &str, status: StatusCode, failure: Option<&Failure>) {
        let elapsed = self.started.elapsed();
        let (method, status) = (self.method, status.as_u16());
        let code = failure.map(|failure| failure.code.as_str());
        let cause = failure.and_then(|failure| failure.cause.as_deref());
        let duration_ms = elapsed.as_secs_f64() * 1000.0;
        if PROBES.contains(&route) {
            debug!(method, route, status, duration_ms, code, cause, "request");
        } else if status >= 500 {
            error!(method, route, status, duration_ms, code, cause, "request failed");
        } else {
            info!(method, route, status, duration_ms, code, cause, "request");
        }
        measure::record(self.listener, (method, route), status, code, elapsed);
    }
}

/// Pages are for people: a script that calls a page's address gets problem details instead. Where there is no route, only a
/// browser that navigates gets a page; one that does not say what it does is known by the HTML that it accepts.
fn shape_for(request: &ServiceRequest, shape: Shape) -> Shape {
    if matches!(shape, Shape::OAuth | Shape::Problem) {
        return shape;
    }
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let accepts_page = || header(ACCEPT).is_some_and(|accepted| accepted.contains("text/html"));
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let has_route = shape != Shape::NotFoundPage;
    let is_for_a_person = match header(HeaderName::from_static("sec-fetch-mode")) {
        Some(mode) => mode == "navigate",
        None => has_route || accepts_page(),
    };
    if is_for_a_person && (has_route || is_read) { shape } else { Shape::Problem }
}
